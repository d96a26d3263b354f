"""What the chosen engine does not take, and where its key comes from: facts for the controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines import make_engine
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.settings import Secret, connection, key_in_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.protocol import Engine

__all__ = ["default_model", "key_in", "key_origin", "known_engine", "refusals"]

_FEATURES: Final = ("prompt", "seed")
_ANY_MODEL: Final = "any-other-model"


def known_engine(name: str, namespace: Mapping[str, Any]) -> Engine | None:
    """Return an engine to ask what it takes, or None where it can't even be made."""
    try:
        return make_engine(name, connection(namespace=namespace))
    except ImageVariationError:
        return None


def refusals(engine: Engine | None) -> dict[str, str]:
    """Return, by field, why an engine does not take it; nothing is known of one that can't be made."""
    if engine is None:
        return {}
    found = {
        name: f"the engine {engine.name} takes no {name}" for name in _FEATURES if name not in engine.supports
    }
    try:
        engine.check(VariationRequest(model=_ANY_MODEL, seed=0 if "seed" in engine.supports else None))
    except InvalidRequestError as exc:
        if exc.field == "model":
            found["model"] = f"the engine {engine.name} has only one model, {default_model(engine)}"
    except ImageVariationError:  # It lacks a key or the like, which is no matter of a control.
        pass
    return found


def default_model(engine: Engine | None) -> str:
    """Return the model that answers when none is named."""
    return "" if engine is None else engine.model(VariationRequest())


def key_in(namespace: Mapping[str, Any], name: str) -> Secret | None:
    """Return the key that a notebook's variable holds, else an environment variable of that name, or None.

    Raises
    ------
    ConfigurationError
        If there is such a variable and it holds something else.
    """
    value = namespace.get(name)
    if value is None:
        return key_in_environment(name)
    try:
        return Secret(value)
    except ConfigurationError as exc:
        raise ConfigurationError(f"the variable {name} holds no key: {exc}") from None


def key_origin(namespace: Mapping[str, Any], name: str) -> str:
    """Return where the key comes from, in words; never any of the key itself."""
    if isinstance(namespace.get(name), (str, Secret)):
        return f"key from the variable {name}"
    if key_in_environment(name) is not None:
        return f"key from the environment ({name})"
    return "no key"
