"""The check that an axis varies something: pictures that differ by chance would be paid for, and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipy_imgvar.engine import Forecasts
from ipy_imgvar.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipy_imgvar.run import Part

__all__ = ["check_effects"]

#: The fields that an engine may take without a use for them: `Capabilities` says which others it takes.
_SILENT: Final = ("strength", "fit")


def check_effects(axes: Iterable[str], parts: Sequence[Part]) -> None:
    """Refuse an axis of which an engine says, in its forecast, that it has no effect on these requests."""
    swept = [name for name in _SILENT if name in axes]
    if not swept:
        return
    for part in {id(each.engine): each for each in parts}.values():
        # Only a server's route decides by the request; to ask the others would read models and images.
        if not part.engine.capabilities(part.request.model).hosted or not isinstance(part.engine, Forecasts):
            continue
        unused = part.engine.forecast([part.request]).unused
        for name in swept:
            if name in unused:
                raise InvalidRequestError(
                    f"{name} has no effect on the engine {part.engine.name} with these settings, so all pictures "
                    f"would differ by chance only; leave {name} out of the sweep, or change the route or the prompt",
                    field=name,
                )
