"""What a model's name means: a preset, a repository on the hub, or a folder on this disk.

A text is a folder if it is written as a path (it begins with ".", "/" or "~", has a backslash or a drive), or if a
folder of that name holds a pipeline, as in diffusers' own `from_pretrained`; a preset's name is always the preset.
Nothing here uses the network.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Final

from ipy_imgvar.engines.diffusers.weights.presets import PRESETS, Preset
from ipy_imgvar.errors import InvalidRequestError, shown

__all__ = ["Reference", "is_repo", "is_revision", "reference"]

#: The hub's rules for `owner/name` (huggingface_hub.utils.validate_repo_id): letters of ASCII, digits, "-", "_", ".".
_REPO: Final = re.compile(
    r"(?!.*(--|\.\.))(?=[^/]{1,96}/)\w([\w.-]*\w)?/(?=.{1,96}$)\w([\w.-]*\w)?", re.ASCII
)
#: Branches, tags and commits, and the hub's `refs/pr/8`: what git takes, without the signs of paths and shells.
_REVISION: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./+-]*(?<![/.])", re.ASCII)
#: An address of the hub's page, which people copy instead of the id.
_PAGE: Final = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#@]+/[^/?#@]+)")
_ALLOWED: Final = (
    f"allowed: {', '.join(PRESETS)}, owner/name[@revision] of huggingface.co, or a folder such as ./model"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's place: on the hub, or in a folder.

    Parameters
    ----------
    repo
        `owner/name` on the hub; None for a folder.
    revision
        A branch, tag or commit; None means the default branch.
    folder
        The absolute path of a pipeline's folder; None for the hub.
    preset
        The row of the table that has this repository at this revision, or that named it; None for any other.
    """

    repo: str | None = None
    revision: str | None = None
    folder: Path | None = None
    preset: Preset | None = None

    @property
    def name(self) -> str:
        """The name for messages and records: `owner/name[@revision]`, or the folder's last part; never a path."""
        if self.folder is not None:
            return self.folder.name or "folder"
        return f"{self.repo}@{self.revision}" if self.revision else str(self.repo)


def reference(model: str, *, index: str = "model_index.json") -> Reference:
    r"""Return what a model's name means.

    Parameters
    ----------
    model
        A preset's name, `owner/name`, `owner/name@revision`, or the path of a folder in diffusers' layout.
    index
        The file that a folder has at its top: "config.json" for a model that isn't in a pipeline.

    Raises
    ------
    InvalidRequestError
        With the field "model": if the text is none of these, or the folder is missing or holds no pipeline.

    Examples
    --------
    >>> reference("sd15").repo
    'stable-diffusion-v1-5/stable-diffusion-v1-5'
    >>> reference("some-one/a.model@refs/pr/8").revision
    'refs/pr/8'
    """
    text = model.strip()
    if text in PRESETS:
        preset = PRESETS[text]
        return Reference(preset.repo, preset.revision, None, preset)
    if _is_path(text) or _holds(text, index):
        return Reference(folder=_folder(text, index))
    repo, at, revision = text.partition("@")
    if is_repo(repo) and (not at or is_revision(revision)):
        return _on_hub(repo, revision or None)
    if not _PAGE.match(text) and _exists(text):
        return Reference(folder=_folder(text, index))
    raise InvalidRequestError(f"model is {_received(text)}; {_ALLOWED}{_hint(text)}", field="model")


def is_repo(text: str) -> bool:
    """Return whether a text is a valid `owner/name`."""
    return bool(_REPO.fullmatch(text)) and not text.endswith(".git")


def is_revision(text: str) -> bool:
    """Return whether a text may be a branch, tag or commit."""
    return bool(_REVISION.fullmatch(text))


def _on_hub(repo: str, revision: str | None) -> Reference:
    for preset in PRESETS.values():
        if preset.repo == repo and revision in (None, preset.revision):
            return Reference(repo, preset.revision, None, preset)
    return Reference(repo, revision)


def _is_path(text: str) -> bool:
    return text.startswith((".", "/", "~")) or "\\" in text or bool(PureWindowsPath(text).drive)


def _holds(text: str, index: str) -> bool:
    return _exists(text) and Path(text, index).is_file()


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_dir()
    except (OSError, ValueError):
        # A name that the file system can't hold: too long, or with a null.
        return False


def _folder(text: str, index: str) -> Path:
    try:
        folder = Path(text).expanduser().absolute()
        found = folder.is_dir()
        is_file = not found and folder.is_file()
    except (OSError, RuntimeError, ValueError):
        # RuntimeError: the home of a user who doesn't exist.
        found = is_file = False
    if is_file:
        raise InvalidRequestError(
            f"model is {shown(text)}, a file; allowed: a folder in diffusers' layout, with {index}",
            field="model",
        )
    if not found:
        raise InvalidRequestError(
            f"model is {shown(text)}: there is no such folder; {_ALLOWED}", field="model"
        )
    if not (folder / index).is_file():
        raise InvalidRequestError(
            f"model is {shown(text)}: the folder has no {index}, so it is not in the layout of diffusers; "
            "give the folder that save_pretrained wrote",
            field="model",
        )
    return folder


def _received(text: str) -> str:
    # An address may hold a password.
    return "an address" if "://" in text else shown(text)


def _hint(text: str) -> str:
    if page := _PAGE.match(text):
        return f"; did you mean {page[1]}?" if is_repo(page[1]) else ""
    names = [*PRESETS, *(preset.repo for preset in PRESETS.values())]
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(text.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[near[0]]}?" if near else ""
