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
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.items import digest
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.results.locks import lock
from ipy_imgvar.storage.disk import BINARY
from ipy_imgvar.systems import on_windows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ipy_imgvar.bulk.parts import Spool

__all__ = [
    "NAME",
    "Ledger",
    "LedgerLines",
    "Records",
    "line_at",
    "open_to_read",
    "read_at",
    "read_line",
    "whole_lines",
    "write_all",
]

#: The ledger's name in the output folder.
NAME: Final = "ledger.jsonl"
#: The beginning of each line: `item` is the first field of a record.
_BEGIN: Final = b'{"item":'
#: Seconds between two forced writes to the disk. A power failure can lose the lines of this time. A run does
#: not notice one forced write in 5 s, but would notice one for each item.
_SYNC_EVERY_S: Final = 5.0
#: Bytes that are copied at once when a ledger is written anew: 1 MiB, so that a large ledger takes no more memory.
_COPIED_BYTES: Final = 1 << 20
#: Bytes that are read at once to find a line's end: 4 KiB, more than most records have.
_LINE_BYTES: Final = 1 << 12
#: What a line that is no record raises.
_NO_RECORD: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
#: Held while a file's position is moved and used: the descriptors of one file share it.
_position = threading.Lock()


class LedgerLines:
    """The records of a ledger that is only read.

    Parameters
    ----------
    file
        What `open_to_read` returned.
    index
        What `whole_lines` returns of the file, where that is known.
    """

    def __init__(self, file: int, index: tuple[dict[bytes, int], int] | None = None) -> None:
        self._file = file
        #: The offset of each item's last record, and that of the next line, in bytes.
        self._offsets, self.end = index or whole_lines(file)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def index(self) -> tuple[dict[bytes, int], int]:
        """What `whole_lines` returns of the file."""
        return self._offsets, self.end

    def find(self, item: str) -> dict[str, Any] | None:
        """Return the last record of an item, or None."""
        offset = self._offsets.get(_key(item))
        return None if offset is None else self.at(offset)

    def offset(self, item: str) -> int | None:
        """Return the offset of an item's last record, or None."""
        return self._offsets.get(_key(item))

    def offsets(self) -> Iterable[int]:
        """Return the offset of each item's last record."""
        return self._offsets.values()

    def at(self, offset: int) -> dict[str, Any] | None:
        """Return the record at an offset."""
        return read_line(self._file, offset)


class Records(LedgerLines):
    """The records of a run in an open file, to which one process appends.

    Parameters
    ----------
    file
        The descriptor of a file to read and write; `close` closes it.
    path
        The ledger's path or address, for messages.
    index
        What `whole_lines` returns of the file, where that is known; the file is cut off there.

    Raises
    ------
    InvalidRequestError
        If the file holds something else.
    """

    #: Keeps the file open for a result; None where that opens the ledger at its path.
    spool: Spool | None = None

    def __init__(
        self, file: int, path: Path | str, index: tuple[dict[bytes, int], int] | None = None
    ) -> None:
        super().__init__(file, index)
        self.path = path
        #: Records that the disk had no room for, by the negative number that `add` returned in place of an offset.
        self.unwritten: dict[int, dict[str, Any]] = {}
        if not self._offsets:
            _refuse_foreign(file, path)
        # A process that was killed may have left half a line.
        os.ftruncate(file, self.end)

    def at(self, offset: int) -> dict[str, Any] | None:
        """Return the record at an offset that `add` or `offset` returned."""
        return self.unwritten[offset] if offset < 0 else read_line(self._file, offset)

    def add(self, record: dict[str, Any]) -> int:
        """Append a record and return its offset in bytes, or a number below 0 where the disk had no room."""
        offset = self.end
        if not self._append(_line(record)):
            offset = -1 - len(self.unwritten)
            self.unwritten[offset] = record
        _note(self._offsets, record, offset)
        return offset

    def add_line(self, line: bytes) -> None:
        """Append a whole line of another file of this run; OSError where the disk has no room."""
        write_all(self._file, line, self.end)
        with contextlib.suppress(*_NO_RECORD):
            _note(self._offsets, json.loads(line), self.end)
        self.end += len(line)

    def has_line(self, line: bytes, offset: int) -> bool:
        """Return whether a line begins at an offset."""
        return read_at(self._file, offset, len(line)) == line

    def finish(self) -> list[str]:
        """Write the records that the disk had no room for, and return what to tell, a line each."""
        late = self.write_late()
        return (
            [f"{late} items could not be written to {self.path}: another run does them again"] if late else []
        )

    def write_late(self) -> int:
        """Write the records that the disk had no room for, and return how many are still not in the file."""
        # The disk may have room by now, and the next run would make, and pay for, a picture without a line again.
        return sum(not self._append(_line(record)) for record in self.unwritten.values())

    def _append(self, line: bytes) -> bool:
        try:
            write_all(self._file, line, self.end)
        except OSError:
            with contextlib.suppress(OSError):  # Half a line would spoil the next one.
                os.ftruncate(self._file, self.end)
            return False
        self.end += len(line)
        return True

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Ledger(Records):
    """The ledger of one folder of the disk, open for appending by one process at a time.

    Parameters
    ----------
    folder
        The run's output folder; it is made where it is missing.

    Raises
    ------
    InvalidRequestError
        If the folder can't be written, another process is writing to it, or the file is something else.
    """

    path: Path

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _open_file(path)
        except OSError as exc:
            raise InvalidRequestError(
                f"out_dir {folder} can't be written ({exc.strerror or exc}); choose another folder",
                field="out_dir",
            ) from exc
        try:
            _lock(file, folder)
            super().__init__(file, path)
        except BaseException:
            os.close(file)
            raise
        #: Whether the folder was removed or renamed during the run, so that the file was written anew.
        self.was_moved = False
        self._synced = time.monotonic()

    def add(self, record: dict[str, Any]) -> int:
        """Append a record and return its offset in bytes, or a number below 0 where the disk had no room."""
        offset = super().add(record)
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            self._sync()
        return offset

    def write_late(self) -> int:
        """Write the records that the disk had no room for, and return how many are still not in the file."""
        self._put_back()
        return super().write_late()

    def finish(self) -> list[str]:
        """Write the records that the disk had no room for, and return what to tell, a line each."""
        notes = super().finish()
        if self.was_moved:
            notes.append(
                f"{self.path.parent} was removed or renamed during the run, with the pictures made until then; the "
                "same again makes those that are missing"
            )
        return notes

    def _append(self, line: bytes) -> bool:
        return self._put_back() and super()._append(line)

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
                write_all(file, read_at(self._file, start, min(_COPIED_BYTES, self.end - start)), start)
        except InvalidRequestError:  # Another run locked the file first.
            os.close(file)
            return False
        except OSError:  # The next record tries again. Windows removes no open file.
            if on_windows():
                os.close(file)
            with contextlib.suppress(OSError):
                self.path.unlink()
            if not on_windows():  # The lock holds until the file is gone.
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
        super().close()


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"


def _note(offsets: dict[bytes, int], record: Any, offset: int) -> None:
    """Note where an item's record is; it takes the place of the record that it names in `replaces`, if any."""
    item, replaced = record["item"], record.get("replaces")
    key = _key(item)
    if isinstance(replaced, str):
        offsets.pop(_key(replaced), None)
    offsets[key] = offset


def _key(item: str) -> bytes:
    # 8 bytes of the hash are enough: of a million items, two share them in one run of 37 million. The ids themselves
    # would take ten times as much memory.
    return digest(item)[:8]


def _open_file(path: Path, flags: int = 0) -> int:
    return _regular(os.open(path, os.O_RDWR | os.O_CREAT | BINARY | flags, 0o666))


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


def write_all(file: int, data: bytes, offset: int) -> None:
    """Write all of some bytes at an offset."""
    rest = memoryview(data)
    with _position:
        os.lseek(file, offset, os.SEEK_SET)
        while rest:  # A disk that is nearly full takes a part only.
            rest = rest[os.write(file, rest) :]


def read_at(file: int, offset: int, size_bytes: int) -> bytes:
    """Return some bytes from an offset, fewer at the file's end; another thread may write meanwhile."""
    if hasattr(os, "pread"):
        return os.pread(file, size_bytes, offset)
    with _position:  # Windows
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, size_bytes)


def _lock(file: int, folder: Path) -> None:
    try:
        is_ours = lock(file)
    except OSError:  # A file system without locks can't tell two runs apart; the caller has to.
        return
    if not is_ours:
        raise InvalidRequestError(
            f"another run is writing to {folder}; wait for it, or choose another out_dir", field="out_dir"
        )


def _refuse_foreign(file: int, path: Path | str) -> None:
    """Raise if a file without a whole record begins with anything but part of one."""
    start = read_at(file, 0, len(_BEGIN))
    if not _BEGIN.startswith(start):
        raise InvalidRequestError(
            f"{path} is not the ledger of a bulk run, and would be overwritten; choose another out_dir",
            field="out_dir",
        )


def whole_lines(file: int) -> tuple[dict[bytes, int], int]:
    """Return the offset of each item's last record by its key, and the offset where the whole lines end, in bytes.

    A record takes the place of the one that it names in `replaces`: its image was at another path then.
    A process that was killed while it wrote leaves half a line at the end. A whole line that is no record is skipped.
    """
    offsets: dict[bytes, int] = {}
    end = 0
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(0)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            with contextlib.suppress(*_NO_RECORD):
                _note(offsets, json.loads(line), end)
            end += len(line)
    return offsets, end


def read_line(file: int, offset: int) -> dict[str, Any] | None:
    """Return the record of the line that begins at an offset, or None where it can't be read."""
    try:
        record = json.loads(line_at(file, offset))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def line_at(file: int, offset: int) -> bytes:
    """Return the line that begins at an offset, with its end."""
    line = b""
    while not line.endswith(b"\n") and (more := read_at(file, offset + len(line), _LINE_BYTES)):
        line += more[: more.find(b"\n") + 1 or len(more)]
    return line
