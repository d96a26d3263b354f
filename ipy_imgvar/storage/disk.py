"""Files on disk: atomic writes, and a check that a file can be written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.systems import is_reserved, on_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "BINARY",
    "HALF_SUFFIX",
    "checked_folder",
    "half_name",
    "refuse_unwritable",
    "rename",
    "write_all",
    "write_atomic",
    "write_first_free",
    "write_whole",
    "write_whole_from",
]

#: The end of the names of incomplete files; no other program uses it.
HALF_SUFFIX: Final = ".imgvar.tmp"
#: Characters of the final name in an incomplete file's name. At four bytes each (UTF-8), and with the rest, they stay
#: below the 255 bytes that most file systems allow.
_MOST_NAME_CHARS: Final = 40
#: A flag for opening files on Windows, which otherwise writes "\r\n" for each "\n".
BINARY: Final = getattr(os, "O_BINARY", 0)
#: Seconds before each further try to rename a file on Windows, 0.15 s in all.
_RENAME_WAITS_S: Final = (0.01, 0.02, 0.04, 0.08)
#: Characters that a name can't have on Windows, beside the separators; a colon would write a hidden stream of the file.
_NOT_ON_WINDOWS: Final = re.compile(r'[\x00-\x1f<>:"|?*]')


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it has either its old content or all of the new, for any reader and after any crash.

    Missing folders are made. The temporary file is in the target's folder: a rename is atomic in one file system only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(str(path), data)


def write_first_free(paths: Iterable[Path], data: bytes) -> Path:
    """Write a file under the first of several names that does not exist yet, and return that path.

    The complete file gets its name in one step, so that programs which do this at the same time get different names,
    and no file is replaced.

    Parameters
    ----------
    paths
        The names, in the order in which they are tried; all in one folder, which is made where it is missing.
    data
        The file's content.
    """
    names = iter(paths)
    path = next(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _half_beside(str(path))
    try:
        _write_new(temporary, data)
        while not _take(temporary, path):
            path = next(names)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
    return path


def write_whole(target: str, data: bytes) -> None:
    """Write a file as `write_atomic` does, into an existing folder.

    Paths are texts here: making a `Path` takes as long as the call that it is for, and a run does so for every picture.
    """
    _replace(target, lambda temporary: _write_new(temporary, data))


def write_whole_from(path: Path, file: IO[bytes]) -> None:
    """Write a file as `write_atomic` does, with what an open file holds from its beginning to its end."""

    def copy(temporary: str) -> None:
        file.seek(0)
        with open(temporary, "xb") as out:  # noqa: PTH123 - a text, as in `write_whole`
            shutil.copyfileobj(file, out)

    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(str(path), copy)


def _replace(target: str, write: Callable[[str], None]) -> None:
    temporary = _half_beside(target)
    try:
        write(temporary)
        rename(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _half_beside(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, half_name(name))  # noqa: PTH118


def _write_new(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data: the system may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _take(temporary: str, path: Path) -> bool:
    """Give a complete file its name if that is free, and return whether it was; a rename would replace another file."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except (OSError, AttributeError):
        # FAT and some network file systems have no hard links, and Python in a browser has no `os.link`, so an empty
        # file takes the name first.
        try:
            path.open("xb").close()
        except FileExistsError:
            return False
        rename(temporary, str(path))
    return True


def rename(old: str, new: str) -> None:
    """Rename a file, in place of one that has the name.

    On Windows that fails while any program reads the other file, as a virus scanner or an indexer does with each new
    file for some milliseconds; so it is tried again.
    """
    for wait_s in _RENAME_WAITS_S if on_windows() else ():
        try:
            os.replace(old, new)  # noqa: PTH105
        except PermissionError:
            time.sleep(wait_s)
        else:
            return
    os.replace(old, new)  # noqa: PTH105


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
    try:
        wrong = (_fault_on_windows(path) if on_windows() else "") or _fault(path)
    except (OSError, ValueError) as exc:  # A name too long for the file system, or with a null byte.
        wrong = getattr(exc, "strerror", None) or str(exc)
    if wrong:
        raise InvalidRequestError(
            f"{shown(name or str(path))} can't be written ({wrong}); choose another path", field=field
        )


def _fault(path: Path) -> str:
    """Return why a file of this path can't be written; "" if nothing is wrong."""
    folder = next((each for each in path.absolute().parents if os.path.lexists(each)), None)
    if folder is None:
        return f"there is no {path.absolute().anchor}"
    if os.path.isdir(path):  # noqa: PTH112 - no name is too long for it
        return "it is a folder"
    if not folder.is_dir():
        return f"{_as_given(folder, path)} is a file, not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"no permission for the folder {_as_given(folder, path)}"
    # `lstat` fails for a name that the file system can't have, also where no file has it yet.
    for part in path.absolute().relative_to(folder).parts:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(folder / part)
    return ""


def _fault_on_windows(path: Path) -> str:
    """Return why Windows takes no file of this path, or would write elsewhere; "" if nothing is wrong."""
    for part in path.relative_to(path.anchor).parts:
        if match := _NOT_ON_WINDOWS.search(part):
            return f"Windows takes no {match[0]} in a name"
        if part not in (".", "..") and part.endswith((" ", ".")):
            return "Windows drops a space or dot at a name's end"
        if is_reserved(part):
            return f"{part} is a device of Windows"
    return ""


def _as_given(folder: Path, path: Path) -> Path:
    """Return a folder above a path for a message: relative if the path is relative."""
    return folder if path.is_absolute() else Path(os.path.relpath(folder))


def half_name(name: str) -> str:
    """Return a new name for the incomplete file of a name; a bulk run removes what was left of such files."""
    return f".{name[:_MOST_NAME_CHARS]}-{secrets.token_hex(4)}{HALF_SUFFIX}"
