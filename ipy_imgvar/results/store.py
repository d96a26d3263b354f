"""The store: a folder of every finished picture, bounded by removing the oldest runs.

A run is a folder `runs/<id>` with its pictures and a file `run.jsonl`, which gets one more line with each picture. So a
killed process or a full disk leaves a readable run with its finished pictures. Ids sort in the order in which the runs
began. `history` decides the contents of a record.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import threading
import weakref
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.results.holders import Holders
from ipy_imgvar.results.usage import json_safe
from ipy_imgvar.storage.disk import BINARY, write_all, write_atomic, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Run", "Store", "new_run_id", "read_record", "record_in"]

#: The name of a run's record, and its name in earlier versions, which wrote one JSON object.
_RECORD: Final = "run.jsonl"
_EARLIER_RECORD: Final = "run.json"
#: The format of the UTC time at the beginning of a run's id, and its length in characters.
_CLOCK: Final = "%Y%m%dT%H%M%S%f"
_CLOCK_CHARS: Final = 21
#: The newest runs, by number, whose size is measured anew each time: other processes may still add to them.
_GROWING: Final = 32


def new_run_id(after: str = "") -> str:
    """Return an id for a run; ids sort by time.

    Parameters
    ----------
    after
        The newest id so far, or ""; the new id sorts after it, even if the clock was set back.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    with contextlib.suppress(ValueError, OverflowError):
        now = max(now, datetime.strptime(after[:_CLOCK_CHARS], _CLOCK) + timedelta(microseconds=1))  # noqa: DTZ007
    return f"{now:{_CLOCK}}-{secrets.token_hex(3)}"


class Run:
    """One run's folder, open for writing.

    Parameters
    ----------
    folder
        Made when the first picture or the end of the run is written.
    record
        The first line of `run.jsonl`, JSON-safe; `add` and `finish` append to it.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record: dict[str, Any] = {**record, "id": folder.name, "pictures": []}
        # A text, since joining paths takes longer than writing a record.
        self._path = str(folder)
        self._head = record
        self._end = 0
        #: Where the line of each picture begins in the record.
        self._starts: dict[int, int] = {}
        #: The bytes of each picture's file; a second try replaces the first.
        self._written: dict[int, int] = {}

    @property
    def byte_count(self) -> int:
        """The size of the pictures and the record that were written."""
        return sum(self._written.values()) + self._end

    def add(self, data: bytes, extension: str, entry: dict[str, Any], *, number: int | None = None) -> Path:
        """Write one picture, byte for byte, then its `entry` in the record; return the picture's path.

        Parameters
        ----------
        data, extension
            The file's content, and the end of its name.
        entry
            What the record says of the picture, JSON-safe.
        number
            The picture's, from 1; None for the next. An interrupt may end this call at any step: the same call again,
            with the number, lists the picture once.
        """
        pictures = self.record["pictures"]
        number = len(pictures) + 1 if number is None else number
        name = f"{number}{extension}"
        self._end = self._starts.setdefault(number, self._end)
        if not pictures:
            self._make_folder()
        write_whole(f"{self._path}/{name}", data)
        self._written[number] = len(data)
        described = {**entry, "file": name}
        self._append({"picture": described})
        pictures[number - 1 :] = [described]
        return self.folder / name

    def finish(self, **outcome: Any) -> None:
        """Write the run's outcome, such as its status, as the last line of the record."""
        self.record |= outcome
        if not self._end:
            self._make_folder()
        self._append(outcome)

    def _make_folder(self) -> None:
        try:
            os.mkdir(self._path)  # noqa: PTH102
        except OSError:  # The folder above is missing, or this one exists.
            self.folder.mkdir(parents=True, exist_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        """Append a line to the record; if the disk is full, the record stays unchanged.

        Replacing the file instead would make the file system flush it at once, which takes longer than the rest of the
        run's writing.
        """
        text = _json(line) + "\n"
        if not self._end:
            text = _json({**self._head, "id": self.folder.name}) + "\n" + text
        data = text.encode()
        # Only the first line creates the file: a record that was removed must not return as a fragment.
        flags = os.O_WRONLY | BINARY | (0 if self._end else os.O_CREAT)
        descriptor = os.open(f"{self._path}/{_RECORD}", flags, 0o644)
        try:
            os.ftruncate(descriptor, self._end)  # An interrupted try may have left its line.
            os.lseek(descriptor, self._end, os.SEEK_SET)
            write_all(descriptor, data)
        except BaseException:
            with contextlib.suppress(OSError):  # Half a line would spoil the next one.
                os.ftruncate(descriptor, self._end)
            raise
        finally:
            os.close(descriptor)
        self._end += len(data)


def read_record(data: bytes) -> dict[str, Any] | None:
    """Return a run's record from its lines, or None where no line can be read.

    Damaged lines, and lines of another kind, are skipped.
    """
    record: dict[str, Any] | None = None
    for line in data.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(entry, dict):
            continue
        if "picture" in entry:  # The pictures can be read even if the first line is damaged.
            record = {"pictures": []} if record is None else record
            record["pictures"].append(entry["picture"])
        elif record is None:
            record = {**entry, "pictures": []}
        else:
            record |= {name: value for name, value in entry.items() if name != "pictures"}
    return record


def record_in(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run in a folder, or None where there is none that can be read."""
    with contextlib.suppress(OSError), open(f"{folder}/{_RECORD}", "rb", buffering=0) as file:  # noqa: PTH123 - see Run
        return read_record(file.readall())
    with contextlib.suppress(OSError, ValueError, RecursionError):
        # Earlier versions wrote one JSON object.
        whole = json.loads((folder / _EARLIER_RECORD).read_bytes())
        return whole if isinstance(whole, dict) else None
    return None


def _json(value: Any) -> str:
    # ASCII only: a file name that is not UTF-8 holds lone surrogates, which can't be encoded otherwise.
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # An engine may put anything into its parameters.
        return json.dumps(json_safe(value))


class Store:
    """Runs on disk, the oldest removed when they outgrow a bound.

    Parameters
    ----------
    root
        The folder; made, for this user only, when the first run is written.
    max_bytes
        The bound for all runs together. A run that a living process is making, or whose results it holds, is never
        removed, nor is the newest.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._holders = Holders(root)
        self._in_use: weakref.WeakSet[Run] = weakref.WeakSet()
        self._sizes: dict[str, int] = {}
        self._bytes: int | None = None
        self._newest: str | None = None
        self._lock = threading.Lock()

    def new_id(self) -> str:
        """Return an id for a run that sorts after those of all existing runs."""
        with self._lock:
            if self._newest is None or self._others_wrote():
                self._newest = max([*self._names(), self._newest or ""])
            self._newest = new_run_id(self._newest)
            return self._newest

    def begin(self, name: str, record: dict[str, Any]) -> Run:
        """Open a run with an id from `new_id`; only the line that protects it from removal is written yet."""
        if not os.path.isdir(self.root):  # noqa: PTH112 - half the time of a path's
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        run = Run(self.root / "runs" / name, record)
        with self._lock:  # `_remove_oldest` reads the set under the same lock.
            self._in_use.add(run)
        self._holders.hold(name)
        weakref.finalize(run, self._holders.release, name)
        return run

    def keep(self, name: str, data: bytes) -> Path:
        """Write a source that has no file of its own, and return its path; the store removes it as it does a run."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.root / "runs" / self.new_id() / name
        write_atomic(path, data)
        with self._lock:
            if self._bytes is not None:
                self._bytes += len(data)
        return path

    def runs(self, *, newest_first: bool = False) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the folder and the record of each readable run, oldest first; each is read when it is asked for."""
        runs = self.root / "runs"
        for name in sorted(self._names(), reverse=newest_first):
            folder = runs / name
            record = record_in(folder)
            if record is not None:
                yield folder, record

    def living(self) -> set[str]:
        """Return the names of the runs that a living process is making, or whose results it holds."""
        # A reader of the history, such as a plan, writes nothing; the end of a run removes the files of the dead.
        return self._holders.held(tidy=False)

    def make_room(self, newest: Run) -> None:
        """Remove the oldest runs until the rest fits into `max_bytes`; call it when a run has ended."""
        with self._lock:
            # Counting is slow in a full store, so the size is added up here as long as no other process writes to it.
            if not self._others_wrote() and self._bytes is not None:
                self._bytes += newest.byte_count
                if self._bytes <= self.max_bytes:
                    return
            names = self._names()
            self._newest = max([*names, self._newest or ""])
            # Older runs are measured once; the newest ones may belong to other processes, and still grow.
            known = {name: self._sizes[name] for name in names[:-_GROWING] if name in self._sizes}
            self._sizes = {name: known[name] if name in known else self._size(name) for name in names}
            self._bytes = sum(self._sizes.values())
            # Read after the runs were listed: a run that begins later is not in the list, and so is not removed.
            held = self._holders.held()
            if self._bytes > self.max_bytes:
                self._remove_oldest(names, held | {newest.folder.name})

    def _others_wrote(self) -> bool:
        """Return whether other processes may have written to the store; then forget its size."""
        if wrote := self._holders.others_wrote():
            self._bytes = None
        return wrote

    def _remove_oldest(self, names: list[str], held: set[str]) -> None:
        total = self._bytes or 0
        held |= {run.folder.name for run in self._in_use} | {names[-1]}
        for name in names:
            if total <= self.max_bytes:
                break
            if name not in held:
                shutil.rmtree(self.root / "runs" / name, ignore_errors=True)
                total -= self._sizes.pop(name)
        self._bytes = total

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.root / "runs") as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            return []

    def _size(self, name: str) -> int:
        try:
            with os.scandir(self.root / "runs" / name) as entries:
                return sum(entry.stat().st_size for entry in entries)
        except OSError:
            return 0
