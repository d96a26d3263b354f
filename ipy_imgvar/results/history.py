"""The history of runs: it records each run in the store, and reads it back as `Variations`.

It holds the runs of this process in memory too, for when the store is off, full or unwritable. It reads the runs of
other processes from the store.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images.formats import extension_of
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.records import Fields
from ipy_imgvar.results.store import Store, new_run_id
from ipy_imgvar.results.variations import Variation, Variations
from ipy_imgvar.settings import store_max_bytes, store_problem, store_root

if TYPE_CHECKING:
    from ipy_imgvar.results.store import Run

__all__ = [
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


def history() -> list[Variations]:
    """Return the runs of the store and of this process, oldest first.

    The store is shared with the user's other notebooks, so their runs are among them.
    """
    return newest_runs()


def newest_runs(count: int | None = None) -> list[Variations]:
    """Return the newest runs, oldest first, without reading the older ones; None returns all."""
    disk = store()
    # A store may have thousands of runs, each a file of its own.
    runs: dict[str, Variations] = {}
    living = disk.living() if disk else set()
    for folder, record in disk.runs(newest_first=True) if disk else ():
        restored = _restore(folder, record, is_living=folder.name in living)
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
    ) -> None:
        self._request = request
        self._facts: dict[str, Any] = {"engine": engine, "model": model}
        self._began = datetime.now(UTC)
        self._clock = time.perf_counter()
        self._pictures: list[Variation] = []
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

    def add(self, picture: Variation) -> Variation:
        """Write a finished picture to the store at once; return the picture to use instead, which reads that file."""
        if self._run is not None:
            try:
                path = self._run.add(picture.original, extension_of(picture.mime_type), _entry(picture))
                picture = picture.kept_at(path, self._run)
            except OSError as exc:
                self._give_up(exc)
        self._pictures.append(picture)
        return picture

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
        learned = {} if model is None else {"model": model}
        self._facts |= learned
        disk = store()
        # A run that failed without a picture has nothing to show, so the history has no row for it.
        if self._run is not None and disk is not None and self._pictures:
            outcome: dict[str, Any] = {
                **learned,
                "elapsed": round(elapsed, 3),
                "usage": self.usage or None,
                "warnings": self.warnings,
            }
            try:
                self._run.finish(status=status, **outcome)
                disk.make_room(self._run)
            except OSError as exc:
                self._give_up(exc)
        result = Variations(
            self._pictures,
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


def _entry(picture: Variation) -> dict[str, Any]:
    source = picture.source
    return {
        "mime_type": picture.mime_type,
        "size": list(picture.original_size),
        "reduce_to": list(picture.reduce_to) if picture.reduce_to else None,
        "index": picture.index,
        "seed": picture.seed,
        "parameters": picture.parameters,
        "remote_url": picture.remote_url,
        "source": source.name,
        "source_path": str(source.path.absolute()) if source.path else None,
    }


def _restore(folder: Path, record: dict[str, Any], *, is_living: bool) -> Variations:
    """Return a run from its record; parts in another version's form are left out, and a warning names them."""
    fields = Fields(record)
    try:
        request = VariationRequest.from_arguments(**(fields.mapping("request") or {}))
    except (InvalidRequestError, TypeError):
        request = None
        fields.misfits.append("request")
    mask_path = fields.text("mask_path")
    if request is not None and mask_path is not None:
        request = replace(request, mask=Source(Path(mask_path).name, path=Path(mask_path)))
    pictures = [_restore_picture(folder, entry) for entry in fields.records("pictures")]
    if None in pictures:
        fields.misfits.append("pictures")
    status = fields.text("status") or "done"
    if status == "running" and not is_living:
        status = "interrupted"  # Its process was killed.
    restored = Variations(
        [picture for picture in pictures if picture is not None],
        engine=fields.text("engine"),
        model=fields.text("model"),
        request=request,
        elapsed=fields.number("elapsed") or 0.0,
        usage=fields.mapping("usage"),
        warnings=fields.texts("warnings"),
        status=status,
        started=fields.moment("started"),
    )
    if fields.misfits:
        names = ", ".join(sorted(set(fields.misfits)))
        restored.warnings.append(f"parts of its record can't be read and are left out: {names}")
    return restored


def _restore_picture(folder: Path, entry: Fields) -> Variation | None:
    file, size, mime_type = entry.file_name("file"), entry.size("size"), entry.text("mime_type")
    if file is None or size is None or mime_type is None:
        return None
    source_path = entry.text("source_path")
    return Variation(
        None,
        source=Source(entry.text("source") or "image", path=Path(source_path) if source_path else None),
        mime_type=mime_type,
        size=size,
        index=entry.whole("index", 1) or 1,
        seed=entry.whole("seed"),
        remote_url=entry.text("remote_url"),
        parameters=entry.mapping("parameters"),
        path=folder / file,
        reduce_to=entry.size("reduce_to"),
    )
