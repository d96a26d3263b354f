"""The inspection of a pipeline's folder before anything of it is loaded: no pickles, no code, no links to elsewhere.

A pickle runs what its author wrote when it is read, and a folder may name Python files as its pipeline, its parts or
its kernels. diffusers refuses most of that too, if it is asked to; this module refuses before diffusers is called, and
names the file. It reads JSON and names only.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.weights.cache import MAX_JSON_BYTES
from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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

#: Files of weights in other formats than safetensors. The first six are, or may be, pickles.
_OTHER_WEIGHTS: Final = frozenset(
    (
        ".bin",
        ".pt",
        ".pth",
        ".ckpt",
        ".pkl",
        ".pickle",
        ".h5",
        ".msgpack",
        ".onnx",
        ".onnx_data",
        ".pb",
        ".gguf",
    )
)
#: Files that Python runs or imports.
_CODE: Final = frozenset((".py", ".pyc", ".pyd", ".so", ".dll", ".dylib"))
#: Files in the folder itself that diffusers takes for a custom pipeline if it is asked for one by that name. `None.py`
#: is the one it looks for when it is asked for none (`_resolve_custom_pipeline_and_cls`, diffusers 0.42.1).
_PIPELINE_CODE: Final = ("pipeline.py", "None.py")
#: Files in a component that make the libraries load a further model: an adapter's weights, maybe as a pickle, and
#: without `config.json` the base that it names on the hub (transformers' `maybe_load_adapters`); or a whole pipeline.
_SECOND_MODELS: Final = ("adapter_config.json", "model_index.json", "modular_model_index.json")
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
#: The ways to compute attention and experts that transformers brings itself; any other name means a kernel from the
#: hub (`owner/name`), or falls back to one ("flash_attention_2" and "_3" without their packages).
_OWN_KERNELS: Final = frozenset((None, "eager", "sdpa", "flex_attention", "batched_mm", "grouped_mm"))
#: Quantisations whose code is an installed package. Others ("mxfp4", "fbgemm_fp8", "fp8", "gguf", "svdquant") fetch
#: kernels from the hub.
_QUANTISED: Final = frozenset(
    ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit", "quanto", "sdnq", "torchao")
)
_SAFE: Final = "allowed: weights as .safetensors, and parts of diffusers and transformers"


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
            raise _refused(name, code, "Python code of a custom pipeline, which is never run")
    if "Combined" in index["_class_name"] and (folder / "README.md").exists():
        # diffusers reads there which second repository to load, and nothing inspects that one.
        raise _refused(name, "README.md", "the card of a combined pipeline, which loads a second repository")
    for component in components_of(index):
        if (folder / component).exists() or (folder / component).is_symlink():
            inspect_component(folder / component, folder, name)
    return index


def read_index(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of `model_index.json` after `inspect_index`; raises `InvalidRequestError` as that does."""
    index = _json(folder / "model_index.json", folder, name)
    inspect_index(index, name)
    return dict(index)


def inspect_index(index: Any, name: str) -> list[str]:
    """Return the names of a pipeline's components; raises `InvalidRequestError` for custom code in an index."""
    if not isinstance(index, dict):
        raise _refused(name, "model_index.json", "no JSON object")
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise _refused(name, "model_index.json", f"a custom pipeline, {shown(pipeline)}, which is never run")
    if not _CLASS.fullmatch(pipeline) or "Pipeline" not in pipeline:
        raise _refused(name, "model_index.json", f"{shown(pipeline)} as its class, no pipeline of diffusers")
    components = components_of(index)
    for component in components:
        if not (re.fullmatch(r"\w+", component, re.ASCII) and _is_own_class(index[component])):
            what = f"{component} as {shown(index[component])}, custom code, which is never run"
            raise _refused(name, "model_index.json", what)
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


def inspect_part(folder: Path, name: str) -> None:
    """Inspect the folder of one model that isn't in a pipeline, as `inspect_folder` inspects a component."""
    _json(folder / "config.json", folder, name)
    inspect_component(folder, folder, name)


def inspect_component(component: Path, folder: Path, name: str) -> None:
    """Inspect a component of the pipeline in `folder`: its files, settings and links; see `inspect_folder`."""
    try:
        _inspect_component(component, folder, name)
    except OSError as exc:
        raise _refused(name, "a file of it", f"unreadable ({exc.strerror})", verb="is") from exc
    except RecursionError as exc:
        raise _refused(name, component.name, "settings or folders that are nested too deeply") from exc


def _inspect_component(component: Path, folder: Path, name: str) -> None:
    _stays_inside(component, folder, name)
    files = list(_files(component, folder, name))
    for path in files:
        relative = path.relative_to(folder).as_posix()
        if path.suffix.lower() in _CODE:
            raise _refused(name, relative, "code beside a component, which is never run")
        if path.name in _SECOND_MODELS:
            raise _refused(
                name, relative, "a second model inside a component, which may lead to another repository"
            )
        if ".safetensors." in path.name and path.suffix == ".json":
            _inspect_shards(_json(path, folder, name), relative, name)
        elif path.name.endswith("config.json"):
            _inspect_settings(_json(path, folder, name), relative, name)
    others = [path for path in files if path.suffix.lower() in _OTHER_WEIGHTS]
    if others and not any(path.suffix == ".safetensors" for path in files):
        relative = others[0].relative_to(folder).as_posix()
        raise _refused(
            name, relative, "weights in a format that may run code when it is read, and no .safetensors"
        )


def _files(component: Path, folder: Path, name: str) -> Iterator[Path]:
    for path in sorted(component.iterdir()) if component.is_dir() else [component]:
        _stays_inside(path, folder, name)
        if path.is_dir():
            if path.is_symlink():
                # The hub's cache has none, and one could lead in a circle.
                raise _refused(name, path.relative_to(folder).as_posix(), "a link to a folder", verb="is")
            yield from _files(path, folder, name)
        else:
            yield path


def _stays_inside(path: Path, folder: Path, name: str) -> None:
    if not path.is_symlink():
        return
    homes = [folder.resolve()]
    for snapshot in (folder, *folder.parents):
        repo = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and repo.name.startswith("models--"):
            # The hub's cache keeps the files here, under their hashes.
            homes.append((repo / "blobs").resolve())
    try:
        inside = any(path.resolve(strict=True).is_relative_to(home) for home in homes)
    except (OSError, RuntimeError):
        # A link to nothing, or in a circle.
        inside = False
    if not inside:
        raise _refused(name, path.relative_to(folder).as_posix(), "a link that leaves the folder")


def _inspect_shards(index: Any, relative: str, name: str) -> None:
    shards = index.get("weight_map") if isinstance(index, dict) else None
    for shard in shards.values() if isinstance(shards, dict) else [None]:
        if not isinstance(shard, str) or not re.fullmatch(r"[\w.-]+\.safetensors", shard, re.ASCII):
            raise _refused(
                name, relative, f"{shown(shard)} as a part of the weights, no .safetensors beside it"
            )


def _inspect_settings(value: Any, relative: str, name: str) -> None:
    """Refuse the settings that make transformers or diffusers fetch or run code, at any depth."""
    if isinstance(value, list):
        for each in value:
            _inspect_settings(each, relative, name)
    if not isinstance(value, dict):
        return
    for key, setting in value.items():
        if key in ("auto_map", "custom_pipelines") and setting:
            raise _refused(
                name, relative, f"{key}, which names Python code of the repository, which is never run"
            )
        if key.lstrip("_") in ("attn_implementation", "experts_implementation"):
            names = setting.values() if isinstance(setting, dict) else [setting]
            if not all(each is None or (isinstance(each, str) and each in _OWN_KERNELS) for each in names):
                raise _refused(
                    name, relative, f"{shown(setting)} as its {key}, a kernel that is fetched from the hub"
                )
        if key == "quantization_config" and isinstance(setting, dict):
            method = setting.get("quant_method")
            if not (isinstance(method, str) and method in _QUANTISED):
                allowed = ", ".join(sorted(_QUANTISED))
                raise _refused(name, relative, f"{shown(method)} as its quantisation; allowed: {allowed}")
        _inspect_settings(setting, relative, name)


def _json(path: Path, folder: Path, name: str) -> Any:
    relative = path.relative_to(folder).as_posix()
    if not path.is_file():
        raise _refused(name, relative, "missing, so this is not in the layout of diffusers", verb="is")
    _stays_inside(path, folder, name)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_JSON_BYTES else b""
    except OSError as exc:
        raise _refused(name, relative, f"unreadable ({exc.strerror})", verb="is") from exc
    if size > MAX_JSON_BYTES:
        limit = f"{MAX_JSON_BYTES // 1_000_000} MB"
        raise _refused(
            name, relative, f"too large for a file of settings; at most {limit} are read", verb="is"
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise _refused(name, relative, "no JSON", verb="is") from exc


def _refused(name: str, file: str, what: str, *, verb: str = "has") -> InvalidRequestError:
    """Return the error for a file; `what` follows the verb, which is "has" for content and "is" for the file itself."""
    return InvalidRequestError(f"model {name} can't be loaded: {file} {verb} {what}; {_SAFE}", field="model")
