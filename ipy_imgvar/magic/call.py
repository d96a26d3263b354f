"""From a line, and a cell's body, to a `Call`: what to vary, how, and what to do with the result."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.help import usage
from ipy_imgvar.magic.grammar import split, whole_line
from ipy_imgvar.magic.values import Names, anything_of, images_of, value_of
from ipy_imgvar.options import MAGIC_OPTIONS, Option, Token, bindable, named_values
from ipy_imgvar.parser import parse
from ipy_imgvar.request import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ipy_imgvar.source import Source

__all__ = ["Call", "Display", "read_call"]

_OPTIONS: Final[Mapping[str, Option]] = {option.dest: option for option in MAGIC_OPTIONS}
_MAX_COLUMNS: Final = 10
_WITH_HISTORY: Final = ("history", "quiet")
_CONNECTION: Final = ("api_key", "api_base", "organization", "project")


@dataclass(frozen=True, slots=True)
class Display:
    """How a run is shown."""

    quiet: bool = False
    verbose: bool = False
    columns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A line that was read.

    Parameters
    ----------
    action
        What the line asks for; history needs none of the rest, help engine and connection, the panel no image.
    images
        In the order of the line, or of the body's lines.
    arguments
        Those of `Client.variations`, in any spelling that it takes.
    out_dir
        The folder of a bulk run, or None; then `images` are what `Client.map` takes.
    engine
        An engine's name, an `Engine`, or None.
    connection
        The arguments of `Client` that say where and as whom to ask; only those that were given.
    form
        The response format as it was given, or None for the `Variations`.
    out
        The variable to bind, or None.
    out_file
        A path or pattern, or None.
    display
        How it is shown.
    """

    action: Literal["run", "help", "history", "panel"] = "run"
    images: list[Any]
    arguments: dict[str, Any]
    out_dir: Any = None
    engine: Any = None
    connection: dict[str, Any] = field(default_factory=dict)
    form: Any = None
    out: str | None = None
    out_file: Any = None
    display: Display = Display()

    def targets(self, n: int) -> list[Path]:
        """Return the files to write, for `n` pictures of each image.

        Raises
        ------
        InvalidRequestError
            If `out_file` is no path, can't name all pictures, or can't be written: to find out after the run is late.
        """
        if self.out_file is None:
            return []
        from ipy_imgvar.outfile import checked_files

        return checked_files(self.out_file, [source.stem for source in self.images for _ in range(n)])


def read_call(line: str, cell: str | None, names: Names, defaults: Mapping[str, Any]) -> Call:
    """Read what a line asks for.

    Parameters
    ----------
    line, cell
        What stands after the magic's name, and the body of a cell magic.
    names
        The variables that can be seen.
    defaults
        Values of options that the line leaves out, by `dest`; a None is no default.

    Raises
    ------
    InvalidRequestError
        For anything that is wrong in the line or body; nothing was made.
    """
    tokens, silenced = _without_semicolon(split(line))
    found = parse(tokens)
    if "help" in found:
        named = found["engine"][-1].text if found.get("engine") else defaults.get("engine")
        asked = {"api_base": found["api_base"][-1].text} if found.get("api_base") else {}
        return Call(action="help", images=[], arguments={}, engine=named, connection=asked)
    values = {dest: value for dest, value in defaults.items() if value is not None} | _values(found, names)
    display = Display(
        quiet=silenced or "quiet" in found or bool(values.pop("quiet", False)),
        verbose="verbose" in found,
        columns=_columns(values.pop("columns", None)),
    )
    if "history" in found:
        others = [
            dest
            for dest, tokens in found.items()
            if dest not in _WITH_HISTORY and (tokens or dest != "image")
        ]
        others += ["a body"] if cell and cell.strip() else []
        if others:
            raise InvalidRequestError(
                f"--history shows what was made and makes nothing; received with it: {', '.join(others)}; "
                "allowed: --quiet; write the rest as a line of its own",
                field="history",
            )
        return Call(action="history", images=[], arguments={}, display=display)
    given = set(found) - {"image"}
    if "index" in given and "n" not in given:
        values.pop("n", None)  # a configured default gives way to the one picture that the line names
    _route_to_options(values, stream="stream" in found)
    if "out_dir" in given:
        images: list[Any] = [anything_of(token, names) for token in found["image"]]
    else:
        images = [source for token in found["image"] for source in images_of(token, names)]
    if cell is not None:
        images, values["prompt"] = _with_body(cell, images, values.get("prompt"), names)
    if "panel" in found:
        if "n" not in given:
            values.pop("n", None)  # One is the magic's default, not the panel's.
        return replace(_checked(values, found, images, display), action="panel")
    if not images:
        raise InvalidRequestError(f"no image was given; usage: {usage('%imagevariation')}", field="image")
    return _checked(values, found, images, display)


def _values(found: Mapping[str, list[Token]], names: Names) -> dict[str, Any]:
    """Return what the options of a line mean, by `dest`."""
    values: dict[str, Any] = {}
    for dest, tokens in found.items():
        if dest == "image" or _OPTIONS[dest].kind == "flag":
            continue
        if _OPTIONS[dest].kind == "image":
            values[dest] = [source for token in tokens for source in images_of(token, names)]
        elif _OPTIONS[dest].repeatable:
            values[dest] = named_values(
                (value_of(token, _OPTIONS[dest], names) for token in tokens), tokens[0].option
            )
        else:
            values[dest] = value_of(tokens[-1], _OPTIONS[dest], names)
    return values


def _route_to_options(values: dict[str, Any], *, stream: bool) -> None:
    """Put the two options that have a spelling of their own to what only one engine knows."""
    own = {"route": values.pop("route", None), "stream": "true" if stream else None}
    if chosen := {name: value for name, value in own.items() if value is not None}:
        values["options"] = {**values.get("options", {}), **chosen}


def _checked(
    values: dict[str, Any], found: Mapping[str, list[Token]], images: list[Source], display: Display
) -> Call:
    given = set(found) - {"image"}
    if {"response_format", "out_file"} <= given:
        raise InvalidRequestError(
            "--out-file saves and -f returns a value; give one of them", field="out_file"
        )
    if "out_file" in given:
        values.pop("response_format", None)  # a configured default gives way to what the line says
    if clash := sorted({"response_format", "out_file"} & given) if "out_dir" in given else []:
        raise InvalidRequestError(
            f"--out-dir saves every picture and returns their paths; leave {found[clash[0]][-1].option} out",
            field="out_dir",
        )
    if "max_workers" in given and "out_dir" not in given:
        raise InvalidRequestError("--workers goes with --out-dir; give both", field="max_workers")
    out = values.pop("out", None)
    if "out" in found:
        out = bindable(out, found["out"][-1].option)
    engine = values.pop("engine", None)
    if isinstance(engine, str) and not engine.strip():
        raise InvalidRequestError(
            "engine is empty; allowed: a name; leave it out for the default", field="engine"
        )
    return Call(
        images=images,
        out_dir=values.pop("out_dir", None),
        engine=engine,
        connection={name: values.pop(name) for name in _CONNECTION if name in values},
        form=values.pop("response_format", None),
        out=out,
        out_file=values.pop("out_file", None),
        arguments=values,
        display=display,
    )


def _columns(value: Any) -> int | None:
    return None if value is None else whole_number("columns", value, 1, _MAX_COLUMNS)


def _with_body(cell: str, images: list[Source], prompt: Any, names: Names) -> tuple[list[Source], str | None]:
    """Return the images and the prompt of a cell: its body is the prompt beside an image, else a list of images."""
    lines = [line.strip() for line in cell.splitlines()]
    if not images:
        tokens = [whole_line(line) for line in lines if line and not line.startswith("#")]
        _refuse_quotes(tokens)
        return [source for token in tokens for source in images_of(token, names)], prompt
    body = cell.strip()
    if body and prompt is not None:
        raise InvalidRequestError(
            "the prompt is given twice, by --prompt and in the cell's body; keep one", field="prompt"
        )
    if files := [line for line in lines if line and os.path.isfile(line)]:  # noqa: PTH113 - no name is too long for it
        raise InvalidRequestError(
            f"the body names the file {files[0]} beside an image in the line; a body is a prompt there; "
            "list all images in the body, or all in the line",
            field="prompt",
        )
    return images, body or prompt


def _refuse_quotes(tokens: list[Token]) -> None:
    """Raise for a line of a body in quotes, which a whole line does not need, unless a file is called so."""
    for token in tokens:
        text = token.text
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and not os.path.isfile(text):  # noqa: PTH113
            raise InvalidRequestError(
                f"{shown(text)} is in quotes; in a body a whole line is one image, so leave them out: {text[1:-1]}",
                field="image",
            )


def _without_semicolon(tokens: list[Token]) -> tuple[list[Token], bool]:
    """Drop the `;` that silences a cell: IPython leaves it in the magic's line."""
    if not tokens or not tokens[-1].text.endswith(";") or (tokens[-1].quoted and not tokens[-1].bare_end):
        return tokens, False
    *others, end = tokens
    text = end.text.rstrip(";")
    last_part = str(end.parts[-1]).rstrip(";")
    parts = (*end.parts[:-1], last_part) if last_part else end.parts[:-1]
    # What stays of a quoted token is its quoted part, so an empty one is a value still.
    return ([*others, replace(end, text=text, parts=parts)] if text or end.quoted else others), True
