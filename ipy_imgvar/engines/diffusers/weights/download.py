"""Brings a model's files onto this disk: what is fetched is said before it begins, and a cancel ends it.

The library huggingface_hub does the transfer, into its own cache, so that other programs share the files. It runs in a
thread that this module leaves behind on a cancel; finished files stay, and the next call fetches only the others.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ipy_imgvar import plain, settings
from ipy_imgvar.engines.diffusers.weights import cache, refusals
from ipy_imgvar.engines.diffusers.weights.bars import Meter, quiet
from ipy_imgvar.engines.diffusers.weights.hub import Listing, host, list_files, transfer
from ipy_imgvar.engines.diffusers.weights.inspection import (
    inspect_adapter,
    inspect_component,
    inspect_folder,
    inspect_part,
    read_index,
)
from ipy_imgvar.engines.diffusers.weights.reference import Reference
from ipy_imgvar.engines.diffusers.weights.selection import (
    Choice,
    RepoFile,
    choose,
    choose_adapter,
    choose_part,
    is_complete,
    listing_of,
)
from ipy_imgvar.errors import (
    ConnectionFailedError,
    EngineError,
    InvalidRequestError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ipy_imgvar.engine import Job
    from ipy_imgvar.engines.diffusers.weights.presets import Adapter

__all__ = [
    "Local",
    "adapter_files",
    "cached_adapter",
    "cached_copy",
    "cached_part",
    "fetch",
    "fetch_adapter",
    "fetch_part",
    "free_bytes",
    "size_text",
]

#: Bytes of the units that people and file lists use; the libraries' GiB are 7 % larger.
_MB: Final = 1_000_000
_GB: Final = 1_000_000_000


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
    # A record has the first digits of a commit, which the hub may not take.
    reference = replace(reference, revision=cache.commit_of(reference)) if _is_short(reference) else reference
    if local_files_only or settings.hub_offline():
        copy = cached_copy(reference, half=half)
        if copy is None:
            raise refusals.offline(name)
        return copy
    return _from_hub(reference, job, check, half=half)


def _is_short(reference: Reference) -> bool:
    commit = cache.commit_of(reference)
    return bool(
        commit
        and reference.revision
        and commit != reference.revision
        and commit.startswith(reference.revision)
    )


def adapter_files(adapter: Adapter) -> tuple[str, str]:
    """Return the paths of an IP-Adapter's weights and of its image encoder's folder in their repository."""
    weights = f"{adapter.subfolder}/{adapter.weight_name}" if adapter.subfolder else adapter.weight_name
    return weights, adapter.image_encoder


def fetch_adapter(adapter: Adapter, *, local_files_only: bool, job: Job, check: Callable[[], None]) -> Local:
    """Return an IP-Adapter's files on this disk: `folder` is the one that has `adapter.subfolder` in it.

    A copy on this disk is used without asking the hub for a newer one. See `fetch` for parameters and errors.
    """
    (weights, encoder), name = adapter_files(adapter), adapter.repo
    needed = (weights, f"{encoder}/config.json", f"{encoder}/model.safetensors")
    offline = local_files_only or settings.hub_offline()
    folder = _few(
        Reference(adapter.repo, adapter.revision),
        lambda files: choose_adapter(weights, encoder, files, name),
        needed if offline else None,
        job,
        check,
    )
    inspect_adapter(folder / weights)
    inspect_component(folder / encoder, folder, name)
    return Local(folder, folder.name)


def fetch_part(reference: Reference, *, local_files_only: bool, job: Job, check: Callable[[], None]) -> Local:
    """Return the files of one model of diffusers that isn't in a pipeline, such as a tiny autoencoder for previews.

    The folder or repository has `config.json` and the weights at its top; see `reference(model, index="config.json")`.
    A copy on this disk is used without asking the hub for a newer one. See `fetch` for parameters and errors.
    """
    name = reference.name
    if reference.folder is not None:
        inspect_part(reference.folder, name)
        return Local(reference.folder, None)
    needed = ("config.json", "diffusion_pytorch_model.safetensors")
    offline = local_files_only or settings.hub_offline()
    folder = _few(reference, lambda files: choose_part(files, name), needed if offline else None, job, check)
    inspect_part(folder, name)
    return Local(folder, folder.name)


def _few(
    reference: Reference,
    choose_files: Callable[[Sequence[RepoFile]], Choice],
    offline: tuple[str, ...] | None,
    job: Job,
    check: Callable[[], None],
) -> Path:
    """Return the snapshot with the chosen files; without a network `offline` has their names for a message."""
    snapshot = _copy_of_few(reference, choose_files)
    if snapshot is not None:
        return snapshot
    if offline is not None:
        raise refusals.offline(reference.name, offline)
    with quiet("huggingface_hub"):
        repo = list_files(reference, check)
        _transfer(repo, choose_files(repo.files), job, check)
    return repo.snapshot


def _copy_of_few(reference: Reference, choose_files: Callable[[Sequence[RepoFile]], Choice]) -> Path | None:
    """Return the cached snapshot that has the chosen files; None if there is none."""
    snapshot = cache.snapshot_of(reference)
    if snapshot is not None:
        with suppress(InvalidRequestError):
            choose_files(listing_of(snapshot))
            return snapshot
    return None


def cached_adapter(adapter: Adapter) -> Path | None:
    """Return the folder of an IP-Adapter's complete copy in the cache; None if there is none."""
    weights, encoder = adapter_files(adapter)
    return _copy_of_few(
        Reference(adapter.repo, adapter.revision),
        lambda files: choose_adapter(weights, encoder, files, adapter.repo),
    )


def cached_part(reference: Reference) -> Path | None:
    """Return the folder of a single model's complete copy on this disk, as `fetch_part` takes it, or None."""
    if reference.folder is not None:
        return reference.folder
    return _copy_of_few(reference, lambda files: choose_part(files, reference.name))


def cached_copy(reference: Reference, *, half: bool) -> Local | None:
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
        copy = cached_copy(reference, half=half)
        if copy is None:
            raise
        job.warn(
            f"{reference.name} comes from this disk, as at its last download, since {host()} can't be asked for "
            "a newer one"
        )
        return copy


def _fetched(reference: Reference, job: Job, check: Callable[[], None], *, half: bool) -> Local:
    with quiet("huggingface_hub"):
        repo = list_files(reference, check)
        own = [file for file in repo.files if file.path == "model_index.json"]
        if not own:
            raise InvalidRequestError(
                f"model {repo.name} has no model_index.json, so it is no pipeline of diffusers; choose another",
                field="model",
            )
        # First the index alone, a kB: it says which of the other files are needed, and whether any may be loaded.
        if not (repo.snapshot / "model_index.json").is_file():
            transfer(repo, own, Meter(), check, lambda: None)
        index = read_index(repo.snapshot, repo.name)
        choice = choose(index, repo.files, repo.name, half=half)
        other = choose(index, repo.files, repo.name, half=not half)
        if repo.missing(choice) and not repo.missing(other):
            # The other precision is on this disk; it serves as well, since weights are converted on loading.
            choice = other
        _transfer(repo, choice, job, check, reference)
    inspect_folder(repo.snapshot, repo.name)
    return Local(repo.snapshot, repo.commit, choice.variant)


def _transfer(
    repo: Listing,
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
        transfer(repo, unlinked, meter, check, report if missing else lambda: None)
    cache.write_ref(repo.repo, repo.revision, repo.commit)


def _announcement(repo: Listing, choice: Choice, needed: int, reference: Reference | None) -> str:
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
    """Return a number of bytes in words, such as "16.0 GB"; those of the hub count in MB."""
    return "less than 1 MB" if size < _MB else plain.size_text(size)


def share_text(part: int, whole: int) -> str:
    """Return a part of a number of bytes in words, such as "3.1 of 16.0 GB"."""
    if whole < _MB:
        return size_text(whole)
    unit = _GB if whole >= _GB else _MB
    return f"{min(part, whole) / unit:.1f} of {size_text(whole)}"


def _check_room(needed: int, name: str) -> None:
    free = free_bytes()
    if needed > free:
        raise EngineError(
            f"{name} needs {size_text(needed)} on the disk of the hub's cache, which has {size_text(free)} free; "
            "make room there, or set HF_HOME to a folder on another disk"
        )


def free_bytes() -> int:
    """Return the free bytes of the disk that holds the hub's cache."""
    folder = settings.hub_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
