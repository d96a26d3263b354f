"""One run in batches, from images to its result; it may take several processes, of which each goes on from the last."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.batches import TakesBatches
from ipy_imgvar.bulk.batches.progress import Progress
from ipy_imgvar.bulk.batches.state import State
from ipy_imgvar.bulk.batches.steps import Setting, Steps
from ipy_imgvar.bulk.batches.uploads import Pace
from ipy_imgvar.bulk.comparison import comparable, settings_of
from ipy_imgvar.bulk.items import Items
from ipy_imgvar.bulk.parts import open_ledger
from ipy_imgvar.bulk.result import BulkResult
from ipy_imgvar.bulk.run import lost_lock, sweep, tell, write_pages
from ipy_imgvar.bulk.work import new_retries
from ipy_imgvar.engine import Job, Listener
from ipy_imgvar.engines import OFFLINE
from ipy_imgvar.errors import CancelledError, ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import one_line
from ipy_imgvar.request import refuse_beside
from ipy_imgvar.storage.folder import open_folder

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from ipy_imgvar.batches import BatchService
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.storage.folder import Folder

__all__ = ["run", "service_of"]

#: Hexadecimal digits of the settings' hash: 64 bits, which tell any two requests apart.
_HASH_DIGITS: Final = 16
#: Why the engine may be one that nobody chose.
_NO_KEY: Final = " (it is the default where no key or base is set: set OPENAI_API_KEY, or give api_base)"


def run(
    engine: Engine,
    request: VariationRequest,
    images: Any,
    *,
    out_dir: str | Path,
    executor: object = None,
    max_workers: object = None,
    resume: bool = True,
    listener: Listener | None = None,
    bar: bool | None = None,
    cancel: threading.Event | None = None,
    pace: Pace | None = None,
) -> BulkResult:
    """Make variations of many images in batches; see `Client.map`, which has checked the request.

    Parameters
    ----------
    engine, request, images, out_dir, resume, listener, bar, cancel
        See `bulk.run.run`; `executor` and `max_workers` are refused.
    pace
        The waits; None for those that suit a server on the net.

    Raises
    ------
    InvalidRequestError
        If the engine, its server or the request takes no batches, or other settings are under way; nothing was sent.
    EngineError
        If the server refuses a batch or the key, or is gone for long. What is under way stays so, and the same again
        goes on.
    """
    refuse_beside("batch", "in a batch, the server does the work", executor=executor, max_workers=max_workers)
    listener, pace = listener or Listener(), pace or Pace()
    folder = open_folder(out_dir)
    folder.check()
    items = Items(images, folder.address)
    job = Job(listener=Listener(on_notice=listener.on_notice), cancel=cancel)
    service = service_of(engine, request, job, pace)
    service.check()
    new_retries()  # Those of an earlier run are not told again.
    ledger = open_ledger(folder, listener.on_notice)
    started = time.monotonic()
    try:
        state = State(folder)
        settings = _hash(engine, request)
        _refuse_others(state, settings, folder)
        sweep(folder)
        job.announce(f"the images go to {_destination(service)}, what comes back to {folder.address}")
        setting = Setting(engine, request, service, folder, ledger, state, settings, job, pace)
        with Progress(state, listener, bar) as progress:
            steps = Steps(setting, items, progress, resume=resume)
            failure = _done(steps)
        result, notes = _result(setting, steps, time.monotonic() - started)
    finally:
        ledger.close()
    tell(result, notes, listener)
    if failure is not None:
        raise _told(failure, result, state)
    return result


def service_of(engine: Engine, request: VariationRequest, job: Job, pace: Pace) -> BatchService:
    """Return the batches of an engine's server.

    Raises
    ------
    InvalidRequestError
        If the engine takes none.
    """
    if not isinstance(engine, TakesBatches):
        raise InvalidRequestError(
            f"the engine {engine.name} takes no batches; leave batch out, or choose an engine whose server does"
            + _NO_KEY * (engine.name == OFFLINE),
            field="batch",
        )
    return engine.batches(request, job, pace=pace.retry)


def _destination(service: BatchService) -> str:
    """Return where the images go, and at what price where that is known."""
    return ", ".join(filter(None, [service.destination, service.price]))


def _hash(engine: Engine, request: VariationRequest) -> str:
    """Return a hash of the settings that affect the pictures."""
    return hashlib.sha256(comparable(settings_of(engine, request)).encode()).hexdigest()[:_HASH_DIGITS]


def _refuse_others(state: State, settings: str, folder: Folder) -> None:
    """Raise where batches of other settings are under way: their answers would be recorded as those of these."""
    if any(each.settings != settings for each in state.open()):
        raise InvalidRequestError(
            f"batches with other settings are under way in {folder.address}; say the same settings as before, or "
            "cancel them (imgvar bulk --batch --cancel), or choose another out_dir",
            field="out_dir",
        )


def _done(steps: Steps) -> BaseException | None:
    """Run the steps, and return what ended them early: what is fetched until then is shown first."""
    try:
        steps.run()
    except (KeyboardInterrupt, ImageVariationError) as exc:
        return exc
    except OSError as exc:
        failure = ImageVariationError(f"the system refused a step of the run ({one_line(str(exc))})")
        failure.__cause__ = exc
        return failure
    return None


def _result(setting: Setting, steps: Steps, elapsed_s: float) -> tuple[BulkResult, list[str]]:
    """Return the result, whose pages are written, and notes on it."""
    tally, ledger = steps.agenda.tally, setting.ledger
    tally.elapsed, tally.spool = elapsed_s, ledger.spool
    result = BulkResult(setting.folder.address, tally)
    notes = [*steps.answers.notes, *ledger.finish()]
    notes += write_pages(result) if lost_lock(ledger) is None else []  # The other run writes them.
    tally.retried += new_retries()
    return result, notes


def _told(failure: BaseException, result: BulkResult, state: State) -> BaseException:
    """Return what ended a run early, with what goes on without it."""
    under_way = sum(each.step == "created" for each in state.open())
    text = f"{result.summary()}; "
    if under_way:
        text += (
            f"{under_way} batch{'es go' if under_way > 1 else ' goes'} on at the server: the same again fetches what "
            f"is finished, and imgvar bulk --batch --status --out-dir {result.out_dir} shows how far they are "
            "(--cancel ends them)"
        )
    else:
        text += "the same again goes on from there"
    if isinstance(failure, KeyboardInterrupt):
        return KeyboardInterrupt(f"interrupted: {text}")
    if isinstance(failure, CancelledError):
        return CancelledError(f"the run was cancelled: {text}")
    if isinstance(failure, ImageVariationError) and not isinstance(failure, InvalidRequestError):
        failure.args = (f"{failure}; {text}",)
    return failure
