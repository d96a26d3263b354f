"""The code that repeats a run exactly: a line of the magic, and a call in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipy_imgvar.options import quote

if TYPE_CHECKING:
    from ipy_imgvar.result import Variations

__all__ = ["call", "line"]


def _source(run: Variations, origin: str) -> tuple[str, str]:
    """Return the source as a token of a line and as an expression."""
    if origin:
        return "{" + origin + "}", origin
    source = run[0].source
    place = str(source.path) if source.path is not None else source.name
    return quote(place), repr(place)


def _arguments(run: Variations) -> dict[str, Any]:
    """Return what repeats it; the defaults too, since a notebook may have configured others."""
    request = run.request
    if request is None:
        return {"engine": run.engine}
    settings = request.settings()
    names = ("n", "size", "strength", "fit", "seed", "model", "prompt", "options")
    return {"engine": run.engine} | {
        name: settings[name] for name in names if settings[name] not in (None, {})
    }


def line(run: Variations, origin: str = "") -> str:
    """Return the line of the magic that makes the same pictures again.

    Parameters
    ----------
    run
        What to repeat; it has at least one picture.
    origin
        A Python expression that gives its source, or "" where the source has a file.
    """
    words = ["%imagevariation", _source(run, origin)[0]]
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
    return f"from ipy_imgvar import variations\nvariations({_source(run, origin)[1]}, {arguments})"
