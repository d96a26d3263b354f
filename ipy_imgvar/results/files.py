"""The files for saved pictures: their names, a check that they can be written, and the writing.

A name is a path, a pattern with {i}, {n} and {stem}, or `<stem>-<number>` in a folder.
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
from ipy_imgvar.results.store import write_atomic, write_first_free

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipy_imgvar.results.variations import Variations

__all__ = [
    "FIELDS",
    "checked_files",
    "checked_folder",
    "expand_pattern",
    "refuse_unwritable",
    "save_as",
    "save_into",
]

#: The names that a pattern may have in braces: the picture's number, the number of pictures for each image, and the
#: source's stem.
FIELDS: Final = ("i", "n", "stem")

#: A field of a pattern, with the format that may follow it, as in "{i:03}".
_FIELD: Final = re.compile(r"\{(" + "|".join(FIELDS) + r")(?::([^{}]*))?\}")


def checked_files(pattern: Any, stems: Sequence[str]) -> list[Path]:
    """Return one path for each picture of the next run, after a check that all can be written.

    Call it before the run: afterwards the pictures are paid for, and an error comes too late.

    Parameters
    ----------
    pattern, stems
        See `expand_pattern`; anything but a path is refused.

    Raises
    ------
    InvalidRequestError
        If the pattern can't name all pictures, or a file can't be written.
    """
    if not isinstance(pattern, (str, Path)):
        raise InvalidRequestError(f"out-file is {shown(pattern)}; allowed: a path", field="out_file")
    paths = expand_pattern(pattern, stems, tuple(WRITTEN))
    for path in paths:
        refuse_unwritable(path)
    return paths


def checked_folder(folder: Any, *, field: str = "out_dir") -> Path:
    """Return the absolute path of a folder that a run will write into; it need not exist.

    Raises
    ------
    InvalidRequestError
        If the value is no path, or no file can be written there.
    """
    if not isinstance(folder, (str, os.PathLike)) or not os.fsdecode(folder).strip():
        raise InvalidRequestError(f"{field} is {shown(folder)}; allowed: the path of a folder", field=field)
    text = os.fsdecode(folder)
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - "~nobody" is a folder's name
    refuse_unwritable(path / "variation.png", name=text, field=field)
    return path.absolute()


def refuse_unwritable(path: Path, *, name: str = "", field: str = "out_file") -> None:
    """Raise `InvalidRequestError` if a file can't be written; no file or folder is made for the check.

    Parameters
    ----------
    path
        The file; a file that exists counts as writable.
    name
        The file's name in the message; "" for the path itself.
    field
        The argument that the error names.
    """
    wrong = ""
    try:
        folder = next((each for each in path.absolute().parents if os.path.lexists(each)), Path("/"))
        if os.path.isdir(path):  # noqa: PTH112 - no name is too long for it
            wrong = "it is a folder"
        elif not folder.is_dir():
            wrong = f"{_as_given(folder, path)} is a file, not a folder"
        elif not os.access(folder, os.W_OK | os.X_OK):
            wrong = f"no permission for the folder {_as_given(folder, path)}"
        else:
            # `lstat` fails for a name that the file system can't have, also where no file has it yet.
            for part in path.absolute().relative_to(folder).parts:
                with contextlib.suppress(FileNotFoundError):
                    os.lstat(folder / part)
    except (OSError, ValueError) as exc:  # A name too long for the file system, or with a null byte.
        wrong = getattr(exc, "strerror", None) or str(exc)
    if wrong:
        raise InvalidRequestError(
            f"{shown(name or str(path))} can't be written ({wrong}); choose another path", field=field
        )


def _as_given(folder: Path, path: Path) -> Path:
    """Return a folder above a path for a message: relative if the path is relative."""
    return folder if path.is_absolute() else Path(os.path.relpath(folder))


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
    target = _target(text, extensions)
    per_stem = bool(re.search(r"\{stem[:}]", text))
    numbers = _counted(stems) if per_stem else range(1, len(stems) + 1)
    paths = [
        Path(_fill(str(target), {"i": number, "n": stems.count(stem), "stem": stem}))
        for stem, number in zip(stems, numbers, strict=True)
    ]
    if len(set(paths)) < len(paths):
        raise InvalidRequestError(
            f"{text} gives {len(paths)} pictures the same name; put {{i}} in it: {_with_number(target)}",
            field="out_file",
        )
    return paths


def _target(text: str, extensions: Sequence[str]) -> Path:
    """Return a pattern as a path, its fields still in it; raise `InvalidRequestError` if it can't name a file."""
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
    return target


def _fill(pattern: str, values: Mapping[str, int | str]) -> str:
    if any(re.search(r"\d{3}", match[2] or "") for match in _FIELD.finditer(pattern)):
        # File names have at most 255 bytes or so, and a number padded to ten digits of width would fill the memory.
        raise InvalidRequestError(f"{pattern} is too wide; allowed: {{i}} or {{i:03}}", field="out_file")
    try:
        return _FIELD.sub(lambda match: format(values[match[1]], match[2] or ""), pattern)
    except ValueError as exc:
        raise InvalidRequestError(f"{pattern}: {exc}; allowed: {{i}} or {{i:03}}", field="out_file") from exc


def _with_number(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{{i}}{path.suffix}")


def save_as(pictures: Variations, paths: Sequence[Path]) -> list[Path]:
    """Write each picture to its path, replacing any file there, and return the paths.

    Raises
    ------
    ImageVariationError
        If a file can't be written; `partial` has the pictures.
    """
    from ipy_imgvar.images import codec

    for each, path in zip(pictures, paths, strict=True):
        try:
            write_atomic(path, codec.convert(each.bytes, path.suffix))
        except OSError as exc:
            raise _unwritten(pictures, path, exc) from exc
    return list(paths)


def save_into(pictures: Variations, folder: Path, numbers: Iterable[int] | None = None) -> list[Path]:
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
        If a file can't be written; `partial` has the pictures.
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
            raise _unwritten(pictures, folder / f"{stem}-{first}{extension}", exc) from exc
    return paths


def _counted(stems: Sequence[str]) -> list[int]:
    counts: Counter[str] = Counter()
    numbers = []
    for stem in stems:
        counts[stem] += 1
        numbers.append(counts[stem])
    return numbers


def _common_extension(pictures: Variations) -> str:
    """Return the extension that fits all pictures without converting one."""
    mime_types = {each.mime_type for each in pictures}
    return written_extension_of(mime_types.pop()) if len(mime_types) == 1 else ".png"


def _unwritten(pictures: Variations, path: Path, exc: OSError) -> ImageVariationError:
    return ImageVariationError(f"{path} can't be written ({exc.strerror or exc})", partial=pictures)
