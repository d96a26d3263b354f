"""A worker's part of a bulk run: makes the pictures of one item, and writes each to disk as soon as it is ready.

A task and its outcome can be sent to another process or machine; the outcome has names, not pictures, so it is small.
A worker writes neither to the store nor to the ledger.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.items import ReadyItem, digest
from ipy_imgvar.capabilities import checked
from ipy_imgvar.engine import Job
from ipy_imgvar.engines import EngineSpec, make_engine
from ipy_imgvar.errors import APIStatusError, ConfigurationError, ImageVariationError
from ipy_imgvar.images.formats import extension_of, written_extension_of
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.images.thumbnails import thumbnail
from ipy_imgvar.plain import one_line, plain
from ipy_imgvar.results.records import is_file_name
from ipy_imgvar.results.store import HALF_SUFFIX, write_atomic
from ipy_imgvar.run import run_request
from ipy_imgvar.settings import Secret, connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ipy_imgvar.engine import Engine, Listener
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = ["SOURCES", "Outcome", "Task", "item_seed", "take_secrets", "work"]

_log = logging.getLogger("ipy_imgvar")
#: The folder in `out_dir` that has a thumbnail of each source that is no file.
SOURCES: Final = "sources"
#: The longer side of such a thumbnail, in pixels: the page shows at most 180, and dense screens need more.
_THUMBNAIL_PX: Final = 256
#: Bytes that are written before a server is paid, to learn whether the disk has room: 64 KiB, less than most pictures.
_PROBE_BYTES: Final = 1 << 16
#: Hexadecimal digits of an item's hash in its file names: 48 bits. With six digits, a run of ten thousand items called
#: "image" would give one item another's name about three times.
_HASH_DIGITS: Final = 12
#: Bytes of a hash that make a seed: 48 bits, since a JavaScript number holds whole numbers up to 53 bits.
_SEED_BYTES: Final = 6

#: The engines of this process, each made once.
_engines: dict[EngineSpec, Engine] = {}
_lock = threading.Lock()
#: Held by the item at work, if the engine was made here and does one at a time: a worker may have several threads.
_device = threading.Lock()
#: The key, and the base with its password, that the parent sent to this process; empty in another executor's process.
_secrets: dict[str, Any] = {}


def take_secrets(api_key: str | None, api_base: str) -> None:
    """Remember the secrets, which no task carries; a worker process of ours gets this call first, on its pipe."""
    _secrets.update(api_key=None if api_key is None else Secret(api_key), api_base=api_base)


def _engine_of(spec: EngineSpec) -> Engine:
    """Return the engine that a spec describes; it is made once in each process."""
    with _lock:
        if spec not in _engines:
            # Another executor's process, such as one of a cluster, has the key in its own environment.
            secrets = _secrets or {"api_key": connection(api_base=spec.connection.api_base).api_key}
            _engines[spec] = make_engine(spec.name, replace(spec.connection, **secrets))
            # It stays for later runs of this worker. Where a worker ends with a signal, the system frees its memory.
            atexit.register(_engines[spec].close)
        return _engines[spec]


@dataclass(frozen=True, slots=True)
class Task:
    """One item's work.

    Parameters
    ----------
    ready
        The item.
    request
        The run's request; the worker adds the item's image and seed.
    out_dir
        The folder of the pictures, an absolute path.
    known
        The item's record in the ledger, if the same request finished it, else None.
    tries
        Earlier tries of the item in this run.
    """

    ready: ReadyItem
    request: VariationRequest
    out_dir: str
    known: Mapping[str, Any] | None = None
    tries: int = 0

    def name(self, index: int, extension: str) -> str:
        """Return the file name of a picture: it depends on the item's id, so no other item has it."""
        return f"{self.ready.stem}-{digest(self.ready.item).hex()[:_HASH_DIGITS]}-{index}{extension}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item ended.

    Parameters
    ----------
    record
        The ledger's fields without the request; `status` may also be `skipped`.
    again_s
        Seconds to wait before another try, as the server asks; 0 if it names none; None if another try is useless.
    slow_down
        Whether the server had too many requests, so that the whole pool must wait.
    """

    record: dict[str, Any]
    again_s: float | None = None
    slow_down: bool = False


def item_seed(seed: int | None, item: str) -> int:
    """Return an item's seed, below 2**48; it depends on the run's seed and the item's id only."""
    text = f"{seed or 0}\0".encode() + digest(item)
    return int.from_bytes(hashlib.sha256(text).digest()[:_SEED_BYTES])


def work(
    task: Task,
    engine: Engine | EngineSpec,
    cancel: threading.Event | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Make an item's pictures and return how it ended; an item that fails raises nothing.

    Parameters
    ----------
    task
        The item and its request.
    engine
        The engine that this process's workers share, or the description by which it is made here.
    cancel
        Set it to stop in the middle of the item.
    listener
        Gets the engine's progress and announcements; only a thread of the caller's process has one.
    """
    started = time.monotonic()
    job = Job(listener=listener, cancel=cancel)
    record: dict[str, Any] = {
        "item": task.ready.item,
        "status": "failed",
        "source": task.ready.source,
        "sha256": None,
        "paths": [],
        "sizes": [],
        "seed": None,
        "usage": None,
        "error": None,
    }
    again_s, slow_down = None, False
    try:
        if isinstance(engine, EngineSpec):
            with _alone(_engine_of(engine), task.request, job) as made:
                _attempt(task, made, job, record)
        else:
            _attempt(task, engine, job, record)
    except APIStatusError as exc:
        record["error"] = str(exc)
        again_s, slow_down = exc.retry_after_s, exc.status == 429  # noqa: PLR2004
    except ImageVariationError as exc:
        record["error"] = str(exc)
    except OSError as exc:
        record["error"] = one_line(f"{exc.filename or task.out_dir} can't be written ({exc.strerror or exc})")
    except Exception as exc:  # noqa: BLE001 - another package's engine may raise anything
        _log.debug("%s", plain(task.ready.source), exc_info=True)
        record["error"] = one_line(f"{type(exc).__name__}: {exc}")
    record["elapsed"] = round(time.monotonic() - started, 3)
    return Outcome(record | _reported(job), again_s, slow_down)


@contextlib.contextmanager
def _alone(engine: Engine, request: VariationRequest, job: Job) -> Iterator[Engine]:
    """Give the engine of this process, with its share of the machine: the device, or one core."""
    if engine.capabilities(request.model).parallel == "one":
        with _device:
            yield engine
        return
    # There is a process for every core, so more threads would only compete for the cores.
    job.threads = 1
    yield engine


def _reported(job: Job) -> dict[str, Any]:
    """Return the ledger's fields of what the engine reported in an item's run."""
    fields: dict[str, Any] = {"usage": job.usage or None}
    if job.model is not None:
        # Beside the request, which stays as it was: another run compares it, and may not have learned the model yet.
        fields["model"] = job.model
    if job.warnings:
        fields["warnings"] = list(map(one_line, job.warnings))
    return fields


def _attempt(task: Task, engine: Engine, job: Job, record: dict[str, Any]) -> None:
    """Make the pictures and fill in the record step by step, so that a failed record has all known fields."""
    source = _load(task.ready, job, task.request.timeout)
    record["sha256"] = source.sha256
    out_dir = Path(task.out_dir)
    if (finished := _finished(task, source)) is not None:
        record |= {"status": "skipped", **finished}
        return
    request = replace(task.request, image=source)
    capabilities = engine.capabilities(request.model)
    if "seed" in capabilities.features:
        request = replace(request, seed=item_seed(request.seed, task.ready.item))
        record["seed"] = request.seed
    request = checked(request, engine)
    if capabilities.hosted:
        _refuse_full_disk(out_dir)
    if not task.ready.is_file:
        record["thumbnail"] = _write_thumbnail(task, source, out_dir)

    def take(picture: Variation) -> None:
        data = picture.bytes
        name = task.name(picture.index, extension_of(picture.mime_type))
        _write(out_dir / name, data)
        record["paths"].append(name)
        record["sizes"].append(len(data))

    run_request(engine, request, job, take)
    if not record["paths"]:
        raise ImageVariationError(f"{source.name}: the engine {engine.name} gave no picture; run it again")
    record["status"] = "done"


def _load(ready: ReadyItem, job: Job, timeout_s: float) -> Source:
    """Return the source with its bytes, which are read once; a file that is missing raises an error about it."""
    source = load_sources(ready.image)[0]
    source.fetch(timeout_s=timeout_s, check=job.check)
    return Source(source.name, path=source.path, data=source.read())


def _finished(task: Task, source: Source) -> dict[str, Any] | None:
    """Return the ledger's fields of an item whose pictures are whole, or None if they must be made again."""
    known = task.known or {}
    paths, sizes = known.get("paths"), known.get("sizes")
    if known.get("sha256") != source.sha256 or not isinstance(paths, list) or not paths:
        return None
    if sizes is None:  # Ledgers of older versions have no sizes.
        sizes = [None] * len(paths)
    if not isinstance(sizes, list) or len(sizes) != len(paths) or not all(map(is_file_name, paths)):
        return None
    if not all(_is_whole(Path(task.out_dir, path), size) for path, size in zip(paths, sizes, strict=True)):
        return None
    return {"paths": paths, "sizes": sizes, "seed": known.get("seed")}


def _is_whole(path: Path, size: Any) -> bool:
    # A run renames whole files only, but a power failure or a copy that broke off leaves a shorter one.
    with contextlib.suppress(OSError):
        size_bytes = path.stat().st_size
        return size_bytes > 0 and size_bytes == (size or size_bytes)
    return False


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as exc:
        raise ImageVariationError(f"{path} can't be written ({exc.strerror or exc})") from exc


def _write_thumbnail(task: Task, source: Source, out_dir: Path) -> str:
    """Write a thumbnail of a source that is no file, for the page, and return its name."""
    data, mime_type, _ = thumbnail(source.read(), _THUMBNAIL_PX)
    name = f"{SOURCES}/{task.name(0, written_extension_of(mime_type))}"
    _write(out_dir / name, data)
    return name


def _refuse_full_disk(out_dir: Path) -> None:
    """Raise if the disk takes no more data, before a server is paid for a picture."""
    probe = out_dir / f".probe-{secrets.token_hex(4)}{HALF_SUFFIX}"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as exc:
        raise ConfigurationError(
            f"{out_dir} can't be written ({exc.strerror or exc}), so nothing was asked for"
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)  # noqa: PTH108 - one call less than Path's
