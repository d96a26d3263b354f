"""The ledger of a run whose folder is in an object store, where no object grows.

The run's ledger is a local temporary file. A thread puts what was appended into parts, which are called
`ledger-parts/<generation>-<random id>-<offset>.jsonl`; the offset is that of the part's first line in the whole ledger.
At its beginning and at its end, a run merges the parts into `ledger.jsonl` and removes them. By the offsets, the next
run finds out which parts of a killed run were merged already.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import re
import secrets
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipy_imgvar.bulk.ledger import NAME, Ledger, Records, line_at, open_to_read, read_at
from ipy_imgvar.bulk.lock import ObjectLock
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.plain import plain
from ipy_imgvar.storage.objects import retries

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.storage.folder import Folder

__all__ = ["ObjectLedger", "Spool", "copy_ledger", "open_ledger", "read_ledger"]

_log = logging.getLogger("ipy_imgvar")
#: The folder of the parts, in the output folder.
_PARTS: Final = "ledger-parts/"
_PART: Final = re.compile(r"([0-9]{6})-[0-9a-f]{8}-([0-9]{15})\.jsonl")
#: The most bytes of a part, unless one line is longer: it is written anew for each group of lines, so a larger one
#: costs more, and a smaller one makes more objects.
_PART_BYTES: Final = 1 << 16
#: Seconds until a part that could not be put is tried again, after the tries of the folder itself.
_AGAIN_S: Final = 5.0
#: How often a ledger is read anew where a run merges its parts at the same time.
_READS: Final = 5
#: The ids that a note names of the items that are not on record.
_SHOWN_ITEMS: Final = 5


class Spool:
    """A local temporary file without a name, which is closed when nothing refers to it any more."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile(prefix="imgvar-") as file:
            #: Its descriptor.
            self.file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.file)


def open_ledger(folder: Folder, notice: Callable[[str], object] | None = None) -> Ledger | ObjectLedger:
    """Open the ledger of a run's folder for appending; see `Ledger` and `ObjectLock` for the errors and `notice`."""
    return Ledger(Path(folder.address)) if folder.is_local else ObjectLedger(folder, notice)


def read_ledger(folder: Folder) -> int:
    """Return the descriptor of a folder's ledger, which the caller closes; in an object store, of a local copy.

    Raises
    ------
    OSError
        If the folder has no ledger that can be read.
    ImageVariationError
        If the object store can't be read, or its object is no ledger.
    """
    if folder.is_local:
        return open_to_read(Path(folder.address))
    spool = copy_ledger(folder)  # A name of its own: its file is open as long as it is referred to.
    return os.dup(spool.file)


def copy_ledger(folder: Folder) -> Spool:
    """Return a local copy of a ledger in an object store, with the parts; FileNotFoundError where there is none."""
    spool, records, parts = _load(folder)
    if not parts and not records.end and folder.size(NAME) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return spool


class ObjectLedger(Records):
    """The ledger of one folder in an object store, open for appending by one run at a time.

    Parameters
    ----------
    folder, notice
        See `ObjectLock`, which also says what it raises.
    """

    def __init__(self, folder: Folder, notice: Callable[[str], object] | None = None) -> None:
        self._folder = folder
        self._lock = ObjectLock(folder, notice)
        try:
            self._copy, merged, parts = _load(folder)
            self.spool = self._copy
            super().__init__(os.dup(self._copy.file), merged.path, merged.index)
            # Another run may have looked for a lock before this one's was there, and put its own since.
            self._lock.confirm()
            if parts:
                _put_merged(folder, self._copy, parts)
            self._merged, self._merged_end = _stat(folder), self.end
        except BaseException:
            self._lock.release()
            raise
        generation = 1 + max((_place(name)[0] for name in parts), default=0)
        self._uploader = _Uploader(folder, self._copy, self.end, generation)
        self._finished = False

    def _append(self, line: bytes) -> bool:
        written = super()._append(line)
        self._uploader.extend(self.end)
        return written

    def force(self) -> None:
        """Return once all records are in parts; `ImageVariationError` where the object store takes none."""
        self._uploader.wait()

    def lost(self) -> str | None:
        """See `ObjectLock.lost`."""
        return self._lock.lost()

    def finish(self) -> list[str]:
        """Merge the parts, and return what to tell, a line each."""
        if self._finished:
            return []
        self._finished = True
        notes = super().finish()
        failure = self._uploader.close()
        lost = self._lock.lost()
        if failure is not None and lost is not None:
            notes += self._missing(failure)
        elif self.end > self._merged_end and lost is None:  # The other run, or the next, merges the parts.
            try:
                self._merge()
            except (ImageVariationError, OSError) as exc:
                failure = failure or str(exc)
                notes += self._missing(failure)
        if lost is not None:
            notes.append(
                plain(
                    f"another run wrote to {self._folder.address} at the same time: an image may be made twice"
                )
            )
        return notes

    def _merge(self) -> None:
        """Put the whole ledger, and remove the parts; the ledger of a run at the same time is merged, too."""
        # A listing comes first, since a part that another run puts later must stay.
        others = set(_part_names(self._folder)) - set(self._uploader.names)
        if others or _stat(self._folder) != self._merged:
            spool, _, parts = _load(self._folder)
            _put_merged(self._folder, spool, parts)
        else:
            _put_merged(self._folder, self._copy, self._uploader.names)

    def _missing(self, reason: str) -> list[str]:
        """Return a note on the records that are in no part."""
        start = self._uploader.stored
        lines = read_at(self._file, start, self.end - start).splitlines()
        if not lines:  # The next run merges the parts.
            return []
        items = ", ".join(plain(str(json.loads(line)["item"])) for line in lines[:_SHOWN_ITEMS])
        more = f" and {len(lines) - _SHOWN_ITEMS:,} more" if len(lines) > _SHOWN_ITEMS else ""
        counted = f"{len(lines):,} items could not be written to {self.path} ({reason})"
        return [f"{counted}: another run does them again: {items}{more}"]

    def close(self) -> None:
        """Merge the parts, unless `finish` did, and remove the lock; a second call does nothing."""
        if self._file < 0:
            return
        try:
            for line in self.finish():
                _log.warning("%s", line)
        finally:
            self._uploader.close()
            self._lock.release()
            super().close()


#: Seconds that `wait` waits at most, and between two looks.
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.02


class _Uploader:
    """A thread that puts the lines of a file into parts: the first at once, those that come during a put together.

    Parameters
    ----------
    folder, spool
        Where the parts go, and the file of the lines.
    start
        The offset of the first line to put, in bytes.
    generation
        The first number in the names, higher than that of any part that is there.
    """

    def __init__(self, folder: Folder, spool: Spool, start: int, generation: int) -> None:
        self._folder, self._spool, self._generation = folder, spool, generation
        #: The names of the parts.
        self.names: list[str] = []
        #: The offset up to which all lines are in parts.
        self.stored = start
        self._end = start
        self._begin_part()
        self._failure: str | None = None
        self._again = 0.0
        self._closing = self._gave_up = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="imgvar-ledger", daemon=True)
        self._thread.start()

    def extend(self, end: int) -> None:
        """Say how long the file is, in whole lines."""
        with self._changed:
            self._end = end
            self._changed.notify()

    def wait(self) -> None:
        """Wait until all lines are in parts; ImageVariationError where the object store takes none for a minute."""
        until = time.monotonic() + _PATIENCE_S
        while self.stored < self._end:
            if time.monotonic() > until:
                raise ImageVariationError(
                    f"the ledger can't be written: {self._failure or 'it takes too long'}"
                )
            time.sleep(_LOOK_S)

    def close(self) -> str | None:
        """Put the rest, end the thread, and return why some lines are in no part; None where all are."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        return self._failure if self.stored < self._end else None

    def _run(self) -> None:
        while self._wait():
            try:
                self._put(self._end)
            except Exception as exc:  # noqa: BLE001 - the run goes on, and tells at its end
                self._failure = str(exc)
                _log.info("%s", plain(self._failure))
                self._gave_up = self._closing
                self._again = time.monotonic() + _AGAIN_S
                self._begin_part()

    def _wait(self) -> bool:
        """Wait until there is something to put, and return False at the end."""
        with self._changed:
            while True:
                waiting, now = self._end > self.stored, time.monotonic()
                if self._closing:
                    return waiting and not self._gave_up
                if waiting and now >= self._again:
                    return True
                self._changed.wait(self._again - now if waiting else None)

    def _put(self, end: int) -> None:
        data = read_at(self._spool.file, self._part, min(end - self._part, _PART_BYTES))
        data = data[: data.rfind(b"\n") + 1] or line_at(self._spool.file, self._part)
        if self._part + len(data) <= self.stored:  # The part is full.
            self._begin_part()
            return
        if self._name not in self.names[-1:]:
            self.names.append(self._name)
        before = retries()
        self._folder.write(self._name, data)
        self.stored = self._part + len(data)
        if retries() != before:
            # The first try may arrive at the object store after a later put of the same name, and would undo that.
            self._begin_part()

    def _begin_part(self) -> None:
        self._part = self.stored
        self._name = f"{_PARTS}{self._generation:06}-{secrets.token_hex(4)}-{self._part:015}.jsonl"


def _part_names(folder: Folder) -> list[str]:
    """Return the names of the parts in the order of their lines."""
    names = (each.address.rpartition("/")[2] for each in folder.names(_PARTS))
    return sorted((f"{_PARTS}{name}" for name in names if _PART.fullmatch(name)), key=_place)


def _place(name: str) -> tuple[int, int, str]:
    """Return generation and offset of a part, and its name, which tells parts of one offset apart."""
    generation, _, offset = name.removeprefix(_PARTS).removesuffix(".jsonl").split("-")
    return int(generation), int(offset), name


def _stat(folder: Folder) -> tuple[int | None, str | None] | None:
    """Return size and version of `ledger.jsonl`, or None where there is none."""
    for each in folder.names(NAME):
        if each.address.rpartition("/")[2] == NAME:
            return each.size, each.version
    return None


def _load(folder: Folder) -> tuple[Spool, Records, list[str]]:
    """Return a local copy of the ledger with the lines of all parts, its records, and the names of the parts.

    The file is the spool's, so the records are open as long as the spool is.
    """
    for _ in range(_READS):
        names = _part_names(folder)
        try:
            return *_merged(folder, names), names
        except FileNotFoundError:  # A run merged the parts at this moment.
            continue
        except OSError as exc:
            reason = exc.strerror or exc
            raise ImageVariationError(
                f"{folder.where(NAME)} can't be copied to this machine ({reason})"
            ) from exc
    raise ImageVariationError(
        f"the parts of {folder.where(NAME)} are being merged by another run; try it again"
    )


def _merged(folder: Folder, names: list[str]) -> tuple[Spool, Records]:
    spool = Spool()
    with os.fdopen(os.dup(spool.file), "r+b") as file:
        folder.download(NAME, file)
    records = Records(spool.file, str(folder.where(NAME)))
    for name in names:
        _merge_part(records, folder.read(name), _place(name)[1])
    return spool, records


def _merge_part(records: Records, data: bytes, offset: int) -> None:
    """Append the lines of a part that begins at an offset, without those that are in the ledger already."""
    is_late = False
    for line in io.BytesIO(data):
        if is_late or not records.has_line(line, offset):
            # Other lines have this place, so the part arrived after the next run had merged those before it.
            is_late = is_late or offset < records.end
            if not is_late or _is_news(records, line):
                records.add_line(line)
        offset += len(line)


def _is_news(records: Records, line: bytes) -> bool:
    """Return whether a late line tells of an item that the ledger does not have, or not as done."""
    try:
        record = json.loads(line)
        known = records.find(record["item"])
        return known is None or (known.get("status") != "done" and record["status"] == "done")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _put_merged(folder: Folder, spool: Spool, parts: list[str]) -> None:
    """Put a whole ledger, and remove the parts that are in it."""
    with os.fdopen(os.dup(spool.file), "rb") as file:
        file.seek(0)
        folder.write_file(NAME, file)
    # Parts that stay are known by their offsets as merged.
    with contextlib.suppress(ImageVariationError, OSError):
        folder.remove(parts)
