"""The result of a bulk run: a sequence of items that are read from the ledger on access, so the result stays small."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, overload

from ipy_imgvar.bulk.ledger import NAME, open_to_read, read_line, whole_lines
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import plain
from ipy_imgvar.results.records import Fields, is_file_name
from ipy_imgvar.results.usage import add_usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["STATUSES", "BulkItem", "BulkResult", "Tally"]

#: How an item can end; a tally stores the index.
STATUSES: Final = ("done", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One image of a bulk run, with its pictures or its error.

    Parameters
    ----------
    item
        The item's id, from which its seed and its file names are derived.
    source
        The path as it was given, or a description.
    paths
        The item's pictures; a failed item may have some.
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
        The path of a small picture of the source; None where the source is a file.
    """

    item: str
    source: str
    paths: tuple[Path, ...]
    status: str
    error: str | None = None
    seed: int | None = None
    usage: Mapping[str, Any] | None = None
    elapsed: float | None = None
    label: Any = None
    thumbnail: Path | None = None


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
        The folder with the pictures, the ledger and `index.html`.
    tally
        Where the records are.
    chosen
        Indices of the items that this result shows; None shows all that have ended.
    """

    def __init__(self, out_dir: Path, tally: Tally, chosen: Sequence[int] | None = None) -> None:
        self.out_dir = out_dir
        self._tally = tally
        self._chosen = tally.ended() if chosen is None else chosen

    @classmethod
    def read(cls, out_dir: str | Path) -> Self:
        """Return the result that a folder's ledger describes, with the last record of each item; nothing is run.

        Raises
        ------
        InvalidRequestError
            If the folder has no ledger that can be read.
        """
        folder = Path(out_dir).expanduser()
        try:
            file = open_to_read(folder)
        except OSError as exc:
            raise InvalidRequestError(
                f"{folder} has no {NAME} that can be read ({exc.strerror or exc}); give the out_dir of a bulk run",
                field="out_dir",
            ) from exc
        tally = Tally()
        try:
            for index, offset in enumerate(sorted(dict(whole_lines(file)[0]).values())):
                record = read_line(file, offset) or {}
                tally.set(index, offset, "done" if record.get("status") == "done" else "failed")
                tally.add_usage(Fields(record).mapping("usage"))
        finally:
            os.close(file)
        return cls(folder, tally)

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
        try:
            file = open_to_read(self.out_dir)
        except OSError as exc:
            raise ImageVariationError(f"{self.out_dir / NAME} is gone ({exc.strerror or exc})") from exc
        try:
            for index in chosen:
                offset = self._tally.offsets[index]
                record = self._tally.unwritten.get(offset) if offset < 0 else read_line(file, offset)
                yield self._item(index, record or {})
        finally:
            os.close(file)

    def _item(self, index: int, record: Mapping[str, Any]) -> BulkItem:
        fields = Fields(record)
        thumbnail = fields.text("thumbnail")
        paths = [path for path in fields.texts("paths") if is_file_name(path)]
        return BulkItem(
            item=fields.text("item") or "",
            source=fields.text("source") or "",
            paths=tuple(self.out_dir / path for path in paths),
            status=STATUSES[self._tally.statuses[index]],
            error=fields.text("error"),
            seed=fields.whole("seed"),
            usage=fields.mapping("usage"),
            elapsed=fields.number("elapsed"),
            label=self._tally.labels.get(index),
            thumbnail=self.out_dir / thumbnail if thumbnail and _is_thumbnail(thumbnail) else None,
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

    def to_frame(self) -> Any:
        """Return a pandas data frame with a row for each item; images from pandas keep their index.

        Raises
        ------
        ImageVariationError
            If pandas is not installed.
        """
        # pandas is optional, and slow to import.
        try:
            import pandas as pd
        except ImportError as exc:
            raise ImageVariationError(
                "to_frame needs pandas, which is not installed; install it, or use the items of the result"
            ) from exc
        rows = [
            {
                "source": each.source,
                "status": each.status,
                "paths": [str(path) for path in each.paths],
                "seed": each.seed,
                "error": each.error,
                "usage": each.usage,
                "elapsed": each.elapsed,
            }
            for each in self
        ]
        labels = [self._tally.labels.get(index, index) for index in self._chosen]
        columns = ["source", "status", "paths", "seed", "error", "usage", "elapsed"]
        return pd.DataFrame(rows, index=labels, columns=columns)

    def __repr__(self) -> str:
        return f"<BulkResult: {self.summary()}; {plain(str(self.out_dir))}>"

    def _repr_html_(self) -> str:
        from ipy_imgvar.bulk import page

        return page.fragment(self)


def _is_thumbnail(path: str) -> bool:
    """Return whether a path from a ledger can be a thumbnail's: a file in a folder of `out_dir`, and nowhere else."""
    folder, _, name = path.rpartition("/")
    return is_file_name(folder) and is_file_name(name)
