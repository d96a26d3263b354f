"""Files that are whole or absent, and the store: every finished picture, as received, until room is needed.

A run is a folder `runs/<id>` with its pictures and one `run.json` that grows with each of them, so a killed process
leaves a readable run with what was finished. Ids sort by time. What a run means is the journal's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import threading
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["HALF_SUFFIX", "Run", "Store", "new_run_id", "write_atomic"]

_RECORD: Final = "run.json"


#: The end of the names of files that are not whole yet; no other program's files are called so.
HALF_SUFFIX: Final = ".imgvar.tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash at any instant, sees the old content or all of the new.

    Parents are made. The temporary file lies beside the target, since a rename is atomic within one file system only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}-{secrets.token_hex(4)}{HALF_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def new_run_id() -> str:
    """Return a name for a run; names sort by the time they were made."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"


class Run:
    """One run's folder, open for writing.

    Parameters
    ----------
    folder
        Made when the first picture or the end of the run is written.
    record
        What `run.json` says, JSON-safe; `add` and `finish` extend it.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record: dict[str, Any] = {**record, "id": folder.name, "pictures": []}
        self.bytes = 0
        # A text: joining paths takes longer than writing a record.
        self._place = str(folder)
        self._begun = False
        # Where the list of pictures ends in the file, and what stands behind it.
        self._end = 0
        self._behind = {name: record[name] for name in ("status",) if name in record}
        self._tail = b""

    def add(self, data: bytes, extension: str, entry: dict[str, Any]) -> Path:
        """Write one picture, byte for byte, then the record with its `entry`; return the picture's path."""
        pictures = self.record["pictures"]
        name = f"{len(pictures) + 1}{extension}"
        if not pictures:
            self._make_folder()
        _write_new(f"{self._place}/{name}", data)
        self.bytes += len(data)
        pictures.append({**entry, "file": name})
        self._write_record((",\n" if len(pictures) > 1 else "\n") + _json(pictures[-1]))
        return self.folder / name

    def finish(self, **outcome: Any) -> None:
        """Write how the run ended."""
        self.record |= outcome
        self._behind |= outcome
        if not self._begun:
            self._make_folder()
        self._write_record("")

    def _make_folder(self) -> None:
        try:
            os.mkdir(self._place)  # noqa: PTH102
        except OSError:  # The folder above is not there yet, or this one is.
            self.folder.mkdir(parents=True, exist_ok=True)

    def _write_record(self, entry: str) -> None:
        """Make the file longer by an entry, over the brackets that close it, in one call: it is whole JSON at any time.

        Replacing the file instead would make the file system write it out at once, which takes longer than all else.
        """
        text = entry.encode()
        if not self._begun:
            head = {
                name: value
                for name, value in self.record.items()
                if name != "pictures" and name not in self._behind
            }
            text = f'{_json(head)[:-1]},\n"pictures": ['.encode() + text
        tail = "".join(f',\n"{name}": {_json(value)}' for name, value in self._behind.items())
        # Never shorter than before, or the end of the earlier one would stay behind it.
        self._tail = f"\n]{tail}".encode().ljust(len(self._tail) - 2) + b"\n}"
        if self._begun:
            self._write_over(text + self._tail)
        else:
            _write_new(f"{self._place}/{_RECORD}", text + self._tail, at_once=True)
            self._begun = True
        self._end += len(text)
        self.bytes += len(text)

    def _write_over(self, data: bytes) -> None:
        # Not created: a record that somebody removed must not come back as a fragment.
        descriptor = os.open(f"{self._place}/{_RECORD}", os.O_WRONLY | getattr(os, "O_BINARY", 0))
        try:
            os.lseek(descriptor, self._end, os.SEEK_SET)
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)


def _json(value: Any) -> str:
    # ASCII only: a file name that is not UTF-8 holds lone surrogates, which can't be encoded otherwise.
    return json.dumps(value, default=str)


def _write_new(target: str, data: bytes, *, at_once: bool = False) -> None:
    """Write a file that is not there yet, into a folder that is; whole or not at all, as `write_atomic`.

    With `at_once` it is small enough to be written in one call, and has no other name before.
    """
    temporary = target if at_once else f"{target}.tmp"
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644
        )
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        if not at_once:
            os.replace(temporary, target)  # noqa: PTH105 - a path costs as much as the call
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Store:
    """Runs on disk, the oldest removed when they outgrow a bound.

    Parameters
    ----------
    root
        The folder; made, for this user only, when the first run is written.
    max_bytes
        The bound for all runs together. A run whose pictures are in use by this process is never removed, nor is
        the newest.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._in_use: weakref.WeakSet[Run] = weakref.WeakSet()
        self._bytes: int | None = None
        self._lock = threading.Lock()

    def begin(self, name: str, record: dict[str, Any]) -> Run:
        """Open a run called `name`, from `new_run_id`; only the store's own folder is made yet."""
        if not os.path.isdir(self.root):  # noqa: PTH112 - half the time of a path's
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        run = Run(self.root / "runs" / name, record)
        self._in_use.add(run)
        return run

    def keep(self, name: str, data: bytes) -> Path:
        """Write a source that has no file of its own; it is removed when room is needed, as a run is."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.root / "runs" / new_run_id() / name
        write_atomic(path, data)
        return path

    def runs(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the folder and the record of each readable run, oldest first."""
        for folder in self._folders():
            with contextlib.suppress(OSError, ValueError):
                record = json.loads((folder / _RECORD).read_bytes())
                if isinstance(record, dict):
                    yield folder, record

    def make_room(self, newest: Run) -> None:
        """Remove the oldest runs until the rest fits into `max_bytes`; call it when a run has ended."""
        with self._lock:
            # Counting every file is slow in a full store, so it is done once and when the bound is near.
            if self._bytes is not None:
                self._bytes += newest.bytes
            if self._bytes is None or self._bytes > self.max_bytes:
                self._remove_oldest()

    def _remove_oldest(self) -> None:
        sizes = {folder: _size(folder) for folder in self._folders()}
        total = sum(sizes.values())
        in_use = {run.folder for run in self._in_use}
        for folder, size in list(sizes.items())[:-1]:
            if total <= self.max_bytes:
                break
            if folder not in in_use:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size
        self._bytes = total

    def _folders(self) -> list[Path]:
        try:
            return sorted(each for each in (self.root / "runs").iterdir() if each.is_dir())
        except OSError:
            return []


def _size(folder: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    except OSError:
        return 0
