"""One bulk run from its images to its result: what it skips, its records, its progress and its interrupts."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final, Self

from ipy_imgvar.bulk import page
from ipy_imgvar.bulk.items import Items, ReadyItem
from ipy_imgvar.bulk.ledger import Ledger
from ipy_imgvar.bulk.pool import Pool, failure
from ipy_imgvar.bulk.reports import Reports
from ipy_imgvar.bulk.result import STATUSES, BulkResult, Tally
from ipy_imgvar.bulk.work import SOURCES, Outcome, Task
from ipy_imgvar.bulk.workers import choose_workers
from ipy_imgvar.engine import Listener
from ipy_imgvar.errors import CancelledError, ImageVariationError
from ipy_imgvar.plain import plain
from ipy_imgvar.results.files import checked_folder
from ipy_imgvar.results.store import HALF_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from ipy_imgvar.bulk.items import Item
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.engines import EngineSpec
    from ipy_imgvar.request import VariationRequest

__all__ = ["Plan", "plan", "run"]

_log = logging.getLogger("ipy_imgvar")
#: Request fields that don't affect pixels; changing one doesn't invalidate the ledger.
_NOT_COMPARED: Final = ("timeout", "max_retry_count", "response_format")
#: Seconds between two refreshes of the bar while no item ends, so that its clock moves on.
_REFRESH_S: Final = 1.0
#: Hexadecimal digits of the hash of extra fields in the ledger: 64 bits, which tell any two requests apart.
_EXTRA_HASH_DIGITS: Final = 16
#: The least time that a rate divides by, in seconds: the first item may end within the clock's resolution.
_LEAST_ELAPSED_S: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run: how many images it has, and how many of them the ledger lists as done."""

    found: int
    done: int


def plan(images: Any, out_dir: str | Path) -> Plan:
    """Count the images, and those that the ledger lists as done; no image is read, and nothing is written."""
    folder = checked_folder(out_dir)
    with contextlib.suppress(ImageVariationError):
        known = {each.item for each in BulkResult.read(folder) if each.status == "done"}
        found = done = 0
        for item in Items(images, folder):
            found += 1
            done += bool(known) and item.is_file and item.ready().item in known
        return Plan(found, done)
    return Plan(sum(1 for _ in Items(images, folder)), 0)


def run(
    engine: Engine,
    request: VariationRequest,
    images: Any,
    *,
    out_dir: str | Path,
    executor: Executor | None = None,
    max_workers: int | None = None,
    resume: bool = True,
    max_retry_count: int | None = None,
    listener: Listener | None = None,
    bar: bool | None = None,
    cancel: threading.Event | None = None,
    spec: EngineSpec | None = None,
) -> BulkResult:
    """Make variations of many images; see `Client.map`, which has checked the request.

    See `choose_workers` for `spec`. The listener's `on_progress` gets the finished share, 0..1 (0 while the number of
    images is unknown), and the counts. Its `on_notice` gets a line that names the server before the first image is
    sent, and lines about a disk without room.
    """
    listener = listener or Listener()
    folder = checked_folder(out_dir)
    items = Items(images, folder)
    workers = choose_workers(engine, executor, max_workers, request.timeout, spec=spec, model=request.model)
    reports = Reports()
    if engine.capabilities(request.model).parallel == "one":
        workers = replace(workers, listener=reports.listener)
    ledger = Ledger(folder)
    started = time.monotonic()
    try:
        _sweep(folder)
        _announce(engine, request, folder, listener)
        pool = Pool(workers, max_retry_count, cancel)
        # The engine tries once, since the pool schedules the retries.
        work = _Work(engine, replace(request, max_retry_count=0), ledger, folder, resume=resume)
        with _Progress(items, listener, work.tally, bar, reports) as progress, _held_interrupts(pool):
            failure = _run_all(pool, work, items, progress)
        _sweep(folder)
        work.tally.elapsed = time.monotonic() - started
        result = BulkResult(folder, work.tally)
        notes = _write_pages(result, ledger)
    finally:
        ledger.close()
    _tell(result, notes, listener)
    if failure is not None:
        raise failure
    _raise_if_stopped(result, pool, cancel)
    return result


def _sweep(folder: Path) -> None:
    """Remove the half-written files of killed processes; the ledger's lock keeps other writers out."""
    for each in (folder, folder / SOURCES):
        for half in each.glob(f".*{HALF_SUFFIX}"):
            with contextlib.suppress(OSError):
                half.unlink()


def _announce(engine: Engine, request: VariationRequest, folder: Path, listener: Listener) -> None:
    """Name the server before any image is sent, once for the whole run."""
    server = engine.capabilities(request.model).destination
    if server is None:
        return
    line = plain(f"the images go to {server} (model {engine.model(request)}), what comes back to {folder}")
    _log.info("%s", line)
    if listener.on_notice is not None:
        listener.on_notice(line)


def _run_all(pool: Pool, work: _Work, items: Items, progress: _Progress) -> Exception | None:
    """Run all tasks until the end or a stop, and return the exception that broke the run, if any."""
    abandoned = True
    try:
        pool.run(work.tasks(items), work.end, lambda: progress.show(stopping=pool.is_stopping))
        abandoned = pool.abandon.is_set()
    except Exception as exc:  # noqa: BLE001 - raised again when the finished items are on record
        abandoned = False
        return exc
    finally:
        pool.close(now=abandoned)
    return None


def _write_pages(result: BulkResult, ledger: Ledger) -> list[str]:
    """Write the pages, and return notes about a disk without room or a folder that was removed."""
    notes = []
    if unwritten := ledger.write_late():
        notes.append(f"{unwritten} items could not be written to {ledger.path}: another run does them again")
    if ledger.was_moved:
        notes.append(
            f"{result.out_dir} was removed or renamed during the run, with the pictures made until then; the same "
            "again makes those that are missing"
        )
    try:
        page.write_pages(result)
    except Exception as exc:  # noqa: BLE001 - the pictures and the ledger are written; a page can't fail the run
        reason = getattr(exc, "strerror", None) or exc
        notes.append(f"{result.out_dir / 'index.html'} can't be written ({reason})")
    return notes


def _tell(result: BulkResult, notes: list[str], listener: Listener) -> None:
    _log.info("%s", result.summary())
    for line in map(plain, notes):
        (listener.on_notice or _log.warning)(line)


def _raise_if_stopped(result: BulkResult, pool: Pool, cancel: threading.Event | None) -> None:
    text = (
        f"{result.summary()}; what was finished is in {result.out_dir}, and the same again goes on from there"
    )
    if pool.interrupted:
        raise KeyboardInterrupt(f"interrupted: {text}")
    if cancel is not None and cancel.is_set():
        raise CancelledError(f"the run was cancelled: {text}")


class _Work:
    """Decides which items need a task, and records how each ended."""

    def __init__(
        self, engine: Engine, request: VariationRequest, ledger: Ledger, folder: Path, *, resume: bool
    ) -> None:
        self._request = request
        self._ledger = ledger
        self._folder = str(folder)
        # Without `resume`, only the records of this run count.
        self._first_offset = 0 if resume else ledger.end
        self._settings = _settings(engine, request)
        #: The indices of each item under way, by its id; an image that is given twice is done once.
        self._under_way: dict[str, list[int]] = {}
        self.tally = Tally(unwritten=ledger.unwritten)

    def tasks(self, items: Items) -> Iterator[Task]:
        """Yield the tasks; each item is examined when the pool has room for it."""
        for item in items:
            if item.label is not None:
                self.tally.labels[item.index] = item.label
            task = self._task(item)
            if task is not None:
                yield task

    def _task(self, item: Item) -> Task | None:
        try:
            ready = item.ready()
        except Exception as exc:  # noqa: BLE001 - a foreign object's methods may raise anything
            ready = ReadyItem(
                f"{item.label_or_index}-unread", "image", f"image {item.label_or_index}", "", is_file=False
            )
            self._under_way[ready.item] = [item.index]
            own = isinstance(exc, ImageVariationError)
            error = str(exc) if own else f"{type(exc).__name__}: {exc}"
            self.end(Task(ready, self._request, self._folder), Outcome(failure(ready, error)))
            return None
        if ready.item in self._under_way:
            self._under_way[ready.item].append(item.index)
            return None
        self._under_way[ready.item] = [item.index]
        return Task(ready, self._request, self._folder, self._known(ready.item))

    def _known(self, item: str) -> dict[str, Any] | None:
        """Return an item's record if the same request finished it, else None."""
        offset = self._ledger.offset(item)
        if offset is None or 0 <= offset < self._first_offset:
            return None
        record = self._ledger.at(offset) or {}
        same = _comparable(record.get("request")) == _comparable(self._settings)
        return record if same and record.get("status") == "done" else None

    def end(self, task: Task, outcome: Outcome) -> None:
        """Record how an item ended."""
        record, item = outcome.record, task.ready.item
        status = record["status"]
        # A skipped item has its record from the earlier run.
        offset = self._ledger.offset(item) if status == "skipped" else None
        if offset is None:
            offset = self._ledger.add({**record, "request": self._settings})
            self.tally.add_usage(record["usage"])
        if status == "failed":
            _log.info("%s failed: %s", plain(record["source"]), record["error"])
        first, *again = self._under_way.pop(item)
        self.tally.set(first, offset, status)
        for index in again:
            self.tally.set(index, offset, "failed" if status == "failed" else "skipped")


def _settings(engine: Engine, request: VariationRequest) -> dict[str, Any]:
    """Return the request's fields for the ledger: all that affect the pictures, and nothing secret."""
    settings = {"engine": engine.name, "model": engine.model(request), **request.settings()}
    settings["model"] = engine.model(request)
    if request.mask is not None:
        settings["mask_sha256"] = request.mask.sha256
    if request.extra_query or request.extra_body:
        # They may hold a secret, so the ledger has only their hash, by which a change is noticed.
        extra = json.dumps([request.extra_query, request.extra_body], sort_keys=True, default=str)
        settings["extra_sha256"] = hashlib.sha256(extra.encode()).hexdigest()[:_EXTRA_HASH_DIGITS]
    server = engine.capabilities(request.model).destination
    if server is not None:
        settings["server"] = server
    return settings


def _comparable(settings: Any) -> str:
    if not isinstance(settings, dict):  # A ledger may hold anything.
        return ""
    relevant = {name: value for name, value in settings.items() if name not in _NOT_COMPARED}
    return json.dumps(relevant, sort_keys=True, default=str)


class _Progress:
    """A bar with rate, failures and time left, the engine's current step, and the caller's own listener."""

    def __init__(
        self,
        items: Items,
        listener: Listener,
        tally: Tally,
        bar: bool | None,  # noqa: FBT001
        reports: Reports,
    ) -> None:
        self._tally = tally
        self._reports = reports
        self._on_progress, self._on_notice = listener.on_progress, listener.on_notice
        self._shown, self._doing = 0, ""
        self._refreshed = 0.0
        file = _bar_file(bar)
        self._total = items.count() if file is not None or listener.on_progress is not None else None
        self._bar: Any = None
        if file is not None or listener.on_progress is not None:
            from tqdm.std import tqdm

            # Where no bar is shown, tqdm still computes the rate and the time left for the listener.
            self._bar = tqdm(total=self._total, unit="image", file=file or io.StringIO(), dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def show(self, *, stopping: bool) -> None:
        """Show how far the run is; called a few times a second."""
        counts = {status: self._tally.count(status) for status in STATUSES}
        ended = sum(counts.values())
        text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        if stopping:
            text = f"finishing what is under way; {text}"
        if self._on_notice is not None:
            for line in self._reports.notices():
                self._on_notice(line)
        doing = self._reports.doing
        if self._bar is not None:
            self._bar.set_postfix_str("; ".join(filter(None, [text, doing])), refresh=False)
            if ended > self._shown:
                self._bar.update(ended - self._shown)
            if time.monotonic() - self._refreshed > _REFRESH_S:  # The clock moves on while no item ends.
                self._refreshed = time.monotonic()
                self._bar.refresh()
        if self._on_progress is not None and (ended > self._shown or doing != self._doing):
            done = [text + self._pace(ended)] if ended else []
            share = min(1.0, ended / self._total) if self._total else 0.0
            self._on_progress(share, "; ".join([*done, *filter(None, [doing])]))
        self._shown, self._doing = ended, doing

    def _pace(self, ended: int) -> str:
        """Return rate and time left, as far as they are known."""
        facts = self._bar.format_dict
        rate = facts["rate"] or ended / max(facts["elapsed"], _LEAST_ELAPSED_S)
        if not self._total:
            return f" · {rate:.1f} images/s"
        left = self._bar.format_interval((self._total - ended) / rate)
        return f" · {rate:.1f} images/s · {left} left"

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar_file(wanted: bool | None) -> IO[str] | None:  # noqa: FBT001
    """Return the stream for a bar, or None: stdout in a notebook, which shows stderr in red; a terminal's stderr."""
    in_kernel = type(sys.stdout).__module__.startswith("ipykernel")
    if wanted is False or (wanted is None and not in_kernel and not sys.stderr.isatty()):
        return None
    return sys.stdout if in_kernel else sys.stderr


@contextmanager
def _held_interrupts(pool: Pool) -> Iterator[None]:
    """Let a first interrupt finish the tasks under way, and a second one give them up."""
    if threading.current_thread() is not threading.main_thread():
        # Python takes signal handlers in the main thread only.
        yield
        return

    def hold(signum: int, frame: object) -> None:  # noqa: ARG001 - a handler's signature
        if pool.interrupted:
            pool.abandon.set()
        pool.interrupted = True

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
