"""Patterns of names as `glob.glob(recursive=True)` has them, for keys that no folder of the disk holds."""

from __future__ import annotations

import fnmatch
import glob
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["compiled", "literal_beginning"]

_MAGIC: Final = re.compile(r"[*?\[]")
#: A pattern's `**`: any number of folders, none included.
_FOLDERS: Final = "**"


def literal_beginning(pattern: str) -> str:
    """Return what all matches of a pattern begin with.

    Examples
    --------
    >>> literal_beginning("cats/2024*/**/*.png")
    'cats/2024'
    """
    match = _MAGIC.search(pattern)
    return pattern if match is None else pattern[: match.start()]


def compiled(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a key matches; a wildcard matches no name that begins with a dot.

    Examples
    --------
    >>> [compiled("a/**/*.png")(key) for key in ("a/b.png", "a/b/c/d.png", "a/.b/c.png", "a/b.jpg")]
    [True, True, False, False]
    """
    steps: list[Callable[[str], bool] | None] = []
    for part in pattern.split("/"):
        if part == _FOLDERS:
            if not steps or steps[-1] is not None:
                steps.append(None)
        else:
            steps.append(_step(part))
    if steps[-1] is None:
        # A final `**` stands for all files below.
        steps.append(lambda name: name[:1] != ".")
    return lambda key: _matches(key.split("/"), steps)


def _step(part: str) -> Callable[[str], bool]:
    if not glob.has_magic(part):
        return part.__eq__
    match = re.compile(fnmatch.translate(part)).match
    return lambda name: name[:1] != "." and match(name) is not None


def _matches(names: Sequence[str], steps: Sequence[Callable[[str], bool] | None]) -> bool:
    for at, step in enumerate(steps):
        if step is None:
            rest = steps[at + 1 :]
            for start in range(at, len(names)):
                if _matches(names[start:], rest):
                    return True
                if names[start][:1] == ".":
                    return False
            return False
        if at >= len(names) or not step(names[at]):
            return False
    return len(names) == len(steps)
