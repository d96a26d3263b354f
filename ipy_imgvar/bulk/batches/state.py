"""What is known of a run's batches, in `batches.jsonl` beside the ledger: one JSON object a line, only ever appended.

Each step is written before or after the call to the server that it belongs to, so that a process that was killed
between any two steps leaves enough to find out what the server did:

planned
    The lines of one file (a *chunk* of the run), before it is uploaded.
uploaded, created
    The server's ids of the file and of its batch.
asking
    A batch is about to be asked for: after a kill it may exist, or not.
fetched
    All answers are on the ledger; the keys of those lines that may be asked for once more.
done
    The files at the server are removed.
dropped
    The chunk was never asked for, so its images are free for another one.

It holds no key, no picture and no prompt.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.batches.log import Place, open_log
from ipy_imgvar.bulk.items import digest
from ipy_imgvar.results.records import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipy_imgvar.storage.folder import Folder

__all__ = ["Chunk", "PlannedLine", "State", "key_of"]

#: Bytes of an item's hash that make its key: 96 bits, which tell any two items of a run apart.
_KEY_BYTES: Final = 12
#: Bytes of the random name of a run: its files and batches are told from all others of the account by it.
_RUN_BYTES: Final = 8
#: The steps after which nothing of a chunk is left to do.
_CLOSED: Final = ("done", "dropped")
#: The fields of a chunk that its first record has.
_PLANNED: Final = ("number", "name", "sha256", "lines", "bytes", "settings")
#: The fields that a later record may have.
_LATER: Final = ("file", "batch", "in_doubt", "tries", "status", "completed", "failed")
#: A step that a chunk takes after the first one.
_STEPS: Final = ("uploaded", "asking", "created", "fetched", *_CLOSED)


def key_of(item: str) -> str:
    """Return the key of an item's line: a hash of its id, since ids may be paths, and the server need not know them."""
    return digest(item)[:_KEY_BYTES].hex()


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One line of a file of requests: what its answer needs to become a record, without the image.

    Parameters
    ----------
    item, stem, source, is_file
        See `items.ReadyItem`.
    facts
        The fields of its record that are known from the image, such as `sha256`.
    tries
        1, or 2 for a line that had no answer the first time.
    shares_stem
        See `work.Task`.
    """

    item: str
    stem: str
    source: str
    is_file: bool
    facts: dict[str, Any] = field(default_factory=dict, hash=False)
    tries: int = 1
    shares_stem: bool = False

    @property
    def key(self) -> str:
        """The line's key; see `key_of`."""
        return key_of(self.item)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One file of requests, and how far it is.

    Parameters
    ----------
    number
        Its number in the folder, from 1.
    name
        The name under which it is uploaded, which no other file has.
    sha256
        The digest of its content.
    lines, bytes
        Its length.
    settings
        The hash of the settings that all its lines share.
    step
        The last step that it took.
    file, batch
        The server's ids, as far as they are known.
    in_doubt
        Another batch of it may exist, since the answer to the first call was lost.
    tries
        How often a batch of it was begun: again after a refusal because of a full queue.
    status, completed, failed
        The batch's last state and counts, once it was fetched.
    files
        The server's files that are left to remove, once it was fetched.
    at
        Where its lines are in the log.
    """

    number: int
    name: str
    sha256: str
    lines: int
    bytes: int
    settings: str
    step: str = "planned"
    file: str | None = None
    batch: str | None = None
    in_doubt: bool = False
    tries: int = 1
    status: str = ""
    completed: int = 0
    failed: int = 0
    files: tuple[str, ...] = ()
    at: Place = 0

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self.step not in _CLOSED


class State:
    """The chunks of one folder.

    Parameters
    ----------
    folder
        The output folder.

    Raises
    ------
    InvalidRequestError
        If there is a file of the log's name that is not a run's.
    """

    def __init__(self, folder: Folder) -> None:
        self._log = open_log(folder)
        #: The random name of the folder's run, by which its files and batches are told from others of the account.
        self.run = ""
        self.chunks: dict[int, Chunk] = {}
        #: Keys of lines that had no answer at the first try, and have no second one yet.
        self.again: set[str] = set()
        #: For each key of a chunk that is not fetched, the chunk's number.
        self.under_way: dict[str, int] = {}
        #: The owner has cancelled the batches since they were begun.
        self.is_cancelled = False
        for place, record in self._log.read():
            with contextlib.suppress(KeyError, TypeError, ValueError):
                self._take(record, place)

    def open(self) -> list[Chunk]:
        """Return the chunks with something left to do, in their order."""
        return [each for each in self.chunks.values() if each.is_open]

    def lines(self, chunk: Chunk) -> list[PlannedLine]:
        """Return a chunk's lines, which are read from the log."""
        return [PlannedLine(*each) for each in self._log.at(chunk.at)["rows"]]

    def plan(self, chunk: Chunk, lines: list[PlannedLine]) -> Chunk:
        """Note a chunk and its lines before it is uploaded."""
        facts = {name: getattr(chunk, name) for name in _PLANNED}
        rows = [[getattr(each, name) for name in PlannedLine.__dataclass_fields__] for each in lines]
        self._append({"step": "planned", **facts, "rows": rows})
        return self.chunks[chunk.number]

    def step(self, chunk: Chunk, step: str, **facts: Any) -> Chunk:
        """Note the next step of a chunk, with what it brought, and return the chunk as it is now."""
        self._append({"step": step, "number": chunk.number, **facts})
        return self.chunks[chunk.number]

    def catch_up(self) -> None:
        """Take what another process has noted meanwhile, such as that the owner cancels."""
        for place, record in self._log.news():
            if record["step"] in ("cancelled", "settled"):
                self._take(record, place)

    def cancel(self) -> None:
        """Note that the owner cancels the batches."""
        self._append({"step": "cancelled"})

    def settle(self) -> None:
        """Note that what was cancelled is fetched, so that another run may ask again."""
        self._append({"step": "settled"})

    def next_number(self) -> int:
        """Return the number of the next chunk; the first one gives the run its name."""
        if not self.run:
            self._append({"step": "run", "run": secrets.token_hex(_RUN_BYTES)})
        return max(self.chunks, default=0) + 1

    def _append(self, record: dict[str, Any]) -> None:
        self._take(record, self._log.append(record))

    def _take(self, record: dict[str, Any], place: Place) -> None:
        """Bring what is in memory up to date with a record."""
        step, fields = record["step"], Fields(record)
        if step == "run":
            self.run = record["run"]
        elif step in ("cancelled", "settled"):
            self.is_cancelled = step == "cancelled"
        elif step == "planned":
            keys = [key_of(each[0]) for each in record["rows"]]
            chunk = Chunk(**{name: record[name] for name in _PLANNED}, at=place)
            self.chunks[chunk.number] = chunk
            self.under_way.update(dict.fromkeys(keys, chunk.number))
            self.again.difference_update(keys)
        elif step in _STEPS:
            facts: dict[str, Any] = {name: record[name] for name in _LATER if name in record}
            if "files" in record:
                facts["files"] = tuple(fields.texts("files"))
            chunk = replace(self.chunks[record["number"]], step=step, **facts)
            self.chunks[chunk.number] = chunk
            if step in ("fetched", "dropped"):
                self._free(chunk.number, fields.texts("again"))

    def _free(self, number: int, again: Iterable[str]) -> None:
        for key in [key for key, chunk in self.under_way.items() if chunk == number]:
            del self.under_way[key]
        self.again.update(again)
