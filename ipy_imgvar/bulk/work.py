"""What a worker does with one item: make its pictures, and put each on disk the moment it is ready.

All of this can be sent to another process or machine. The outcome is small: names, not pictures. Nothing goes through
the store, and the ledger is not a worker's business.
"""

from __future__ import annotations

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

from ipy_imgvar.bulk.items import Ready, digest
from ipy_imgvar.capabilities import checked
from ipy_imgvar.engines import EngineSpec, make_engine
from ipy_imgvar.errors import APIStatusError, ConfigurationError, ImageVariationError
from ipy_imgvar.images.formats import extension_of, written_extension_of
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.images.thumbnails import thumbnail
from ipy_imgvar.plain import plain
from ipy_imgvar.results.records import is_file_name
from ipy_imgvar.results.store import HALF_SUFFIX, write_atomic
from ipy_imgvar.run import Job, run_request
from ipy_imgvar.settings import Secret, connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.engine import Engine
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = ["SOURCES", "Outcome", "Task", "item_seed", "take_secrets", "work"]

_log = logging.getLogger("ipy_imgvar")
#: The folder in `out_dir` with a thumbnail of each source that is no file.
SOURCES: Final = "sources"
#: The longer side of the thumbnail of a source that is no file, in pixels.
_THUMBNAIL_PX: Final = 256
#: Bytes that are written to find out whether the disk has room, before a server is paid: less than any picture.
_PROBE_BYTES: Final = 1 << 16


#: The engines of this process, each made once.
_engines: dict[EngineSpec, Engine] = {}
_lock = threading.Lock()
#: The key, and the base with its password, that the parent told this process; empty in a process of others.
_secrets: dict[str, Any] = {}


def take_secrets(api_key: str | None, api_base: str) -> None:
    """Remember what a task must not carry: the first call that a worker process of ours gets, on its own pipe."""
    _secrets.update(api_key=None if api_key is None else Secret(api_key), api_base=api_base)


def _engine_of(spec: EngineSpec) -> Engine:
    """Return the engine that was described, the same one each time in a process."""
    with _lock:
        if spec not in _engines:
            # Another's process, such as one of a cluster, has a key of its own in its environment.
            secrets = _secrets or {"api_key": connection(api_base=spec.connection.api_base).api_key}
            _engines[spec] = make_engine(spec.name, replace(spec.connection, **secrets))
        return _engines[spec]


@dataclass(frozen=True, slots=True)
class Task:
    """One item's work.

    Parameters
    ----------
    ready
        The item.
    request
        What is asked for every item; the image and the seed are put in here.
    out_dir
        Where the pictures go, an absolute path.
    known
        The item's record in the ledger, if it is one of the same request that was done, else None.
    tries
        How often it was tried before.
    """

    ready: Ready
    request: VariationRequest
    out_dir: str
    known: Mapping[str, Any] | None = None
    tries: int = 0

    def name(self, index: int, extension: str) -> str:
        """Return the name of a picture: the same for the same item, and no other item's."""
        # Six digits would give one of ten thousand items called "image" another one's name about three times.
        return f"{self.ready.stem}-{digest(self.ready.item).hex()[:12]}-{index}{extension}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item ended.

    Parameters
    ----------
    record
        The ledger's fields, but the request; `status` may also be `skipped`.
    again_s
        Seconds that a server asks to wait before another try, 0 where it names none; None where there is no use in one.
    slow_down
        The server has had too many requests, so everybody should wait.
    """

    record: dict[str, Any]
    again_s: float | None = None
    slow_down: bool = False


def item_seed(seed: int | None, item: str) -> int:
    """Return an item's seed, which depends on the run's and the item's id alone; it fits into a JavaScript number."""
    text = f"{seed or 0}\0".encode() + digest(item)
    return int.from_bytes(hashlib.sha256(text).digest()[:6])


def work(task: Task, engine: Engine | EngineSpec, cancel: threading.Event | None = None) -> Outcome:
    """Make an item's pictures and return how it ended; nothing that is wrong with one item is raised.

    Parameters
    ----------
    task
        The item and what is asked of it.
    engine
        Shared by all workers of this process, or how to make it in this one.
    cancel
        Set it to stop in the middle.
    """
    started = time.monotonic()
    # There is a process for every core, so a second thread would only get in its way.
    job = Job(cancel=cancel, threads=1 if isinstance(engine, EngineSpec) else None)
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
        _attempt(task, _engine_of(engine) if isinstance(engine, EngineSpec) else engine, job, record)
    except APIStatusError as exc:
        record["error"] = str(exc)
        again_s, slow_down = exc.retry_after_s, exc.status == 429  # noqa: PLR2004
    except ImageVariationError as exc:
        record["error"] = str(exc)
    except OSError as exc:
        record["error"] = _one_line(
            f"{exc.filename or task.out_dir} can't be written ({exc.strerror or exc})"
        )
    except Exception as exc:  # noqa: BLE001 - whatever an engine of another package, or a lack of memory, raises.
        _log.debug("%s", plain(task.ready.source), exc_info=True)
        record["error"] = _one_line(f"{type(exc).__name__}: {exc}")
    record["usage"] = job.usage or None
    record["elapsed"] = round(time.monotonic() - started, 3)
    if job.warnings:
        record["warnings"] = list(map(_one_line, job.warnings))
    return Outcome(record, again_s, slow_down)


def _attempt(task: Task, engine: Engine, job: Job, record: dict[str, Any]) -> None:
    """Do the work and fill in the record as it gets on."""
    source = _loaded(task.ready, job, task.request.timeout)
    record["sha256"] = source.sha256
    out_dir = Path(task.out_dir)
    if (kept := _kept(task, source)) is not None:
        record |= {"status": "skipped", **kept}
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
        record["thumbnail"] = _keep_thumbnail(task, source, out_dir)

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


def _loaded(ready: Ready, job: Job, timeout_s: float) -> Source:
    """Return the source with its bytes, read once; a file that is gone or no file raises what is said of it."""
    source = load_sources(ready.image)[0]
    source.fetch(timeout_s=timeout_s, check=job.check)
    return Source(source.name, path=source.path, data=source.read())


def _kept(task: Task, source: Source) -> dict[str, Any] | None:
    """Return what the ledger says of pictures that are there and whole, or None: then they are made again."""
    known = task.known or {}
    paths, sizes = known.get("paths"), known.get("sizes")
    if known.get("sha256") != source.sha256 or not isinstance(paths, list) or not paths:
        return None
    if sizes is None:  # An older ledger has none.
        sizes = [None] * len(paths)
    if not isinstance(sizes, list) or len(sizes) != len(paths) or not all(map(is_file_name, paths)):
        return None
    if not all(_is_whole(Path(task.out_dir, path), size) for path, size in zip(paths, sizes, strict=True)):
        return None
    return {"paths": paths, "sizes": sizes, "seed": known.get("seed")}


def _is_whole(path: Path, size: Any) -> bool:
    # Files are renamed into place when they are whole; a power failure, or a copy that broke off, changes the size.
    with contextlib.suppress(OSError):
        found = path.stat().st_size
        return found > 0 and found == (size or found)
    return False


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as exc:
        raise ImageVariationError(f"{path} can't be written ({exc.strerror or exc})") from exc


def _keep_thumbnail(task: Task, source: Source, out_dir: Path) -> str:
    """Write a thumbnail of a source that is no file, and return its name: the page has nothing else to show."""
    data, mime_type, _ = thumbnail(source.read(), _THUMBNAIL_PX)
    name = f"{SOURCES}/{task.name(0, written_extension_of(mime_type))}"
    _write(out_dir / name, data)
    return name


def _refuse_full_disk(out_dir: Path) -> None:
    """Find out that a picture could not be kept before somebody is paid for it."""
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
            os.unlink(probe)  # noqa: PTH108 - one call less


def _one_line(text: str) -> str:
    return plain(" ".join(text.split()))
