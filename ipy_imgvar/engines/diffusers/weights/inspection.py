"""The inspection of a pipeline's folder before anything of it is loaded: no pickles, no code, no links to elsewhere.

A pickle runs what its author wrote when it is read, and a folder may name Python files as its pipeline, its parts or
its kernels. diffusers refuses most of that too, if it is asked to; this module refuses before diffusers is called, and
names the file. It reads JSON and names only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.modelfiles import inspect_component, inspect_part, read_json, refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "components_of",
    "inspect_adapter",
    "inspect_component",
    "inspect_folder",
    "inspect_index",
    "inspect_part",
    "read_index",
]

#: Files in the folder itself that diffusers takes for a custom pipeline if it is asked for one by that name. `None.py`
#: is the one it looks for when it is asked for none (`_resolve_custom_pipeline_and_cls`, diffusers 0.42.1).
_PIPELINE_CODE: Final = ("pipeline.py", "None.py")
#: The folders of `diffusers.pipelines` that define parts of their own (classes of models, tokenizers, schedulers) in
#: diffusers 0.42.1; an index names them instead of "diffusers".
_PIPELINE_MODULES: Final = frozenset(
    (
        "ace_step", "alt_diffusion", "audio_diffusion", "audioldm2", "blip_diffusion", "deepfloyd_if", "flux",
        "ideogram4", "kandinsky", "kolors", "latent_diffusion", "ltx", "ltx2", "paint_by_example", "shap_e",
        "spectrogram_diffusion", "stable_audio", "stable_audio_3", "stable_cascade", "stable_diffusion",
        "stable_diffusion_safe", "unclip", "unidiffuser", "versatile_diffusion", "vq_diffusion", "wuerstchen",
    )
)  # fmt: skip
_LIBRARIES: Final = frozenset(("diffusers", "transformers")) | _PIPELINE_MODULES
_CLASS: Final = re.compile(r"[A-Za-z]\w*", re.ASCII)


def inspect_folder(folder: Path, name: str) -> Mapping[str, Any]:
    """Return a pipeline's index after a look at each of its files.

    Parameters
    ----------
    folder
        The folder with `model_index.json`, or a snapshot in the hub's cache.
    name
        The model's name for messages; see `Reference.name`.

    Raises
    ------
    InvalidRequestError
        With the field "model": if the index is missing, too large or no JSON; if the pipeline or a part is custom
        code; if weights are no safetensors; if a link leaves the folder; if a setting names a kernel on the hub.
    """
    index = read_index(folder, name)
    for code in _PIPELINE_CODE:
        if (folder / code).exists():
            raise refused(name, code, "Python code of a custom pipeline, which is never run")
    if "Combined" in index["_class_name"] and (folder / "README.md").exists():
        # diffusers reads there which second repository to load, and nothing inspects that one.
        raise refused(name, "README.md", "the card of a combined pipeline, which loads a second repository")
    for component in components_of(index):
        if (folder / component).exists() or (folder / component).is_symlink():
            inspect_component(folder / component, folder, name)
    return index


def read_index(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of `model_index.json` after `inspect_index`; raises `InvalidRequestError` as that does."""
    index = read_json(folder / "model_index.json", folder, name)
    inspect_index(index, name)
    return dict(index)


def inspect_index(index: Any, name: str) -> list[str]:
    """Return the names of a pipeline's components; raises `InvalidRequestError` for custom code in an index."""
    if not isinstance(index, dict):
        raise refused(name, "model_index.json", "no JSON object")
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise refused(name, "model_index.json", f"a custom pipeline, {shown(pipeline)}, which is never run")
    if not _CLASS.fullmatch(pipeline) or "Pipeline" not in pipeline:
        raise refused(name, "model_index.json", f"{shown(pipeline)} as its class, no pipeline of diffusers")
    components = components_of(index)
    for component in components:
        if not (re.fullmatch(r"\w+", component, re.ASCII) and _is_own_class(index[component])):
            what = f"{component} as {shown(index[component])}, custom code, which is never run"
            raise refused(name, "model_index.json", what)
    return components


def components_of(index: Mapping[str, Any]) -> list[str]:
    """Return the names of the components that an index lists, without those that it leaves out as null."""
    return [key for key, value in index.items() if key[:1] != "_" and _is_component(value)]


def inspect_adapter(path: Path) -> None:
    """Refuse an adapter that is no `.safetensors` file, or whose folder `image_encoder` a pipeline couldn't have.

    Raises `InvalidRequestError` with the field "model".
    """
    if path.suffix != ".safetensors":
        raise InvalidRequestError(
            f"the adapter is {shown(path.name)}; allowed: a .safetensors file, since other formats may run code when "
            "they are read",
            field="model",
        )
    if (encoder := path.parent / "image_encoder").is_dir():
        inspect_component(encoder, path.parent, path.name)


def _is_component(value: object) -> bool:
    # A list of numbers is a setting. Anything else in a list names code, whatever its length; null names none.
    if not isinstance(value, list) or not value or value[0] is None:
        return False
    return not all(isinstance(each, (int, float)) for each in value)


def _is_own_class(value: list[object]) -> bool:
    match value:
        case [str(library), str(class_name)]:
            return library in _LIBRARIES and bool(_CLASS.fullmatch(class_name))
    return False
