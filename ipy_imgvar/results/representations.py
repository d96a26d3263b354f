"""The display methods that IPython calls where a result is the value of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from ipy_imgvar.images.kinds import inherits

if TYPE_CHECKING:
    from types import ModuleType

    from ipy_imgvar.results.variations import Variation

__all__ = ["Represented", "look_of"]


def look_of(pictures: Sequence[Variation]) -> ModuleType:
    """Return the module whose `html`, `text` and `contact_sheet` show pictures: a sweep has its own."""
    if inherits(pictures, "ipy_imgvar.Sweep"):
        from ipy_imgvar.results.table import page

        return page
    from ipy_imgvar.results import gallery

    return gallery


class Represented:
    """The base of `Variation` and `Variations`: a gallery in HTML, and one picture for front ends without HTML."""

    __slots__ = ()

    def _shown(self) -> Sequence[Variation]:
        return self if isinstance(self, Sequence) else [cast("Variation", self)]

    def _repr_html_(self) -> str:
        page: str = look_of(self._shown()).html(self._shown())
        return page

    def _repr_jpeg_(self) -> bytes | None:
        """Return the contact sheet if it is opaque, else None."""
        return self._sheet().get("image/jpeg")

    def _repr_png_(self) -> bytes | None:
        """Return the contact sheet if it has transparency, else None."""
        return self._sheet().get("image/png")

    def _sheet(self) -> dict[str, bytes]:
        sheet: dict[str, bytes] = look_of(self._shown()).contact_sheet(self._shown())
        return sheet
