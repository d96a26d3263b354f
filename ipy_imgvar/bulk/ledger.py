"""The ledger of a bulk run: `ledger.jsonl`, a JSON object a line, appended and never rewritten.

An item's line is written in one go after its files are on disk, and handed to the operating system at once, so that it
survives whatever happens to this process. It is forced to the disk every few seconds and at the end: a power failure
may cost the lines of the last seconds, never their order. The last line of an item is what counts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.items import digest
from ipy_imgvar.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NAME", "Ledger", "open_to_read", "read_line", "whole_lines"]

NAME: Final = "ledger.jsonl"
#: How each line begins: `item` is the first field of a record.
_BEGIN: Final = b'{"item":'
#: Seconds between two forced writes to the disk: what a power failure can lose, at a cost that a run does not notice.
_SYNC_EVERY_S: Final = 5.0
#: Bytes that are copied at once when a ledger is repaired, so that a large one takes no memory.
_COPIED_BYTES: Final = 1 << 20


class Ledger:
    """The ledger of one folder, open for appending by one process at a time.

    Parameters
    ----------
    folder
        Made where it is missing.

    Raises
    ------
    InvalidRequestError
        If the folder can't be written, another process is writing to it, or the file is something else.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        #: Records that the disk had no room for, by the number that `add` gave for their place.
        self.unwritten: dict[int, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _opened(self.path)
        except OSError as exc:
            raise InvalidRequestError(
                f"out_dir {folder} can't be written ({exc.strerror or exc}); choose another folder",
                field="out_dir",
            ) from exc
        try:
            _lock(self._file, folder)
            #: Where the next line goes.
            lines, self.end = whole_lines(self._file)
            if not lines:
                _refuse_foreign(self._file, self.path)
            os.ftruncate(self._file, self.end)
        except BaseException:
            os.close(self._file)
            raise
        self._places = dict(lines)
        #: Whether the folder was removed or renamed meanwhile, so that the file was written anew.
        self.was_moved = False
        self._synced = time.monotonic()

    def __len__(self) -> int:
        return len(self._places)

    def find(self, item: str) -> dict[str, Any] | None:
        """Return the last record of an item, or None."""
        place = self._places.get(_key(item))
        return None if place is None else self.at(place)

    def place(self, item: str) -> int | None:
        """Return where the last record of an item is."""
        return self._places.get(_key(item))

    def at(self, place: int) -> dict[str, Any] | None:
        """Return the record at a place that `add` or `place` gave."""
        return self.unwritten[place] if place < 0 else read_line(self._file, place)

    def add(self, record: dict[str, Any]) -> int:
        """Append a record and return its place; of one that the disk has no room for, a number below 0."""
        place = self.end
        if not self._append(record):
            place = -1 - len(self.unwritten)
            self.unwritten[place] = record
        self._places[_key(record["item"])] = place
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            self._sync()
        return place

    def write_late(self) -> int:
        """Try once more what the disk had no room for, and return how many records are still not in the file."""
        # Room may have come meanwhile, and a picture without a line would be made, and paid for, again.
        self._put_back()
        return sum(not self._append(record) for record in self.unwritten.values())

    def _append(self, record: dict[str, Any]) -> bool:
        line = json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"
        if not self._put_back():
            return False
        try:
            _write_all(self._file, line, self.end)
        except OSError:
            with contextlib.suppress(OSError):  # Half a line would spoil the next one.
                os.ftruncate(self._file, self.end)
            return False
        self.end += len(line)
        return True

    def _put_back(self) -> bool:
        """Write the file anew where the folder was removed or renamed, and return whether it is in its place."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._file)):  # noqa: PTH116 - once an item
                return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = _opened(self.path, os.O_EXCL)  # A file that is there belongs to another run.
        except OSError:
            return False
        try:
            _lock(file, self.path.parent)
            for start in range(0, self.end, _COPIED_BYTES):
                os.lseek(self._file, start, os.SEEK_SET)
                _write_all(file, os.read(self._file, min(_COPIED_BYTES, self.end - start)), start)
        except InvalidRequestError:  # Another run was quicker, and the file is its own now.
            os.close(file)
            return False
        except OSError:  # The next record tries again.
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(file)
            return False
        os.close(self._file)
        self._file, self.was_moved = file, True
        return True

    def _sync(self) -> None:
        with contextlib.suppress(OSError):  # Some file systems have no such thing.
            os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Force everything to the disk, and let other processes write; safe to call twice."""
        if self._file >= 0:
            self._sync()
            os.close(self._file)
            self._file = -1


def _key(item: str) -> bytes:
    # Eight bytes of a hash, since the ids of a hundred thousand items would take ten times as much memory.
    return digest(item)[:8]


def _opened(path: Path, flags: int = 0) -> int:
    return _regular(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | flags, 0o666))


def open_to_read(folder: Path) -> int:
    """Open the ledger of a folder and return its descriptor; OSError where there is none."""
    # Opening a pipe without a writer would block.
    return _regular(os.open(folder / NAME, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))


def _regular(file: int) -> int:
    """Return an open file; close it and raise OSError for a pipe, a device or a folder, which keep no lines."""
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, f"{NAME} is no regular file")


def _write_all(file: int, data: bytes, place: int) -> None:
    os.lseek(file, place, os.SEEK_SET)
    rest = memoryview(data)
    while rest:  # A disk that is nearly full takes a part and says so.
        rest = rest[os.write(file, rest) :]


def _lock(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidRequestError(
            f"another run is writing to {folder}; wait for it, or choose another out_dir", field="out_dir"
        ) from None
    except OSError:  # A file system without locks; two runs at once are then the caller's to avoid.
        return


def _refuse_foreign(file: int, path: Path) -> None:
    """Raise where a file without a single line of ours holds anything but the first half of one."""
    os.lseek(file, 0, os.SEEK_SET)
    start = os.read(file, len(_BEGIN))
    if not _BEGIN.startswith(start):
        raise InvalidRequestError(
            f"{path} is not the ledger of a bulk run, and would be overwritten; choose another out_dir",
            field="out_dir",
        )


def whole_lines(file: int) -> tuple[list[tuple[bytes, int]], int]:
    """Return key and place of every line that can be read, and where the whole lines end.

    A process that was killed while it wrote leaves half a line at the end; one that is not ours, in the middle, is
    passed over.
    """
    found: list[tuple[bytes, int]] = []
    end = 0
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(0)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                found.append((_key(json.loads(line)["item"]), end))
            end += len(line)
    return found, end


def read_line(file: int, place: int) -> dict[str, Any] | None:
    """Return the record of the line that begins at a place, or None where it can't be read."""
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(place)
        try:
            record = json.loads(lines.readline())
        except (OSError, ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None
