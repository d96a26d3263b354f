"""From a line's options to the arguments of `Client`, for the magic and the command line alike.

How a word is read differs between the two (variables and expressions here, plain text there), so each hands in a
`Reader`. Which options go together, and what becomes of them, is decided here once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.line.options import OPTIONS, bindable, named_values
from ipy_imgvar.results.forms import form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.line.options import Option, Token

__all__ = ["Arguments", "Reader", "arguments_of"]

_OPTIONS: Final[Mapping[str, Option]] = {option.dest: option for option in OPTIONS}
_CONNECTION: Final = ("api_key", "api_key_file", "api_base", "organization", "project")
_DISPLAY: Final = ("columns", "quiet")


class Reader(Protocol):
    """Reads the words of a line as one place understands them.

    Attributes
    ----------
    returns
        What `-f` does there, for messages: "returns a value", or "prints".
    """

    returns: str

    def value(self, token: Token, option: Option) -> Any:
        """Return what an option's value means: an object, or text."""

    def images(self, token: Token) -> list[Any]:
        """Return the images that one word stands for, at least one."""

    def many(self, token: Token) -> Any:
        """Return a folder, a pattern or an object with images, for `Client.map` to read when their turn comes."""


@dataclass(slots=True, kw_only=True)
class Arguments:
    """What a line asks of `Client`.

    Parameters
    ----------
    images
        In the order of the line; for a bulk run, as `Client.map` takes them.
    request
        The arguments of `Client.request`, in any spelling that it takes.
    connection
        The arguments of `Client` that say where and as whom to ask; only those that were given.
    engine
        An engine's name, an `Engine`, or None.
    form
        The response format in its normal spelling, or None for the `Variations`.
    out
        The variable to bind, or None.
    out_file
        A path or pattern, or None.
    bulk
        `out_dir` and `max_workers` of `Client.map`, where they were given; empty for a run in one piece.
    display
        `columns` and `quiet`, where a default is configured or they were given.
    """

    images: list[Any]
    request: dict[str, Any]
    connection: dict[str, Any] = field(default_factory=dict)
    engine: Any = None
    form: str | None = None
    out: str | None = None
    out_file: Any = None
    bulk: dict[str, Any] = field(default_factory=dict)
    display: dict[str, Any] = field(default_factory=dict)


def arguments_of(
    words: Mapping[str, list[Token]], reader: Reader, defaults: Mapping[str, Any] | None = None
) -> Arguments:
    """Return what the sorted words of a line mean.

    Parameters
    ----------
    words
        As `parser.parse` returns them.
    reader
        How the place reads a word.
    defaults
        Values of options that the line leaves out, by `dest`; a None is no default.

    Raises
    ------
    InvalidRequestError
        For options that don't go together, or a value that can't be read.
    """
    given = set(words) - {"image"}
    _refuse_clashes(words, given, reader)
    values = {dest: value for dest, value in (defaults or {}).items() if value is not None}
    if "index" in given and "n" not in given:
        values.pop("n", None)  # a configured default gives way to the one picture that the line names
    if "out_file" in given:
        values.pop("response_format", None)  # likewise
    values |= _values(words, reader)
    _route_to_options(values, stream="stream" in words)
    read_image = reader.many if "out_dir" in given else reader.images
    images = [read_image(token) for token in words["image"]]
    engine = values.pop("engine", None)
    if isinstance(engine, str) and not engine.strip():
        raise InvalidRequestError(
            "engine is empty; allowed: a name; leave it out for the default", field="engine"
        )
    form = values.pop("response_format", None)
    out = values.pop("out", None)
    return Arguments(
        images=images if "out_dir" in given else [each for several in images for each in several],
        connection=_take(values, _CONNECTION),
        engine=engine,
        form=None if form is None else form_of(form),
        out=bindable(out, words["out"][-1].option) if "out" in words else None,
        out_file=values.pop("out_file", None),
        bulk=_take(values, ("out_dir", "max_workers")),
        display=_take(values, _DISPLAY),
        request=values,
    )


def _take(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values.pop(name) for name in names if name in values}


def _values(words: Mapping[str, list[Token]], reader: Reader) -> dict[str, Any]:
    """Return what each option means, by `dest`, without flags and images."""
    values: dict[str, Any] = {}
    for dest, tokens in words.items():
        option = _OPTIONS.get(dest)
        if option is None or option.kind == "flag":
            continue
        if option.kind == "image":
            values[dest] = [source for token in tokens for source in reader.images(token)]
        elif option.repeatable:
            values[dest] = named_values((reader.value(token, option) for token in tokens), tokens[0].option)
        else:
            values[dest] = reader.value(tokens[-1], option)
    return values


def _route_to_options(values: dict[str, Any], *, stream: bool) -> None:
    """Put the two engine options that have a spelling of their own to the others."""
    own = {"route": values.pop("route", None), "stream": "true" if stream else None}
    if chosen := {name: value for name, value in own.items() if value is not None}:
        values["options"] = {**values.get("options", {}), **chosen}


def _refuse_clashes(words: Mapping[str, list[Token]], given: set[str], reader: Reader) -> None:
    if {"response_format", "out_file"} <= given:
        raise InvalidRequestError(
            f"--out-file saves and -f {reader.returns}; give one of them", field="out_file"
        )
    if clash := sorted({"response_format", "out_file"} & given) if "out_dir" in given else []:
        raise InvalidRequestError(
            f"--out-dir saves every picture and returns their paths; leave {words[clash[0]][-1].option} out",
            field="out_dir",
        )
    if "max_workers" in given and "out_dir" not in given:
        raise InvalidRequestError("--workers goes with --out-dir; give both", field="max_workers")
