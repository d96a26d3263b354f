"""The panel's actions that change a setting: one method for every field, by the field's name; no widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import settings
from ipy_imgvar.capabilities import option_value
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.panel import engines
from ipy_imgvar.panel.sources import SourceActions
from ipy_imgvar.request import VariationRequest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LABELS", "OPTION", "SettingsActions"]

#: What the name of a field begins with that is one of the engine's own options.
OPTION: Final = "option:"
#: Fields that a request checks.
_OF_REQUEST: Final = ("n", "size", "fit", "strength", "timeout", "max_retry_count")

#: Labels on the page of fields whose argument is called otherwise.
LABELS: Final = {"n": "Pictures", "timeout": "Time limit", "max_retry_count": "Retries"}


class SettingsActions(SourceActions):
    """The actions of the settings' fields; see `SourceActions` for the parameters."""

    look_around: Callable[[], None]
    #: The refusal of the field that was set last, or "".
    _refused: str = ""

    def set_field(self, name: str, value: Any) -> None:
        """Set a field of the settings to what a person chose or typed.

        Raises
        ------
        ImageVariationError
            If the field does not take the value, or there is no such field; the setting stays as it is.
        """
        if self.state.error == self._refused:  # The error of a run stays until the next one.
            self.state.error = ""
        self._refused = ""
        try:
            self._set(name, value)
        except ImageVariationError as exc:
            self._refused = str(exc)
            raise

    def _set(self, name: str, value: Any) -> None:
        if name != "key_name":  # It has a refusal of its own.
            engines.refuse_key(value)
        if name.startswith(OPTION):
            self._set_option(name.removeprefix(OPTION), value)
        elif name in _OF_REQUEST:
            # An empty field means the default.
            try:
                request = VariationRequest.from_arguments(**{name: None if value == "" else value})
            except InvalidRequestError as exc:
                # Its argument's name is not on the page.
                words = str(exc)
                if name in LABELS and words.startswith(f"{name} is "):
                    words = LABELS[name] + words.removeprefix(name)
                raise InvalidRequestError(words) from None
            setattr(self.state, name, request.settings()[name])
        elif name in _WRITERS:
            _WRITERS[name](self, value)
        else:
            raise InvalidRequestError(f"there is no setting {shown(name)}; reload the page")

    def _set_option(self, name: str, value: Any) -> None:
        """Set one of the engine's options; the state holds only the values that differ from the defaults."""
        option = next((each for each in self.state.engine_options if each.name == name), None)
        if option is None:
            raise InvalidRequestError(f"the engine has no option {shown(name)}; choose another")
        chosen = None if value in ("", None) else option_value(option, value)
        others = {each: old for each, old in self.state.options.items() if each != name}
        is_default = chosen is None or chosen == option.default
        self.state.options = others if is_default else {**others, name: chosen}

    def set_engine(self, value: Any) -> None:
        """Choose an engine by its name."""
        if value not in self.engines:
            raise InvalidRequestError(f"engine is {shown(value)}; allowed: {', '.join(self.engines)}")
        self.state.engine = value

    def set_model(self, value: Any) -> None:
        """Choose a model by its name; an empty text leaves it to the engine."""
        self.state.model = _text("model", value).strip()

    def set_prompt(self, value: Any) -> None:
        """Set the prompt."""
        self.state.prompt = _text("prompt", value)

    def type_seed(self, written: Any) -> None:
        """Set the seed to a typed text and keep it; an empty text lets each run draw one."""
        text = _text("seed", written).strip()
        if text:
            VariationRequest.from_arguments(seed=text)
        self.state.seed, self.state.seed_locked = text, bool(text)

    def keep_seed(self, value: Any) -> None:
        """Keep the seed for the next runs, or let each run draw one."""
        if not isinstance(value, bool):
            raise InvalidRequestError(f"keep seed is {shown(value)}; allowed: true or false")
        self.state.seed_locked = value

    def set_base(self, value: Any) -> None:
        """Set the server's address; an empty text means the configured one."""
        text = _text("the server's address", value).strip()
        if "@" in text:
            # It would hold a password, and the notebook saves what the panel shows.
            raise ConfigurationError(
                "an address with a user or a password is not kept here; assign it to the variable "
                "OPENAI_API_BASE, and leave this field empty"
            )
        if text:
            text = settings.connection(api_base=text, namespace=self._namespace).api_base
        self.state.api_base = text
        self.look_around()

    def name_key(self, value: Any) -> None:
        """Set the name of the key's variable; refuse, and don't show, a text that names none: it may be a key."""
        name = _text("the key's variable", value).strip()
        if name == self.state.key_name:
            return
        if name and name != engines.DEFAULT_KEY and name not in self._namespace:
            raise InvalidRequestError(
                "there is no variable of that name; assign the key to one, as in my_key = getpass(), and type its "
                "name here, never the key (what was typed is not kept)"
            )
        self.state.key_name = name or engines.DEFAULT_KEY
        engines.key_in(self._namespace, self.state.key_name)
        self.look_around()


#: The method that sets each other field.
_WRITERS: Final[dict[str, Callable[[SettingsActions, Any], None]]] = {
    "engine": SettingsActions.set_engine,
    "model": SettingsActions.set_model,
    "prompt": SettingsActions.set_prompt,
    "seed": SettingsActions.type_seed,
    "seed_locked": SettingsActions.keep_seed,
    "api_base": SettingsActions.set_base,
    "key_name": SettingsActions.name_key,
}


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{what} is {shown(value)}; allowed: text")
    return value
