"""The result of a bulk run: a sequence of items that are read from the ledger on access, so the result stays small."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, overload

from ipy_imgvar.bulk.ledger import NAME, open_to_read, read_line, whole_lines
from ipy_imgvar.bulk.parts import Spool, copy_ledger
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import plain
from ipy_imgvar.results import frames
from ipy_imgvar.results.records import Fields, is_file_name
from ipy_imgvar.results.usage import add_usage
from ipy_imgvar.storage.folder import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

__all__ = ["STATUSES", "BulkItem", "BulkResult", "Tally"]

#: How an item can end; a tally stores the index.
STATUSES: Final = ("done", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One image of a bulk run, with its pictures or its error.

    Parameters
    ----------
    item
        The item's id, by which the ledger knows it: a path as it was given, an address, or index and hash.
    source
        The path as it was given, or a description.
    paths
        The item's pictures, as addresses where they are in an object store; a failed item may have some.
    status
        `done`, `failed`, or `skipped` if an earlier run had finished it.
    error
        The reason of the failure, one line, or None.
    seed
        The item's own seed, or None for an engine that takes none.
    usage
        The usage that a server reported, or None.
    elapsed
        Seconds that a worker spent on it; None if no worker reported them.
    label
        The label of its pandas row; None for an image from elsewhere.
    thumbnail
        The path or address of a small picture of the source; None where the page can link to the source's own file.
    """

    item: str
    source: str
    paths: tuple[Path | str, ...]
    status: str
    error: str | None = None
    seed: int | None = None
    usage: Mapping[str, Any] | None = None
    elapsed: float | None = None
    label: Any = None
    thumbnail: Path | str | None = None


@dataclass(slots=True)
class Tally:
    """The offset and status of each item's record, in the order of the images; 9 bytes an item."""

    #: Offsets in the ledger, in bytes; below 0, keys of `unwritten`.
    offsets: array[int] = field(default_factory=lambda: array("q"))
    statuses: bytearray = field(default_factory=bytearray)
    labels: dict[int, Any] = field(default_factory=dict)
    #: Records that the disk had no room for; see `Ledger.unwritten`.
    unwritten: dict[int, dict[str, Any]] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    #: Seconds.
    elapsed: float = 0.0
    #: Requests to object stores that were tried again.
    retried: int = 0
    #: The local copy of a ledger in an object store.
    spool: Spool | None = None
    #: How many items the run has, once the last one was found.
    found: int | None = None

    #: The status byte of an item that has not ended: no index of `STATUSES`.
    _NONE = 255

    def set(self, index: int, offset: int, status: str) -> None:
        """Note how an item ended; items come in any order."""
        while len(self.offsets) <= index:
            self.offsets.append(0)
            self.statuses.append(self._NONE)
        self.offsets[index] = offset
        self.statuses[index] = STATUSES.index(status)

    def ended(self) -> list[int]:
        """Return the indices of the items that have ended; an interrupted run has gaps."""
        return [index for index, status in enumerate(self.statuses) if status != self._NONE]

    def count(self, status: str) -> int:
        """Return how many items ended with a status."""
        return self.statuses.count(STATUSES.index(status))

    def add_usage(self, usage: Mapping[str, Any] | None) -> None:
        """Add the usage that a server reported for one item."""
        add_usage(self.usage, usage or {})


class BulkResult(Sequence[BulkItem]):
    """The items of a bulk run, in the order of the images.

    Parameters
    ----------
    out_dir
        The folder with the pictures, the ledger and `index.html`: a path, or an address in an object store.
    tally
        Where the records are.
    chosen
        Indices of the items that this result shows; None shows all that have ended.
    """

    def __init__(self, out_dir: Path | str, tally: Tally, chosen: Sequence[int] | None = None) -> None:
        self._folder = open_folder(out_dir)
        #: A path, or the address as text.
        self.out_dir: Path | str = Path(out_dir) if self._folder.is_local else self._folder.address
        self._tally = tally
        self._chosen = tally.ended() if chosen is None else chosen

    @classmethod
    def read(cls, out_dir: str | Path) -> Self:
        """Return the result that a folder's ledger describes, with the last record of each item; nothing is run.

        The ledger of an object store is downloaded once.

        Raises
        ------
        InvalidRequestError
            If the folder has no ledger that can be read.
        ImageVariationError
            If the object store can't be read.
        """
        folder = open_folder(out_dir)
        path = Path(folder.address)
        tally = Tally()
        try:
            tally.spool = None if folder.is_local else copy_ledger(folder)
            file = open_to_read(path) if tally.spool is None else os.dup(tally.spool.file)
        except OSError as exc:
            raise InvalidRequestError(
                f"{folder.address} has no {NAME} that can be read ({exc.strerror or exc}); give the out_dir of a bulk "
                "run",
                field="out_dir",
            ) from exc
        try:
            for index, offset in enumerate(sorted(whole_lines(file)[0].values())):
                record = read_line(file, offset) or {}
                tally.set(index, offset, "done" if record.get("status") == "done" else "failed")
                tally.add_usage(Fields(record).mapping("usage"))
        finally:
            os.close(file)
        return cls(path if folder.is_local else folder.address, tally)

    @property
    def page(self) -> Path | str:
        """The path or address of `index.html`, which shows all pictures."""
        return self.where("index.html")

    def where(self, name: str) -> Path | str:
        """Return the path or the address of a file in the folder."""
        return self.out_dir / name if isinstance(self.out_dir, Path) else self._folder.where(name)

    @overload
    def __getitem__(self, index: int) -> BulkItem: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> BulkItem | Self:
        if isinstance(index, slice):
            return self._of(self._chosen[index])
        return next(self._items([self._chosen[index]]))

    def __iter__(self) -> Iterator[BulkItem]:
        return self._items(self._chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def _of(self, chosen: Sequence[int]) -> Self:
        return type(self)(self.out_dir, self._tally, chosen)

    def _items(self, chosen: Sequence[int]) -> Iterator[BulkItem]:
        return (self._item(index, record) for index, record in self._records(chosen))

    def _records(self, chosen: Sequence[int]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        spool = self._tally.spool
        try:
            file = open_to_read(Path(self.out_dir)) if spool is None else os.dup(spool.file)
        except OSError as exc:
            raise ImageVariationError(f"{self.where(NAME)} is gone ({exc.strerror or exc})") from exc
        try:
            for index in chosen:
                offset = self._tally.offsets[index]
                record = self._tally.unwritten.get(offset) if offset < 0 else read_line(file, offset)
                yield index, record or {}
        finally:
            os.close(file)

    def _item(self, index: int, record: Mapping[str, Any]) -> BulkItem:
        fields = Fields(record)
        thumbnail = fields.text("thumbnail")
        paths = [path for path in fields.texts("paths") if is_file_name(path)]
        return BulkItem(
            item=fields.text("item") or "",
            source=fields.text("source") or "",
            paths=tuple(map(self.where, paths)),
            status=STATUSES[self._tally.statuses[index]],
            error=fields.text("error"),
            seed=fields.whole("seed"),
            usage=fields.mapping("usage"),
            elapsed=fields.number("elapsed"),
            label=self._tally.labels.get(index),
            thumbnail=self.where(thumbnail) if thumbnail and _is_thumbnail(thumbnail) else None,
        )

    def _with(self, status: str) -> Self:
        code = STATUSES.index(status)
        return self._of([index for index in self._chosen if self._tally.statuses[index] == code])

    @property
    def done(self) -> Self:
        """The items that this run finished."""
        return self._with("done")

    @property
    def failed(self) -> Self:
        """The items that failed; the same call again tries them again."""
        return self._with("failed")

    @property
    def skipped(self) -> Self:
        """The items that an earlier run had finished."""
        return self._with("skipped")

    @property
    def usage(self) -> dict[str, Any]:
        """The sum of the usage that a server reported in this run."""
        return dict(self._tally.usage)

    @property
    def retried(self) -> int:
        """How many requests to object stores were tried again in this run."""
        return self._tally.retried

    @property
    def elapsed(self) -> float:
        """Seconds that the run took."""
        return self._tally.elapsed

    def summary(self) -> str:
        """Return a line with how many were done, failed and skipped, and the usage."""
        counts = ", ".join(f"{len(self._with(status)):,} {status}" for status in STATUSES)
        time = f" in {self.elapsed:,.1f} s" if self.elapsed else ""
        counted = {name: value for name, value in self.usage.items() if isinstance(value, (int, float))}
        usage = ", ".join(f"{plain(name)} {value:,}" for name, value in counted.items())
        return f"{counts}{time}" + (f"; usage: {usage}" if usage else "")

    def to_frame(self, *, similarity: bool = False) -> pd.DataFrame:
        """Return a pandas data frame with a row for each picture; see `Variations.to_frame` for its columns.

        An item that failed without a picture has one row, with its error and no path. The rows of an image from pandas
        have the label of its row. `size`, `strength` and the other settings are those of the request; `seconds` is a
        picture's share of its item's time.

        Parameters
        ----------
        similarity
            Whether to measure each picture, which decodes it and its source; else the column holds NaN.

        Raises
        ------
        ImageVariationError
            If pandas is not installed.
        """
        labelled = [
            (self._tally.labels.get(index, index), row)
            for index, record in self._records(self._chosen)
            for row in _rows(self._item(index, record), record)
        ]
        labels = [label for label, _ in labelled]
        return frames.frame_of_rows([row for _, row in labelled], labels=labels, similarity=similarity)

    def __repr__(self) -> str:
        return f"<BulkResult: {self.summary()}; {plain(str(self.out_dir))}>"

    def _repr_html_(self) -> str:
        from ipy_imgvar.bulk import page

        return page.fragment(self)


def _rows(item: BulkItem, record: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return a row for each picture of an item, or one without a path; see `frames.COLUMNS`."""
    request = Fields(Fields(record).mapping("request") or {})
    first = request.whole("index", 1) or 1
    seconds = None if item.elapsed is None else item.elapsed / max(1, len(item.paths))
    return [
        (
            item.source,
            None if path is None else number,
            item.seed,
            request.number("strength"),
            request.text("engine"),
            Fields(record).text("model") or request.text("model"),
            None,
            request.text("size"),
            None if path is None else str(path),
            seconds,
            request.text("prompt"),
            request.text("fit"),
            None,
            None,
            item.status,
            item.error,
        )
        for number, path in enumerate(item.paths or (None,), start=first)
    ]


def _is_thumbnail(path: str) -> bool:
    """Return whether a path from a ledger can be a thumbnail's: a file in a folder of `out_dir`, and nowhere else."""
    folder, _, name = path.rpartition("/")
    return is_file_name(folder) and is_file_name(name)
