"""A mask of the subject from a salient-object network, where the extra `subjects` is installed.

The network is ISNet (Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022), run by rembg on
onnxruntime. rembg fetches the model file at its first use, which is said before it starts; without rembg, without the
file and offline, or where one of the libraries fails, there is no mask, and the engine goes on with its own.

`import rembg` loads pymatting, whose numba functions compile for more than a minute at the first import and load for
2 s at every other; masks need none of them. So rembg's `__init__` is left out, and its sessions alone are imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ipy_imgvar.engine import Download

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["MODEL", "NetworkMask", "is_installed", "missing_download", "network_mask"]

#: rembg's name for the network, and the stem of its file.
MODEL: Final = "isnet-general-use"
#: Where rembg fetches the file from, and the file's size: 178,648,008 bytes.
_ORIGIN: Final = "github.com/danielgatis/rembg"
_SIZE_MB: Final = 179
_SIZE_BYTES: Final = 178_648_008
#: Threads of the network, the same on every machine. 1, 2 and 4 gave the same bytes, but onnxruntime promises nothing.
_THREADS: Final = 2
#: Hexadecimal digits of the file's SHA-256 that name it.
_DIGITS: Final = 16
#: Bytes read at once for the hash.
_BLOCK: Final = 1 << 20
#: How often, in seconds, the caller's `check` is called while the network runs.
_POLL_S: Final = 0.1
#: The longest part of a library's message that is repeated, in characters.
_REASON: Final = 120

_importing = Lock()


@dataclass(frozen=True, slots=True)
class NetworkMask:
    """A mask and what made it; the same picture, file and library give the same mask on the same kind of processor.

    Attributes
    ----------
    mask : ndarray of shape (H, W), float32, 0..1
        1 on the subject; stretched so that its least value is 0 and its largest 1, also where there is no subject.
    model : str
        The network's name.
    sha256 : str
        The first 16 hexadecimal digits of the hash of the model's file.
    library : str
        rembg's name and version: versions differ in how they prepare a picture.
    """

    mask: NDArray[np.float32]
    model: str
    sha256: str
    library: str


def is_installed() -> bool:
    """Return whether rembg is there to be tried; nothing is imported."""
    return importlib.util.find_spec("rembg") is not None


def network_mask(
    image: Image, *, warn: Callable[[str], None], check: Callable[[], None] | None = None
) -> NetworkMask | None:
    """Return the network's mask of a picture's subject, or None where there is none to be had.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB, of any size; the network sees it at 1024 x 1024 px.
    warn : callable
        Gets one line before a download, and one line where there is no mask. Without rembg it gets none.
    check : callable or None
        Called every tenth of a second; what it raises ends the wait, not the download or the network in its thread.
    """
    if not is_installed():
        return None
    missing = False
    try:
        session = _session_class()
        missing = not _is_downloaded(session)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - half installed, each library may raise anything
        warn(_without_mask(error))
        return None
    if missing:
        warn(
            f"rembg downloads the model {MODEL} once, from {_ORIGIN}: {_SIZE_MB} MB into {_folder(session)}; "
            "--option subjects=off does without"
        )
    try:
        return _awaited(lambda: _predict(session, image), check)
    except _LibraryError as error:
        cause = error.__cause__ or error
        if missing and not _is_downloaded(session):
            warn(
                f"the model {MODEL} could not be downloaded ({type(cause).__name__}): going on with the engine's own "
                f"masks; offline, put {MODEL}.onnx into {_folder(session)}"
            )
        else:
            warn(_without_mask(cause))
        return None


def missing_download() -> Download | None:
    """Return what `network_mask` would fetch first; None without rembg, where it fails, or where the file is there."""
    if not is_installed():
        return None
    try:
        session = _session_class()
        if _is_downloaded(session):
            return None
        why = (
            f"from {_ORIGIN} into {_folder(session)}, to find the subject; --option subjects=off does without"
        )
    except (Exception, SystemExit):  # noqa: BLE001 - half installed, each library may raise anything
        return None
    return Download(MODEL, _SIZE_BYTES, why)


class _LibraryError(Exception):
    """Anything that rembg, onnxruntime or the download raised; its cause is that."""


def _without_mask(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0]}"[:_REASON].rstrip(": ")
    return f"rembg gives no mask ({reason}): going on with the engine's own masks; reinstall ipy-imgvar[subjects]"


@contextmanager
def _without_init(package: str) -> Generator[None]:
    """Let submodules of `package` be imported without its `__init__`; afterwards it is as if none had been."""
    with _importing:
        if package in sys.modules:
            yield
            return
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ModuleNotFoundError(f"no module named {package}")
        sys.modules[package] = importlib.util.module_from_spec(spec)
        try:
            yield
        finally:
            # A later `import rembg` of the user's has to run its `__init__`.
            for name in [each for each in sys.modules if each == package or each.startswith(f"{package}.")]:
                del sys.modules[name]


def _session_class() -> Any:
    with _without_init("rembg"):
        sessions = importlib.import_module("rembg.sessions")
    for each in sessions.sessions_class:
        if each.name() == MODEL:
            return each
    raise LookupError(f"it knows no model {MODEL}")


def _is_downloaded(session: Any) -> bool:
    return session.resolve_existing(f"{MODEL}.onnx") is not None


def _folder(session: Any) -> str:
    return str(session.model_dir())


def _predict(session_class: Any, image: Image) -> NetworkMask:
    try:
        # The download is in here, where the file is missing.
        path = Path(session_class.download_models())
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = _THREADS
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        # Errors only; and without an arena the peak is 1.1 GiB instead of 1.4, and all of it is given back.
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False
        session = session_class(MODEL, options, providers=["CPUExecutionProvider"])
        # One value everywhere is divided by its range of 0.
        with np.errstate(all="ignore"):
            mask = np.asarray(session.predict(image)[0], np.float32) / np.float32(255)
        status = path.stat()
        digest = _sha256(path, status.st_mtime_ns, status.st_size)[:_DIGITS]
    except (Exception, SystemExit) as error:
        raise _LibraryError from error
    return NetworkMask(mask, MODEL, digest, _library())


def _library() -> str:
    try:
        return f"rembg {version('rembg')}"
    except PackageNotFoundError:
        return "rembg"


@lru_cache(maxsize=4)
def _sha256(path: Path, modified_ns: int, size: int) -> str:  # noqa: ARG001 - a changed file is another key
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _awaited(work: Callable[[], NetworkMask], check: Callable[[], None] | None) -> NetworkMask:
    """Run `work` in a thread, so that an interrupt need not wait for a network that can't be stopped."""
    future: Future[NetworkMask] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the caller waits for an end of any kind, and raises it
            future.set_exception(error)

    # A daemon: the interpreter may end while a download lasts.
    Thread(target=run, name="imgvar-subject", daemon=True).start()
    while not wait([future], timeout=_POLL_S).done:
        if check is not None:
            check()
    return future.result()
