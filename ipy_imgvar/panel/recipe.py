"""The code that repeats a run, or one of its pictures, as a line of the magic and as a call in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipy_imgvar.line.options import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.results.variations import Variations

__all__ = ["Recipe", "call", "line", "recipe"]


def _sources(run: Variations, origin: str) -> tuple[str, str]:
    """Return the sources as words of a line and as an expression."""
    if origin:
        return "{" + origin + "}", origin
    sources = [each.source for each in run]
    # Each source once, in order: several pictures of a run share one.
    paths = list(dict.fromkeys(str(each.path) if each.path else each.name for each in sources))
    return " ".join(map(quote, paths)), repr(paths[0] if len(paths) == 1 else paths)


def _arguments(run: Variations) -> dict[str, Any]:
    """Return the arguments that repeat a run, with the defaults, since a notebook may have configured others."""
    request = run.request
    if request is None:
        return {"engine": run.engine}
    settings = request.settings() | _which(run) | {"model": _model(run)}
    names = ("n", "size", "strength", "fit", "seed", "index", "model", "prompt", "options")
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


def line(run: Variations, origin: str = "") -> str:
    """Return the line of the magic that makes the same pictures again.

    Parameters
    ----------
    run
        The run to repeat, of at least one picture; a single picture of a run is repeated alone, by its index.
    origin
        A Python expression for its source, or "" if the sources are files.
    """
    words = ["%imagevariation", _sources(run, origin)[0]]
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


def call(run: Variations, origin: str = "") -> str:
    """Return the Python code, import and call, that makes the same pictures again; see `line`."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in _arguments(run).items())
    return f"from ipy_imgvar import variations\nvariations({_sources(run, origin)[1]}, {arguments})"


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
        What a reader has to know before running it.
    """

    line: str
    call: str
    notes: tuple[str, ...] = ()


def recipe(run: Variations, origin: str, runs: Sequence[Variations]) -> Recipe:  # noqa: ARG001
    """Return the code that makes a run's pictures again."""
    return Recipe(line(run, origin), call(run, origin))
