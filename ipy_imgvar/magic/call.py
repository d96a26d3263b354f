"""The reader of a magic's line and a cell's body, which returns a `Call`: images, arguments and display."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.line.arguments import Arguments, arguments_of
from ipy_imgvar.line.grammar import split, whole_line
from ipy_imgvar.line.help import usage
from ipy_imgvar.line.parser import parse
from ipy_imgvar.magic.values import NotebookReader, images_of
from ipy_imgvar.request import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.images.source import Source
    from ipy_imgvar.line.options import Token
    from ipy_imgvar.magic.values import Names

__all__ = ["Call", "Display", "read_call"]

#: Pictures in a row at most: a run makes at most 10 of an image.
_MAX_COLUMNS: Final = 10
#: For each option that makes no picture, by `dest`: what it does, for the message about others beside it.
_ALONE: Final[Mapping[str, str]] = {
    "history": "--history shows what was made and makes nothing",
    "unload": "--unload frees the memory of models and makes nothing",
}


@dataclass(frozen=True, slots=True)
class Display:
    """The options for the output of a run; `columns` None takes as many as fit."""

    quiet: bool = False
    verbose: bool = False
    columns: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The meaning of a magic's line.

    Parameters
    ----------
    action
        The action of the line. "history" and "unload" use no arguments, "help" the engine, its model and the
        connection, "panel" no image.
    arguments
        The arguments of the client.
    display
        The options for the output.
    basic
        With "panel": the basic view of it.
    """

    action: Literal["run", "help", "history", "unload", "panel"]
    arguments: Arguments
    display: Display = Display()
    basic: bool = False


def read_call(line: str, cell: str | None, names: Names, defaults: Mapping[str, Any]) -> Call:
    """Read a line and a cell's body.

    Parameters
    ----------
    line, cell
        The text after the magic's name, and the body of a cell magic.
    names
        The variables that the line can use.
    defaults
        Values of options that the line leaves out, by `dest`; None for no default.

    Raises
    ------
    InvalidRequestError
        For a mistake in the line or the body.
    """
    tokens, silenced = _without_semicolon(split(line))
    words = parse(tokens)
    if "help" in words:
        return Call("help", _helped(words, defaults))
    actions: tuple[Literal["history", "unload"], ...] = ("history", "unload")
    for action in actions:
        if action in words:
            _refuse_beside(action, words, cell)
            quiet = silenced or "quiet" in words or bool(defaults.get("quiet"))
            return Call(action, Arguments(images=[], request={}), Display(quiet=quiet))
    arguments = arguments_of(words, NotebookReader(names), defaults)
    display = Display(
        quiet=silenced or "quiet" in words or bool(arguments.display.get("quiet")),
        verbose="verbose" in words,
        columns=_columns(arguments.display.get("columns")),
    )
    if cell is not None:
        _add_body(arguments, cell, names)
    if "panel" in words:
        _refuse_in_panel(words)
        if "n" not in words:
            arguments.request.pop("n", None)  # 1 is the magic's default; the panel has its own.
        return Call("panel", arguments, display, basic="basic" in words)
    if "basic" in words:
        raise InvalidRequestError("--basic is received without --panel; write --panel --basic", field="basic")
    if not arguments.images:
        raise InvalidRequestError(f"no image was given; usage: {usage('%imagevariation')}", field="image")
    return Call("run", arguments, display)


def _helped(words: Mapping[str, list[Token]], defaults: Mapping[str, Any]) -> Arguments:
    """Return the arguments on which the help depends: the engine, its model and its server."""
    texts = {dest: tokens[-1].text for dest, tokens in words.items() if tokens}
    return Arguments(
        images=[],
        request={"model": texts.get("model", defaults.get("model"))},
        engine=texts.get("engine", defaults.get("engine")),
        connection={"api_base": texts["api_base"]} if "api_base" in texts else {},
    )


def _refuse_beside(action: str, words: Mapping[str, list[Token]], cell: str | None) -> None:
    """Raise if a line with --history or --unload has more than --quiet beside it."""
    others = [
        dest
        for dest, tokens in words.items()
        if dest not in (action, "quiet") and (tokens or dest != "image")
    ]
    others += ["a body"] if cell and cell.strip() else []
    if others:
        raise InvalidRequestError(
            f"{_ALONE[action]}; received with it: {', '.join(others)}; "
            "allowed: --quiet; write the rest as a line of its own",
            field=action,
        )


def _refuse_in_panel(words: Mapping[str, list[Token]]) -> None:
    """Raise if a line with --panel asks for a sweep or a dry run, which the panel doesn't have."""
    for dest, flag in (("sweep", "--sweep"), ("dry_run", "--dry-run")):
        if dest in words:
            raise InvalidRequestError(
                f"--panel opens a form and makes nothing yet; leave {flag} or --panel out", field=dest
            )


def _columns(value: Any) -> int | None:
    return None if value is None else whole_number("columns", value, 1, _MAX_COLUMNS)


def _add_body(arguments: Arguments, cell: str, names: Names) -> None:
    """Add a cell's body to the arguments: its images or its prompt."""
    given = arguments.request.pop("prompt", None)
    arguments.images, prompt = _with_body(cell, arguments.images, given, names)
    if prompt is not None and "prompt" in arguments.sweep.get("over", {}):
        raise InvalidRequestError(
            "the prompt is given twice, by --sweep and in the cell's body; keep one", field="prompt"
        )
    arguments.request |= {} if prompt is None else {"prompt": prompt}


def _with_body(cell: str, images: list[Source], prompt: Any, names: Names) -> tuple[list[Source], str | None]:
    """Return a cell's images and prompt: the body is the prompt if the line has an image, else a list of images."""
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
    if files := [line for line in lines if line and os.path.isfile(line)]:  # noqa: PTH113 - Path.is_file raises for long names
        raise InvalidRequestError(
            f"the body names the file {files[0]} beside an image in the line; a body is a prompt there; "
            "list all images in the body, or all in the line",
            field="prompt",
        )
    return images, body or prompt


def _refuse_quotes(tokens: list[Token]) -> None:
    """Refuse a quoted line of a body, since a whole line is one image, unless a file has the quotes in its name."""
    for token in tokens:
        text = token.text
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and not os.path.isfile(text):  # noqa: PTH113
            raise InvalidRequestError(
                f"{shown(text)} is in quotes; in a body a whole line is one image, so leave them out: {text[1:-1]}",
                field="image",
            )


def _without_semicolon(tokens: list[Token]) -> tuple[list[Token], bool]:
    """Drop the `;` that silences a cell, which IPython leaves in the magic's line; say whether it was there."""
    if not tokens or not tokens[-1].text.endswith(";") or (tokens[-1].quoted and not tokens[-1].bare_end):
        return tokens, False
    *others, end = tokens
    text = end.text.rstrip(";")
    last_part = str(end.parts[-1]).rstrip(";")
    parts = (*end.parts[:-1], last_part) if last_part else end.parts[:-1]
    pieces = end.pieces
    while pieces and pieces[-1] == (";", False):
        pieces = pieces[:-1]
    # A quoted token keeps its quoted part, and "" in quotes is still a value.
    return (
        [*others, replace(end, text=text, parts=parts, pieces=pieces)] if text or end.quoted else others
    ), True
