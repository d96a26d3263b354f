"""What the chosen engine does not take, and where its key comes from: facts for the controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engine import Capabilities
from ipy_imgvar.engines import make_engine
from ipy_imgvar.errors import ConfigurationError, ImageVariationError
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.settings import Connection, Secret, connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.engine import Engine
    from ipy_imgvar.panel.state import PanelState

__all__ = [
    "DEFAULT_KEY",
    "default_model",
    "describe",
    "found_connection",
    "key_in",
    "key_origin",
    "known_engine",
    "refusals",
]

#: The variable that holds the key when no other is named.
DEFAULT_KEY: Final = "OPENAI_API_KEY"
#: The controls that need a feature of the same name.
_FEATURES: Final = ("prompt", "seed", "strength")


def found_connection(namespace: Mapping[str, Any], key_name: str) -> Connection:
    """Return where and as whom a hosted engine would ask; without any of it where a setting can't work."""
    try:
        return connection(api_key=key_in(namespace, key_name), namespace=namespace)
    except ConfigurationError:
        return Connection()


def key_in(namespace: Mapping[str, Any], name: str) -> Secret | None:
    """Return the key that a variable holds that was named for it; None leaves the search to `connection`.

    Raises
    ------
    ConfigurationError
        If there is no such variable any more, or it holds something else.
    """
    if name == DEFAULT_KEY:
        return None
    try:
        return Secret(namespace[name])
    except KeyError:
        raise ConfigurationError(f"there is no variable {name} any more; name another for the key") from None
    except ConfigurationError as exc:
        raise ConfigurationError(f"the variable {name} holds no key: {exc}") from None


def key_origin(found: Connection, name: str) -> str:
    """Return where the key comes from and where it goes, in words; never any of the key itself."""
    if found.api_key is None:
        return "no key"
    place = f"the environment ({name})" if found.key_source == "environment" else f"the variable {name}"
    return f"key from {place}, for {found.server}"


def known_engine(name: str, found: Connection) -> Engine | None:
    """Return an engine to ask what it takes, or None where it can't even be made."""
    try:
        return make_engine(name, found)
    except ImageVariationError:
        return None


def describe(engine: Engine | None, state: PanelState) -> None:
    """Put what an engine takes into the state, and drop the options that it does not know."""
    known = Capabilities() if engine is None else engine.capabilities()
    state.refused, state.default_model = refusals(engine), default_model(engine)
    state.models, state.engine_options = known.models, known.options
    if engine is not None:  # One that can't be made may know them.
        names = {option.name for option in known.options}
        state.options = {name: value for name, value in state.options.items() if name in names}


def refusals(engine: Engine | None) -> dict[str, str]:
    """Return, by field, why an engine does not take it; nothing is known of one that can't be made."""
    if engine is None:
        return {}
    known = engine.capabilities()
    found = {
        name: f"the engine {engine.name} takes no {name}" for name in _FEATURES if name not in known.features
    }
    if len(known.models) == 1 and not known.other_models:
        found["model"] = f"the engine {engine.name} has only one model, {default_model(engine)}"
    return found


def default_model(engine: Engine | None) -> str:
    """Return the model that answers when none is named."""
    return "" if engine is None else engine.model(VariationRequest())
