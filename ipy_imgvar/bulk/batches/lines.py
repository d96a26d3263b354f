"""An engine's stand-in that turns a request into its line of a batch: a worker reads and checks the image as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipy_imgvar.bulk.batches.state import PlannedLine, key_of
from ipy_imgvar.bulk.work import work

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ipy_imgvar.batches import BatchService
    from ipy_imgvar.bulk.work import Outcome, Task
    from ipy_imgvar.engine import Capabilities, Engine, Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variation import Variation

__all__ = ["LineMaker", "without_image"]

#: The fields of a worker's record that come from the image alone.
_FACTS: Final = ("sha256", "bytes", "version", "thumbnail")


class LineMaker:
    """Makes the lines of a run; to a worker it is an engine that gives no picture.

    Parameters
    ----------
    engine
        The engine that it stands for: it describes itself and checks requests.
    service
        The server's batches.
    check
        Raises for a line that no batch can hold.
    """

    def __init__(self, engine: Engine, service: BatchService, check: Callable[[bytes], None]) -> None:
        self.name = engine.name
        self._engine, self._service, self._check = engine, service, check
        self._key = ""
        self._data: bytes | None = None

    def make(self, task: Task, tries: int) -> tuple[PlannedLine, bytes] | Outcome:
        """Return the line of a task, or how it ended without one: the image is done already, or can't be sent."""
        ready = task.ready
        self._key, self._data = key_of(ready.item), None
        outcome = work(task, self)
        if self._data is None:
            return outcome
        facts = {name: outcome.record[name] for name in _FACTS if outcome.record.get(name) is not None}
        of_item = (ready.item, ready.stem, ready.source, ready.is_file)
        return PlannedLine(*of_item, facts, tries, task.shares_stem), self._data

    def capabilities(self, model: str | None = None) -> Capabilities:
        """See `engine.Engine`."""
        return self._engine.capabilities(model)

    def check(self, request: VariationRequest) -> None:
        """See `engine.Engine`."""
        self._engine.check(request)

    def model(self, request: VariationRequest) -> str:
        """See `engine.Engine`."""
        return self._engine.model(request)

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:  # noqa: ARG002
        """Take the request, and give no picture."""
        data = self._service.line(request, self._key)
        self._check(data)
        self._data = data
        yield from ()

    def close(self) -> None:
        """See `engine.Engine`."""


def without_image(task: Task) -> Task:
    """Return a task without the bytes of an image in memory: a run may have a hundred thousand."""
    return task if isinstance(task.ready.image, str) else replace(task, ready=replace(task.ready, image=""))
