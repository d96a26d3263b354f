"""The code that repeats a run, or one of its pictures, as a line of the magic and as a call in Python.

A run of a picture that an earlier run has made is told from the root: first that picture, then this run. Where a step
can't be repeated, its stored file stands in the code, and a note says so.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ipy_imgvar.engines import capabilities_of
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.line.options import quote
from ipy_imgvar.plain import plain
from ipy_imgvar.results.history import store
from ipy_imgvar.settings import Connection
from ipy_imgvar.storage.addresses import is_address, shown_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ipy_imgvar.images.source import Source
    from ipy_imgvar.results.variations import Variation, Variations

__all__ = ["Recipe", "may_hold_key", "recipe"]

_IMPORT: Final = "from ipy_imgvar import variations\n"


@dataclass(frozen=True, slots=True)
class _Reference:
    """An image as the code names it: an expression, or a path or address."""

    code: str = ""
    text: str = ""

    @property
    def word(self) -> str:
        return "{" + self.code + "}" if self.code else quote(self.text)

    @property
    def expression(self) -> str:
        return self.code or repr(self.text)


def _sources(run: Variations) -> list[Source]:
    """Return each source once, in order: several pictures of a run share one."""
    return list({each.source.path or each.source.name: each.source for each in run}.values())


def _arguments(run: Variations) -> dict[str, Any]:
    """Return the arguments that repeat a run, with the defaults, since a notebook may have configured others."""
    request = run.request
    if request is None:
        return {"engine": run.engine}
    mask = str(request.mask.path) if request.mask is not None and request.mask.path is not None else None
    settings = request.settings() | _which(run) | {"model": _model(run), "mask": mask}
    names = ("n", "size", "strength", "fit", "seed", "index", "mask", "model", "prompt", "options")
    return {"engine": run.engine} | {
        name: settings[name] for name in names if settings.get(name) not in (None, {})
    }


def _model(run: Variations) -> str | None:
    """Return the model of the request; for a repository of the hub, with the commit that its picture's record has.

    A repository changes, and another machine may choose another default.
    """
    named = None if run.request is None else run.request.model
    recorded, revision = (run[0].parameters.get(name) for name in ("model", "revision"))
    if not isinstance(recorded, str) or not isinstance(revision, str):
        return named
    repository = recorded.partition("@")[0]
    if named is not None and named.partition("@")[0] != repository:
        return named
    return f"{repository}@{revision}"


def _which(run: Variations) -> dict[str, Any]:
    """Return the index, in place of `n`, if the run is one picture of several of its seed; else nothing."""
    request, picture = run.request, run[0]
    is_alone = len({each.index for each in run}) == 1
    if request is None or request.seed is None or not is_alone or (request.n, picture.index) == (1, 1):
        return {}
    return {"n": None, "index": picture.index}


def _line(run: Variations, references: Iterable[_Reference]) -> str:
    words = ["%imagevariation", *(each.word for each in references)]
    for name, value in _arguments(run).items():
        if name == "options":
            words += [f"--option {_word(f'{key}={each}')}" for key, each in value.items()]
        else:
            words.append(f"{'-n' if name == 'n' else '--' + name} {_word(value)}")
    return " ".join(words)


def _word(value: Any) -> str:
    """Return an option's value as a word, in quotes unless it is a number: a bare word may name a variable."""
    text = str(value)
    return text if text.replace(".", "", 1).isdecimal() else quote(text)


def _call(run: Variations, references: Sequence[_Reference]) -> str:
    images = ", ".join(each.expression for each in references)
    arguments = ", ".join(f"{name}={value!r}" for name, value in _arguments(run).items())
    return f"variations({images if len(references) == 1 else f'[{images}]'}, {arguments})"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The code that repeats a run.

    Parameters
    ----------
    line
        Lines of the magic.
    call
        Python code.
    notes
        What a reader has to know before running it, each in one line.
    """

    line: str
    call: str
    notes: tuple[str, ...] = ()


def recipe(run: Variations, origin: str, runs: Sequence[Variations]) -> Recipe:
    """Return the code that makes a run's pictures again, from the root of its source.

    Parameters
    ----------
    run
        The run to repeat, or some of its pictures, at least one; a picture alone is repeated by its index.
    origin
        A Python expression for its source: a variable, or an address in quotes; "" if the source is a file.
    runs
        The earlier runs that may have made its source.
    """
    return _Writer(runs).recipe(run, origin)


class _Writer:
    """Writes one recipe: the steps that its sources need, then the run."""

    def __init__(self, runs: Sequence[Variations]) -> None:
        self._makers = {each.path: (run, each) for run in runs for each in run if each.path is not None}
        #: The variable of each picture that a step makes; "" while its own source is looked for.
        self._steps: dict[Path, str] = {}
        self._lines: list[str] = []
        self._calls: list[str] = []
        self._notes: list[str] = []

    def recipe(self, run: Variations, origin: str) -> Recipe:
        sources = _sources(run)
        maker = self._maker(sources[0]) if len(sources) == 1 else None
        if origin and (maker is None or _obstacle(*maker)):
            references = [self._origin(origin, sources[0])]
        else:
            references = [self._reference(each) for each in sources]
        self._add(run, references)
        request = run.request
        if request is not None and request.seed is None:
            self._note(
                f"{plain(run.engine or 'the engine')} takes no seed: the code makes new pictures, not these"
            )
        if _lacks_mask(run[0], run):
            self._note("a mask kept a part of the picture, and it is in no file: add it with --mask or mask=")
        if request is not None and not _which(run) and len({each.index for each in run}) < request.n:
            self._note(f"the code makes all {request.n} pictures of that run")
        return Recipe("\n".join(self._lines), _IMPORT + "\n".join(self._calls), tuple(self._notes))

    def _add(self, run: Variations, references: Sequence[_Reference], name: str = "") -> None:
        bound = f"{name} = " if name else ""
        self._lines.append(bound + _line(run, references))
        self._calls.append(bound + _call(run, references))
        mask = None if run.request is None else run.request.mask
        if mask is not None and mask.path is not None and _is_stored(mask.path):
            self._note(
                f"the painted mask is in the store: a colleague needs the file {plain(str(mask.path))}"
            )

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _maker(self, source: Source) -> tuple[Variations, Variation] | None:
        """Return the earlier run that has made a source, with the picture; None for any other source."""
        return None if source.path is None else self._makers.get(source.path)

    def _origin(self, origin: str, source: Source) -> _Reference:
        if origin.isidentifier():
            self._note(f"{origin} is a variable of this notebook: a colleague needs the cell that makes it")
            return _Reference(code=origin)
        address = _text_of(origin)
        if address is None:
            return _Reference(code=origin)
        if not may_hold_key(address):
            return _Reference(text=address)
        reference = self._file(source)
        self._note("its address may hold a password or a key, so it is not in the code")
        return reference

    def _reference(self, source: Source) -> _Reference:
        """Return where the code gets a source, after the steps that make it."""
        maker = self._maker(source)
        if maker is None or source.path is None or self._steps.get(source.path) == "":
            return self._file(source)
        if source.path not in self._steps:
            run, picture = maker
            if obstacle := _obstacle(run, picture):
                self._note(
                    f"{plain(source.name)} can't be made again ({obstacle}): a colleague needs its file"
                )
                return _Reference(text=str(source.path))
            # A damaged record may name a picture as its own source.
            self._steps[source.path] = ""
            references = [self._reference(picture.source)]
            name = f"step{len(self._lines) + 1}"
            self._add(run.with_pictures([picture]), references, name)
            self._steps[source.path] = name
        return _Reference(code=self._steps[source.path])

    def _file(self, source: Source) -> _Reference:
        name = plain(source.name)
        if source.path is None:
            self._note(f"{name} was in memory and is in no file: put a path or a variable in its place")
            return _Reference(text=source.name)
        path = plain(str(source.path))
        if not source.path.is_file():
            self._note(f"the file {path} is gone: put another path of {name} in its place")
        elif _is_stored(source.path):
            self._note(f"{name} is a copy in the store: for a colleague, put its own path in place of {path}")
        return _Reference(text=str(source.path))


def _obstacle(run: Variations, picture: Variation) -> str:
    """Return why a run can't make one of its pictures again, or ""."""
    request, engine = run.request, plain(run.engine or "")
    if request is None:
        return "the history lacks its settings"
    if request.seed is None:
        return f"the engine {engine} takes no seed"
    if _lacks_mask(picture, run):
        return "its mask is in no file"
    hosted = _is_hosted(run.engine or "")
    if hosted is None:
        return f"the engine {engine} is not here"
    return f"the engine {engine} is a server's" if hosted else ""


@lru_cache(maxsize=16)
def _is_hosted(engine: str) -> bool | None:
    """Return whether an engine sends images to a server; None if it can't be made, which may take long to find out."""
    try:
        return capabilities_of(engine, Connection()).hosted
    except ImageVariationError:
        return None


def _lacks_mask(picture: Variation, run: Variations) -> bool:
    """Return whether a picture was made with a mask that is in no file."""
    mask = None if run.request is None else run.request.mask
    return (mask is not None or "mask_sha256" in picture.parameters) and (mask is None or mask.path is None)


def _is_stored(path: Path) -> bool:
    disk = store()
    return disk is not None and path.is_relative_to(disk.root)


def may_hold_key(address: str) -> bool:
    """Return whether an address has a user part or a query: nothing tells a signature from a harmless query."""
    if is_address(address.strip()):
        return shown_address(address.strip()) != address.strip()
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return True
    return bool(parts.scheme in ("http", "https") and ("@" in parts.netloc or parts.query))


def _text_of(expression: str) -> str | None:
    """Return the text that a literal stands for; None for any other expression."""
    try:
        value = ast.literal_eval(expression)
    except (SyntaxError, ValueError):
        return None
    return value if isinstance(value, str) else None
