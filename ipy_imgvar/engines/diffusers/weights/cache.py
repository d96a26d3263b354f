"""A look into Hugging Face's cache on this disk, without its library: what is there, at which commit.

The layout, as huggingface_hub documents it: `models--OWNER--NAME/refs/REVISION` holds a commit;
`snapshots/COMMIT/PATH` is a link to `blobs/HASH`, or the file itself where links aren't possible.

References
----------
https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import settings
from ipy_imgvar.modelfiles import MAX_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ipy_imgvar.engines.diffusers.weights.reference import Reference

__all__ = ["commit_of", "index_of", "repo_folder", "snapshot_of", "write_ref"]

_log = logging.getLogger("ipy_imgvar")

#: A full commit, which names its files for good.
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
#: The beginning of a commit, as our records have it.
_BEGINNING: Final = re.compile(r"[0-9a-f]{7,39}")


def repo_folder(repo: str) -> Path:
    """Return the folder of a repository in the cache, whether it exists or not."""
    return settings.hub_cache() / f"models--{repo.replace('/', '--')}"


def commit_of(reference: Reference) -> str | None:
    """Return the cached commit that a reference means; None for a folder, and if none is cached.

    A branch or tag means the commit that it had at the last download.
    """
    if reference.repo is None:
        return None
    folder = repo_folder(reference.repo)
    revision = reference.revision or "main"
    if COMMIT.fullmatch(revision):
        commit = revision
    elif _BEGINNING.fullmatch(revision) and len(commits := _snapshots(folder, revision)) == 1:
        commit = commits[0]
    else:
        try:
            commit = (folder / "refs" / revision).read_text("ascii").strip()
        except (OSError, ValueError):
            return None
    return commit if COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir() else None


def _snapshots(folder: Path, beginning: str) -> list[str]:
    """Return the cached commits that begin so."""
    return [each.name for each in folder.glob(f"snapshots/{beginning}*") if COMMIT.fullmatch(each.name)]


def snapshot_of(reference: Reference) -> Path | None:
    """Return the folder with a reference's files: its own, or the cached snapshot; None if there is none."""
    if reference.repo is None:
        return reference.folder
    commit = commit_of(reference)
    return repo_folder(reference.repo) / "snapshots" / commit if commit else None


def index_of(reference: Reference) -> Mapping[str, Any] | None:
    """Return the pipeline's index (`model_index.json`), from the folder or the cache; None if it isn't on this disk."""
    folder = snapshot_of(reference)
    if folder is None:
        return None
    path = folder / "model_index.json"
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        index = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        # The inspection before loading says which of these it is.
        return None
    return index if isinstance(index, dict) else None


def write_ref(repo: str, revision: str | None, commit: str) -> None:
    """Record the commit that a branch or tag has, once its files are complete, for use without a network."""
    revision = revision or "main"
    if COMMIT.fullmatch(revision):
        return
    path = repo_folder(repo) / "refs" / revision
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one step, since other programs read the cache at any time.
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        new.write_text(commit, "ascii")
        new.replace(path)
    except OSError:
        # The files are there; the branch's name will be asked for again.
        _log.debug("no ref could be written for %s", repo)
