"""What a bulk run has to do: which items need a task, and how each ended."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.comparison import comparison, settings_of
from ipy_imgvar.bulk.items import Items, ReadyItem, digest
from ipy_imgvar.bulk.known import Known, is_unchanged, kept_of
from ipy_imgvar.bulk.pool import failure
from ipy_imgvar.bulk.result import Tally
from ipy_imgvar.bulk.work import Outcome, Task
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.plain import plain
from ipy_imgvar.systems import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipy_imgvar.bulk.items import Item
    from ipy_imgvar.bulk.ledger import Records
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.storage.folder import Folder

__all__ = ["Agenda"]

_log = logging.getLogger("ipy_imgvar")
#: The fields of a record that say where its image lies; the others are those of the pictures.
_OWN_FIELDS: Final = ("item", "source", "sha256", "bytes", "version", "thumbnail")


class Agenda:
    """Decides which items need a task, and records how each ended."""

    def __init__(
        self, engine: Engine, request: VariationRequest, ledger: Records, folder: Folder, *, resume: bool
    ) -> None:
        self._request = request
        self._ledger = ledger
        self._folder = folder.address
        self._is_local = folder.is_local
        self._settings = settings_of(engine, request)
        # Without `resume`, only the records of this run count.
        first = 0 if resume else ledger.end
        self._known = Known(ledger, folder, comparison(self._settings), first)
        #: The indices of each item under way, by its id; an image that is given twice is done once.
        self._under_way: dict[str, list[int]] = {}
        #: The offsets of records that another item has replaced, by `_short` of their items.
        self._replaced: dict[int, int] = {}
        #: `_short` of the stems so far, where equal images may get different pictures; None where they never do.
        self._stems: set[int] | None = (
            None if "seed" in engine.capabilities(request.model).features else set()
        )
        self.tally = Tally(unwritten=ledger.unwritten)

    def tasks(self, items: Items) -> Iterator[Task]:
        """Yield the tasks; each item is examined when the pool has room for it."""
        found = 0
        for item in items:
            found = item.index + 1
            if item.label is not None:
                self.tally.labels[item.index] = item.label
            task = self._task(item)
            if task is not None:
                yield task
        self.tally.found = found

    def count_other(self, items: Items) -> int:
        """Return how many images have pictures by other settings; 0 for those that can be listed only once."""
        if items.is_once or self._known.is_empty:
            return 0
        found = 0
        for item in items:
            with suppress(Exception):  # A foreign object's methods may raise anything; it fails in its turn.
                found += self._known.has_other(item.ready().item)
        return found

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
        return self._task_of(ready)

    def _task_of(self, ready: ReadyItem) -> Task | None:
        shares_stem = self._shares_stem(ready.stem)
        known = self._known.record(ready.item)
        if known is None and (replaced := self._replaced.get(_short(ready.item))) is not None:
            known = self._ledger.at(replaced)
        if known is None:
            alike = tuple(self._known.alike(ready))
            return Task(ready, self._request, self._folder, alike=alike, shares_stem=shares_stem)
        task = Task(ready, self._request, self._folder, known, shares_stem=shares_stem)
        if is_unchanged(ready, known) and self._known.is_whole(known):
            self.end(task, Outcome(known | {"status": "skipped"}))
            return None
        return task

    def _shares_stem(self, stem: str) -> bool:
        if self._stems is None:
            return False
        before = len(self._stems)
        # An object store tells names in upper and lower case apart on every system.
        self._stems.add(_short(folded(stem) if self._is_local else stem))
        return len(self._stems) == before

    def end(self, task: Task, outcome: Outcome) -> None:
        """Record how an item ended."""
        record, item = outcome.record, task.ready.item
        status = record["status"]
        self.tally.retried += outcome.retried
        # A skipped item has its record from the earlier run.
        offset = self._skip(task, record) if status == "skipped" else None
        if offset is None:
            offset = self._ledger.add({**record, "request": self._settings} | self._kept(task, record))
            self.tally.add_usage(record["usage"])
        if status == "failed":
            _log.info("%s failed: %s", plain(record["source"]), record["error"])
        if item not in self._under_way:  # A batch of an earlier run had it, and this run has no such image.
            return
        first, *again = self._under_way.pop(item)
        self.tally.set(first, offset, status)
        for index in again:
            self.tally.set(index, offset, "failed" if status == "failed" else "skipped")

    def _kept(self, task: Task, record: dict[str, Any]) -> dict[str, Any]:
        """Return the field by which a failure keeps the item's finished record, whose place it takes."""
        if record["status"] != "failed":
            return {}
        kept = kept_of(dict(self._ledger.find(task.ready.item) or task.known or {}))
        # A try that failed after its first pictures may have written over the earlier ones.
        if kept is None or set(record["paths"]) & set(kept.get("paths") or ()):
            return {}
        return {"kept": kept}

    def _skip(self, task: Task, record: dict[str, Any]) -> int | None:
        """Return the offset of the record of an item that an earlier run had finished; it is added where it is new."""
        ready = task.ready
        if task.known is None:
            return self._take_over(task, record)
        version = {} if ready.version is None else {"version": ready.version, "bytes": record.get("bytes")}
        is_new = ready.version is not None and ready.version != task.known.get("version")
        is_new = is_new or "kept" in task.known
        if is_new or self._replaced.pop(_short(ready.item), None) is not None:
            own = {name: value for name, value in task.known.items() if name not in ("kept", "replaces")}
            return self._ledger.add(own | version)
        return self._ledger.offset(ready.item)

    def _take_over(self, task: Task, record: dict[str, Any]) -> int:
        """Add the record of an image that was at another path in an earlier run, and return its offset."""
        same = [dict(each) for each in task.alike if each["sha256"] == record["sha256"]]
        # Of equal images that all were moved, each takes the record of another one.
        same += self._known.alike(task.ready, record["sha256"])
        old = next(each for each in same if each["item"] == record["same_as"])
        taken = None
        for each in same:
            offset = each.pop("offset")
            if taken is None and self._known.is_whole(each) and self._known.take(each, offset):
                taken, old = offset, each
        fields: dict[str, Any] = (
            {"replaces": old["item"]} if taken is not None else {"usage": None, "elapsed": None}
        )
        if taken is not None:
            self._replaced[_short(old["item"])] = taken
        old.pop("kept", None)
        own = {name: record[name] for name in _OWN_FIELDS if name in record}
        return self._ledger.add(old | own | fields)


def _short(text: str) -> int:
    """Return 8 bytes of a text's hash; see `ledger`, which tells items apart by as many."""
    return int.from_bytes(digest(text)[:8])
