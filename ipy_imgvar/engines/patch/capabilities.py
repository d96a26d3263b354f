"""What the engine `patch` takes, as data: read by interfaces that have no use for its arrays, so it loads none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipy_imgvar.engine import Capabilities, EngineOption, Sizes

if TYPE_CHECKING:
    from ipy_imgvar.settings import Connection

__all__ = ["CAPABILITIES", "MODEL", "capabilities"]

#: The version of the method: the same one makes the same bytes of the same image, seed and settings.
MODEL: Final = "patch-3"

CAPABILITIES: Final = Capabilities(
    features=frozenset({"mask", "seed", "strength", "stream"}),
    models=(MODEL,),
    options=(
        EngineOption("flip", bool, default=True, help="may mirror; never where writing is found"),
        EngineOption("tone", bool, default=True, help="change brightness and colour a little"),
        EngineOption(
            "subjects", bool, default=True, help="ask rembg what the subject is, where it is installed"
        ),
    ),
    # Below the least, a patch is a large part of the picture; above the most, a run takes minutes.
    sizes=Sizes(least=64, most=2048),
    parallel="processes",
)


def capabilities(connection: Connection, model: str | None = None) -> Capabilities:  # noqa: ARG001 - a registry's signature
    """Return what the engine takes, which depends on nothing."""
    return CAPABILITIES
