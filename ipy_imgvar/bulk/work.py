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
from ipy_imgvar.images import codec
from ipy_imgvar.images.formats import extension_of, written_extension_of
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.images.thumbnails import thumbnail
from ipy_imgvar.plain import one_line, plain
from ipy_imgvar.results.records import is_file_name
from ipy_imgvar.run import run_request
from ipy_imgvar.settings import Secret, connection
from ipy_imgvar.storage.disk import HALF_SUFFIX
from ipy_imgvar.storage.folder import open_folder
from ipy_imgvar.storage.objects import retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ipy_imgvar.engine import Engine, Listener
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation
    from ipy_imgvar.storage.folder import Folder

__all__ = [
    "SOURCES",
    "Outcome",
    "Task",
    "item_seed",
    "keep",
    "new_retries",
    "reported",
    "take_secrets",
    "whole_files",
    "work",
]

_log = logging.getLogger("ipy_imgvar")
#: The folder in `out_dir` that has the thumbnails of sources; see `_needs_thumbnail`.
SOURCES: Final = "sources"
#: The longer side of such a thumbnail, in pixels: the page shows at most 180, and dense screens need more.
_THUMBNAIL_PX: Final = 256
#: The most bytes of a source that is its own thumbnail: a JPEG's headers alone take about 600.
_TINY_BYTES: Final = 1024
#: Bytes that are written before a server is paid, to learn whether the disk has room: 64 KiB, less than most pictures.
_PROBE_BYTES: Final = 1 << 16
#: Hexadecimal digits of an image's hash in its file names: 48 bits. With six digits, a run of ten thousand images
#: called "image" would give one another's name about three times.
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
#: The retries that `new_retries` has returned, so that several threads count each once.
_retries = {"told": 0}


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
        The folder of the pictures: an absolute path, or an address in an object store.
    known
        The item's record in the ledger, if the same request finished it, else None.
    tries
        Earlier tries of the item in this run.
    alike
        Records of other items of the same size in bytes that the same request finished: this may be one of their images
        at another path.
    shares_stem
        Whether an item before it in the run has the same `ready.stem`, and an engine that gives other pictures each
        time, so that its pictures need names of their own.
    """

    ready: ReadyItem
    request: VariationRequest
    out_dir: str
    known: Mapping[str, Any] | None = None
    tries: int = 0
    alike: tuple[Mapping[str, Any], ...] = ()
    shares_stem: bool = False

    def name(self, sha256: str, index: int, extension: str) -> str:
        """Return the file name of a picture of the image whose bytes have this SHA-256, in hexadecimal digits.

        Two items have the same name only if they have the same stem and bytes, and then the same pictures.
        """
        if self.shares_stem:
            sha256 = hashlib.sha256(bytes.fromhex(sha256) + digest(self.ready.item)).hexdigest()
        return f"{self.ready.stem}-{sha256[:_HASH_DIGITS]}-{index}{extension}"


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
    retried
        Requests to object stores that this process has tried again since its last outcome.
    """

    record: dict[str, Any]
    again_s: float | None = None
    slow_down: bool = False
    retried: int = 0


def item_seed(seed: int | None, sha256: str) -> int:
    """Return an item's seed, below 2**48.

    It depends on the run's seed and the image's bytes only: wherever the image lies, it gets the same pictures.

    Parameters
    ----------
    seed
        The run's seed; None counts as 0.
    sha256
        The SHA-256 of the image's bytes, in hexadecimal digits.
    """
    text = f"{seed or 0}\0".encode() + bytes.fromhex(sha256)
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
    return Outcome(record | reported(job), again_s, slow_down, new_retries())


def new_retries() -> int:
    """Return how many requests to object stores this process has tried again since the last call, in any thread."""
    with _lock:
        before = _retries["told"]
        _retries["told"] = retries()
        return _retries["told"] - before


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


def reported(job: Job) -> dict[str, Any]:
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
    record |= {"sha256": source.sha256, "bytes": len(source.read())}
    if task.ready.version is not None:
        record["version"] = task.ready.version
    folder = open_folder(task.out_dir)
    if (finished := _finished(task, source)) is not None:
        record |= {"status": "skipped", **finished}
        if "same_as" in finished and _needs_thumbnail(task, folder) and "thumbnail" not in finished:
            record["thumbnail"] = _write_thumbnail(task, source, folder)
        return
    request = replace(task.request, image=source)
    capabilities = engine.capabilities(request.model)
    if "seed" in capabilities.features:
        request = replace(request, seed=item_seed(request.seed, source.sha256))
        record["seed"] = request.seed
    request = checked(request, engine)
    if capabilities.hosted:
        _refuse_full_disk(folder)
    if _needs_thumbnail(task, folder):
        record["thumbnail"] = _write_thumbnail(task, source, folder)
    run_request(engine, request, job, lambda picture: keep(task, picture, folder, record))
    if not record["paths"]:
        raise ImageVariationError(f"{source.name}: the engine {engine.name} gave no picture; run it again")
    record["status"] = "done"


def keep(task: Task, picture: Variation, folder: Folder, record: dict[str, Any]) -> None:
    """Write one of an item's pictures, and note it in the item's record, which has the image's digest already."""
    data = picture.bytes
    name = task.name(record["sha256"], picture.index, extension_of(picture.mime_type))
    folder.write(name, data)
    record["paths"].append(name)
    record["sizes"].append(len(data))


def _load(ready: ReadyItem, job: Job, timeout_s: float) -> Source:
    """Return the source with its bytes, which are read once; a file that is missing raises an error about it."""
    source = load_sources(ready.image)[0]
    source.fetch(timeout_s=timeout_s, check=job.check)
    return Source(source.name, path=source.path, data=source.read())


def _finished(task: Task, source: Source) -> dict[str, Any] | None:
    """Return the ledger's fields of an item whose pictures are whole, or None if they must be made again.

    `same_as` is the id of the other item whose pictures they are.
    """
    folder = open_folder(task.out_dir)
    # In a bucket, the run has looked at the names of all objects at once, and sends records of whole pictures only.
    size_of = folder.size if folder.is_local else None
    for record in filter(None, (task.known, *task.alike)):
        if record.get("sha256") != source.sha256:
            continue
        if (files := whole_files(record, size_of)) is not None:
            others = {} if record is task.known else {"same_as": record["item"]}
            thumbnail = {"thumbnail": record["thumbnail"]} if record.get("thumbnail") else {}
            return {**files, "seed": record.get("seed"), **thumbnail, **others}
    return None


def whole_files(
    record: Mapping[str, Any], size_of: Callable[[str], int | None] | None
) -> dict[str, list[Any]] | None:
    """Return the `paths` and `sizes` of a record, or None if one of its pictures is missing or broken.

    Parameters
    ----------
    record
        A record of a ledger, which may hold anything.
    size_of
        Returns the size of a file in bytes by its name, or None where it is missing; None takes all for whole.
    """
    paths, sizes = record.get("paths"), record.get("sizes")
    if not isinstance(paths, list) or not paths:
        return None
    if sizes is None:  # Ledgers of older versions have no sizes.
        sizes = [None] * len(paths)
    if not isinstance(sizes, list) or len(sizes) != len(paths) or not all(map(is_file_name, paths)):
        return None
    if size_of is not None:
        # A run renames whole files only, but a power failure or a copy that broke off leaves a shorter one.
        for path, size in zip(paths, sizes, strict=True):
            size_bytes = size_of(path)
            if not size_bytes or size_bytes != (size or size_bytes):
                return None
    return {"paths": paths, "sizes": sizes}


def _needs_thumbnail(task: Task, folder: Folder) -> bool:
    # A page in an object store moves with its folder, so it links to nothing outside of that.
    return not task.ready.is_file or not folder.is_local


def _write_thumbnail(task: Task, source: Source, folder: Folder) -> str:
    """Write a thumbnail of a source, for the page, and return its name."""
    data = source.read()
    mime_type, size = codec.probe(data, source.name)
    # Reading these bytes and encoding them again would take ten times the work, and give more bytes.
    is_small = len(data) <= _TINY_BYTES and max(size) <= _THUMBNAIL_PX and codec.is_plain(data, source.name)
    if not is_small:
        data, mime_type, _ = thumbnail(data, _THUMBNAIL_PX)
    name = f"{SOURCES}/{task.name(source.sha256, 0, written_extension_of(mime_type))}"
    folder.write(name, data)
    return name


def _refuse_full_disk(folder: Folder) -> None:
    """Raise if the disk takes no more data, before a server is paid for a picture; an object store is never full."""
    if not folder.is_local:
        return
    out_dir = Path(folder.address)
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
