"""The ledger of a bulk run: `ledger.jsonl`, with one JSON object on each line; lines are appended, never rewritten.

An item's line is written by one call after its files are on disk. The operating system has it at once, so it survives
the end of this process. The file is forced to the disk every few seconds and at the end, so a power failure may cost
the lines of the last seconds. An item may have several lines; its last one counts.
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

#: The ledger's name in the output folder.
NAME: Final = "ledger.jsonl"
#: The beginning of each line: `item` is the first field of a record.
_BEGIN: Final = b'{"item":'
#: Seconds between two forced writes to the disk. A power failure can lose the lines of this time. A run does
#: not notice one forced write in 5 s, but would notice one for each item.
_SYNC_EVERY_S: Final = 5.0
#: Bytes that are copied at once when a ledger is written anew: 1 MiB, so that a large ledger takes no more memory.
_COPIED_BYTES: Final = 1 << 20


class Ledger:
    """The ledger of one folder, open for appending by one process at a time.

    Parameters
    ----------
    folder
        The run's output folder; it is made where it is missing.

    Raises
    ------
    InvalidRequestError
        If the folder can't be written, another process is writing to it, or the file is something else.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        #: Records that the disk had no room for, by the negative number that `add` returned in place of an offset.
        self.unwritten: dict[int, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _open_file(self.path)
        except OSError as exc:
            raise InvalidRequestError(
                f"out_dir {folder} can't be written ({exc.strerror or exc}); choose another folder",
                field="out_dir",
            ) from exc
        try:
            _lock(self._file, folder)
            #: The offset of the next line, in bytes.
            lines, self.end = whole_lines(self._file)
            if not lines:
                _refuse_foreign(self._file, self.path)
            # A process that was killed may have left half a line.
            os.ftruncate(self._file, self.end)
        except BaseException:
            os.close(self._file)
            raise
        self._offsets = dict(lines)
        #: Whether the folder was removed or renamed during the run, so that the file was written anew.
        self.was_moved = False
        self._synced = time.monotonic()

    def __len__(self) -> int:
        return len(self._offsets)

    def find(self, item: str) -> dict[str, Any] | None:
        """Return the last record of an item, or None."""
        offset = self._offsets.get(_key(item))
        return None if offset is None else self.at(offset)

    def offset(self, item: str) -> int | None:
        """Return the offset of an item's last record, or None."""
        return self._offsets.get(_key(item))

    def at(self, offset: int) -> dict[str, Any] | None:
        """Return the record at an offset that `add` or `offset` returned."""
        return self.unwritten[offset] if offset < 0 else read_line(self._file, offset)

    def add(self, record: dict[str, Any]) -> int:
        """Append a record and return its offset in bytes, or a number below 0 where the disk had no room."""
        offset = self.end
        if not self._append(record):
            offset = -1 - len(self.unwritten)
            self.unwritten[offset] = record
        self._offsets[_key(record["item"])] = offset
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            self._sync()
        return offset

    def write_late(self) -> int:
        """Write the records that the disk had no room for, and return how many are still not in the file."""
        # The disk may have room by now, and the next run would make, and pay for, a picture without a line again.
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
        """Write the file anew if the folder was removed or renamed, and return whether the file is at its path."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._file)):  # noqa: PTH116 - once an item
                return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = _open_file(self.path, os.O_EXCL)  # An existing file belongs to another run.
        except OSError:
            return False
        try:
            _lock(file, self.path.parent)
            for start in range(0, self.end, _COPIED_BYTES):
                os.lseek(self._file, start, os.SEEK_SET)
                _write_all(file, os.read(self._file, min(_COPIED_BYTES, self.end - start)), start)
        except InvalidRequestError:  # Another run locked the file first.
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
        with contextlib.suppress(OSError):  # Some file systems can't force a write.
            os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Force all lines to the disk and release the lock; a second call does nothing."""
        if self._file >= 0:
            self._sync()
            os.close(self._file)
            self._file = -1


def _key(item: str) -> bytes:
    # 8 bytes of the hash are enough: of a million items, two share them in one run of 37 million. The ids themselves
    # would take ten times as much memory.
    return digest(item)[:8]


def _open_file(path: Path, flags: int = 0) -> int:
    # Windows changes line ends without O_BINARY. 0o666 is what `open` uses; the umask applies.
    return _regular(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | flags, 0o666))


def open_to_read(folder: Path) -> int:
    """Open the ledger of a folder and return its descriptor; OSError where there is none."""
    # Opening a pipe without a writer would block.
    return _regular(os.open(folder / NAME, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))


def _regular(file: int) -> int:
    """Return an open file; close it and raise OSError for a pipe, a device or a folder, which can hold no ledger."""
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, f"{NAME} is no regular file")


def _write_all(file: int, data: bytes, offset: int) -> None:
    os.lseek(file, offset, os.SEEK_SET)
    rest = memoryview(data)
    while rest:  # A disk that is nearly full takes a part only.
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
    except OSError:  # A file system without locks can't tell two runs apart; the caller has to.
        return


def _refuse_foreign(file: int, path: Path) -> None:
    """Raise if a file without a whole record begins with anything but part of one."""
    os.lseek(file, 0, os.SEEK_SET)
    start = os.read(file, len(_BEGIN))
    if not _BEGIN.startswith(start):
        raise InvalidRequestError(
            f"{path} is not the ledger of a bulk run, and would be overwritten; choose another out_dir",
            field="out_dir",
        )


def whole_lines(file: int) -> tuple[list[tuple[bytes, int]], int]:
    """Return key and offset of every record, and the offset where the whole lines end, in bytes.

    A process that was killed while it wrote leaves half a line at the end. A whole line that is no record is skipped.
    """
    offsets: list[tuple[bytes, int]] = []
    end = 0
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(0)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                offsets.append((_key(json.loads(line)["item"]), end))
            end += len(line)
    return offsets, end


def read_line(file: int, offset: int) -> dict[str, Any] | None:
    """Return the record of the line that begins at an offset, or None where it can't be read."""
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(offset)
        try:
            record = json.loads(lines.readline())
        except (OSError, ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None
