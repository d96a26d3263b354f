"""Brings a model's files onto this disk: what is fetched is said before it begins, and a cancel ends it.

The library huggingface_hub does the transfer, into its own cache, so that other programs share the files. It runs in a
thread that this module leaves behind on a cancel; finished files stay, and the next call fetches only the others.
"""

from __future__ import annotations

import glob
import shutil
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from ipy_imgvar import settings
from ipy_imgvar.engines.diffusers.weights import cache, refusals
from ipy_imgvar.engines.diffusers.weights.bars import Meter, quiet
from ipy_imgvar.engines.diffusers.weights.inspection import inspect_adapter, inspect_folder, read_index
from ipy_imgvar.engines.diffusers.weights.reference import Reference
from ipy_imgvar.engines.diffusers.weights.selection import (
    Choice,
    RepoFile,
    choose,
    choose_adapter,
    is_complete,
    listing_of,
)
from ipy_imgvar.errors import (
    ConfigurationError,
    ConnectionFailedError,
    EngineError,
    InvalidRequestError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipy_imgvar.engine import Job
    from ipy_imgvar.engines.diffusers.weights.presets import Adapter

__all__ = ["Local", "fetch", "fetch_adapter"]

T = TypeVar("T")

#: Seconds between two looks at a cancel, a time limit and the progress while the library works.
_POLL_S: Final = 0.05
#: Seconds to wait for the hub's first answer, as huggingface_hub does for each file.
_ANSWER_S: Final = 10.0
#: Bytes of the units that people and file lists use; the libraries' GiB are 7 % larger.
_MB: Final = 1_000_000
_GB: Final = 1_000_000_000
#: Files that are fetched at a time; the large ones fill the line alone.
_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Local:
    """A model's files on this disk, after the inspection.

    Parameters
    ----------
    folder
        The folder that diffusers loads.
    commit
        The hub's commit; None for a folder of the user's.
    variant
        What `from_pretrained(variant=)` needs so that it finds the weights: "fp16", or None.
    """

    folder: Path
    commit: str | None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class _Repo:
    """A repository at one commit, as the hub lists it."""

    repo: str
    name: str
    revision: str | None
    commit: str
    files: tuple[RepoFile, ...]
    licence: str | None
    gated: bool

    @property
    def snapshot(self) -> Path:
        return cache.repo_folder(self.repo) / "snapshots" / self.commit

    def missing(self, choice: Choice) -> list[RepoFile]:
        """Return the files that the cache lacks."""
        blobs = cache.repo_folder(self.repo) / "blobs"
        return [
            file
            for file in choice.files
            if not (self.snapshot / file.path).is_file() and not (file.blob and (blobs / file.blob).is_file())
        ]


def fetch(
    reference: Reference, *, half: bool, local_files_only: bool, job: Job, check: Callable[[], None]
) -> Local:
    """Return a model's files on this disk, fetched if need be, and inspected; see `inspection.inspect_folder`.

    Parameters
    ----------
    reference
        The model.
    half
        Take the weights in 16 bits where the repository has both.
    local_files_only
        Use no network. `HF_HUB_OFFLINE` says the same.
    job
        Hears what will be fetched before it begins, and the progress.
    check
        Raises to end the call, at most 0.1 s later.

    Raises
    ------
    InvalidRequestError
        If there is no such model or revision, it may not be loaded, or it isn't on this disk and no network is allowed.
    AuthenticationError
        If the hub wants an account, or one that has accepted the model's terms.
    ConnectionFailedError
        If the hub can't be reached, or the download broke off, and the cache has no complete copy.
    EngineError
        If the disk has too little room, or the hub fails.
    ConfigurationError
        If huggingface_hub isn't installed.
    """
    name = reference.name
    if reference.folder is not None:
        index = inspect_folder(reference.folder, name)
        choice = choose(index, listing_of(reference.folder), name, half=half)
        return Local(reference.folder, None, choice.variant)
    if local_files_only or settings.hub_offline():
        copy = _cached(reference, half=half)
        if copy is None:
            raise refusals.offline(name)
        return copy
    return _from_hub(reference, job, check, half=half)


def fetch_adapter(adapter: Adapter, *, local_files_only: bool, job: Job, check: Callable[[], None]) -> Local:
    """Return an IP-Adapter's files on this disk: `folder` is the one that has `adapter.subfolder` in it.

    See `fetch`.
    """
    weights = f"{adapter.subfolder}/{adapter.weight_name}" if adapter.subfolder else adapter.weight_name
    reference = Reference(adapter.repo, adapter.revision)
    snapshot = cache.snapshot_of(reference)
    if snapshot is not None:
        needed = (
            weights,
            f"{adapter.image_encoder}/config.json",
            f"{adapter.image_encoder}/model.safetensors",
        )
        if all((snapshot / path).is_file() for path in needed):
            inspect_adapter(snapshot / weights)
            return Local(snapshot, snapshot.name)
    if local_files_only or settings.hub_offline():
        raise refusals.offline(reference.name)
    with quiet("huggingface_hub"):
        repo = _listed(reference, check)
        _transfer(repo, choose_adapter(weights, adapter.image_encoder, repo.files, repo.name), job, check)
    inspect_adapter(repo.snapshot / weights)
    return Local(repo.snapshot, repo.commit)


def host() -> str:
    """Return the name and port of the hub's server, without a password."""
    return urlsplit(settings.hub_endpoint()).netloc.rpartition("@")[2]


def _cached(reference: Reference, *, half: bool) -> Local | None:
    """Return the complete copy in the cache; None if there is none."""
    snapshot = cache.snapshot_of(reference)
    index = cache.index_of(reference)
    if snapshot is None or index is None:
        return None
    index = inspect_folder(snapshot, reference.name)
    choice = choose(index, listing_of(snapshot), reference.name, half=half)
    return Local(snapshot, snapshot.name, choice.variant) if is_complete(index, choice) else None


def _from_hub(reference: Reference, job: Job, check: Callable[[], None], *, half: bool) -> Local:
    """Return the hub's files, or the copy in the cache while the hub can't be reached, is down or busy."""
    try:
        return _fetched(reference, job, check, half=half)
    except (ConnectionFailedError, RateLimitError, ServerError):
        copy = _cached(reference, half=half)
        if copy is None:
            raise
        job.warn(
            f"{reference.name} comes from this disk, as at its last download, since {host()} can't be asked for "
            "a newer one"
        )
        return copy


def _fetched(reference: Reference, job: Job, check: Callable[[], None], *, half: bool) -> Local:
    with quiet("huggingface_hub"):
        repo = _listed(reference, check)
        own = [file for file in repo.files if file.path == "model_index.json"]
        if not own:
            raise InvalidRequestError(
                f"model {repo.name} has no model_index.json, so it is no pipeline of diffusers; choose another",
                field="model",
            )
        # First the index alone, a kB: it says which of the other files are needed, and whether any may be loaded.
        if not (repo.snapshot / "model_index.json").is_file():
            _snapshot(repo, own, Meter(), check, lambda: None)
        index = read_index(repo.snapshot, repo.name)
        choice = choose(index, repo.files, repo.name, half=half)
        other = choose(index, repo.files, repo.name, half=not half)
        if repo.missing(choice) and not repo.missing(other):
            # The other precision is on this disk; it serves as well, since weights are converted on loading.
            choice = other
        _transfer(repo, choice, job, check, reference)
    inspect_folder(repo.snapshot, repo.name)
    return Local(repo.snapshot, repo.commit, choice.variant)


def _listed(reference: Reference, check: Callable[[], None]) -> _Repo:
    """Ask the hub for a repository's commit, files, licence and gate."""
    hub = _library()
    repo, name = str(reference.repo), reference.name
    api = hub.HfApi(endpoint=settings.hub_endpoint(), library_name="ipy-imgvar")
    info = _waited(
        lambda: api.model_info(repo, revision=reference.revision, files_metadata=True, timeout=_ANSWER_S),
        reference,
        check,
    )
    files = tuple(_repo_file(sibling) for sibling in info.siblings or ())
    return _Repo(repo, name, reference.revision, str(info.sha), files, _licence(info), bool(info.gated))


def _repo_file(sibling: Any) -> RepoFile:
    lfs = sibling.lfs
    digest = lfs and (lfs.get("sha256") if isinstance(lfs, dict) else lfs.sha256)
    return RepoFile(sibling.rfilename, sibling.size or 0, digest or sibling.blob_id)


def _licence(info: Any) -> str | None:
    card = getattr(info, "card_data", None)
    value = card and (card.get("license_name") or card.get("license"))
    return value if isinstance(value, str) else None


def _transfer(
    repo: _Repo,
    choice: Choice,
    job: Job,
    check: Callable[[], None],
    reference: Reference | None = None,
) -> None:
    """Fetch the files that the cache lacks, after saying so."""
    missing = repo.missing(choice)
    needed = sum(file.size for file in missing)
    if missing:
        _check_room(needed, repo.name)
        job.announce(_announcement(repo, choice, needed, reference))
    meter = Meter()
    texts: list[str] = []

    def report() -> None:
        text = f"fetching {repo.name}: {share_text(meter.bytes, needed)}"
        if texts[-1:] != [text]:
            texts[:] = [text]
            job.progress(0, text)

    unlinked = [file for file in choice.files if not (repo.snapshot / file.path).is_file()]
    if unlinked:
        _snapshot(repo, unlinked, meter, check, report if missing else lambda: None)
    cache.write_ref(repo.repo, repo.revision, repo.commit)


def _announcement(repo: _Repo, choice: Choice, needed: int, reference: Reference | None) -> str:
    preset = reference.preset if reference else None
    licence = preset.licence if preset else repo.licence
    whole = size_text(choice.size)
    # Without the index, which was fetched before, all of it is the same size in words.
    size = whole if size_text(needed) == whole else share_text(needed, choice.size)
    text = f"fetching {repo.name}, {size}, from {host()}; licence: {licence or 'none is named on its page'}"
    if preset and not preset.commercial:
        text += ", no commercial use"
    return text + ("; gated: only for accounts that have accepted its terms" if repo.gated else "")


def size_text(size: int) -> str:
    """Return a number of bytes in words, such as "16.0 GB"."""
    if size < _MB:
        return "less than 1 MB"
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{size / _MB:.1f} MB"


def share_text(part: int, whole: int) -> str:
    """Return a part of a number of bytes in words, such as "3.1 of 16.0 GB"."""
    if whole < _MB:
        return size_text(whole)
    unit = _GB if whole >= _GB else _MB
    return f"{min(part, whole) / unit:.1f} of {size_text(whole)}"


def _check_room(needed: int, name: str) -> None:
    folder = settings.hub_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EngineError(
            f"{name} needs {size_text(needed)} on the disk of the hub's cache, which has {size_text(free)} free; "
            "make room there, or set HF_HOME to a folder on another disk"
        )


def _snapshot(
    repo: _Repo,
    files: list[RepoFile],
    meter: Meter,
    check: Callable[[], None],
    report: Callable[[], None],
) -> None:
    hub = _library()
    reference = Reference(repo.repo, repo.revision)

    def work() -> None:
        hub.snapshot_download(
            repo.repo,
            revision=repo.commit,
            cache_dir=str(settings.hub_cache()),
            endpoint=settings.hub_endpoint(),
            allow_patterns=[glob.escape(file.path) for file in files],
            tqdm_class=meter.bar_class,
            etag_timeout=_ANSWER_S,
            max_workers=_WORKERS,
            library_name="ipy-imgvar",
        )

    def watch() -> None:
        check()
        report()

    try:
        _waited(work, reference, watch)
    except BaseException:
        # The library's threads end at their next piece of 10 MB, or at their time limit for a silent server.
        meter.stopped.set()
        _abort_xet()
        raise


def _abort_xet() -> None:
    """End the transfers of hf_xet, which doesn't pass on what a progress bar raises; the next one begins anew."""
    if "hf_xet" in sys.modules:
        # The library has no public name for what it does itself on an interrupt.
        with suppress(ImportError, AttributeError):
            import_module("huggingface_hub.utils._xet").abort_xet_session()


def _waited(work: Callable[[], T], reference: Reference, check: Callable[[], None]) -> T:
    """Run `work` in a thread, call `check` meanwhile, and return the result or raise our error for the library's."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # noqa: BLE001 - raised by the caller's thread
            errors.append(exc)

    thread = threading.Thread(target=run, name="ipy_imgvar-download", daemon=True)
    thread.start()
    while thread.is_alive():
        check()
        thread.join(_POLL_S)
    if errors:
        raise refusals.of(errors[0], reference, host()) from errors[0]
    return results[0]


def _library() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as exc:
        raise ConfigurationError(
            "the engine diffusers needs huggingface_hub; install it with: pip install 'ipy-imgvar[diffusers]'"
        ) from exc
