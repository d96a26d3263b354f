"""Translation of a line's options to the arguments of `Client`, for the magic and the command line.

The two read a word differently (the magic as a variable or expression, the command line as text), so each passes its
own `Reader`. This module decides for both which options go together, and which argument each becomes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipy_imgvar.errors import InvalidImageError, InvalidRequestError
from ipy_imgvar.line.options import OPTIONS, bindable, named_values, quote
from ipy_imgvar.line.sweeps import merged
from ipy_imgvar.results.forms import form_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ipy_imgvar.client import Client
    from ipy_imgvar.line.options import Option, Token
    from ipy_imgvar.run import Part

__all__ = ["Arguments", "Reader", "arguments_of"]

_OPTIONS: Final[Mapping[str, Option]] = {option.dest: option for option in OPTIONS}
#: Options that become arguments of `Client` itself, by `dest`.
_CONNECTION: Final = ("api_key", "api_key_file", "api_base", "organization", "project")
#: Words of a line that are looked at for one path that has spaces in its name.
_MOST_WORDS: Final = 12
#: Options that say how the result is shown, by `dest`.
_DISPLAY: Final = ("columns", "quiet")
#: Options that need another one, by `dest`: the others, of which one is enough.
_ONLY_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "max_workers": ("out_dir",),
    "batch": ("out_dir",),
    "status": ("batch",),
    "cancel": ("batch",),
    "yes": ("sweep",),
    "again": ("sweep", "out_dir"),
}
#: Options that a sweep refuses, by `dest`: what they do instead.
_NO_SWEEP: Final[Mapping[str, str]] = {
    "out_dir": "--out-dir makes the same of many images",
    "index": "--index makes one picture of a run",
}


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

    def axes(self, token: Token) -> dict[str, list[Any]]:
        """Return the axes of a sweep that one word names, each with its values."""


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
        `out_dir`, `max_workers`, `resume` and `batch` of `Client.map`, if the line has them; empty for a run that is
        no bulk run.
    sweep
        `over`, `confirm` and `resume` of `Client.sweep`, if the line has them; empty for a run that is no sweep.
    dry_run
        Show what the run would do, in place of it.
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
    sweep: dict[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    display: dict[str, Any] = field(default_factory=dict)

    def parts(self, client: Client, settings: Mapping[str, Any]) -> list[Part]:
        """Return what the line asks the client for, checked and in the order of its result.

        Parameters
        ----------
        client
            The client that will run it. The engines of a sweep are closed again; `Client.sweep` makes its own.
        settings
            The arguments of `Client.request`.

        Raises
        ------
        InvalidRequestError
            If an argument or a value of a sweep is wrong.
        """
        # Here, since a line that shows the help or the history needs neither.
        from ipy_imgvar.run import Part
        from ipy_imgvar.sweep.preparation import prepare

        if not self.sweep:
            return [Part(client.engine, each) for each in client.request(self.images, **settings)]
        with prepare(client, self.images, self.sweep["over"], settings) as prepared:
            return prepared.parts

    def targets(self, parts: Sequence[Part]) -> list[Path]:
        """Return the files that `out_file` names, one for each picture of `parts`; empty without it.

        Raises
        ------
        InvalidRequestError
            If it is no path, can't name all pictures, or can't be written; call this before the run.
        """
        if self.out_file is None:
            return []
        from ipy_imgvar.results.files import checked_files

        pictures = [part for part in parts for _ in range(part.request.n)]
        stems = [part.request.image.stem for part in pictures if part.request.image is not None]
        return checked_files(self.out_file, stems, [part.combination for part in pictures])


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
    axes = merged(map(reader.axes, words.get("sweep", ())), _written(words, "sweep"))
    values = _applicable(defaults or {}, given | set(axes))
    values |= _values(words, reader, fields=tuple(axes))
    _route_to_options(values, stream="stream" in words)
    _refuse_given_axes(axes, words, values)
    engine = values.pop("engine", None)
    if isinstance(engine, str) and not engine.strip():
        raise InvalidRequestError(
            "engine is empty; allowed: a name; leave it out for the default", field="engine"
        )
    form = values.pop("response_format", None)
    out = values.pop("out", None)
    return Arguments(
        images=_images(words, reader),
        connection=_take(values, _CONNECTION),
        engine=engine,
        form=None if form is None else form_of(form),
        out=bindable(out, words["out"][-1].option) if "out" in words else None,
        out_file=values.pop("out_file", None),
        bulk=_take(values, ("out_dir", "max_workers"))
        | (_resume(words) if "out_dir" in words else {})
        | ({"batch": True} if "batch" in words else {}),
        sweep=_sweep(axes, words),
        dry_run="dry_run" in words,
        display=_take(values, _DISPLAY),
        request=values,
    )


def _applicable(defaults: Mapping[str, Any], given: set[str]) -> dict[str, Any]:
    """Return the defaults for a line that has the options and axes `given`."""
    values = {dest: value for dest, value in defaults.items() if value is not None and dest not in given}
    if "index" in given:
        values.pop("n", None)  # the line names one picture, so the configured number does not apply
    if "out_file" in given:
        values.pop("response_format", None)  # the line saves files, so the configured format does not apply
    return values


def _images(words: Mapping[str, list[Token]], reader: Reader) -> list[Any]:
    """Return the images of the line; for a bulk run, the places where it finds them."""
    if "out_dir" in words:
        return [reader.many(token) for token in words["image"]]
    try:
        return [each for token in words["image"] for each in reader.images(token)]
    except InvalidImageError as exc:
        if path := _path_in_pieces([token.text for token in words["image"]]):
            raise InvalidImageError(f"{path} has a space in its name: write {quote(path)}") from exc
        raise


def _path_in_pieces(texts: Sequence[str]) -> str | None:
    """Return the file that neighbouring words name together, the longest one; None if there is none."""
    if len(texts) > _MOST_WORDS:
        return None
    ends = sorted(combinations(range(len(texts) + 1), 2), key=lambda each: each[0] - each[1])
    joined = (" ".join(texts[start:end]) for start, end in ends if end - start > 1)
    # `os.path` answers no for a name that is too long, and for a user who is not there; `Path` would raise.
    return next((path for path in joined if os.path.isfile(os.path.expanduser(path))), None)  # noqa: PTH111, PTH113


def _take(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Remove the named values and return them."""
    return {name: values.pop(name) for name in names if name in values}


def _sweep(axes: Mapping[str, Any], words: Mapping[str, list[Token]]) -> dict[str, Any]:
    """Return the arguments of `Client.sweep` that other runs don't have; empty without an axis."""
    if not axes:
        return {}
    return {"over": axes, **({"confirm": True} if "yes" in words else {}), **_resume(words)}


def _resume(words: Mapping[str, list[Token]]) -> dict[str, Any]:
    """Return the argument that makes again what an earlier run has finished, if the line asks for that."""
    return {"resume": False} if "again" in words else {}


def _written(words: Mapping[str, list[Token]], dest: str) -> str:
    """Return an option as the user typed it, or its usual spelling: a flag has no word that keeps it."""
    tokens = words.get(dest)
    return (tokens[-1].option if tokens else "") or _OPTIONS[dest].flags[0]


def _values(
    words: Mapping[str, list[Token]], reader: Reader, *, fields: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the value of each option by `dest`, without flags, axes and the images of the line.

    `fields` are those of a path beside its own.
    """
    values: dict[str, Any] = {}
    for dest, tokens in words.items():
        # None for "image", which is no option.
        option = _OPTIONS.get(dest)
        if option is None or option.kind in ("flag", "axes"):
            continue
        if option.kind == "path":
            option = replace(option, choices=fields)
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
    for dest, others in _ONLY_WITH.items():
        if dest in given and given.isdisjoint(others):
            needed = " or ".join(_OPTIONS[other].flags[0] for other in others)
            raise InvalidRequestError(f"{_written(words, dest)} goes with {needed}; give both", field=dest)
    for dest, effect in _NO_SWEEP.items() if "sweep" in given else ():
        if dest in given:
            sweep = _written(words, "sweep")
            raise InvalidRequestError(
                f"{effect}, and {sweep} makes one of each value; leave one of them out", field="sweep"
            )


def _refuse_given_axes(
    axes: Mapping[str, Any], words: Mapping[str, list[Token]], values: Mapping[str, Any]
) -> None:
    """Raise if the line gives an axis of the sweep a single value too."""
    for axis in axes:
        single = _written(words, axis) if axis in words and axis in _OPTIONS else ""
        if not single and axis in values.get("options", {}):
            single = f"{_written(words, 'options')} {axis}"
        if single:
            raise InvalidRequestError(
                f"{axis} is given by {single} and by {_written(words, 'sweep')}; keep one", field=axis
            )
