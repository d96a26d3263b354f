"""The registry of engines, by name. Each engine implements `ipy_imgvar.engine.Engine`; none imports another.

The package's own engines stand in a table here. Other packages add theirs through the entry-point group
`ipy_imgvar.engines`, whose entries are factories: `factory(connection) -> Engine`.
"""

from __future__ import annotations

import difflib
import threading
import weakref
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from ipy_imgvar.engine import Engine, LoadsWeights
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, shown
from ipy_imgvar.settings import Connection
from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from ipy_imgvar.engine import Capabilities

__all__ = [
    "ENTRY_POINT_GROUP",
    "OFFLINE",
    "EngineSpec",
    "capabilities_of",
    "checked_engine",
    "default_engine",
    "engine_names",
    "make_engine",
    "remember",
    "unload",
]

#: The group under which a package's metadata lists its engines.
ENTRY_POINT_GROUP: Final = "ipy_imgvar.engines"
#: The engine that needs neither key, weights nor network.
OFFLINE: Final = "patch"

#: For each name, the import paths of the factory and of the function that describes the engine without loading it.
_OURS: Final = {
    "patch": (
        "ipy_imgvar.engines.patch.engine:PatchEngine",
        "ipy_imgvar.engines.patch.capabilities:capabilities",
    ),
    "openai": (
        "ipy_imgvar.engines.openai.engine:OpenAIEngine",
        "ipy_imgvar.engines.openai.capabilities:capabilities",
    ),
    "diffusers": (
        "ipy_imgvar.engines.diffusers.engine:DiffusersEngine",
        "ipy_imgvar.engines.diffusers.capabilities:capabilities",
    ),
}

#: The engines of this process that load weights, for `unload`; the references are weak, so an engine that its owner
#: drops is freed as ever.
_loaders: list[weakref.ref[LoadsWeights]] = []
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine's name and settings, from which another process or thread makes its own engine.

    Engines hold connections and locks, so they are never pickled.

    Parameters
    ----------
    name
        As `make_engine` takes it.
    connection
        The server that a hosted engine sends requests to. While it holds a key it can't be pickled; see
        `settings.Secret`.
    """

    name: str
    connection: Connection = field(default_factory=Connection)


def engine_names() -> list[str]:
    """Return the names of all installed engines, the package's own first."""
    others = {each.name for each in _entry_points()}
    return [*_OURS, *sorted(others - set(_OURS))]


def default_engine(connection: Connection) -> str:
    """Return the default engine's name: the hosted one if a key or a base was given anywhere, else the offline one."""
    return "openai" if connection.chosen else OFFLINE


def make_engine(name: str, connection: Connection) -> Engine:
    """Return a new engine by name.

    Parameters
    ----------
    name
        One of `engine_names()`.
    connection
        Passed to every engine; one that runs on this machine ignores it.

    Raises
    ------
    ConfigurationError
        If no engine has that name, or the engine can't be loaded or made.
    """
    if name in _OURS:
        if in_browser() and name != OFFLINE:
            raise ConfigurationError(
                f"engine {name} can't run in a browser, where Python has neither sockets nor a device; choose engine "
                f"{OFFLINE}, or a Jupyter that runs on a computer"
            )
        ours: Engine = _loaded(_OURS[name][0])(connection)
        return remember(ours)
    factory = _installed(name)
    try:
        engine: Engine = factory(connection)
    except ImageVariationError:
        raise
    except Exception as exc:  # A foreign factory may raise anything.
        raise ConfigurationError(f"engine {name} can't be made ({type(exc).__name__}: {exc})") from exc
    return remember(engine)


def checked_engine(engine: Any) -> Engine:
    """Return an object that has the methods of an engine; else raise `ConfigurationError`."""
    try:
        fits = isinstance(engine, Engine) and not isinstance(engine, type)
    except Exception:  # noqa: BLE001 - a foreign object may raise anything when it is looked at
        fits = False
    if fits:
        return cast("Engine", engine)
    raise ConfigurationError(
        f"engine is {shown(engine)}; allowed: {', '.join(engine_names())}, or an object with the methods of an Engine"
    )


def remember(engine: Engine) -> Engine:
    """Return the engine, and remember it for `unload` if it loads weights; `make_engine` does so itself."""
    # An engine that takes no weak reference stays as it is: a strong one would keep its weights for good.
    with suppress(TypeError):
        if isinstance(engine, LoadsWeights):
            with _lock:
                others = [
                    each for each in _loaders if (living := each()) is not None and living is not engine
                ]
                _loaders[:] = [*others, weakref.ref(engine)]
    return engine


def unload() -> list[str]:
    """Free the weights that the engines of this process have loaded, and return the names of the models, each once.

    Raises
    ------
    ImageVariationError
        If an engine fails in it; the others have freed theirs.
    """
    with _lock:
        living = [engine for each in _loaders if (engine := each()) is not None]
    freed: list[str] = []
    failure: ImageVariationError | None = None
    for engine in living:
        try:
            freed += engine.unload()
        except ImageVariationError as exc:
            failure = exc
        except Exception as exc:  # noqa: BLE001 - a foreign engine may raise anything
            failure = ConfigurationError(
                f"weights can't be freed ({type(exc).__name__}: {exc}); end this process to free them"
            )
    if failure is not None:
        raise failure
    return list(dict.fromkeys(freed))


def capabilities_of(name: str, connection: Connection, model: str | None = None) -> Capabilities:
    """Return what an engine takes, as `Engine.capabilities` does; the package's own engines are not loaded for it.

    Parameters
    ----------
    name, connection
        See `make_engine`.
    model
        The model that the request would name, or None.

    Raises
    ------
    ConfigurationError
        See `make_engine`; also if the engine's `capabilities` fails.
    """
    if name in _OURS:
        declared: Capabilities = _loaded(_OURS[name][1])(connection, model)
        return declared
    try:
        with closing(make_engine(name, connection)) as engine:
            return engine.capabilities(model)
    except ImageVariationError:
        raise
    except Exception as exc:  # A foreign engine may raise anything.
        raise ConfigurationError(f"engine {name} can't be described ({type(exc).__name__}: {exc})") from exc


def _loaded(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _entry_points() -> EntryPoints:
    # This import takes as long as those of all our modules together, and most runs use one of our own engines.
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINT_GROUP)


def _installed(name: str) -> Any:
    entries = [each for each in _entry_points() if each.name == name]
    if not entries:
        near = difflib.get_close_matches(name, engine_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"engine is {shown(name)}; allowed: {', '.join(engine_names())}{hint}")
    try:
        return entries[0].load()
    except Exception as exc:  # A foreign package may fail on import in any way.
        raise ConfigurationError(f"engine {name} can't be loaded ({type(exc).__name__}: {exc})") from exc
