"""The display methods that IPython calls where a result is the value of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ipy_imgvar.results.variations import Variation

__all__ = ["Represented"]


class Represented:
    """The base of `Variation` and `Variations`: a gallery in HTML, and one picture for front ends without HTML."""

    __slots__ = ()

    def _shown(self) -> Sequence[Variation]:
        return self if isinstance(self, Sequence) else [cast("Variation", self)]

    def _repr_html_(self) -> str:
        from ipy_imgvar.results import gallery

        return gallery.html(self._shown())

    def _repr_jpeg_(self) -> bytes | None:
        """Return the contact sheet if it is opaque, else None."""
        from ipy_imgvar.results import gallery

        return gallery.contact_sheet(self._shown()).get("image/jpeg")

    def _repr_png_(self) -> bytes | None:
        """Return the contact sheet if it has transparency, else None."""
        from ipy_imgvar.results import gallery

        return gallery.contact_sheet(self._shown()).get("image/png")
