"""The calls of huggingface_hub: a repository's list of files, and their transfer into the cache.

Each call runs in a thread, so that its caller hears a cancel while a server is silent.
"""

from __future__ import annotations

import glob
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from ipy_imgvar import settings
from ipy_imgvar.engines.diffusers.weights import cache, refusals
from ipy_imgvar.engines.diffusers.weights.reference import Reference
from ipy_imgvar.engines.diffusers.weights.selection import Choice, RepoFile
from ipy_imgvar.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ipy_imgvar.engines.diffusers.weights.bars import Meter

__all__ = ["Listing", "host", "list_files", "transfer"]

T = TypeVar("T")

#: Seconds between two looks at a cancel, a time limit and the progress while the library works.
_POLL_S: Final = 0.05
#: Seconds to wait for the hub's first answer, as huggingface_hub does for each file.
_ANSWER_S: Final = 10.0
#: Files that are fetched at a time; the large ones fill the line alone.
_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Listing:
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
        """The folder of these files in the cache."""
        return cache.repo_folder(self.repo) / "snapshots" / self.commit

    def missing(self, choice: Choice) -> list[RepoFile]:
        """Return the files that the cache lacks."""
        blobs = cache.repo_folder(self.repo) / "blobs"
        return [
            file
            for file in choice.files
            if not (self.snapshot / file.path).is_file() and not (file.blob and (blobs / file.blob).is_file())
        ]


def host() -> str:
    """Return the name and port of the hub's server, without a password."""
    return urlsplit(settings.hub_endpoint()).netloc.rpartition("@")[2]


def list_files(reference: Reference, check: Callable[[], None]) -> Listing:
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
    return Listing(repo, name, reference.revision, str(info.sha), files, _licence(info), bool(info.gated))


def _repo_file(sibling: Any) -> RepoFile:
    lfs = sibling.lfs
    digest = lfs and (lfs.get("sha256") if isinstance(lfs, dict) else lfs.sha256)
    return RepoFile(sibling.rfilename, sibling.size or 0, digest or sibling.blob_id)


def _licence(info: Any) -> str | None:
    card = getattr(info, "card_data", None)
    value = card and (card.get("license_name") or card.get("license"))
    return value if isinstance(value, str) else None


def transfer(
    repo: Listing,
    files: Sequence[RepoFile],
    meter: Meter,
    check: Callable[[], None],
    report: Callable[[], None],
) -> None:
    """Bring files into the cache, by their paths; `check` raises to end it, `report` is called meanwhile."""
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
