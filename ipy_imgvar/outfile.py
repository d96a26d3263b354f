"""Names of the files that pictures are saved to: one path, or a pattern with {i}, {n} and {stem}."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FIELDS", "expand_pattern"]

#: The reserved names: the picture's number, the number of pictures for each image, and the source's stem.
FIELDS: Final = ("i", "n", "stem")

_FIELD: Final = re.compile(r"\{(" + "|".join(FIELDS) + r")(?::([^{}]*))?\}")


def expand_pattern(pattern: str | Path, stems: Sequence[str], extensions: Sequence[str]) -> list[Path]:
    """Return one path for each picture.

    Parameters
    ----------
    pattern
        A path; `{i}` is the picture's number from 1 (within its image where the pattern has `{stem}`, else over all),
        `{n}` how many pictures each image has, `{stem}` the image's name without its extension.
    stems
        The source's stem of each picture, in order.
    extensions
        The extensions that may be written, with their dot.

    Raises
    ------
    InvalidRequestError
        If the extension is none of these, the pattern is a folder, or two pictures would get the same path.

    Examples
    --------
    >>> [path.name for path in expand_pattern("{stem}-{i}.png", ["cat", "cat", "dog"], [".png"])]
    ['cat-1.png', 'cat-2.png', 'dog-1.png']
    """
    text = str(pattern)
    if not text.strip() or "\0" in text:
        received = f"{shown(text)} holds a null character" if text.strip() else "the path to save to is empty"
        raise InvalidRequestError(
            f"{received}; name a file; allowed: {', '.join(extensions)}", field="out_file"
        )
    try:
        target = Path(text).expanduser()
    except RuntimeError as exc:
        raise InvalidRequestError(f"{text}: {exc}; allowed: a path", field="out_file") from exc
    if os.path.isdir(target):  # noqa: PTH112 - no name is too long for it
        raise InvalidRequestError(
            f"{text} is a folder; name a file in it: {target / 'variation-{i}.png'}", field="out_file"
        )
    if target.suffix.lower() not in extensions:
        received = f"ends in {shown(target.suffix)}" if target.suffix else "has no extension"
        raise InvalidRequestError(f"{text} {received}; allowed: {', '.join(extensions)}", field="out_file")
    per_stem = bool(re.search(r"\{stem[:}]", text))
    counts: Counter[str] = Counter()
    paths = []
    for stem in stems:
        key = stem if per_stem else ""
        counts[key] += 1
        paths.append(Path(_fill(str(target), {"i": counts[key], "n": stems.count(stem), "stem": stem})))
    if len(set(paths)) < len(paths):
        raise InvalidRequestError(
            f"{text} gives {len(paths)} pictures the same name; put {{i}} in it: {_with_number(target)}",
            field="out_file",
        )
    return paths


def _fill(pattern: str, values: Mapping[str, int | str]) -> str:
    if any(re.search(r"\d{3}", match[2] or "") for match in _FIELD.finditer(pattern)):
        # No file system takes such a name, and a width of ten digits takes all memory.
        raise InvalidRequestError(f"{pattern} is too wide; allowed: {{i}} or {{i:03}}", field="out_file")
    try:
        return _FIELD.sub(lambda match: format(values[match[1]], match[2] or ""), pattern)
    except ValueError as exc:
        raise InvalidRequestError(f"{pattern}: {exc}; allowed: {{i}} or {{i:03}}", field="out_file") from exc


def _with_number(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{{i}}{path.suffix}")
