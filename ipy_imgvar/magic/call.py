"""From a line, and a cell's body, to a `Call`: what to vary, how, and what to do with the result."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.magic.grammar import split, whole_line
from ipy_imgvar.magic.values import Names, images_of, value_of
from ipy_imgvar.options import OPTIONS, Option, Token, parse, usage
from ipy_imgvar.request import whole_number

if TYPE_CHECKING:
    from ipy_imgvar.source import Source

__all__ = ["Call", "Display", "read_call"]

_OPTIONS: Final[Mapping[str, Option]] = {option.dest: option for option in OPTIONS}
_MAX_COLUMNS: Final = 10


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
        What the line asks for; help and history need none of the rest, the panel needs no image.
    images
        In the order of the line, or of the body's lines.
    arguments
        Those of `Client.variations`, in any spelling that it takes.
    engine
        An engine's name, an `Engine`, or None.
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
    images: list[Source]
    arguments: dict[str, Any]
    engine: Any = None
    form: Any = None
    out: str | None = None
    out_file: Any = None
    display: Display = Display()

    def targets(self, n: int) -> list[Path]:
        """Return the files to write, for `n` pictures of each image.

        Raises
        ------
        InvalidRequestError
            If `out_file` is no path, or can't name all pictures.
        """
        if self.out_file is None:
            return []
        from ipy_imgvar.codec import EXTENSIONS
        from ipy_imgvar.outfile import expand_pattern

        if not isinstance(self.out_file, (str, Path)):
            raise InvalidRequestError(
                f"out-file is {shown(self.out_file)}; allowed: a path", field="out_file"
            )
        stems = [source.stem for source in self.images for _ in range(n)]
        return expand_pattern(self.out_file, stems, tuple(EXTENSIONS))


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
        return Call(action="help", images=[], arguments={})
    values = {dest: value for dest, value in defaults.items() if value is not None} | _values(found, names)
    display = Display(
        quiet=silenced or "quiet" in found or bool(values.pop("quiet", False)),
        verbose="verbose" in found,
        columns=_columns(values.pop("columns", None)),
    )
    if "history" in found:
        return Call(action="history", images=[], arguments={}, display=display)
    given = set(found) - {"image"}
    images = [source for token in found["image"] for source in images_of(token, names)]
    if cell is not None:
        images, values["prompt"] = _with_body(cell, images, values.get("prompt"), names)
    if "panel" in found:
        if "n" not in given:
            values.pop("n", None)  # One is the magic's default, not the panel's.
        return replace(_checked(values, given, images, display), action="panel")
    if not images:
        raise InvalidRequestError(f"no image was given; usage: {usage('%imagevariation')}", field="image")
    return _checked(values, given, images, display)


def _values(found: Mapping[str, list[Token]], names: Names) -> dict[str, Any]:
    """Return what the options of a line mean, by `dest`."""
    values: dict[str, Any] = {}
    for dest, tokens in found.items():
        if dest == "image" or _OPTIONS[dest].kind == "flag":
            continue
        if _OPTIONS[dest].kind == "image":
            values[dest] = [source for token in tokens for source in images_of(token, names)]
        elif _OPTIONS[dest].repeatable:
            values[dest] = _named(value_of(token, _OPTIONS[dest], names) for token in tokens)
        else:
            values[dest] = value_of(tokens[-1], _OPTIONS[dest], names)
    return values


def _named(values: Any) -> dict[str, Any]:
    """Put NAME=VALUE texts, and dictionaries, together."""
    named: dict[str, Any] = {}
    for value in values:
        if isinstance(value, Mapping):
            named |= value
            continue
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            raise InvalidRequestError(
                f"--option is {shown(value)}; allowed: NAME=VALUE, such as flip=false", field="options"
            )
        named[name.strip()] = text.strip()
    return named


def _checked(values: dict[str, Any], given: set[str], images: list[Source], display: Display) -> Call:
    if {"response_format", "out_file"} <= given:
        raise InvalidRequestError(
            "--out-file saves and -f returns a value; give one of them", field="out_file"
        )
    if "out_file" in given:
        values.pop("response_format", None)  # a configured default gives way to what the line says
    out = values.pop("out", None)
    if out is not None and (not out.isidentifier() or keyword.iskeyword(out) or not out.strip("_")):
        raise InvalidRequestError(
            f"--out is {shown(out)}; allowed: the name of a variable, such as pictures", field="out"
        )
    return Call(
        images=images,
        engine=values.pop("engine", None),
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
        return [source for token in tokens for source in images_of(token, names)], prompt
    body = cell.strip()
    if body and prompt is not None:
        raise InvalidRequestError(
            "the prompt is given twice, by --prompt and in the cell's body; keep one", field="prompt"
        )
    if files := [line for line in lines if line and len(line) < 256 and Path(line).is_file()]:  # noqa: PLR2004
        raise InvalidRequestError(
            f"the body names the file {files[0]} beside an image in the line; a body is a prompt there; "
            "list all images in the body, or all in the line",
            field="prompt",
        )
    return images, body or prompt


def _without_semicolon(tokens: list[Token]) -> tuple[list[Token], bool]:
    """Drop the `;` that silences a cell: IPython leaves it in the magic's line."""
    if not tokens or tokens[-1].quoted or not tokens[-1].text.endswith(";"):
        return tokens, False
    *others, end = tokens
    text = end.text.rstrip(";")
    last_part = str(end.parts[-1]).rstrip(";")
    parts = (*end.parts[:-1], last_part) if last_part else end.parts[:-1]
    return ([*others, Token(text, parts=parts)] if text else others), True
