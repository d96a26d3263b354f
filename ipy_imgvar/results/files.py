"""The files for saved pictures: their names, a check that they can be written, and the writing.

A name is a path, a pattern with {i}, {n}, {stem} and the axes of a sweep, or `<stem>-<number>` in a folder.
`{{` and `}}` in a pattern stand for one brace.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.images.formats import WRITTEN, written_extension_of
from ipy_imgvar.storage.addresses import is_address, local_path, shown_address
from ipy_imgvar.storage.disk import refuse_unwritable, write_atomic, write_first_free
from ipy_imgvar.systems import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipy_imgvar.results.variation import Variation

__all__ = [
    "FIELDS",
    "checked_files",
    "expand_pattern",
    "save",
    "save_as",
    "save_into",
]

#: The names that a pattern may have in braces: the picture's number, the number of pictures for each image, and the
#: source's stem.
FIELDS: Final = ("i", "n", "stem")

#: What a pattern may hold beside plain text: a doubled brace, or a field with the format that may follow it, as in
#: "{i:03}". Other braces are plain text.
_BRACES: Final = re.compile(r"\{\{|\}\}|\{([^\W\d][\w-]*)(?::([^{}]*))?\}")
#: Characters that a file's name can't have on some system, and those that would make a folder.
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
#: Characters of a text in a file's name at most, such as of a prompt: names have room for 255 bytes.
_MOST_CHARACTERS: Final = 40


def checked_files(
    pattern: Any, stems: Sequence[str], combinations: Sequence[Mapping[str, Any]] = ()
) -> list[Path]:
    """Return one path for each picture of the next run, after a check that all can be written.

    Call it before the run: afterwards the pictures are paid for, and an error comes too late.

    Parameters
    ----------
    pattern, stems, combinations
        See `expand_pattern`; anything but a path is refused.

    Raises
    ------
    InvalidRequestError
        If the pattern can't name all pictures, or a file can't be written.
    """
    if not isinstance(pattern, (str, Path)):
        raise InvalidRequestError(f"out-file is {shown(pattern)}; allowed: a path", field="out_file")
    paths = expand_pattern(pattern, stems, tuple(WRITTEN), combinations)
    for path in paths:
        refuse_unwritable(path)
    return paths


def expand_pattern(
    pattern: str | Path,
    stems: Sequence[str],
    extensions: Sequence[str],
    combinations: Sequence[Mapping[str, Any]] = (),
) -> list[Path]:
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
    combinations
        For pictures of a sweep, the values that made each one, by axis; `{strength}` and so on are fields then. Of a
        text, characters that a name can't have become "-", and the first 40 are taken.

    Raises
    ------
    InvalidRequestError
        If the extension is none of these, the pattern is a folder or has an unknown field, or two pictures would get
        the same path.

    Examples
    --------
    >>> [path.name for path in expand_pattern("{stem}-{i}.png", ["cat", "cat", "dog"], [".png"])]
    ['cat-1.png', 'cat-2.png', 'dog-1.png']
    """
    text = str(pattern)
    target = _target(text, extensions)
    known = [*FIELDS, *(name for name in _common(combinations) if name not in FIELDS)]
    filled = _checked_fields(target, known)
    per_stem = any(match[1] == "stem" for match in _BRACES.finditer(filled))
    numbers = _counted(stems) if per_stem else range(1, len(stems) + 1)
    counts = Counter(stems)
    paths = [
        Path(_fill(filled, {**varied, "i": number, "n": counts[stem], "stem": stem}))
        for stem, number, varied in zip(stems, numbers, combinations or [{}] * len(stems), strict=True)
    ]
    same = Counter(folded(str(path)) for path in paths)
    if len(same) < len(paths):
        most, count = same.most_common(1)[0]
        path = next(path for path in paths if folded(str(path)) == most)
        raise InvalidRequestError(
            f"{path} is the name of {count} pictures; add {{i}}: {_with_number(target)}", field="out_file"
        )
    return paths


def _target(text: str, extensions: Sequence[str]) -> Path:
    """Return a pattern as a path, its fields still in it; raise `InvalidRequestError` if it can't name a file."""
    _refuse_address(text)
    if not text.strip() or "\0" in text:
        received = f"{shown(text)} holds a null character" if text.strip() else "the path to save to is empty"
        raise InvalidRequestError(
            f"{received}; name a file; allowed: {', '.join(extensions)}", field="out_file"
        )
    try:
        target = Path(local_path(text)).expanduser()
    except RuntimeError as exc:
        raise InvalidRequestError(f"{text}: {exc}; allowed: a path", field="out_file") from exc
    if os.path.isdir(target):  # noqa: PTH112 - no name is too long for it
        raise InvalidRequestError(
            f"{text} is a folder; name a file in it: {target / 'variation-{i}.png'}", field="out_file"
        )
    if target.suffix.lower() not in extensions:
        received = f"ends in {shown(target.suffix)}" if target.suffix else "has no extension"
        raise InvalidRequestError(f"{text} {received}; allowed: {', '.join(extensions)}", field="out_file")
    return target


def _refuse_address(text: str) -> None:
    """Raise for an address: a path of its name would become a folder "s3:" in the working folder."""
    if is_address(text):
        raise InvalidRequestError(
            f"{shown_address(text)} is no path; allowed: a file or folder of this machine (imgvar bulk --out-dir and "
            "Client.map write to addresses, too)",
            field="out_file",
        )


def _common(combinations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the axes that all pictures have, in order: only these can be in every name."""
    first, *others = combinations or [{}]
    return [name for name in first if all(name in each for each in others)]


def _checked_fields(target: Path, known: Sequence[str]) -> str:
    """Return a pattern in which all fields are known; raise `InvalidRequestError` for another one.

    The braces of a folder that exists are plain text, if none is a known field; they are doubled.
    """
    parts, above = [], Path()
    for part in target.parts:
        above /= part
        unknown = [match for match in _BRACES.finditer(part) if match[1] and match[1] not in known]
        has_known = any(match[1] in known for match in _BRACES.finditer(part))
        if not has_known and above != target and os.path.isdir(above):  # noqa: PTH112 - no name is too long
            parts.append(part.replace("{", "{{").replace("}", "}}"))
            continue
        if unknown:
            allowed = ", ".join(f"{{{name}}}" for name in known)
            raise InvalidRequestError(
                f"{unknown[0][0]} is no field of a file's name; allowed: {allowed}; write {{{{ for a literal brace",
                field="out_file",
            )
        parts.append(part)
    return str(Path(*parts))


def _fill(pattern: str, values: Mapping[str, Any]) -> str:
    if any(re.search(r"\d{3}", match[2] or "") for match in _BRACES.finditer(pattern)):
        # File names have at most 255 bytes or so, and a number padded to ten digits of width would fill the memory.
        raise InvalidRequestError(f"{pattern} is too wide; allowed: {{i}} or {{i:03}}", field="out_file")

    def text_of(match: re.Match[str]) -> str:
        return format(_in_a_name(match[1], values), match[2] or "") if match[1] else match[0][0]

    try:
        return _BRACES.sub(text_of, pattern)
    except ValueError as exc:
        raise InvalidRequestError(f"{pattern}: {exc}; allowed: {{i}} or {{i:03}}", field="out_file") from exc


def _in_a_name(name: str, values: Mapping[str, Any]) -> Any:
    """Return the value of a field: a number, or a text that a file's name can have."""
    value = values[name]
    if name in FIELDS or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _NOT_IN_NAMES.sub("-", text)[:_MOST_CHARACTERS].strip(" .") or "-"


def _with_number(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{{i}}{path.suffix}")


def save(pictures: Sequence[Variation], where: str | Path) -> list[Path]:
    """Write every picture to a file, in a folder or by a pattern, and return the paths; see `Variations.save`."""
    _refuse_address(str(where))
    target = Path(local_path(str(where)))
    with contextlib.suppress(RuntimeError):  # There is no such user; the pattern's own check says so.
        target = target.expanduser()
    if target.is_dir() or not target.suffix:
        return save_into(pictures, target)
    stems = [each.source.stem for each in pictures]
    combinations = [each.combination for each in pictures]
    return save_as(pictures, expand_pattern(str(target), stems, tuple(WRITTEN), combinations))


def save_as(pictures: Sequence[Variation], paths: Sequence[Path]) -> list[Path]:
    """Write each picture to its path, replacing any file there, and return the paths.

    Raises
    ------
    ImageVariationError
        If a file can't be written.
    """
    from ipy_imgvar.images import codec

    for each, path in zip(pictures, paths, strict=True):
        try:
            write_atomic(path, codec.convert(each.bytes, path.suffix))
        except OSError as exc:
            raise _unwritten(path, exc) from exc
    return list(paths)


def save_into(
    pictures: Sequence[Variation], folder: Path, numbers: Iterable[int] | None = None
) -> list[Path]:
    """Write each picture into a folder as `<stem>-<number>`, and return the paths; no file is replaced.

    Parameters
    ----------
    pictures
        Where all have one format it stays, else they become PNG.
    folder
        Made where it is missing.
    numbers
        The number of each picture; None counts those of a stem from 1. Where a file has it, also one that another
        program writes at this moment, the next free number is taken.

    Raises
    ------
    ImageVariationError
        If a file can't be written.
    """
    from ipy_imgvar.images import codec

    extension = _common_extension(pictures)
    stems = [each.source.stem for each in pictures]
    paths: list[Path] = []
    for each, stem, first in zip(pictures, stems, numbers or _counted(stems), strict=True):
        names = (folder / f"{stem}-{number}{extension}" for number in count(first))
        try:
            paths.append(write_first_free(names, codec.convert(each.bytes, extension)))
        except OSError as exc:
            raise _unwritten(folder / f"{stem}-{first}{extension}", exc) from exc
    return paths


def _counted(stems: Sequence[str]) -> list[int]:
    counts: Counter[str] = Counter()
    numbers = []
    for stem in stems:
        counts[stem] += 1
        numbers.append(counts[stem])
    return numbers


def _common_extension(pictures: Sequence[Variation]) -> str:
    """Return the extension that fits all pictures without converting one."""
    mime_types = {each.mime_type for each in pictures}
    return written_extension_of(mime_types.pop()) if len(mime_types) == 1 else ".png"


def _unwritten(path: Path, exc: OSError) -> ImageVariationError:
    return ImageVariationError(f"{path} can't be written ({exc.strerror or exc})")
