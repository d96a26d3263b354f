"""Which files of a repository a pipeline needs: pure functions over the list of its files.

A repository often holds the same weights many times: as pickles, for ONNX and Flax, in 16 and 32 bits, and as one file
for other programs. Stable Diffusion 1.5 has 45 GB, of which 2.7 are needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.weights.inspection import components_of
from ipy_imgvar.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Choice", "RepoFile", "choose", "choose_adapter", "choose_part", "is_complete", "listing_of"]

#: The variant in 16 bits, as diffusers' `save_pretrained(variant="fp16")` names it.
HALF: Final = "fp16"
#: The names under which diffusers and transformers look for weights.
_STEMS: Final = "diffusion_pytorch_model|model"
#: Suffixes of the files that a component may need beside its weights: settings, vocabularies, templates.
_SETTINGS: Final = frozenset((".json", ".txt", ".model", ".jinja", ".tiktoken"))
_PICKLES: Final = frozenset((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"))


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file of a repository.

    Parameters
    ----------
    path
        Its path in the repository, with "/".
    size
        Bytes; 0 if the server doesn't say.
    blob
        Its name among the cache's blobs: the SHA-256 of a large file, git's hash of a small one; None if unknown.
    """

    path: str
    size: int = 0
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The files to fetch, and the `variant=` with which diffusers finds them."""

    files: tuple[RepoFile, ...]
    variant: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def choose(index: Mapping[str, Any], files: Sequence[RepoFile], name: str, *, half: bool) -> Choice:
    """Return the files that a pipeline needs.

    Parameters
    ----------
    index
        The content of `model_index.json`.
    files
        All files of the repository.
    name
        The model's name for messages.
    half
        Prefer weights in 16 bits to those in 32 where a component has both.

    Raises
    ------
    InvalidRequestError
        If a component has weights, but none as `.safetensors`.
    """
    chosen = [file for file in files if file.path == "model_index.json"]
    variant = None
    for component in components_of(index):
        own = [file for file in files if file.path.startswith(f"{component}/")]
        weights, is_half = _weights(own, component, half=half)
        if not weights and (pickles := [each for each in own if _suffix(each) in _PICKLES]):
            raise InvalidRequestError(
                f"model {name} can't be loaded: {pickles[0].path} has weights in a format that may run code when it is "
                "read, and there is no .safetensors beside it; choose a revision or a model that has one",
                field="model",
            )
        chosen += [*(file for file in own if _is_setting(file)), *weights]
        variant = HALF if is_half else variant
    return Choice(tuple(chosen), variant)


def choose_adapter(weights: str, encoder: str, files: Sequence[RepoFile], name: str) -> Choice:
    """Return the files of an IP-Adapter: its weights, and the image encoder's folder.

    Raises
    ------
    InvalidRequestError
        If the repository lacks one of them as `.safetensors`.
    """
    own = [file for file in files if file.path.startswith(f"{encoder}/")]
    encoder_weights, _ = _weights(own, encoder, half=False)
    needed = {weights: [], f"{encoder}/config.json": [], f"{encoder}/model.safetensors": encoder_weights}
    return _few(needed, files, f"adapter {name}", [file for file in own if _is_setting(file)])


def choose_part(files: Sequence[RepoFile], name: str) -> Choice:
    """Return the files of one model at the top of a repository: its settings and its weights.

    Raises
    ------
    InvalidRequestError
        If the repository lacks one of them.
    """
    weights, _ = _weights(files, "", half=False)
    return _few(
        {"config.json": [], "diffusion_pytorch_model.safetensors": weights}, files, f"model {name}", []
    )


def _few(
    needed: Mapping[str, list[RepoFile]], files: Sequence[RepoFile], what: str, more: list[RepoFile]
) -> Choice:
    """Return the needed files and more; a needed path has its files, or an empty list for the one of that name."""
    chosen: dict[str, RepoFile] = {}
    for path, own in needed.items():
        found = own or [file for file in files if file.path == path]
        if not found:
            raise InvalidRequestError(f"{what} has no {path}; choose one that has", field="model")
        chosen |= {file.path: file for file in (*found, *more)}
    return Choice(tuple(chosen.values()))


def is_complete(index: Mapping[str, Any], choice: Choice) -> bool:
    """Return whether files chosen from a folder on this disk are all that the pipeline needs, as far as names tell.

    A component with `config.json` is a model and needs weights; of numbered weights all must be there.
    """
    paths = [file.path for file in choice.files]
    for component in components_of(index):
        own = [path for path in paths if path.startswith(f"{component}/")]
        weights = [path for path in own if path.endswith(".safetensors")]
        if not own or (f"{component}/config.json" in own and not weights):
            return False
        if numbered := re.search(r"-of-(\d{5})", weights[0]) if weights else None:
            has_index = any(".index." in path for path in own)
            if len(weights) < int(numbered[1]) or not has_index:
                return False
    return True


def listing_of(folder: Path) -> list[RepoFile]:
    """Return the files of a folder on this disk as a repository's list; links count as the files they lead to."""
    paths = (path for pattern in ("*", "*/*", "*/*/*") for path in sorted(folder.glob(pattern)))
    return [
        RepoFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths if path.is_file()
    ]


def _suffix(file: RepoFile) -> str:
    return PurePosixPath(file.path).suffix.lower()


def _is_setting(file: RepoFile) -> bool:
    # The indexes of sharded weights are chosen with their shards.
    return _suffix(file) in _SETTINGS and ".index." not in file.path


def _weights(files: Iterable[RepoFile], folder: str, *, half: bool) -> tuple[list[RepoFile], bool]:
    """Return the files of one set of weights in a folder, and whether it is the variant in 16 bits."""
    files = [file for file in files if file.path.rpartition("/")[0] == folder]
    # Names as diffusers 0.42.1 and transformers 5 write them, and the older order of variant and number.
    plain = _set_of(files, rf"({_STEMS})\.safetensors") or _set_of(
        files, rf"({_STEMS})-\d{{5}}-of-\d{{5}}\.safetensors", rf"({_STEMS})\.safetensors\.index\.json"
    )
    halves = _set_of(files, rf"({_STEMS})\.{HALF}\.safetensors") or _set_of(
        files,
        rf"({_STEMS})(\.{HALF}-\d{{5}}-of-\d{{5}}|-\d{{5}}-of-\d{{5}}\.{HALF})\.safetensors",
        rf"({_STEMS})\.safetensors\.(index\.{HALF}|{HALF}\.index)\.json",
    )
    if halves and (half or not plain):
        return halves, True
    return plain, False


def _set_of(files: Iterable[RepoFile], weights: str, index: str | None = None) -> list[RepoFile]:
    found = [file for file in files if re.fullmatch(weights, file.path.rpartition("/")[2])]
    if found and index:
        found += [file for file in files if re.fullmatch(index, file.path.rpartition("/")[2])]
    return found
