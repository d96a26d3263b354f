"""From lines to batches: lines become files within the server's limits, and each file one batch, never two.

A call whose answer is lost may have done its work. So before it is repeated, in this process or in the next one, the
server is asked for a file of that name, or a batch with that metadata.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, TypeVar

from ipy_imgvar.bulk.batches.spool import in_words, open_spool
from ipy_imgvar.bulk.batches.state import Chunk
from ipy_imgvar.errors import (
    APIStatusError,
    BadResponseError,
    ConnectionFailedError,
    EngineError,
    InvalidImageError,
)
from ipy_imgvar.network.backoff import backoff_s, jitter
from ipy_imgvar.plain import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipy_imgvar.batches import Batch, BatchService
    from ipy_imgvar.bulk.batches.state import PlannedLine, State
    from ipy_imgvar.storage.folder import Folder

__all__ = ["Pace", "Uploads", "may_pass"]

T = TypeVar("T")
#: Tries of a call after the first, where the caller allows fewer: with the waits between them about half a minute.
_LEAST_RETRIES: Final = 5
#: Seconds before each look for a batch whose creation is in doubt, times `Pace.retry`: a list may be late.
_LOOKS_S: Final = (0.0, 10.0, 20.0)
#: Polls at which a batch that was created in doubt is checked for a twin: about a minute.
_TWIN_LOOKS: Final = 5
#: The status of a call that the server did not act on, and those that may say that the file is gone.
_NOT_ACTED: Final = 429
_GONE: Final = (400, 404)
#: Hexadecimal digits of a file's hash in its name and in a batch's metadata: 48 bits.
_HASH_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Pace:
    """The waits of a run.

    Parameters
    ----------
    first_s, longest_s
        Seconds between two looks at the batches: at first, and at most. A batch takes minutes to hours.
    growth
        The factor from one such wait to the next.
    patience_s
        Seconds for which the server may fail to answer before the run gives up; the batches go on meanwhile.
    retry
        The factor of the waits before a call is repeated, where the server names none.
    """

    first_s: float = 5.0
    longest_s: float = 120.0
    growth: float = 1.5
    patience_s: float = 3600.0
    retry: float = 1.0


def may_pass(exc: EngineError) -> bool:
    """Return whether a call that failed so may succeed later: it got no answer, a broken one, or a 429 or 5xx."""
    if isinstance(exc, APIStatusError):
        return exc.retry_after_s is not None
    return isinstance(exc, (ConnectionFailedError, BadResponseError))


class Uploads:
    """Collects lines, and begins a batch whenever a file is full.

    Parameters
    ----------
    service, state
        The server's batches, and what is known of ours.
    folder
        Where the lines wait on the disk, if it is local.
    settings
        The hash of the settings that all lines share.
    retries
        How often a call that may pass is repeated.
    pause
        Waits for some seconds, with the reason in words; raises when the run should stop.
    begun
        Is called with each chunk whose batch was made.
    """

    def __init__(
        self,
        service: BatchService,
        state: State,
        folder: Folder,
        *,
        settings: str,
        retries: int,
        pause: Callable[[float, str], None],
        pace: Pace,
        begun: Callable[[Chunk], None],
    ) -> None:
        self._service, self._state, self._settings = service, state, settings
        self._tries, self._pause, self._pace = 1 + max(retries, _LEAST_RETRIES), pause, pace
        self._begun, self._folder = begun, folder
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._lines: list[PlannedLine] = []
        self._is_probed = False
        #: Lines for a person about files that stay at the server.
        self.notes: list[str] = []
        #: How often each chunk that was created in doubt was checked for a twin, by its number.
        self._twin_looks: Counter[int] = Counter()

    def refuse_long(self, data: bytes) -> None:
        """Raise `InvalidImageError` for a line that is longer than a file may be."""
        most = self._service.limits.bytes
        if len(data) > most:
            raise InvalidImageError(
                f"its line has {size_text(len(data))}; allowed: {size_text(most)}, the most of a batch; reduce the "
                "image first"
            )

    def add(self, line: PlannedLine, data: bytes) -> None:
        """Add a line, and begin a batch of those before it where there is no room for it."""
        if not self._is_probed:
            self._service.probe()
            self._is_probed = True
        limits = self._service.limits
        if len(self._lines) >= limits.lines or self._size + len(data) > limits.bytes:
            self.flush()
        with in_words(self._folder):
            if self._file is None:
                self._file = open_spool(self._folder)
            self._file.write(data)
        self._hash.update(data)
        self._size += len(data)
        self._lines.append(line)

    def flush(self) -> None:
        """Begin a batch of the lines that were added; none where the owner has cancelled meanwhile."""
        if self._file is None:
            return
        digest, file, size, lines = self._hash.hexdigest(), self._file, self._size, self._lines
        self._file, self._hash, self._size, self._lines = None, hashlib.sha256(), 0, []
        self._state.catch_up()
        with in_words(self._folder), file:
            file.flush()
            if self._state.is_cancelled:
                return
            number = self._state.next_number()
            name = f"imgvar-{self._state.run}-{number}-{digest[:_HASH_DIGITS]}.jsonl"
            planned = Chunk(number, name, digest, len(lines), size, self._settings)
            chunk = self._state.plan(planned, lines)
            file_id = self._once(
                lambda: self._service.upload(name, file, size), lambda: self._service.find_file(name)
            )
        self.begin(self._state.step(chunk, "uploaded", file=file_id))

    def close(self) -> None:
        """Drop the lines of a file that was not begun."""
        if self._file is not None:
            with suppress(OSError):  # What a full disk did not take.
                self._file.close()
            self._file = None

    def begin(self, chunk: Chunk) -> Chunk:
        """Begin the batch of an uploaded file; a batch that the server has of it already is taken."""
        metadata, file_id = self._metadata(chunk), chunk.file or ""
        in_doubt = chunk.step == "asking"
        batch = self._looked(metadata) if in_doubt else None
        if batch is None:
            self._state.catch_up()
            if self._state.is_cancelled:
                return self.drop(chunk)
            # Before the call: a process that is killed during it leaves a note that a batch may exist.
            chunk = self._state.step(chunk, "asking")

            def find() -> Batch | None:
                nonlocal in_doubt
                in_doubt = True
                return self._looked(metadata)

            try:
                batch = self._once(lambda: self._service.create(file_id, metadata), find)
            except EngineError as exc:
                if not may_pass(exc) and not in_doubt:  # Refused, so there is none.
                    self._state.step(chunk, "uploaded")
                raise
        return self._created(chunk, batch, in_doubt=in_doubt)

    def _created(self, chunk: Chunk, batch: Batch, *, in_doubt: bool) -> Chunk:
        """Note a chunk's batch, and end it where the owner has cancelled meanwhile."""
        chunk = self._state.step(chunk, "created", batch=batch.id, in_doubt=in_doubt)
        self._begun(chunk)
        self._state.catch_up()
        if self._state.is_cancelled and not batch.is_ended and not batch.is_cancelled:
            self._service.cancel(batch.id)
        return chunk

    def recover(self, chunk: Chunk) -> None:
        """Find out what the server did for a chunk of an earlier process, and do what is missing.

        A file that was not uploaded whole, or has expired, is gone, so its images are planned anew.
        """
        if chunk.step == "planned":
            file_id = self._service.find_file(chunk.name)
            if file_id is None:
                self.drop(chunk)
                return
            chunk = self._state.step(chunk, "uploaded", file=file_id)
        if chunk.step == "uploaded" and (batch := self._found(self._metadata(chunk))) is not None:
            # A log of an older version has no note before the call.
            self._created(chunk, batch, in_doubt=True)
        elif chunk.step in ("uploaded", "asking"):
            try:
                self.begin(chunk)
            except APIStatusError as exc:
                if exc.status not in _GONE or self._service.find_file(chunk.name) is not None:
                    raise
                self.drop(self._state.chunks[chunk.number])

    def end_twin(self, chunk: Chunk) -> Chunk:
        """Look whether a batch that was created in doubt has a twin, and end the later one of the two."""
        if not chunk.in_doubt or self._twin_looks[chunk.number] >= _TWIN_LOOKS:
            return chunk
        self._twin_looks[chunk.number] += 1
        found = self._service.find(self._metadata(chunk))
        if len(found) < 2:  # noqa: PLR2004 - a pair
            return chunk
        kept = self._chosen(found)
        return self._state.step(chunk, "created", batch=kept.id, in_doubt=False)

    def drop(self, chunk: Chunk) -> Chunk:
        """Give up a chunk of which nothing was made, and remove its file at the server."""
        if chunk.file is not None:
            self.remove([chunk.file], f"the file {chunk.name} stays")
        again = [line.key for line in self._state.lines(chunk) if line.tries > 1]
        return self._state.step(chunk, "dropped", again=again)

    def remove(self, files: Iterable[str], what: str) -> None:
        """Remove files at the server; where the key may not do that, a note says what stays."""
        try:
            self._service.delete(files)
        except EngineError as exc:
            if may_pass(exc):
                raise
            self.notes.append(f"{what} at the server ({exc})")

    def _metadata(self, chunk: Chunk) -> dict[str, str]:
        """Return what tells a batch from all others of the account; it says nothing of images or people."""
        return {
            "imgvar_run": self._state.run,
            "imgvar_chunk": str(chunk.number),
            "imgvar_try": str(chunk.tries),
            "imgvar_sha256": chunk.sha256[:_HASH_DIGITS],
        }

    def _looked(self, metadata: dict[str, str]) -> Batch | None:
        """Return the batch with this metadata; looks several times, since the server's list may be late."""
        for seconds in _LOOKS_S:
            if seconds:
                self._pause(seconds * self._pace.retry, "looking for a batch that may have been made")
            if (batch := self._found(metadata)) is not None:
                return batch
        return None

    def _found(self, metadata: dict[str, str]) -> Batch | None:
        """Return the batch with this metadata, and end any other one with it, which would be paid for twice."""
        found = self._service.find(metadata)
        return self._chosen(found) if found else None

    def _chosen(self, found: list[Batch]) -> Batch:
        """Return the oldest batch that goes on or has ended well, else the oldest one, and end the others."""
        kept = next((each for each in found if not each.is_cancelled and not each.is_refused), found[0])
        for other in found:
            is_unwanted = other.id != kept.id or self._state.is_cancelled
            if is_unwanted and not other.is_ended and not other.is_cancelled:
                self._service.cancel(other.id)
        return kept

    def _once(self, post: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Do what changes the server once: after a failure, look for it before it is done again."""
        for attempt in range(self._tries - 1):
            try:
                return post()
            except EngineError as exc:
                if not may_pass(exc):
                    raise
                asked_s = exc.retry_after_s if isinstance(exc, APIStatusError) else None
                pause_s = asked_s or backoff_s(attempt, jitter(), self._pace.longest_s) * self._pace.retry
                self._pause(pause_s, f"{exc}; try {attempt + 2} of {self._tries}")
                if isinstance(exc, APIStatusError) and exc.status == _NOT_ACTED:
                    continue
            if (found := find()) is not None:
                return found
        return post()
