"""How far a folder's batches are, and their end before their time; with or without a run that waits for them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.batches.run import service_of
from ipy_imgvar.bulk.batches.state import State
from ipy_imgvar.bulk.batches.uploads import Pace
from ipy_imgvar.engine import Job
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.plain import plain
from ipy_imgvar.storage.folder import open_folder

if TYPE_CHECKING:
    from pathlib import Path

    from ipy_imgvar.batches import Batch, BatchService
    from ipy_imgvar.bulk.batches.state import Chunk
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.request import VariationRequest

__all__ = ["BatchReport", "cancel", "status"]

#: What a chunk without a batch at the server is called.
_UNBEGUN: Final = "not begun"


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How far one batch is.

    Parameters
    ----------
    number
        Its number in the folder, from 1.
    id
        The server's name for it; None where none was begun.
    status
        The server's word, such as "in_progress".
    images, completed, failed
        The images in it; those of them with pictures, and those without, as the server counts.
    age_s
        Seconds since it was begun; None where only the server knew.
    is_fetched
        Whether its answers are in the folder.
    """

    number: int
    id: str | None
    status: str
    images: int
    completed: int
    failed: int
    age_s: float | None
    is_fetched: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-safe."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"{self.number}  {self.id or '-'}",
            self.status,
            f"{self.completed:,} of {self.images:,} images made"
            + (f", {self.failed:,} failed" * bool(self.failed)),
            "" if self.age_s is None else f"{_duration(self.age_s)} old",
            "fetched" if self.is_fetched else "not fetched yet",
        ]
        return plain("  ".join(filter(None, parts)))


def status(engine: Engine, request: VariationRequest, out_dir: str | Path) -> list[BatchReport]:
    """Return how far each batch of a folder is; asks the server about those that are not fetched, changes nothing.

    Parameters
    ----------
    engine
        The engine whose server has them.
    request
        Its timeout, retries and headers are those of the calls.
    out_dir
        The folder of the run.

    Raises
    ------
    InvalidRequestError
        If the folder has no batches, or the engine takes none.
    EngineError
        If the server does not answer, or refuses the key.
    """
    state, service = _opened(engine, request, out_dir)
    return [_report(each, service) for each in state.chunks.values() if each.step != "dropped"]


def cancel(engine: Engine, request: VariationRequest, out_dir: str | Path) -> list[BatchReport]:
    """End the batches of a folder that are under way, and return how far each is; see `status`.

    The next run fetches what they had finished.
    """
    state, service = _opened(engine, request, out_dir)
    if state.open():
        state.cancel()
        # By their metadata, since a process that was killed may have begun one that it did not note.
        for each in service.find({"imgvar_run": state.run}):
            if not each.is_ended and not each.is_cancelled:
                service.cancel(each.id)
    return [_report(each, service) for each in state.chunks.values() if each.step != "dropped"]


def _opened(engine: Engine, request: VariationRequest, out_dir: str | Path) -> tuple[State, BatchService]:
    folder = open_folder(out_dir)
    service = service_of(engine, request, Job(), Pace())
    state = State(folder)
    if not state.chunks:
        raise InvalidRequestError(
            f"{folder.address} has no batches; give the out_dir of a run with batch", field="out_dir"
        )
    return state, service


def _report(chunk: Chunk, service: BatchService) -> BatchReport:
    is_fetched = chunk.step in ("fetched", "done")
    batch: Batch | None = None
    if not is_fetched and chunk.batch is not None:
        batch = service.get(chunk.batch)
    created = None if batch is None else batch.created_at
    return BatchReport(
        number=chunk.number,
        id=chunk.batch,
        status=(chunk.status or _UNBEGUN) if batch is None else batch.status,
        images=chunk.lines,
        completed=chunk.completed if batch is None else batch.completed,
        failed=chunk.failed if batch is None else batch.failed,
        age_s=None if created is None else max(0.0, time.time() - created),
        is_fetched=is_fetched,
    )


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"  # noqa: PLR2004 - an hour
