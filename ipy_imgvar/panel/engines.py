"""Facts of the chosen engine for the controls: its capabilities, and the source of its key."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.capabilities import check_size
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.engines import OFFLINE, capabilities_of, make_engine
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.settings import Connection, Secret, connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.engine import Engine, Sizes
    from ipy_imgvar.panel.state import PanelState

__all__ = [
    "DEFAULT_KEY",
    "Declared",
    "default_model",
    "describe",
    "key_in",
    "key_origin",
    "known_engine",
    "refusals",
    "refuse_key",
    "usable_connection",
]

#: The variable of the key if a person names no other.
DEFAULT_KEY: Final = "OPENAI_API_KEY"
#: How the keys of hosted engines begin; a file's name is told from one by its extension.
_LIKE_KEY: Final = re.compile(r"(?<![\w/\\.-])sk-[\w-]{20,}(?![\w.-])")
#: Sizes in pixels that a field suggests where the engine allows them: the API's three, and two usual shapes.
_USUAL: Final = ((256, 256), (512, 512), (1024, 1024), (1536, 1024), (1024, 1536))
#: Controls that need a feature of the same name.
_FEATURES: Final = ("prompt", "seed", "strength", "mask")


def usable_connection(namespace: Mapping[str, Any], key_name: str, api_base: str = "") -> Connection:
    """Return the connection of a hosted engine; an empty one if a setting can't work: a run reports that."""
    try:
        return connection(api_key=key_in(namespace, key_name), api_base=api_base or None, namespace=namespace)
    except ConfigurationError:
        return Connection()


def key_in(namespace: Mapping[str, Any], name: str) -> Secret | None:
    """Return the key in the variable that a person named; None leaves the search to `connection`.

    Raises
    ------
    ConfigurationError
        If the variable is gone, or holds no key.
    """
    if name == DEFAULT_KEY:
        return None
    try:
        return Secret(namespace[name])
    except KeyError:
        raise ConfigurationError(f"there is no variable {name} any more; name another for the key") from None
    except ConfigurationError as exc:
        raise ConfigurationError(f"the variable {name} holds no key: {exc}") from None


def refuse_key(text: object) -> None:
    """Refuse a text that holds what looks like a key: the notebook saves what the panel shows, an error too.

    Raises
    ------
    ConfigurationError
        For such a text; the message has no part of it.
    """
    if isinstance(text, str) and _LIKE_KEY.search(text):
        raise ConfigurationError(
            "this looks like a key, so it is not kept; assign the key to a variable, as in "
            "OPENAI_API_KEY = getpass(), and clear the field"
        )


def key_origin(connection: Connection, name: str) -> str:
    """Return the source and the destination of the key in words, without any part of the key."""
    if connection.api_key is None:
        return "no key"
    is_environment = connection.key_source == "environment"
    source = f"the environment ({name})" if is_environment else f"the variable {name}"
    return f"key from {source}, for {connection.server}"


@dataclass(frozen=True, slots=True)
class Declared:
    """The offline engine as it is declared: to import the engine itself takes as long as all else of a panel."""

    name: str
    declared: Capabilities

    def capabilities(self, model: str | None = None) -> Capabilities:  # noqa: ARG002 - as an engine's
        """Return what the engine takes."""
        return self.declared

    def model(self, request: VariationRequest) -> str:  # noqa: ARG002 - as an engine's
        """Return its one model."""
        return self.declared.models[0]


def known_engine(name: str, connection: Connection) -> Engine | Declared | None:
    """Return an engine, or its declaration, to read its capabilities; None if it can't be made."""
    try:
        if name == OFFLINE:
            return Declared(name, capabilities_of(name, connection))
        return make_engine(name, connection)
    except ImageVariationError:
        return None


def describe(engine: Engine | Declared | None, state: PanelState) -> None:
    """Copy an engine's capabilities to the state, and drop the options and the model that the engine lacks."""
    known = Capabilities() if engine is None else engine.capabilities()
    earlier = state.models
    state.refused, state.default_model = refusals(engine), default_model(engine)
    state.other_models = known.other_models or not known.models
    state.model_notes, state.models = dict(known.model_notes), known.models
    state.engine_options, state.hosted = known.options, known.hosted
    state.destination = known.destination or ""
    state.sizes = _sizes(known.sizes)
    if engine is not None:  # An engine that can't be made may have these options and this model.
        # A name from the list of another engine means nothing here, also where any name is taken.
        if not known.takes_model(state.model or None) or state.model in set(earlier) - set(known.models):
            state.model = ""
        names = {option.name for option in known.options}
        state.options = {name: value for name, value in state.options.items() if name in names}


def _sizes(sizes: Sizes) -> tuple[str, ...]:
    """Return the sizes that a field suggests: the fixed ones, or the usual ones that the rules allow."""
    found = sizes.fixed
    if not found:
        for size in (*_USUAL, *sizes.also):
            with suppress(InvalidRequestError):
                check_size(size, sizes, "the engine makes")
                found = (*found, size)
    return tuple(f"{width}x{height}" for width, height in dict.fromkeys(found))


def refusals(engine: Engine | Declared | None) -> dict[str, str]:
    """Return the fields that an engine refuses, each with the reason; none for an engine that can't be made."""
    if engine is None:
        return {}
    known = engine.capabilities()
    reasons = {
        name: f"the engine {engine.name} takes no {name}" for name in _FEATURES if name not in known.features
    }
    if len(known.models) == 1 and not known.other_models:
        reasons["model"] = f"the engine {engine.name} has only one model, {default_model(engine)}"
    return reasons


def default_model(engine: Engine | Declared | None) -> str:
    """Return the model of a request that names none; "" without an engine."""
    return "" if engine is None else engine.model(VariationRequest())
