"""Translation of a line's options to the arguments of `Client`, for the magic and the command line.

The two read a word differently (the magic as a variable or expression, the command line as text), so each passes its
own `Reader`. This module decides for both which options go together, and which argument each becomes.
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
#: Options that become arguments of `Client` itself, by `dest`.
_CONNECTION: Final = ("api_key", "api_key_file", "api_base", "organization", "project")
#: Options that say how the result is shown, by `dest`.
_DISPLAY: Final = ("columns", "quiet")


class Reader(Protocol):
    """Reader of a line's words: with a notebook's variables, or as text.

    Attributes
    ----------
    returns
        The effect of `-f`, for messages: "returns a value", or "prints".
    """

    returns: str

    def value(self, token: Token, option: Option) -> Any:
        """Return the value of an option: an object, or text."""

    def images(self, token: Token) -> list[Any]:
        """Return the images that one word stands for, at least one."""

    def many(self, token: Token) -> Any:
        """Return a folder, a pattern or an object with images, which `Client.map` reads later."""


@dataclass(slots=True, kw_only=True)
class Arguments:
    """A line's options as arguments of `Client`, and its options for the result.

    Parameters
    ----------
    images
        In the order of the line; for a bulk run, as `Client.map` takes them.
    request
        The arguments of `Client.request`, in any spelling that it takes.
    connection
        The arguments of `Client` for the server and the credentials, if the line has them.
    engine
        An engine's name, an `Engine`, or None.
    form
        The response format in its normal spelling, or None for the `Variations`.
    out
        The variable to bind, or None.
    out_file
        A path or pattern, or None.
    bulk
        `out_dir` and `max_workers` of `Client.map`, if the line has them; empty for a run that is no bulk run.
    display
        `columns` and `quiet`, if the line or the configuration has them.
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
    """Return the arguments that the sorted words of a line stand for.

    Parameters
    ----------
    words
        As `parser.parse` returns them.
    reader
        The reader of the words.
    defaults
        Values of options that the line leaves out, by `dest`; None for no default.

    Raises
    ------
    InvalidRequestError
        For options that don't go together, or a value that can't be read.
    """
    given = set(words) - {"image"}
    _refuse_clashes(words, given, reader)
    values = {dest: value for dest, value in (defaults or {}).items() if value is not None}
    if "index" in given and "n" not in given:
        values.pop("n", None)  # the line names one picture, so the configured number does not apply
    if "out_file" in given:
        values.pop("response_format", None)  # the line saves files, so the configured format does not apply
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
    """Remove the named values and return them."""
    return {name: values.pop(name) for name in names if name in values}


def _values(words: Mapping[str, list[Token]], reader: Reader) -> dict[str, Any]:
    """Return the value of each option by `dest`, without flags and the images of the line."""
    values: dict[str, Any] = {}
    for dest, tokens in words.items():
        # None for "image", which is no option.
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
    """Move `--route` and `--stream`, which are options of an engine, to the values of `--option`."""
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
