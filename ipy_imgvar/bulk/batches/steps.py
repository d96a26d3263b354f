"""The steps of a run in batches, in their order.

Find out what an earlier process left, plan the images that are not done, wait for the batches and fetch their answers,
and ask once more for the lines without an answer.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.agenda import Agenda
from ipy_imgvar.bulk.batches.answers import Answers
from ipy_imgvar.bulk.batches.lines import LineMaker, without_image
from ipy_imgvar.bulk.batches.state import State, key_of
from ipy_imgvar.bulk.batches.uploads import Pace, Uploads, may_pass
from ipy_imgvar.bulk.counts import images_text, other_text
from ipy_imgvar.bulk.run import lost_lock
from ipy_imgvar.bulk.work import Outcome
from ipy_imgvar.errors import BadResponseError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipy_imgvar.batches import Batch, BatchService
    from ipy_imgvar.bulk.batches.progress import Progress
    from ipy_imgvar.bulk.batches.state import Chunk
    from ipy_imgvar.bulk.items import Items
    from ipy_imgvar.bulk.ledger import Records
    from ipy_imgvar.bulk.work import Task
    from ipy_imgvar.engine import Engine, Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.storage.folder import Folder

__all__ = ["Setting", "Steps"]

_log = logging.getLogger("ipy_imgvar")
#: Tries to fetch the answers of a batch whose files hold fewer than its counts say.
_MOST_FETCHES: Final = 3
#: Seconds between two looks at the cancel switch in a wait, chosen so that a click seems to work at once.
_STEP_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run works with.

    Parameters
    ----------
    engine, request
        The engine, and the checked request that all images share.
    service
        The engine's batches.
    folder, ledger, state
        Where the pictures, the records and the steps go.
    settings
        The hash of what affects the pictures.
    job
        Says whether to stop.
    pace
        The waits.
    """

    engine: Engine
    request: VariationRequest
    service: BatchService
    folder: Folder
    ledger: Records
    state: State
    settings: str
    job: Job
    pace: Pace


class Steps:
    """One process's part of a run.

    Parameters
    ----------
    setting
        What it works with.
    items
        The images.
    resume
        Whether earlier records count.
    progress
        Shows how far the batches are.
    """

    def __init__(self, setting: Setting, items: Items, progress: Progress, *, resume: bool) -> None:
        self._service, self._state, self._pace = setting.service, setting.state, setting.pace
        self._items, self._progress, self._job = items, progress, setting.job
        self.agenda = Agenda(setting.engine, setting.request, setting.ledger, setting.folder, resume=resume)
        self._uploads = Uploads(
            setting.service,
            setting.state,
            setting.folder,
            settings=setting.settings,
            retries=setting.request.max_retry_count,
            pause=self._pause,
            pace=setting.pace,
            begun=self._tell_begun,
        )
        self._address = setting.folder.address
        self._maker = LineMaker(setting.engine, setting.service, self._uploads.refuse_long)
        self.answers = Answers(
            setting.service,
            setting.state,
            agenda=self.agenda,
            ledger=setting.ledger,
            folder=setting.folder,
            request=setting.request,
            notes=self._uploads.notes,
        )
        #: The first reason why the server refused a file; nothing further is asked for then.
        self._refusal: EngineError | None = None
        #: How often the answers of a chunk were fetched in vain, by its number.
        self._fetches: Counter[int] = Counter()
        self._reached = time.monotonic()
        self._is_stopped = False
        self._ledger = setting.ledger
        #: The items of lines under way from an earlier process, by the digests of their images.
        self._earlier: dict[str, str] = {}
        #: The keys of those lines whose images this run was given.
        self._claimed: set[str] = set()
        #: Tasks of images that such a line has under another path, and that line's item.
        self._moved: list[tuple[Task, str]] = []

    def run(self) -> None:
        """Do all steps.

        Raises
        ------
        EngineError
            If a batch was refused, or its answers can't be read whole: after all others are fetched.
        """
        self._is_stopped = self._state.is_cancelled and bool(self._state.open())
        if self._state.is_cancelled and not self._is_stopped:
            self._state.settle()
        self._recover()
        # What is under way is not asked for again, and the run that began it has said the rest.
        if not self._state.under_way and (other := self.agenda.count_other(self._items)):
            self._progress.say(other_text(other))
        with closing(self._uploads):
            self._plan(self.agenda.tasks(self._items))
            self._await()
            rest = [*self._unanswered(), *self._unmoved()]
            self._state.catch_up()
            self._is_stopped |= self._state.is_cancelled
            if rest and not self._is_stopped and self._refusal is None:
                self._plan(rest)
                self._await()
            self._is_stopped |= self._state.is_cancelled
        if self._refusal is not None:
            raise self._refusal
        if cut := [
            self._state.chunks[number] for number, count in self._fetches.items() if count >= _MOST_FETCHES
        ]:
            names = ", ".join(str(chunk.batch) for chunk in cut)
            why = self.answers.late or "they hold fewer than the server counts"
            raise BadResponseError(
                f"the answers of {names} are not whole: {why}. They are paid for, so nothing was asked again; the same "
                "again reads them anew"
            )
        if self._is_stopped:
            self.answers.notes.append(
                "the batches were cancelled: what they had finished is here, and the same again asks for the rest"
            )
            self._state.settle()

    def _recover(self) -> None:
        """Find out what an earlier process left."""
        for chunk in self._state.open():
            if chunk.step == "created":
                self._progress.say(f"batch {chunk.batch} of {images_text(chunk.lines)} is under way already")
            self._uploads.recover(chunk)
        for chunk in self._state.open():
            for line in self._state.lines(chunk) if chunk.step != "fetched" else ():
                self._earlier[line.facts.get("sha256", "")] = line.item

    def _plan(self, tasks: Iterable[Task]) -> None:
        """Make the lines of images that are not done, and begin their batches."""
        for task in tasks:
            self._check()
            self._is_stopped |= self._state.is_cancelled
            key = key_of(task.ready.item)
            # A record beside a line under way: a process was killed while it fetched that batch.
            if key in self._state.under_way and task.known is None:
                self.answers.waiting[key] = without_image(task)
                self._claimed.add(key)
                continue
            if self._is_stopped and task.known is None:
                continue
            made = self._maker.make(task, tries=2 if key in self._state.again else 1)
            self._job.check()  # What a cancel broke off has not failed.
            if isinstance(made, Outcome):
                self.agenda.end(task, made)
            elif self._earlier.get(made[0].facts["sha256"], task.ready.item) != task.ready.item:
                self._moved.append((task, self._earlier[made[0].facts["sha256"]]))
            elif not self._is_stopped:
                self.answers.waiting[key] = without_image(task)
                self._uploads.add(*made)
                self._progress.show("reading images")
        self._check()
        self._uploads.flush()

    def _unanswered(self) -> Iterable[Task]:
        """Return the tasks of this run that had no answer; an image in memory is looked for once more."""
        found = {
            key: task for key in self._state.again if (task := self.answers.waiting.get(key)) is not None
        }
        lost = {key for key, task in found.items() if not task.ready.image}
        if lost and not self._items.is_once:
            for item in self._items:
                with suppress(
                    Exception
                ):  # It was read before; where it can't be any more, its line stays open.
                    ready = item.ready()
                    if (key := key_of(ready.item)) in lost:
                        found[key] = replace(found[key], ready=ready)
        return list(found.values())

    def _unmoved(self) -> list[Task]:
        """End the images whose pictures came under another path, and return those that have none after all.

        A folder may be moved, or named from elsewhere, while its batches are under way.
        """
        self._earlier = {}
        left = []
        # All are looked up first: the first that takes a record over replaces it.
        for task, record in [(task, self._record(item)) for task, item in self._moved]:
            # An image that comes twice in a run is made for each path, as without batches.
            if record is None or key_of(record["item"]) in self._claimed:
                left.append(task)
                continue
            known = replace(task, alike=(record,))
            made = self._maker.make(known, tries=1)
            if isinstance(made, Outcome):
                self.agenda.end(known, made)
            else:
                left.append(task)
        self._moved = []
        return left

    def _record(self, item: str) -> dict[str, Any] | None:
        """Return the record of a finished item, with its offset in the ledger; else None."""
        offset = self._ledger.offset(item)
        record = None if offset is None else self._ledger.at(offset)
        is_done = record is not None and record.get("status") == "done"
        return {**record, "offset": offset} if record is not None and is_done else None

    def _await(self) -> None:
        """Wait until all batches are fetched."""
        pause_s = self._pace.first_s
        while chunks := [each for each in self._state.open() if self._fetches[each.number] < _MOST_FETCHES]:
            self._check()
            moved = [self._advance(chunk) for chunk in chunks]
            if all(moved):
                continue
            pause_s = self._pace.first_s if any(moved) else pause_s
            self._pause(pause_s, "")
            pause_s = min(pause_s * self._pace.growth, self._pace.longest_s)

    def _advance(self, chunk: Chunk) -> bool:
        """Take a chunk one step further, and return whether it moved."""
        try:
            if chunk.step == "fetched":
                self._remove(chunk)
                moved = True
            elif chunk.step in ("uploaded", "asking"):
                self._uploads.begin(chunk)
                moved = True
            else:
                chunk = self._uploads.end_twin(chunk)
                batch = self._service.get(chunk.batch or "")
                self._progress.note(chunk.number, batch)
                moved = batch.is_ended and self._end(chunk, batch)
        except EngineError as exc:
            # The batch goes on without us.
            if not may_pass(exc) or time.monotonic() - self._reached > self._pace.patience_s:
                raise
            _log.info("%s", exc)
            self._progress.show(f"the server does not answer ({exc})")
            return False
        self._reached = time.monotonic()
        self._progress.show()
        return moved

    def _remove(self, chunk: Chunk) -> None:
        """Remove a fetched chunk's files at the server, where the key may do that."""
        self._uploads.remove(chunk.files, f"files of batch {chunk.batch} stay")
        self._state.step(chunk, "done")

    def _end(self, chunk: Chunk, batch: Batch) -> bool:
        """Fetch a batch that has ended; return whether that is done."""
        if batch.is_queue_full:  # It is begun again at the next look.
            self._state.step(chunk, "uploaded", batch=None, tries=chunk.tries + 1)
            return False
        if batch.is_refused:
            reason = "; ".join(batch.errors[:1]) or "it gives no reason"
            self._uploads.drop(chunk)
            self._refusal = self._refusal or EngineError(
                f"{self._service.destination} refused the batch {batch.id}: {reason}; nothing was made of it"
            )
            return True
        self._is_stopped |= batch.is_cancelled
        if self.answers.fetch(chunk, batch) is None:
            self._fetches[chunk.number] += 1
            return False
        self._progress.say(
            f"batch {batch.id} has ended ({batch.status}): {batch.completed:,} of {images_text(chunk.lines)} made"
        )
        return True

    def _tell_begun(self, chunk: Chunk) -> None:
        self._progress.say(
            f"batch {chunk.batch} of {images_text(chunk.lines)} was made; you may end this: the same again goes on; "
            f"look with imgvar bulk --batch --status --out-dir {self._address}"
        )

    def _check(self) -> None:
        """Raise where the run was cancelled, or another run took over the folder: both would ask for the same."""
        self._job.check()
        if (lost := lost_lock(self._ledger)) is not None:
            raise EngineError(lost)

    def _pause(self, seconds: float, reason: str) -> None:
        """Wait, and stop when the run is cancelled."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._job.check()
            self._progress.show(reason)
            time.sleep(min(_STEP_S, left))
