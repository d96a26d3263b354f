"""The settings as fields: data for the front end, made from the state and from what the engine says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.capabilities import option_value
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.panel.controls import LABELS, OPTION
from ipy_imgvar.plain import plain
from ipy_imgvar.request import FITS, STRENGTHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.engine import EngineOption
    from ipy_imgvar.panel.state import PanelState

__all__ = ["fields", "titles"]

Field = dict[str, Any]

#: Models from which a list is worth its place.
_SEVERAL: Final = 2


def fields(state: PanelState, engines: Sequence[str], *, is_fixed: bool) -> list[Field]:
    """Return the fields in the order of the page; without those that the engine refuses.

    Parameters
    ----------
    engines
        The names that the field of the engine offers.
    is_fixed
        The client is the caller's, so there is no field for a server or a key.
    """
    found = [
        *([_engine(state, engines)] if len(engines) > 1 else []),
        *_model(state),
        _field(state, "prompt", "Prompt", "main", "long", placeholder="what to make of it"),
        _field(state, "n", LABELS["n"], "main", "integer", least=1, most=10),
        _size(state),
        _strength(state),
        _fit(state),
        _seed(state),
        _field(
            state,
            "timeout",
            f"{LABELS['timeout']} in seconds",
            "more",
            "number",
            least=0,
            help="0 sets no limit",
        ),
    ]
    if state.hosted and not is_fixed:
        found += _connection(state)
    found += [_option(option, state) for option in state.engine_options]
    return [field for field in found if field["name"] not in state.refused]


def titles(state: PanelState) -> dict[str, str]:
    """Return the titles of the groups that are folded away."""
    return {
        "more": "More settings",
        "connection": "Server and key",
        "options": f"Options of {plain(state.engine)}",
        "machine": "This machine",
    }


def _field(state: PanelState, name: str, label: str, group: str, kind: str, **more: Any) -> Field:
    return {"name": name, "label": label, "group": group, "kind": kind, "value": getattr(state, name), **more}


def _choices(values: Sequence[str]) -> list[list[str]]:
    return [[value, plain(value)] for value in values]


def _engine(state: PanelState, engines: Sequence[str]) -> Field:
    return _field(state, "engine", "Engine", "main", "choice", choices=_choices(engines))


def _model(state: PanelState) -> list[Field]:
    """Return the field of the model: a list, or a text with suggestions where the engine takes other names too."""
    lines = [[name, _with_note(state, name)] for name in dict.fromkeys(state.models)]
    # An engine that chooses by the machine names no model here.
    default = f": {plain(state.default_model)}" if state.default_model in state.models else ""
    if not state.other_models and len(lines) < _SEVERAL:
        return []
    words = {"help": "left out, the engine chooses", "placeholder": state.default_model}
    if state.other_models:
        return [_field(state, "model", "Model", "main", "combo", choices=lines, **words)]
    return [
        _field(
            state,
            "model",
            "Model",
            "main",
            "choice",
            choices=[["", f"the engine's default{default}"], *lines],
        )
    ]


def _with_note(state: PanelState, name: str) -> str:
    note = state.model_notes.get(name)
    return plain(f"{name}: {note}" if note else name)


def _size(state: PanelState) -> Field:
    return _field(
        state, "size", "Size", "main", "combo", choices=_choices(state.sizes), help="width x height in pixels"
    )


def _strength(state: PanelState) -> Field:
    words = [[f"{value:g}", word] for word, value in STRENGTHS.items()]
    return _field(
        state, "strength", "Strength", "main", "strength", choices=words, least=0, most=1, step=0.01,
        help="how far the pictures go from the source",
    )  # fmt: skip


def _fit(state: PanelState) -> Field:
    return _field(
        state, "fit", "Fit", "more", "choice", choices=_choices(FITS),
        help="what happens to a source of another shape",
    )  # fmt: skip


def _seed(state: PanelState) -> Field:
    field = _field(state, "seed", "Seed", "more", "seed", placeholder="drawn for each run")
    return {**field, "locked": state.seed_locked}


def _connection(state: PanelState) -> list[Field]:
    """Return the fields of the server: its address, the name of the key's variable, and the number of retries."""
    base = _field(
        state, "api_base", "Server", "connection", "text", placeholder="http://localhost:8000/v1",
        help="left out, the configured server",
    )  # fmt: skip
    key = _field(
        state, "key_name", "Key is in variable", "connection", "text",
        help="the name of a variable that holds the key, never the key",
    )  # fmt: skip
    retries = _field(
        state, "max_retry_count", LABELS["max_retry_count"], "connection", "integer", least=0, most=100,
        help="further tries after the server is busy (429) or fails (5xx)",
    )  # fmt: skip
    return [base, key, retries]


def _option(option: EngineOption, state: PanelState) -> Field:
    """Return the field of one of the engine's own options."""
    value = state.options.get(option.name, option.default)
    try:
        value = value if value is None else option_value(option, value)
    except InvalidRequestError:  # A line with --panel may have set it; the run reports the mistake.
        value = option.default
    field: Field = {
        "name": OPTION + option.name,
        "label": plain(option.name).replace("_", " ").capitalize(),
        "group": "machine" if option.trusted else "options",
        "value": "" if value is None else value,
        "help": plain(option.help),
    }
    if option.type is bool:
        return {**field, "kind": "flag", "value": bool(value)}
    if option.choices:
        unset = [] if option.default in option.choices else [["", "default"]]
        return {**field, "kind": "choice", "choices": [*unset, *_choices(option.choices)]}
    if option.type in (int, float):
        bounds = {} if option.range is None else {"least": option.range[0], "most": option.range[1]}
        kind = "integer" if option.type is int else "number"
        return {**field, "kind": kind, "placeholder": "default", **bounds}
    return {**field, "kind": "text", "value": str(field["value"]), "placeholder": option.allowed}
