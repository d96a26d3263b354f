"""The code that repeats a run exactly, or one of its pictures alone: a line of the magic, and a call in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipy_imgvar.line.options import quote

if TYPE_CHECKING:
    from ipy_imgvar.results.variations import Variations

__all__ = ["call", "line"]


def _sources(run: Variations, origin: str) -> tuple[str, str]:
    """Return the sources as words of a line and as an expression."""
    if origin:
        return "{" + origin + "}", origin
    sources = [each.source for each in run]
    places = list(dict.fromkeys(str(each.path) if each.path else each.name for each in sources))
    return " ".join(map(quote, places)), repr(places[0] if len(places) == 1 else places)


def _arguments(run: Variations) -> dict[str, Any]:
    """Return what repeats it; the defaults too, since a notebook may have configured others."""
    request = run.request
    if request is None:
        return {"engine": run.engine}
    settings = request.settings() | _which(run)
    names = ("n", "size", "strength", "fit", "seed", "index", "model", "prompt", "options")
    return {"engine": run.engine} | {
        name: settings[name] for name in names if settings.get(name) not in (None, {})
    }


def _which(run: Variations) -> dict[str, Any]:
    """Return what says that one picture is repeated, where it is one of several that its seed makes."""
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
        What to repeat; it has at least one picture. One of several that a seed makes is repeated alone.
    origin
        A Python expression that gives its source, or "" where the sources have files.
    """
    words = ["%imagevariation", _sources(run, origin)[0]]
    for name, value in _arguments(run).items():
        if name == "options":
            words += [f"--option {_word(f'{key}={each}')}" for key, each in value.items()]
        else:
            words.append(f"{'-n' if name == 'n' else '--' + name} {_word(value)}")
    return " ".join(words)


def _word(value: Any) -> str:
    """Write an option's value; a bare word could be the name of a variable."""
    text = str(value)
    return text if text.replace(".", "", 1).isdecimal() else quote(text)


def call(run: Variations, origin: str = "") -> str:
    """Return the Python that makes the same pictures again, import and call; see `line`."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in _arguments(run).items())
    return f"from ipy_imgvar import variations\nvariations({_sources(run, origin)[1]}, {arguments})"
