"""The offer of one server: its client, and the models and options that it was started with.

A client of the server chooses among these models by their names alone, so that no request reaches a folder of this
machine, downloads weights, or replaces those that are loaded.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.capabilities import check_model, checked_options
from ipy_imgvar.engine import Capabilities, LoadsWeights
from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.plain import plain
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipy_imgvar.client import Client

__all__ = ["Offer"]

_log = logging.getLogger("ipy_imgvar.server")
#: Characters of a model's name that a warning shows; a client may send any text.
_MAX_MODEL_CHARS: Final = 60
#: OpenAI's model names: its clients send one to every server, so they are ignored with a warning.
_OPENAI_MODEL: Final = re.compile(r"(dall-e|gpt-image|chatgpt-image)\b.*")


class Offer:
    """The client that makes the pictures, and what the server's clients may ask it for.

    Parameters
    ----------
    client
        Its default model is the first of `models`.
    models
        The only models that the server answers for, the default first. Empty: the engine's default alone, if it loads
        weights, else every model that the engine takes.
    options
        The engine's options of every request, as texts or values. A client's own value wins, but not for an option
        that is trusted.

    Raises
    ------
    InvalidRequestError
        If the engine lacks a model or an option, two models have the same name here, or a model can't be used with the
        options.
    """

    def __init__(
        self, client: Client, models: Sequence[str] = (), options: Mapping[str, Any] | None = None
    ) -> None:
        self.client = client
        self.engine = client.engine
        #: The engine's name of each model that was named at the start, by the name that clients use.
        self._named = _by_public_name(models)
        self.options = dict(options or {})
        for model in self._named.values() or [None]:
            capabilities = self.engine.capabilities(model)
            check_model(model, capabilities, self.engine.name)
            self.options = checked_options(self.options, capabilities, self.engine.name)
        self.check_options()

    def check_options(self) -> None:
        """Refuse the options of the start if a model can't be used with them.

        An engine that chooses its model when it is prepared can judge them afterwards only.

        Raises
        ------
        InvalidRequestError
            With the engine's reason.
        """
        for model in self._named.values() or [None]:
            self._check_options(model)

    def _check_options(self, model: str | None) -> None:
        """Refuse the options of the start if every request for a model would be refused for them.

        A request's prompt may decide which options it can have, as on the two routes of a hosted engine, so one request
        without and one with a prompt are tried. A refusal of another field alone is no matter of the options: the
        loading or a client's own request brings it.
        """
        if not self.options:
            return
        refusal = None
        takes_prompt = "prompt" in self.engine.capabilities(model).features
        for prompt in (None, "a prompt") if takes_prompt else (None,):
            try:
                self.engine.check(VariationRequest(model=model, prompt=prompt, options=self.options))
            except InvalidRequestError as exc:
                if refusal is None and exc.field == "options":
                    refusal = exc
            else:
                return
        if refusal is not None:
            raise refusal

    @property
    def models(self) -> list[str]:
        """The names that clients may use; the first is the default."""
        if self._named:
            return list(self._named)
        own = self.engine.model(VariationRequest())
        known = self.engine.capabilities().models
        if not self._is_closed:
            return list(dict.fromkeys([own, *known]))
        # The short name of the engine's choice, which a person would write, where it has one.
        return [name for name in known if self.engine.model(VariationRequest(model=name)) == own] or [own]

    @property
    def _is_closed(self) -> bool:
        """Whether the server answers for no other models than those of its start."""
        return bool(self._named) or isinstance(self.engine, LoadsWeights)

    @property
    def default(self) -> str | None:
        """The engine's name of the model of a request that names none; None leaves it to the engine."""
        return next(iter(self._named.values()), None)

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return the engine's capabilities with a model that `resolved` returned."""
        return self.engine.capabilities(model or self.default)

    def resolved(self, name: str | None, warnings: list[str]) -> str | None:
        """Return the engine's name of the model that a client asks for, or None for the default.

        OpenAI's own names mean the default, with a line in `warnings`; so does the engine's name.

        Raises
        ------
        Refusal
            For a name that this server does not have.
        """
        if name is None:
            return None
        if self._is_closed:
            if name in self.models:
                return self._named.get(name)
        elif self._takes(name):
            return name
        if _OPENAI_MODEL.fullmatch(name):
            warnings.append(f"model {plain(name[:_MAX_MODEL_CHARS])} is not here: {self.models[0]} answered")
        elif name != self.engine.name:
            raise Refusal(
                404,
                f"model is {shown(name)}; this server has only {', '.join(self.models)}; or leave it out",
                code="model_not_found",
                param="model",
            )
        return None

    def unusable(self, model: str | None, exc: InvalidRequestError) -> Refusal:
        """Return the answer to a request whose model the engine refuses, although this server has it.

        Parameters
        ----------
        model
            The engine's name of the model, or None.
        exc
            The engine's refusal. It may name a folder of this machine, so a client sees it only if it named the model.
        """
        if not self._is_closed:
            return Refusal(404, str(exc), code="model_not_found", param="model")
        _log.error("%s", exc)
        public = next((name for name, each in self._named.items() if each == model), self.models[0])
        text = f"the model {public} can't be used now; the server's log says why"
        return Refusal(404, text, code="model_not_found", param="model")

    def _takes(self, name: str) -> bool:
        try:
            return self.engine.capabilities(name).takes_model(name)
        except Exception:  # noqa: BLE001 - another package's engine may raise anything for a name that it lacks
            _log.debug("capabilities of a model", exc_info=True)
            return False


def _by_public_name(models: Sequence[str]) -> dict[str, str]:
    """Return the models by the names that clients use: a folder's last part, since its path says where it lies."""
    named: dict[str, str] = {}
    for model in models:
        path = Path(model)
        public = path.name if path.is_absolute() or model[:1] in ("~", ".") else model
        if named.setdefault(public, model) != model:
            raise InvalidRequestError(
                f"models {shown(named[public])} and {shown(model)} have the same name here, {public}; rename a folder",
                field="model",
            )
    return named
