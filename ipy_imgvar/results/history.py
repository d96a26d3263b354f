"""The history of runs: it records each run in the store, and reads it back as `Variations`.

It holds the runs of this process in memory too, for when the store is off, full or unwritable. It reads the runs of
other processes from the store.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from ipy_imgvar.images.formats import extension_of
from ipy_imgvar.images.source import Source
from ipy_imgvar.results import frames
from ipy_imgvar.results.entries import restore, result_of
from ipy_imgvar.results.entry import entry_of
from ipy_imgvar.results.store import Store, new_run_id
from ipy_imgvar.settings import store_max_bytes, store_problem, store_root

if TYPE_CHECKING:
    import pandas as pd

    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.store import Run
    from ipy_imgvar.results.sweep import SweepRecord
    from ipy_imgvar.results.variation import Variation
    from ipy_imgvar.results.variations import Variations

__all__ = [
    "History",
    "Recorder",
    "forget",
    "history",
    "keep_nothing",
    "keep_source",
    "last",
    "made_here",
    "move_store",
    "newest_runs",
    "store",
]


class _History:
    """The state of this process: its store and its runs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.store: Store | None = None
        self.opened = False
        #: False once a caller has moved the store, away from where the environment says.
        self.is_default = True
        self.remembers = True
        #: By id, the runs that the store does not have.
        self.session: dict[str, Variations] = {}
        self.newest: Variations | None = None


_history = _History()


def store() -> Store | None:
    """Return the store in use, opened on first use as the environment says; None when it is off."""
    with _history.lock:
        if not _history.opened:
            root = store_root()
            _history.store = Store(root, store_max_bytes()) if root is not None else None
            _history.opened = True
        return _history.store


def move_store(root: Path | None, max_bytes: int) -> None:
    """Use another folder, or none, for later runs; the files of earlier runs stay in the old one.

    Parameters
    ----------
    root
        The folder; None turns the store off.
    max_bytes
        See `Store`.
    """
    with _history.lock:
        _history.store = Store(root, max_bytes) if root is not None else None
        _history.opened = True
        _history.is_default = False


def keep_nothing() -> None:
    """Neither store nor remember later runs, so that only their callers have the results."""
    move_store(None, 0)
    with _history.lock:
        _history.remembers = False


def forget() -> None:
    """Start over as a new process would: no runs remembered, the store as the environment says; for tests."""
    with _history.lock:
        _history.store = None
        _history.opened = False
        _history.is_default = True
        _history.remembers = True
        _history.session.clear()
        _history.newest = None


class History(list["Variations"]):
    """Runs, oldest first; a slice of them is a `History`, too."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Variations: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Variations | History:
        return History(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def to_frame(self, *, similarity: bool = False) -> pd.DataFrame:
        """Return a pandas data frame with a row for each picture, run by run; see `Variations.to_frame`.

        Parameters
        ----------
        similarity
            Whether to measure each picture, which decodes it and its source; else the column holds NaN.

        Raises
        ------
        ImageVariationError
            If pandas is not installed.
        """
        return frames.frame_of(self, similarity=similarity)


def history() -> History:
    """Return the runs of the store and of this process, oldest first.

    The store is shared with the user's other notebooks, so their runs are among them.
    """
    return History(newest_runs())


def newest_runs(count: int | None = None) -> list[Variations]:
    """Return the newest runs, oldest first, without reading the older ones; None returns all."""
    disk = store()
    # A store may have thousands of runs, each a file of its own.
    runs: dict[str, Variations] = {}
    living = disk.living() if disk else set()
    for folder, record in disk.runs(newest_first=True) if disk else ():
        restored = restore(folder, record, is_living=folder.name in living)
        if restored:
            runs[folder.name] = restored
        if len(runs) == count:
            break
    with _history.lock:
        runs |= _history.session
    names = sorted(runs)
    return [runs[name] for name in (names if count is None else names[-count:])]


def last() -> Variations | None:
    """Return the newest run of this process, else the newest in the store; None where there is no run.

    A run that failed or was interrupted counts if it finished a picture.
    """
    if _history.newest is not None:
        return _history.newest
    runs = newest_runs(1)
    return runs[-1] if runs else None


def made_here() -> Variations | None:
    """Return the newest run of this process, without a look into the store."""
    return _history.newest


def keep_source(source: Source) -> Source:
    """Return a source that a later process can read: a source without a file is written to the store.

    The source is returned unchanged where the store is off or can't be written.
    """
    disk = store()
    if source.path is not None or disk is None:
        return source
    data = source.read()
    # The name may be an address or a variable's; only a plain extension goes into the file's name.
    suffix = Path(source.name).suffix[:8]
    name = source.stem + (suffix if suffix[1:].isalnum() else "")
    with contextlib.suppress(OSError):
        return Source(source.name, path=disk.keep(name, data))
    return source


class Recorder:
    """A writer that records one run in the store while the run goes on.

    Parameters
    ----------
    request
        The run's request; only `request.settings()` and the path of its mask are written.
    engine, model
        The names of the engine and the model.
    warnings, usage
        The run's own list and mapping, which may grow until the run ends.
    sweep
        What the run varies; the result is then a `Sweep`.

    Notes
    -----
    A store that can't be written (full disk, no permission) never stops a run: the pictures stay in memory, and a
    warning is added.
    """

    def __init__(
        self,
        request: VariationRequest,
        *,
        engine: str,
        model: str,
        warnings: list[str],
        usage: dict[str, Any],
        sweep: SweepRecord | None = None,
    ) -> None:
        self._request = request
        self._sweep = sweep
        self._facts: dict[str, Any] = {"engine": engine, "model": model}
        self._began = datetime.now(UTC)
        self._clock = self._newest = time.perf_counter()
        self._pictures: list[Variation] = []
        self._under_way: tuple[int, Variation] | None = None
        disk = store()
        self._name = disk.new_id() if disk is not None else new_run_id()
        self.usage = usage
        self.warnings = warnings
        self._run = self._begin()

    def _begin(self) -> Run | None:
        disk = store()
        if disk is None:
            if (problem := store_problem()) and _history.is_default:
                self._warn(problem)
            return None
        try:
            record = {
                **self._facts,
                "started": self._began.isoformat(timespec="seconds"),
                "status": "running",
                "request": self._request.settings(),
            }
            mask = self._request.mask
            if mask is not None and mask.path is not None:
                record["mask_path"] = str(mask.path.absolute())
            if self._sweep is not None:
                record["sweep"] = asdict(self._sweep)
            return disk.begin(self._name, record)
        except OSError as exc:
            self._give_up(exc)
            return None

    def _give_up(self, exc: OSError) -> None:
        self._run = None
        self._warn(str(exc.strerror or exc))

    def _warn(self, reason: str) -> None:
        self.warnings.append(
            f"the store can't be written ({reason}): these pictures are in memory only, save them"
        )

    @property
    def begun(self) -> bool:
        """Whether the run has finished a picture."""
        return bool(self._pictures)

    def add(self, picture: Variation, seconds: float | None = None) -> Variation:
        """Write a finished picture to the store at once; return the picture to use instead, which reads that file.

        Parameters
        ----------
        picture
            As the engine gave it, with a sweep's `combination` and `image_number`; its `seconds` are set here.
        seconds
            Those of a picture that an earlier run has made; None for one of this run.
        """
        self._under_way = len(self._pictures), picture
        now = time.perf_counter()
        picture.seconds = round(now - self._newest, 3) if seconds is None else seconds
        self._newest = now
        if self._run is not None:
            try:
                extension, number = extension_of(picture.mime_type), len(self._pictures) + 1
                path = self._run.add(picture.original, extension, entry_of(picture), number=number)
                picture = picture.kept_at(path, self._run)
            except OSError as exc:
                self._give_up(exc)
        self._pictures.append(picture)
        return picture

    def _add_under_way(self) -> None:
        """Add the picture that was finished and being written when Ctrl-C came."""
        if self._under_way is not None and self._under_way[0] == len(self._pictures):
            _, picture = self._under_way
            self.add(picture, picture.seconds)

    def _write_end(self, status: str, learned: dict[str, Any], elapsed: float) -> None:
        disk = store()
        # A run that failed without a picture has nothing to show, so the history has no row for it.
        if self._run is None or disk is None or not self._pictures:
            return
        outcome = {"elapsed": round(elapsed, 3), "usage": self.usage or None, "warnings": self.warnings}
        try:
            self._run.finish(status=status, **learned, **outcome)
            disk.make_room(self._run)
        except OSError as exc:
            self._give_up(exc)

    def finish(self, status: str, model: str | None = None) -> Variations:
        """End the run and return its pictures.

        Parameters
        ----------
        status
            `done`, `failed` or `interrupted`.
        model
            The model that answered, if the engine learned it only during the run.
        """
        elapsed = time.perf_counter() - self._clock
        if status == "interrupted":
            self._add_under_way()
        learned = {} if model is None else {"model": model}
        self._facts |= learned
        self._write_end(status, learned, elapsed)
        result = result_of(
            self._pictures,
            self._sweep,
            **self._facts,
            request=self._request,
            elapsed=elapsed,
            usage=self.usage or None,
            warnings=self.warnings,
            status=status,
            started=self._began,
        )
        with _history.lock:
            if _history.remembers and self._pictures:
                _history.newest = result
                if self._run is None:
                    _history.session[self._name] = result
        return result
