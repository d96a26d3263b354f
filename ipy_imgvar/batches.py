"""The protocol between a bulk run and an engine whose server takes batches: many requests in one file, answered later.

An engine implements `TakesBatches` beside `Engine`. `bulk.batches` decides which images go into which file, and keeps
what must survive a kill; the engine knows the server's addresses and the form of a line. This module imports no engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ipy_imgvar.engine import Engine, Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variation import Variation

__all__ = ["Batch", "BatchLimits", "BatchService", "Reply", "TakesBatches", "for_batches"]

#: How a batch's line ended: with pictures, refused for good, or without an answer that another try may give.
Ending = Literal["answered", "refused", "unanswered"]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The most that one file of requests may have.

    Parameters
    ----------
    lines
        The number of its requests.
    bytes
        Its length in bytes.
    """

    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its server describes it.

    Parameters
    ----------
    id
        The server's name for it.
    status
        The server's word, such as "in_progress".
    is_ended
        It makes nothing further.
    is_whole
        It has ended with an answer to every line.
    is_cancelled
        It was ended, or is being ended, by its owner.
    is_refused
        The server refused the whole file, so it made nothing.
    is_queue_full
        It was refused only because too much waits already: the same file is taken later.
    total, completed, failed
        Lines of its file: all, those with pictures, those without; 0 where the server has not counted yet.
    output_file, error_file
        The server's ids of the files with answers; None where there is none.
    errors
        Why it was refused, one line each.
    created_at
        Unix time in seconds, or None.
    metadata
        What `BatchService.create` sent with it.
    """

    id: str
    status: str
    is_ended: bool = False
    is_whole: bool = False
    is_cancelled: bool = False
    is_refused: bool = False
    is_queue_full: bool = False
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file: str | None = None
    error_file: str | None = None
    errors: tuple[str, ...] = ()
    created_at: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one line.

    Parameters
    ----------
    key
        The line's key; "" for text that is no answer, such as the half of one.
    ending
        How the line ended.
    problem
        Why there are no pictures, in one line; "" where there are.
    answer
        What `BatchService.pictures` reads, in a form of the engine's own.
    """

    key: str
    ending: Ending
    problem: str = ""
    answer: Any = field(default=None, repr=False)


class BatchService(Protocol):
    """A server's batches, for the lines of one bulk run.

    Reads are tried again by the service itself. `upload` and `create` are tried once: after a lost answer, the caller
    looks with `find_file` or `find` for what the server did, and only then tries again.

    Attributes
    ----------
    destination
        The server's name and port, and the model, for messages.
    price
        What a batch costs, in words that follow a comma, such as "at half price"; "" where that is not known.
    """

    destination: str
    price: str

    @property
    def limits(self) -> BatchLimits:
        """The most that one file may have."""

    def check(self) -> None:
        """Raise `InvalidRequestError` where the run's requests can't go into a batch; sends nothing."""

    def probe(self) -> None:
        """Ask the server whether it takes batches for the model.

        Raises
        ------
        InvalidRequestError
            If it does not; nothing was sent but the question.
        """

    def line(self, request: VariationRequest, key: str) -> bytes:
        """Return the line of a request with an image, with its line break.

        Raises
        ------
        ImageVariationError
            If the image can't be sent.
        """

    def upload(self, name: str, file: IO[bytes], size: int) -> str:
        """Send a file of lines and return the server's id of it; `size` is its length in bytes."""

    def find_file(self, name: str) -> str | None:
        """Return the id of the file that was uploaded under a name, or None."""

    def create(self, file_id: str, metadata: Mapping[str, str]) -> Batch:
        """Begin a batch of an uploaded file."""

    def find(self, metadata: Mapping[str, str]) -> list[Batch]:
        """Return the batches that were created with this metadata, the oldest first."""

    def get(self, batch_id: str) -> Batch:
        """Return a batch as it is now."""

    def cancel(self, batch_id: str) -> Batch:
        """End a batch; what it finished can still be read."""

    def replies(self, file_id: str, lines: int, file: IO[bytes]) -> Iterator[Reply]:
        """Yield the answers in a file of answers, of at most so many lines; it is first copied into an open file."""

    def pictures(self, reply: Reply, request: VariationRequest, job: Job) -> Iterator[Variation]:
        """Yield the pictures of an answer; `request` is that of its line, and its image is not read.

        Raises
        ------
        EngineError
            If a picture can't be read; the others come first.
        """

    def delete(self, file_ids: Iterable[str]) -> None:
        """Remove files at the server; one that is gone already is no error."""


@runtime_checkable
class TakesBatches(Protocol):
    """The further methods of an `Engine` whose server takes batches."""

    def for_batches(self, request: VariationRequest) -> VariationRequest:
        """Return a request as a batch makes it: what the user left open is chosen so that a batch can have it."""

    def batches(self, request: VariationRequest, job: Job, *, pace: float = 1.0) -> BatchService:
        """Return the server's batches for the lines of a bulk run; sends nothing.

        Parameters
        ----------
        request
            What all lines share, checked, without an image. Its `timeout` and `max_retry_count` hold for each call.
        job
            Says whether to stop.
        pace
            The factor of the waits between tries where the server names none; tests make it small.
        """


def for_batches(engine: Engine, request: VariationRequest) -> VariationRequest:
    """Return a request as an engine's batches make it; unchanged where the engine takes none."""
    return engine.for_batches(request) if isinstance(engine, TakesBatches) else request
