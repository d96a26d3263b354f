"""Engines: what makes variations. Each implements `ipy_imgvar.engine.Engine`; they never import each other.

Ours are named here; others come in through the entry-point group `ipy_imgvar.engines`, whose entries are factories:
`factory(connection) -> Engine`.
"""

from __future__ import annotations

import difflib
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ConfigurationError, ImageVariationError, shown
from ipy_imgvar.settings import Connection

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from ipy_imgvar.engine import Capabilities, Engine

__all__ = [
    "ENTRY_POINT_GROUP",
    "OFFLINE",
    "EngineSpec",
    "capabilities_of",
    "default_engine",
    "engine_names",
    "make_engine",
]

ENTRY_POINT_GROUP: Final = "ipy_imgvar.engines"
#: The engine that needs neither key, weights nor network.
OFFLINE: Final = "patch"

#: By name, the factory, and the function that describes the engine without loading it.
_OURS: Final = {
    "patch": (
        "ipy_imgvar.engines.patch.engine:PatchEngine",
        "ipy_imgvar.engines.patch.capabilities:capabilities",
    ),
    "openai": (
        "ipy_imgvar.engines.openai.engine:OpenAIEngine",
        "ipy_imgvar.engines.openai.capabilities:capabilities",
    ),
}


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine's name and settings, which make it again anywhere; an engine itself never travels.

    Parameters
    ----------
    name
        As `make_engine` takes it.
    connection
        Where a hosted engine asks. While it holds a key it can't be pickled; see `settings.Secret`.
    """

    name: str
    connection: Connection = field(default_factory=Connection)


def engine_names() -> list[str]:
    """Return the names of all engines that are installed, ours first."""
    others = {each.name for each in _entry_points()}
    return [*_OURS, *sorted(others - set(_OURS))]


def default_engine(connection: Connection) -> str:
    """Return the engine that answers when none is named: the hosted one if a key or a base was given anywhere."""
    return "openai" if connection.chosen else OFFLINE


def make_engine(name: str, connection: Connection) -> Engine:
    """Return a new engine by name.

    Parameters
    ----------
    name
        One of `engine_names()`.
    connection
        Given to every engine; one that asks nobody has no use for it.

    Raises
    ------
    ConfigurationError
        If there is none of that name, or it can't be loaded or made.
    """
    if name in _OURS:
        ours: Engine = _loaded(_OURS[name][0])(connection)
        return ours
    factory = _installed(name)
    try:
        engine: Engine = factory(connection)
    except ImageVariationError:
        raise
    except Exception as exc:  # As on import.
        raise ConfigurationError(f"engine {name} can't be made ({type(exc).__name__}: {exc})") from exc
    return engine


def capabilities_of(name: str, connection: Connection, model: str | None = None) -> Capabilities:
    """Return what an engine takes, as `Engine.capabilities`; ours are described without being loaded.

    Parameters
    ----------
    name, connection
        See `make_engine`.
    model
        The model that would be asked for, or None.

    Raises
    ------
    ConfigurationError
        See `make_engine`; also if the engine can't say.
    """
    if name in _OURS:
        found: Capabilities = _loaded(_OURS[name][1])(connection, model)
        return found
    try:
        with closing(make_engine(name, connection)) as engine:
            return engine.capabilities(model)
    except ImageVariationError:
        raise
    except Exception as exc:  # As on import.
        raise ConfigurationError(f"engine {name} can't be described ({type(exc).__name__}: {exc})") from exc


def _loaded(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


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
