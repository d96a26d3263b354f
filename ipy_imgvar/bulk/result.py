"""What a bulk run gives back: a sequence of items that reads the ledger when it is asked, so that it stays small."""

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

STATUSES: Final = ("done", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One image of a bulk run and what came of it.

    Parameters
    ----------
    item
        Its id, which seeds, file names and the ledger hang on.
    source
        The path as it was given, or a name.
    paths
        The pictures that were made.
    status
        `done`, `failed`, or `skipped` where an earlier run had done it.
    error
        What went wrong, one line, or None.
    seed
        The item's own seed, or None for an engine that takes none.
    usage
        What a server counted, or None.
    elapsed
        Seconds that it took a worker.
    label
        The row's label where the images came from pandas, else None.
    thumbnail
        A small picture of a source that is no file, or None.
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
    """Where the record of each item is, in the order of the images; a few bytes an item."""

    places: array[int] = field(default_factory=lambda: array("q"))
    statuses: bytearray = field(default_factory=bytearray)
    labels: dict[int, Any] = field(default_factory=dict)
    #: Records that could not be written.
    unwritten: dict[int, dict[str, Any]] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    elapsed: float = 0.0

    _NONE = 255

    def set(self, index: int, place: int, status: str) -> None:
        """Note how an item ended; items come in any order."""
        while len(self.places) <= index:
            self.places.append(0)
            self.statuses.append(self._NONE)
        self.places[index] = place
        self.statuses[index] = STATUSES.index(status)

    def ended(self) -> list[int]:
        """Return the indices of the items that have ended; an interrupted run has gaps."""
        return [index for index, status in enumerate(self.statuses) if status != self._NONE]

    def count(self, status: str) -> int:
        """Return how many items ended so."""
        return self.statuses.count(STATUSES.index(status))

    def add_usage(self, usage: Mapping[str, Any] | None) -> None:
        """Add what a server counted for one item."""
        add_usage(self.usage, usage or {})


class BulkResult(Sequence[BulkItem]):
    """The items of a bulk run, in the order of the images.

    Parameters
    ----------
    out_dir
        The folder with the pictures, the ledger and `index.html`.
    tally
        What is known of each item.
    """

    def __init__(self, out_dir: Path, tally: Tally, chosen: Sequence[int] | None = None) -> None:
        self.out_dir = out_dir
        self._tally = tally
        self._chosen = tally.ended() if chosen is None else chosen

    @classmethod
    def read(cls, out_dir: str | Path) -> Self:
        """Return what the ledger of a folder says, the last line of each item; nothing is run.

        Raises
        ------
        InvalidRequestError
            If there is no ledger in it.
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
            for index, place in enumerate(sorted(dict(whole_lines(file)[0]).values())):
                record = read_line(file, place) or {}
                tally.set(index, place, "done" if record.get("status") == "done" else "failed")
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
                place = self._tally.places[index]
                record = self._tally.unwritten.get(place) if place < 0 else read_line(file, place)
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
        """The items that could not be made; the same call again tries them again."""
        return self._with("failed")

    @property
    def skipped(self) -> Self:
        """The items that an earlier run had finished."""
        return self._with("skipped")

    @property
    def usage(self) -> dict[str, Any]:
        """The sum of what a server counted in this run."""
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
        """Return a pandas data frame, a row an item; of images from pandas, with their index.

        Raises
        ------
        ImageVariationError
            If pandas is not installed.
        """
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
    """Return whether a ledger's path is one of a thumbnail, as a run writes it: a file in a folder of `out_dir`."""
    folder, _, name = path.rpartition("/")
    return is_file_name(folder) and is_file_name(name)
