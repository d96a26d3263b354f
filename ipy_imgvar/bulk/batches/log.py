"""The file of a run's batches: JSON objects that are only ever appended, each forced to the disk before the next step.

In an object store, where nothing can be appended, each is an object of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from ipy_imgvar.bulk.ledger import read_at
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.storage.disk import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipy_imgvar.storage.folder import Folder

__all__ = ["NAME", "Log", "open_log"]

#: The file's name in the output folder.
NAME: Final = "batches.jsonl"
#: The beginning of the objects' names in an object store.
_PARTS: Final = "batches/"
#: Random bytes in such a name: two processes that write at the same time get different ones.
_RANDOM_BYTES: Final = 4

#: How the file is opened; Windows changes line ends without O_BINARY.
_READ_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_FLAGS: Final = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
#: Bytes that are copied at once: 1 MiB.
_COPIED_BYTES: Final = 1 << 20

#: Where a record is: an offset in bytes, or an object's name.
Place = int | str


class Log(Protocol):
    """The records of a folder."""

    def read(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the whole records, in order, and where each is."""

    def news(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the whole records that another process has added since `read`, or the last such look."""

    def at(self, place: Place) -> dict[str, Any]:
        """Return the record at a place."""

    def append(self, record: dict[str, Any]) -> Place:
        """Add a record, which survives from now on, and return where it is.

        Raises
        ------
        ImageVariationError
            If it can't be written.
        """


def open_log(folder: Folder) -> Log:
    """Return the log of a folder; nothing is written yet.

    Raises
    ------
    InvalidRequestError
        If the file of this name is not a run's.
    """
    return _DiskLog(Path(folder.address) / NAME) if folder.is_local else _BucketLog(folder)


class _DiskLog:
    """The file, held open, so that nothing of it is lost where it is removed or moved during the hours of a run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        #: What is read up to; the places behind it of records that this process has added.
        self._seen = 0
        self._own: set[int] = set()
        self._close: Callable[[], object] = int
        try:
            if path.exists():
                # A folder that can only be read still shows how far its batches are.
                is_ours = os.access(path, os.W_OK)
                self._hold(os.open(path, _FLAGS if is_ours else _READ_FLAGS))
            is_foreign = self._file >= 0 and os.fstat(self._file).st_size and next(self.read(), None) is None
        except OSError as exc:
            raise InvalidRequestError(
                f"{path} can't be read ({exc.strerror or exc})", field="out_dir"
            ) from exc
        if is_foreign:
            raise InvalidRequestError(
                f"{path} is not a run's list of batches, and would be spoilt; choose another out_dir",
                field="out_dir",
            )

    def read(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        self._seen, self._own = 0, set()
        yield from self._from(0)

    def news(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        for place, record in self._from(self._seen):
            if place not in self._own:
                yield place, record
        self._own = {place for place in self._own if place >= self._seen}

    def at(self, place: Place) -> dict[str, Any]:
        with self._opened() as file:
            file.seek(int(place))
            return _record(file.readline()) or {}

    def append(self, record: dict[str, Any]) -> Place:
        line = _line(record)
        try:
            self._put_back()
            last = read_at(self._file, max(0, os.fstat(self._file).st_size - 1), 1)
            is_torn = last not in (b"", b"\n")  # A process was killed in the middle of a line.
            # By the system's own append, since `--cancel` may write beside a run that waits.
            write_all(self._file, b"\n" * is_torn + line)
            os.fsync(self._file)
            # Asked after the write: the other's line may have come between.
            place = os.lseek(self._file, 0, os.SEEK_CUR) - len(line)
        except OSError as exc:
            raise ImageVariationError(
                f"{self._path} can't be written ({exc.strerror or exc}), so no further batch is begun; make room, and "
                "the same again goes on"
            ) from exc
        self._own.add(place)
        return place

    def _from(self, offset: int) -> Iterator[tuple[Place, dict[str, Any]]]:
        if self._file < 0:
            return
        with self._opened() as file:
            file.seek(offset)
            for line in file:
                # Without its line break, a record is whole too: the next one's line adds it.
                if (record := _record(line)) is not None:
                    yield offset, record
                elif not line.endswith(b"\n"):  # The half of one, which may be whole at the next look.
                    return
                offset += len(line)
                self._seen = max(self._seen, offset)

    def _opened(self) -> IO[bytes]:
        """Return a reader of the file that is held open, wherever it is now; it has a position of its own."""
        return io.BufferedReader(_Reader(self._file))

    def _hold(self, file: int) -> None:
        self._close()
        self._file, self._close = file, weakref.finalize(self, os.close, file)

    def _put_back(self) -> None:
        """Write the file anew where it was removed or renamed, as the ledger is."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._file)):  # noqa: PTH116 - no second look-up
                    return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._file < 0:
            self._hold(os.open(self._path, _FLAGS | os.O_CREAT, 0o666))
            return
        file = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with self._opened() as old:
                while piece := old.read(_COPIED_BYTES):
                    write_all(file, piece)
        except OSError:
            os.close(file)
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        self._hold(file)


class _Reader(io.RawIOBase):
    """Reads an open file from the start, and leaves its position alone."""

    def __init__(self, file: int) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._file).st_size if whence == os.SEEK_END else 0
        self._at = offset + (self._at if whence == os.SEEK_CUR else size)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = read_at(self._file, self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _BucketLog:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._number = 0
        #: The names of the records that are read or written already.
        self._known: set[str] = set()

    def read(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        self._known = set()
        return self.news()

    def news(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        for each in self._folder.names(_PARTS):
            name = each.address.rpartition("/")[2]
            if name in self._known:
                continue
            self._known.add(name)
            with contextlib.suppress(ValueError):
                self._number = max(self._number, int(name.partition("-")[0]))
            if record := self.at(_PARTS + name):
                yield _PARTS + name, record

    def at(self, place: Place) -> dict[str, Any]:
        try:
            return _record(self._folder.read(str(place))) or {}
        except FileNotFoundError:
            raise ImageVariationError(
                f"{self._folder.address} has no {place} any more, which says what its batches hold; put it back, and "
                "the same again goes on"
            ) from None

    def append(self, record: dict[str, Any]) -> Place:
        self._number += 1
        name = f"{self._number:08d}-{secrets.token_hex(_RANDOM_BYTES)}.json"
        self._folder.write(_PARTS + name, _line(record))
        self._known.add(name)
        return _PARTS + name


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None for anything else, such as the half of one."""
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("step"), str):
            return record
    return None
