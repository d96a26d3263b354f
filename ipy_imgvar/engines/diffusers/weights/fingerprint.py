"""A fingerprint of a model's files on this disk, which stands for a folder where a commit stands for the hub's.

Whole weights would take seconds to read. A file's length and its last 64 KiB tell a fine-tuned model from its origin,
since training changes every tensor.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["fingerprint"]

#: Bytes at a file's end that are read, 64 KiB.
_TAIL_BYTES: Final = 1 << 16
#: The files that make the pictures: weights and settings.
_SUFFIXES: Final = (".json", ".safetensors", ".txt", ".model")
#: Hexadecimal digits, as many as a record has of a commit.
_DIGITS: Final = 12


def fingerprint(path: Path) -> str:
    """Return 12 hexadecimal digits for a file, or for the weights and settings in a folder; "" if it can't be read."""
    try:
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.suffix in _SUFFIXES]
        states = [(each, each.stat()) for each in sorted(files)]
    except OSError:
        return ""
    if not states:
        return ""
    return _digits(path, tuple((each, state.st_size, state.st_mtime_ns) for each, state in states))


@lru_cache(maxsize=32)
def _digits(path: Path, files: Iterable[tuple[Path, int, int]]) -> str:
    digest = hashlib.sha256()
    for file, size, _ in files:
        digest.update(f"{file.relative_to(path).as_posix()}\0{size}\0".encode())
        try:
            with file.open("rb") as opened:
                opened.seek(max(0, size - _TAIL_BYTES))
                digest.update(opened.read(_TAIL_BYTES))
        except OSError:
            return ""
    return digest.hexdigest()[:_DIGITS]
