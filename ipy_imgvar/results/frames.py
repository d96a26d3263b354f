"""Runs as pandas data frames with a row for each picture, and the rows back to their pictures.

Results, sweeps, the history and bulk runs have the same columns of the same types; an axis of a sweep that is no column
of its own follows as a further one. pandas is imported when a frame is asked for.
"""

from __future__ import annotations

import contextlib
import math
import os
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.images.source import Source
from ipy_imgvar.results.entry import picture_of
from ipy_imgvar.results.measures import strength_of, to_sources
from ipy_imgvar.results.records import Fields
from ipy_imgvar.results.store import record_in
from ipy_imgvar.results.usage import json_safe
from ipy_imgvar.results.variation import Variation
from ipy_imgvar.storage.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from ipy_imgvar.results.variations import Variations

__all__ = ["COLUMNS", "frame_of", "frame_of_rows", "pictures_in"]

#: The columns and their types in pandas; a row is a tuple in this order, with None where a value is missing.
COLUMNS: Final = {
    "source": "string",
    "index": "Int64",
    "seed": "Int64",
    "strength": "float64",
    "engine": "string",
    "model": "string",
    "similarity": "float64",
    "size": "string",
    "path": "string",
    "seconds": "float64",
    "prompt": "string",
    "fit": "string",
    "run": "string",
    "started": "datetime64[us, UTC]",
    "status": "string",
    "error": "string",
}
#: The settings that a row has of a picture without parameters of its own.
_SETTINGS: Final = ("engine", "model", "size", "strength", "seed", "fit", "prompt")
#: The largest whole number of a column; an engine may take larger ones.
_MOST_WHOLE: Final = 2**63 - 1
#: The folder of a store that has the runs' folders.
_RUNS: Final = "runs"


def _pandas(wanted: str) -> Any:
    try:
        import pandas as pd
    except ImportError as exc:
        raise ImageVariationError(
            f"{wanted} needs pandas, which is not installed; install it with: pip install pandas"
        ) from exc
    return pd


def frame_of(runs: Sequence[Variations], *, similarity: bool) -> pd.DataFrame:
    """Return the pictures of some runs as a frame; see `Variations.to_frame`."""
    _pandas("to_frame")  # Before the pictures are measured, which takes time.
    rows = [row for run in runs for row in _rows(run, similarity=similarity)]
    # The pictures of a frame that was read again know their values, though they are no sweep; an empty part of a sweep
    # knows its axes alone.
    named = [
        name
        for run in runs
        for part in (*(each.combination for each in run), getattr(run, "axes", ()))
        for name in part
    ]
    axes = {
        name: [picture.combination.get(name) for run in runs for picture in run]
        for name in dict.fromkeys(named)
        if name not in COLUMNS
    }
    return frame_of_rows(rows, axes=axes)


def frame_of_rows(
    rows: Sequence[tuple[Any, ...]],
    *,
    labels: Sequence[Any] | None = None,
    axes: Mapping[str, list[Any]] | None = None,
    similarity: bool = False,
) -> pd.DataFrame:
    """Return rows, each a value for each of `COLUMNS`, as a data frame.

    Parameters
    ----------
    rows
        None stands for a missing value.
    labels
        The rows' labels; None counts from 0.
    axes
        Further columns with a value for each row; the values decide the type, which is object where they differ in it.
    similarity
        Whether to read the pictures of the rows from their paths and measure them.

    Raises
    ------
    ImageVariationError
        If pandas is not installed.
    """
    pandas = _pandas("to_frame")
    values = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    # In Python's own text, since Arrow's can't hold a file name that is not UTF-8.
    dtypes = {"string": pandas.StringDtype("python")}
    series = {
        name: pandas.Series(
            _moments(column) if name == "started" else list(column), dtype=dtypes.get(dtype, dtype)
        )
        for (name, dtype), column in zip(COLUMNS.items(), values, strict=True)
    }
    series |= {name: _of_one_type(column) for name, column in (axes or {}).items()}
    frame: pd.DataFrame = pandas.DataFrame(series)
    if similarity:
        frame["similarity"] = pandas.Series(_measured(frame), dtype="float64")
    return frame if labels is None else frame.set_axis(pandas.Index(labels), axis=0)


def _of_one_type(values: Sequence[Any]) -> pd.Series[Any]:
    """Return an option's values in the type that all have, with NA in place of None."""
    import pandas as pd

    types = {type(value) for value in values if value is not None}
    dtypes: dict[type, Any] = {
        bool: "boolean",
        int: "Int64",
        float: "float64",
        str: pd.StringDtype("python"),
    }
    dtype = dtypes.get(types.pop(), object) if len(types) == 1 else object
    if dtype == "Int64" and any(abs(value) > _MOST_WHOLE for value in values if value is not None):
        dtype = object
    if dtype is object:
        values = [pd.NA if value is None else value for value in values]
    return pd.Series(list(values), dtype=dtype)


def _moments(moments: Iterable[datetime | None]) -> Any:
    """Return times with their zones in microseconds: pandas' own conversion fails for years after 2262."""
    import numpy as np
    import pandas as pd

    plain = [None if each is None else each.astimezone(UTC).replace(tzinfo=None) for each in moments]
    return pd.DatetimeIndex(np.array(plain, dtype="datetime64[us]")).tz_localize("UTC")


def _rows(run: Variations, *, similarity: bool) -> Iterator[tuple[Any, ...]]:
    measured = to_sources(run) if similarity else [math.nan] * len(run)
    prompt, fit = (None, None) if run.request is None else (run.request.prompt, run.request.fit)
    for each, similar in zip(run, measured, strict=True):
        known = {"engine": run.engine, "model": run.model, "prompt": prompt, "fit": fit}
        # What made the picture itself comes first: a sweep may have several engines.
        known |= {name: value for name in known if isinstance(value := each.parameters.get(name), str)}
        known |= {name: value for name in known if isinstance(value := each.combination.get(name), str)}
        yield (
            each.source.name,
            each.index,
            each.seed,
            _strength(each, run),
            known["engine"],
            known["model"],
            similar,
            f"{each.size[0]}x{each.size[1]}",
            None if each.path is None else str(each.path),
            each.seconds,
            known["prompt"],
            known["fit"],
            _run_id(each),
            run.started,
            run.status,
            None,
        )


def _strength(picture: Variation, run: Variations) -> float | None:
    # An engine that took no strength has none in its parameters; only without any, the request is all that is known.
    if picture.parameters or picture.combination or run.request is None:
        return strength_of(picture)
    return run.request.strength


def _run_id(picture: Variation) -> str | None:
    folder = None if picture.path is None else picture.path.parent
    return folder.name if folder is not None and folder.parent.name == _RUNS else None


def pictures_in(frame: pd.DataFrame | pd.Series[Any]) -> list[Variation]:
    """Return the picture of each row of a frame, by its path; see `Variations.from_frame`."""
    if not hasattr(frame, "columns"):
        # A row of a frame is a series; whatever else comes has no `to_frame`.
        if not hasattr(frame, "to_frame") or "path" not in getattr(frame, "index", ()):
            raise InvalidRequestError(
                f"frame is a {type(frame).__name__}; allowed: a data frame, or a row of one, from to_frame()",
                field="frame",
            )
        frame = frame.to_frame().T
    if "path" not in frame.columns:
        raise InvalidRequestError(
            f"the frame has no column path; its columns: {', '.join(map(str, frame.columns[:20])) or 'none'}",
            field="frame",
        )
    files = _Files()
    return [files.picture(label, row) for label, row in _known_values(frame)]


def _measured(frame: pd.DataFrame) -> list[float]:
    """Return the similarity of each row's picture to its source, NaN where one of the two can't be read."""
    files = _Files()
    pictures: dict[int, Variation] = {}
    for place, (label, row) in enumerate(_known_values(frame)):
        with contextlib.suppress(ImageVariationError):
            pictures[place] = files.picture(label, row)
    measured = dict(zip(pictures, to_sources(pictures.values()), strict=True))
    return [measured.get(place, math.nan) for place in range(len(frame))]


def _known_values(frame: pd.DataFrame) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each row's label, and its values without the missing ones."""
    import pandas as pd

    for label, row in zip(frame.index, frame.to_dict("records"), strict=True):
        known = {
            str(name): value
            for name, value in row.items()
            if not (pd.api.types.is_scalar(value) and pd.isna(value))
        }
        yield label, known


class _Files:
    """Reads pictures by their paths; a run's record and a source are read once for all of their pictures."""

    def __init__(self) -> None:
        self._records: dict[Path, dict[str, Variation]] = {}
        self._sources: dict[tuple[str, str | None], Source] = {}

    def picture(self, label: Any, row: Mapping[str, Any]) -> Variation:
        """Return the picture of a row; `row` holds the values that are not missing."""
        if not isinstance(row.get("path"), (str, os.PathLike)):
            reason = f" ({row['error']})" if "error" in row else ""
            raise InvalidRequestError(
                f"row {shown(label)} of the frame has no path{reason}; drop such rows with dropna(subset=['path'])",
                field="frame",
            )
        text = os.fsdecode(row["path"])
        # The name of a folder may read as a protocol, and `Path` makes one slash of two.
        path = text if is_address(text) else Path(text)
        if isinstance(path, Path) and path.is_file() and (recorded := self._recorded(path)) is not None:
            return recorded
        try:
            return self._read(path, row)
        except (OSError, ImageVariationError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise InvalidRequestError(
                f"row {shown(label)} of the frame: its picture {path} can't be read ({reason}); drop the row, or make "
                "it again",
                field="frame",
            ) from exc

    def _recorded(self, path: Path) -> Variation | None:
        folder = path.parent
        if folder not in self._records:
            entries = Fields(record_in(folder) or {}).records("pictures")
            pictures = [picture_of(folder, entry) for entry in entries]
            self._records[folder] = {
                each.path.name: each for each in pictures if each is not None and each.path is not None
            }
        return self._records[folder].get(path.name)

    def _read(self, path: Path | str, row: Mapping[str, Any]) -> Variation:
        from ipy_imgvar.images import codec

        if isinstance(path, str):
            name, file = path, None
            data = Source(path, url=path).read()
        else:
            name, file = path.name, path
            if path.exists() and not path.is_file():  # Reading a pipe or a device may never end.
                raise InvalidImageError(f"{name} is no regular file")
            data = Source(name, path=path).read()
        mime_type, size = codec.probe(data, name)
        # A PNG of ours says more of itself than a row, which may have been edited.
        parameters = json_safe(
            codec.parameters_of(data) or {each: row[each] for each in _SETTINGS if each in row}
        )
        own, given = Fields(parameters), Fields(json_safe(row))
        seed = own.whole("seed")
        return Variation(
            None if file is not None else data,
            source=self._source(given.text("source") or "image", own.text("source_sha256")),
            mime_type=mime_type,
            size=size,
            index=own.whole("index", 1) or given.whole("index", 1) or 1,
            seed=given.whole("seed") if seed is None else seed,
            parameters=parameters,
            path=file,
            seconds=given.number("seconds"),
        )

    def _source(self, name: str, digest: str | None) -> Source:
        """Return the source of a name; it has the file of that name unless the picture was made of another one."""
        if (name, digest) not in self._sources:
            found = _found(name)
            if found is not None and digest is not None and found.sha256 != digest:
                found = None
            self._sources[name, digest] = found or Source(name)
        return self._sources[name, digest]


def _found(name: str) -> Source | None:
    """Return the source of a name that is a file's path or an object's address, or None for any other name."""
    if is_address(name):
        source = Source(name, url=name)
        try:
            source.fetch()
        except ImageVariationError:  # It is gone, or the name is a description after all.
            return None
        return source
    path = Path(name)
    return Source(path.name or name, path=path) if _is_file(path) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (
        OSError,
        ValueError,
    ):  # A description can be too long for a file's name, or hold a null character.
        return False
