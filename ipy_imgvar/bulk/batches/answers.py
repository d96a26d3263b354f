"""From a batch's answers to pictures and records, as any other bulk run has them.

All of it may be done again: after a kill in the middle, the next process reads the files of answers from their
beginning, and leaves out what is on the ledger.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.batches.spool import in_words, open_spool
from ipy_imgvar.bulk.items import ReadyItem
from ipy_imgvar.bulk.ledger import NAME
from ipy_imgvar.bulk.parts import ObjectLedger
from ipy_imgvar.bulk.pool import failure
from ipy_imgvar.bulk.work import Outcome, Task, keep, reported
from ipy_imgvar.engine import Job
from ipy_imgvar.errors import APIStatusError, ConnectionFailedError, EngineError, ImageVariationError
from ipy_imgvar.images.source import Source
from ipy_imgvar.plain import one_line

if TYPE_CHECKING:
    from ipy_imgvar.batches import Batch, BatchService, Reply
    from ipy_imgvar.bulk.agenda import Agenda
    from ipy_imgvar.bulk.batches.state import Chunk, PlannedLine, State
    from ipy_imgvar.bulk.ledger import Records
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.storage.folder import Folder

__all__ = ["Answers"]

#: What a record says of a line whose batch was ended before its turn.
_CANCELLED = "its batch was cancelled before it was made; the same again asks for it anew"

#: What a record says of a line whose answer the server has removed.
_LOST: Final = (
    "the server made it, and its answer is gone there: expired or deleted; the same again asks for it anew, and pays "
    "again"
)
#: The same, where the server did not make it.
_SILENT: Final = "the server did not make it, and its reason is gone there; the same again asks for it anew"
#: The status of a file that is not there.
_NOT_FOUND: Final = 404


class Answers:
    """Fetches the answers of ended batches.

    Parameters
    ----------
    service, state
        The server's batches, and what is known of ours.
    agenda, ledger, folder
        Where each item ends.
    request
        What all lines share.
    notes
        Gets lines for a person about what could not be read.
    """

    def __init__(
        self,
        service: BatchService,
        state: State,
        *,
        agenda: Agenda,
        ledger: Records,
        folder: Folder,
        request: VariationRequest,
        notes: list[str],
    ) -> None:
        self._service, self._state = service, state
        self._agenda, self._ledger, self._folder, self._request = agenda, ledger, folder, request
        #: The tasks of this run that wait for an answer, by their keys.
        self.waiting: dict[str, Task] = {}
        self.notes = notes
        #: The names of the pictures that are written and not forced to the disk yet.
        self._fresh: list[str] = []
        #: Why a picture could not be downloaded for the moment; "" where none failed so.
        self.late = ""

    def fetch(self, chunk: Chunk, batch: Batch) -> Chunk | None:
        """Record how each line of an ended batch ended, and return the chunk as it is then.

        Returns
        -------
        Chunk or None
            None where the server says that it answered more lines than its files hold, or a picture can't be
            downloaded for the moment: those are paid for, so they are not asked for again, and the files can be
            fetched another time.
        """
        lines = {line.key: line for line in self._state.lines(chunk)}
        left = dict(lines)
        problems: dict[str, Reply] = {}
        found: set[str] = set()
        for file_id in filter(None, (batch.output_file, batch.error_file)):
            found |= self._read(file_id, batch, chunk.lines, left, problems)
        missing = left.keys() - problems.keys()
        if "gone" in found:
            self._lose([left.pop(key) for key in missing], batch, _LOST)
        elif missing and (
            ("silent" not in found and batch.is_whole) or len(lines) - len(left) < batch.completed
        ):
            return None
        elif "silent" in found:
            self._lose([left.pop(key) for key in missing], batch, _SILENT)
        if "late" in found:
            return None
        is_readable = "broken" not in found
        again = [key for key in left if self._ends_open(left[key], problems.get(key), batch)]
        # The server's copies go next, so ours have to outlive whatever happens to this machine.
        self._force()
        files = [chunk.file, batch.error_file, batch.output_file if is_readable else None]
        if not is_readable:
            self.notes.append(f"the answers of batch {batch.id} stay at the server, since some can't be read")
        return self._state.step(
            chunk,
            "fetched",
            again=again,
            status=batch.status,
            completed=batch.completed,
            failed=batch.failed,
            files=list(filter(None, files)),
        )

    def _read(
        self, file_id: str, batch: Batch, lines: int, left: dict[str, PlannedLine], problems: dict[str, Reply]
    ) -> set[str]:
        """Take the answers of a file out of the lines that are left, and note the problems of others.

        Returns
        -------
        set of str
            "broken" where a picture could not be read, "late" where one can't be downloaded for the moment, and
            "gone" or "silent" where the server has no such file any more, of answers or of reasons.
        """
        found: set[str] = set()
        try:
            # On the disk, since the answers of one file may have more bytes than the memory.
            with in_words(self._folder), open_spool(self._folder) as file:
                for reply in self._service.replies(file_id, lines, file):
                    if reply.key not in left:  # Not ours, or answered twice.
                        continue
                    if reply.ending == "answered":
                        found.add(self._take(left.pop(reply.key), reply, batch))
                    else:
                        problems[reply.key] = reply
        except APIStatusError as exc:
            if exc.status != _NOT_FOUND:
                raise
            found.add("gone" if file_id == batch.output_file else "silent")
        return found

    def _lose(self, lines: list[PlannedLine], batch: Batch, error: str) -> None:
        """Record the lines whose answers the server has removed; those that are on the ledger already stay."""
        for line in lines:
            if line.key in self.waiting or not self._is_recorded(line, batch):
                self._end(line, self._task(line), self._record(line, batch) | {"error": error})

    def _take(self, line: PlannedLine, reply: Reply, batch: Batch) -> str:
        """Write the pictures of an answer and record them.

        Returns
        -------
        str
            "whole", "broken", or "late" where a download failed for the moment, and nothing is recorded.
        """
        if line.key not in self.waiting and self._is_recorded(line, batch):
            return "whole"
        task, job = self._task(line), Job()
        record = self._record(line, batch)
        # An answer is read without the image, which may be gone by now: only its name is used.
        request = replace(self._request, image=Source(line.source, data=b""))
        try:
            for picture in self._service.pictures(reply, request, job):
                keep(task, picture, self._folder, record)
                self._fresh.append(record["paths"][-1])
            is_whole = True
        except EngineError as exc:
            # A cancel is the way out where the server of the pictures is gone for good.
            if isinstance(exc, ConnectionFailedError) and not self._state.is_cancelled:
                self.late = one_line(str(exc))
                return "late"
            is_whole = False
            record["error"] = one_line(str(exc))
        self._end(line, task, record | {"status": "done" if is_whole else "failed"} | reported(job))
        return "whole" if is_whole else "broken"

    def _ends_open(self, line: PlannedLine, reply: Reply | None, batch: Batch) -> bool:
        """Record that a line has no pictures, or return True where it may be asked for once more."""
        is_refused = reply is not None and reply.ending == "refused"
        is_stopped = batch.is_cancelled or self._state.is_cancelled
        if not is_refused and not is_stopped and line.tries == 1:
            return True
        problem = "the server gave no answer" if reply is None else reply.problem
        error = _CANCELLED if is_stopped and not is_refused else problem
        self._end(line, self._task(line), self._record(line, batch) | {"error": one_line(error)})
        return False

    def _force(self) -> None:
        """Return once pictures and records survive whatever happens to this machine."""
        if late := self._ledger.write_late():
            raise ImageVariationError(
                f"{late} items could not be written to {self._ledger.path}; make room there"
            )
        if isinstance(self._ledger, ObjectLedger):
            self._ledger.force()
        for name in (*self._fresh, NAME) if self._folder.is_local else ():
            with suppress(OSError):  # Some file systems can't force a write.
                file = os.open(self._folder.where(name), os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
        self._fresh = []

    def _end(self, line: PlannedLine, task: Task, record: dict[str, Any]) -> None:
        self._agenda.end(task, Outcome(record))
        self.waiting.pop(line.key, None)

    def _task(self, line: PlannedLine) -> Task:
        """Return a line's task: that of this run, or one like it for an image that this run was not given."""
        if (task := self.waiting.get(line.key)) is None:
            ready = ReadyItem(line.item, line.stem, line.source, "", is_file=line.is_file)
            task = Task(ready, self._request, self._folder.address)
        return replace(task, shares_stem=line.shares_stem)

    def _record(self, line: PlannedLine, batch: Batch) -> dict[str, Any]:
        record = failure(self._task(line).ready, "")
        return record | {"sizes": [], "error": None, **line.facts, "batch": batch.id}

    def _is_recorded(self, line: PlannedLine, batch: Batch) -> bool:
        """Return whether a process that was killed has recorded this answer."""
        offset = self._ledger.offset(line.item)
        record = None if offset is None else self._ledger.at(offset)
        return record is not None and (record.get("batch"), record.get("status")) == (batch.id, "done")
