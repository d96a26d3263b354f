"""Engines: what makes variations. Each implements `ipy_imgvar.protocol.Engine`; they never import each other.

Ours are named here; others come in through the entry-point group `ipy_imgvar.engines`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from ipy_imgvar.protocol import Engine
    from ipy_imgvar.settings import Connection

__all__ = ["ENTRY_POINT_GROUP", "engine_names", "make_engine"]

ENTRY_POINT_GROUP: Final = "ipy_imgvar.engines"

_OURS: Final = {
    "patch": "ipy_imgvar.engines.patch.engine:PatchEngine",
    "openai": "ipy_imgvar.engines.openai.engine:OpenAIEngine",
}


def engine_names() -> list[str]:
    """Return the names of all engines that are installed, ours first."""
    others = {each.name for each in _entry_points()}
    return [*_OURS, *sorted(others - set(_OURS))]


def make_engine(name: str, connection: Connection) -> Engine:
    """Return a new engine by name.

    Parameters
    ----------
    name
        One of `engine_names()`.
    connection
        Passed to the hosted engine; others have no use for it.

    Raises
    ------
    ConfigurationError
        If there is none of that name, or it can't be loaded.
    """
    if name in _OURS:
        module, _, attribute = _OURS[name].partition(":")
        factory = getattr(import_module(module), attribute)
    else:
        factory = _installed(name)
    engine: Engine = factory(connection) if name == "openai" else factory()
    return engine


def _entry_points() -> EntryPoints:
    # Importing the module takes as long as all of ours together, and most runs use one of our own engines.
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINT_GROUP)


def _installed(name: str) -> Any:
    found = [each for each in _entry_points() if each.name == name]
    if not found:
        near = difflib.get_close_matches(name, engine_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"engine is {shown(name)}; allowed: {', '.join(engine_names())}{hint}")
    try:
        return found[0].load()
    except Exception as exc:  # A foreign package may fail on import in any way.
        raise ConfigurationError(f"engine {name} can't be loaded ({type(exc).__name__}: {exc})") from exc
