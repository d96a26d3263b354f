"""The help of the magic and the commands, from the table of options and an engine's `Capabilities`."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ipy_imgvar.engines import capabilities_of, default_engine
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.line.options import MAGIC_OPTIONS
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.engine import Capabilities, EngineOption
    from ipy_imgvar.line.options import Option
    from ipy_imgvar.settings import Connection

__all__ = ["engine_help", "engine_table", "help_text", "usage"]

#: Characters of a line of the help: it fits a notebook's output on a laptop, and a usual terminal window.
_HELP_COLUMNS: Final = 100
#: Characters of the left column; an option with longer spellings shows fewer of them.
_FLAG_COLUMNS: Final = 28
#: What an IMAGE may be.
_IMAGE_IN_A_NOTEBOOK: Final = "a path, pattern, URL, variable, $name or {expression}"
_IMAGE_IN_A_TERMINAL: Final = (
    "a path, pattern, URL, address such as s3://bucket/a.png, or - for standard input"
)


def usage(program: str) -> str:
    """Return the one-line usage."""
    return f"{program} IMAGE... [-n N] [-s SIZE] [-f FORM] [--out-file PATH] [more options: --help]"


def _shortened(option: Option) -> str:
    """Return the option's spellings that fit the left column, the first one always, and its value."""
    written = f"{', '.join(option.flags)} {option.metavar}".strip()
    while len(written) > _FLAG_COLUMNS and ", " in written:
        written = f"{written.rpartition(', ')[0]} {option.metavar}".strip()
    return written


def help_text(
    program: str,
    examples: Sequence[str],
    options: Sequence[Option] = MAGIC_OPTIONS,
    *,
    places: Sequence[str] = ("magic",),
    head: Sequence[str] = (),
) -> str:
    """Return the help: usage, options by group, and examples.

    Parameters
    ----------
    program, examples, options
        The command, its examples, and its options.
    places
        The interfaces whose words for an option are taken, the first one that has any; see `Option.helps`.
    head
        The usage and what its words mean; empty for those of one run.
    """
    kinds = _IMAGE_IN_A_NOTEBOOK if "magic" in places else _IMAGE_IN_A_TERMINAL
    lines = list(head) or [usage(program), "", f"IMAGE is {kinds}; several are allowed."]
    # A group's options come together, also those that a command adds to the table's.
    groups = list(dict.fromkeys(option.group for option in options))
    options = sorted(options, key=lambda option: groups.index(option.group))
    written = [_shortened(option) for option in options]
    width = max(map(len, written)) + 2
    group = ""
    for option, flags in zip(options, written, strict=True):
        if option.group != group:
            group = option.group
            lines += ["", f"{group}:"]
        own = (option.helps[place] for place in places if place in option.helps)
        lines += _row(flags, next(own, option.help), width)
    return "\n".join([*lines, "", "Examples:", *(f"  {line}" for line in examples)])


def _row(left: str, right: str, width: int) -> list[str]:
    """Return the lines of one row of the help, the right column wrapped."""
    first, *others = textwrap.wrap(right, _HELP_COLUMNS - width - 2) or [""]
    return [f"  {left:<{width}}{first}", *(f"  {'':<{width}}{more}" for more in others)]


def engine_help(name: str | None, connection: Connection, model: str | None = None) -> str:
    """Return the part of the help with the engine's options and models; "" for an engine without both.

    Parameters
    ----------
    name
        The engine that the line names; None takes the default engine.
    connection
        The server of a hosted engine.
    model
        The model that the line names, or None.
    """
    name = name or default_engine(connection)
    try:
        capabilities = _described(name, connection, model)
    except ImageVariationError:  # A run reports an engine that can't be loaded; the help shows the rest.
        return ""
    written = [plain(f"{option.name}={_placeholder(option)}") for option in capabilities.options]
    lines = ["", f"Options of the engine {plain(name)} (--option NAME=VALUE):"] if written else []
    width = min(max(map(len, written), default=0), _HELP_COLUMNS // 2) + 2
    for option, left in zip(capabilities.options, written, strict=True):
        # Some engines name the default in their own words.
        unsaid = option.default is not None and "default" not in option.help
        default = f"; default {str(option.default).lower()}" if unsaid else ""
        lines += _row(left, plain(option.help) + default, width)
    return "".join(f"\n{line}" for line in [*lines, *_models(name, capabilities)])


def engine_table(capabilities: Capabilities) -> str:
    """Return the documentation's table of an engine's options, in Markdown.

    Only a table with trusted options says who may set each: see `EngineOption.trusted`.
    """
    has_trusted = any(option.trusted for option in capabilities.options)
    rows: list[tuple[str, ...]] = [("option", "values", "left out", "meaning"), ("---",) * 4]
    for option in capabilities.options:
        default = "" if option.default is None else str(option.default).lower()
        rows.append((f"`{option.name}`", option.allowed, default, option.help))
    if has_trusted:
        setters = [
            "server's clients",
            "---",
            *("no" if each.trusted else "yes" for each in capabilities.options),
        ]
        rows = [(*row, setter) for row, setter in zip(rows, setters, strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _described(name: str, connection: Connection, model: str | None) -> Capabilities:
    """Return an engine's capabilities with a model; a run reports a wrong model, so the help shows the engine's."""
    with suppress(InvalidRequestError):
        return capabilities_of(name, connection, model)
    return capabilities_of(name, connection)


def _models(name: str, capabilities: Capabilities) -> list[str]:
    """Return the lines of an engine's models: one for each if the engine says something on it, else a list."""
    models = list(dict.fromkeys(capabilities.models))
    notes = {model: plain(note) for model in models if (note := capabilities.model_notes.get(model))}
    if len(models) <= 1 and not notes:
        return []
    lines = ["", f"Models of the engine {plain(name)} (--model NAME):"]
    if not notes:
        return lines + textwrap.wrap(
            plain(", ".join(models)), _HELP_COLUMNS, initial_indent="  ", subsequent_indent="  "
        )
    width = min(max(map(len, models)), _HELP_COLUMNS // 2) + 2
    for model in models:
        lines += _row(plain(model), notes.get(model, ""), width)
    return lines


def _placeholder(option: EngineOption) -> str:
    """Return the placeholder of an option's value in the help."""
    if option.type is bool:
        return "true|false"
    if option.choices:
        return "|".join(option.choices)
    if option.range is not None:
        return f"{option.range[0]:g}..{option.range[1]:g}"
    return {int: "N", float: "NUMBER", str: "TEXT"}.get(option.type, "VALUE")
