"""One bulk run from its images to its result: what it skips, its records, its progress and its interrupts."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from ipy_imgvar.bulk import page
from ipy_imgvar.bulk.agenda import Agenda
from ipy_imgvar.bulk.items import Items
from ipy_imgvar.bulk.parts import ObjectLedger, open_ledger
from ipy_imgvar.bulk.pool import Pool
from ipy_imgvar.bulk.reports import Reports
from ipy_imgvar.bulk.result import STATUSES, BulkResult, Tally
from ipy_imgvar.bulk.total import Total
from ipy_imgvar.bulk.work import SOURCES, new_retries
from ipy_imgvar.bulk.workers import choose_workers
from ipy_imgvar.engine import Listener
from ipy_imgvar.errors import CancelledError, EngineError, ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import plain
from ipy_imgvar.storage.addresses import protocol_of, shown_address
from ipy_imgvar.storage.disk import HALF_SUFFIX
from ipy_imgvar.storage.folder import open_folder
from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from ipy_imgvar.bulk.ledger import Records
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.engines import EngineSpec
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.storage.folder import Folder

__all__ = ["bar_file", "run", "sweep", "tell", "write_pages"]

_log = logging.getLogger("ipy_imgvar")
#: Seconds between two refreshes of the bar while no item ends, so that its clock moves on.
_REFRESH_S: Final = 1.0
#: The least time that a rate divides by, in seconds: the first item may end within the clock's resolution.
_LEAST_ELAPSED_S: Final = 1e-3


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
    sent, and lines about a disk without room or an object store that fails.
    """
    listener = listener or Listener()
    folder = open_folder(out_dir)
    folder.check()
    items = Items(images, folder.address)
    spec = _spec_for(spec, executor, images, folder)
    workers = choose_workers(engine, executor, max_workers, request.timeout, spec=spec, model=request.model)
    reports = Reports()
    if engine.capabilities(request.model).parallel == "one":
        workers = replace(workers, listener=reports.listener)
    new_retries()  # Those of an earlier run are not told again.
    ledger = open_ledger(folder, listener.on_notice)
    started = time.monotonic()
    try:
        sweep(folder)
        _announce(engine, request, folder, listener)
        pool = Pool(workers, max_retry_count, cancel, listener.on_notice, partial(lost_lock, ledger))
        # The engine tries once, since the pool schedules the retries.
        work = Agenda(engine, replace(request, max_retry_count=0), ledger, folder, resume=resume)
        with _Progress(items, listener, work.tally, bar, reports) as progress, _held_interrupts(pool):
            failure = _run_all(pool, work, items, progress)
        sweep(folder)
        work.tally.elapsed = time.monotonic() - started
        work.tally.spool = ledger.spool
        result = BulkResult(folder.address, work.tally)
        notes = ledger.finish()
        lost = lost_lock(ledger)
        notes += write_pages(result) if lost is None else []  # The other run writes them.
    finally:
        ledger.close()
    work.tally.retried += new_retries()
    tell(result, notes, listener)
    if failure is not None:
        raise failure
    _raise_if_stopped(result, pool, cancel, lost)
    return result


def _spec_for(
    spec: EngineSpec | None, executor: Executor | None, images: Any, folder: Folder
) -> EngineSpec | None:
    """Return the spec for other processes, or None where they can't see the images or the folder, so threads work."""
    addresses = (folder.address, images if isinstance(images, str) else "")
    private = next((each for each in addresses if protocol_of(each) == "memory"), None)
    if private is None or isinstance(executor, ThreadPoolExecutor):
        return spec
    if executor is not None:
        raise InvalidRequestError(
            f"{shown_address(private)} is in the memory of this process, and the executor's workers may be others; "
            "leave executor out, or give a folder or a bucket",
            field="executor",
        )
    return None


def sweep(folder: Folder) -> None:
    """Remove the half-written files of killed processes; the ledger's lock keeps other writers out."""
    if not folder.is_local:
        _sweep_objects(folder)
        return
    path = Path(folder.address)
    for each in (path, path / SOURCES):
        for half in each.glob(f".*{HALF_SUFFIX}"):
            with contextlib.suppress(OSError):
                half.unlink()


def _sweep_objects(folder: Folder) -> None:
    """Remove what a killed run left of its check, and the half files of a server that has no objects, such as SFTP."""
    with contextlib.suppress(ImageVariationError):
        for below in ("", f"{SOURCES}/"):
            names = [each.address.rpartition("/")[2] for each in folder.names(f"{below}.")]
            ours = [name for name in names if name.startswith(".probe-") or name.endswith(HALF_SUFFIX)]
            folder.remove(below + name for name in ours)


def _announce(engine: Engine, request: VariationRequest, folder: Folder, listener: Listener) -> None:
    """Name the server before any image is sent, once for the whole run."""
    server = engine.capabilities(request.model).destination
    if server is None:
        return
    line = plain(
        f"the images go to {server} (model {engine.model(request)}), what comes back to {folder.address}"
    )
    _log.info("%s", line)
    if listener.on_notice is not None:
        listener.on_notice(line)


def _run_all(pool: Pool, work: Agenda, items: Items, progress: _Progress) -> Exception | None:
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


def write_pages(result: BulkResult) -> list[str]:
    """Write the pages, and return a note where one can't be written."""
    try:
        page.write_pages(result)
    except ImageVariationError as exc:
        return [str(exc)]
    except Exception as exc:  # noqa: BLE001 - the pictures and the ledger are written; a page can't fail the run
        return [f"{result.page} can't be written ({exc})"]
    return []


def tell(result: BulkResult, notes: list[str], listener: Listener) -> None:
    """Say how a run ended, and the notes on it."""
    _log.info("%s", result.summary())
    if result.retried:
        notes.append(f"{result.retried:,} requests to object stores were tried again")
    for line in map(plain, notes):
        (listener.on_notice or _log.warning)(line)


def lost_lock(ledger: Records) -> str | None:
    """Return a line that says that another run took over the folder, or None; the disk's lock can't be taken."""
    return ledger.lost() if isinstance(ledger, ObjectLedger) else None


def _raise_if_stopped(
    result: BulkResult, pool: Pool, cancel: threading.Event | None, lost: str | None
) -> None:
    text = (
        f"{result.summary()}; what was finished is in {result.out_dir}, and the same again goes on from there"
    )
    if pool.interrupted:
        raise KeyboardInterrupt(f"interrupted: {text}")
    if lost is not None:
        raise EngineError(f"{lost}: {result.summary()}")
    if cancel is not None and cancel.is_set():
        raise CancelledError(f"the run was cancelled: {text}")


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
        file = bar_file(bar)
        self._counted = Total(items) if file is not None or listener.on_progress is not None else None
        self._bar: Any = None
        if file is not None or listener.on_progress is not None:
            from tqdm.std import tqdm

            if in_browser():
                tqdm.monitor_interval = 0  # Its monitor is a thread, and it warns where it can start none.
            # Where no bar is shown, tqdm still computes the rate and the time left for the listener.
            self._bar = tqdm(total=self._total, unit="image", file=file or io.StringIO(), dynamic_ncols=True)

    @property
    def _total(self) -> int | None:
        """How many images there are, if that is known by now."""
        if self._tally.found is not None:
            return self._tally.found
        return None if self._counted is None else self._counted.value

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
        total = self._total
        if self._bar is not None:
            self._bar.total = total
            self._bar.set_postfix_str("; ".join(filter(None, [text, doing])), refresh=False)
            if ended > self._shown:
                self._bar.update(ended - self._shown)
            if time.monotonic() - self._refreshed > _REFRESH_S:  # The clock moves on while no item ends.
                self._refreshed = time.monotonic()
                self._bar.refresh()
        if self._on_progress is not None and (ended > self._shown or doing != self._doing):
            done = [text + self._pace(ended)] if ended else []
            share = min(1.0, ended / total) if total else 0.0
            self._on_progress(share, "; ".join([*done, *filter(None, [doing])]))
        self._shown, self._doing = ended, doing

    def _pace(self, ended: int) -> str:
        """Return rate and time left, as far as they are known."""
        facts = self._bar.format_dict
        rate = facts["rate"] or ended / max(facts["elapsed"], _LEAST_ELAPSED_S)
        if not self._bar.total:
            return f" · {rate:.1f} images/s"
        left = self._bar.format_interval(max(0, self._bar.total - ended) / rate)
        return f" · {rate:.1f} images/s · {left} left"

    def __exit__(self, *exc_info: object) -> None:
        if self._counted is not None:
            self._counted.close()
        if self._bar is not None:
            self._bar.close()


def bar_file(wanted: bool | None) -> IO[str] | None:  # noqa: FBT001
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
