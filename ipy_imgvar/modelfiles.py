"""The inspection of a model's folder before anything of it is loaded: no pickles, no code, no links to elsewhere.

A pickle runs what its author wrote when it is read, and a folder may name Python files as its parts or its kernels.
This module reads JSON and names only.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MAX_JSON_BYTES", "inspect_component", "inspect_part", "read_json", "refused"]

#: Bytes of the largest file that is parsed as JSON; indexes have less than 10 kB, settings of tokenizers up to 1 MB.
MAX_JSON_BYTES: Final = 10_000_000
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
#: Files in a component that make the libraries load a further model: an adapter's weights, maybe as a pickle, and
#: without `config.json` the base that it names on the hub (transformers' `maybe_load_adapters`); or a whole pipeline.
_SECOND_MODELS: Final = ("adapter_config.json", "model_index.json", "modular_model_index.json")
#: The ways to compute attention and experts that transformers brings itself; any other name means a kernel from the
#: hub (`owner/name`), or falls back to one ("flash_attention_2" and "_3" without their packages).
_OWN_KERNELS: Final = frozenset((None, "eager", "sdpa", "flex_attention", "batched_mm", "grouped_mm"))
#: Quantisations whose code is an installed package. Others ("mxfp4", "fbgemm_fp8", "fp8", "gguf", "svdquant") fetch
#: kernels from the hub.
_QUANTISED: Final = frozenset(
    ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit", "quanto", "sdnq", "torchao")
)
_SAFE: Final = "allowed: weights as .safetensors, and parts of diffusers and transformers"


def inspect_part(folder: Path, name: str) -> None:
    """Inspect the folder of one model that isn't in a pipeline, as `inspect_folder` inspects a component."""
    read_json(folder / "config.json", folder, name)
    inspect_component(folder, folder, name)


def inspect_component(component: Path, folder: Path, name: str) -> None:
    """Inspect a component of the pipeline in `folder`: its files, settings and links; see `inspect_folder`."""
    try:
        _inspect_component(component, folder, name)
    except OSError as exc:
        raise refused(name, "a file of it", f"unreadable ({exc.strerror})", verb="is") from exc
    except RecursionError as exc:
        raise refused(name, component.name, "settings or folders that are nested too deeply") from exc


def _inspect_component(component: Path, folder: Path, name: str) -> None:
    _stays_inside(component, folder, name)
    files = list(_files(component, folder, name))
    for path in files:
        relative = path.relative_to(folder).as_posix()
        if path.suffix.lower() in _CODE:
            raise refused(name, relative, "code beside a component, which is never run")
        if path.name in _SECOND_MODELS:
            raise refused(
                name, relative, "a second model inside a component, which may lead to another repository"
            )
        if ".safetensors." in path.name and path.suffix == ".json":
            _inspect_shards(read_json(path, folder, name), relative, name)
        elif path.name.endswith("config.json"):
            _inspect_settings(read_json(path, folder, name), relative, name)
    others = [path for path in files if path.suffix.lower() in _OTHER_WEIGHTS]
    if others and not any(path.suffix == ".safetensors" for path in files):
        relative = others[0].relative_to(folder).as_posix()
        raise refused(
            name, relative, "weights in a format that may run code when it is read, and no .safetensors"
        )


def _files(component: Path, folder: Path, name: str) -> Iterator[Path]:
    for path in sorted(component.iterdir()) if component.is_dir() else [component]:
        _stays_inside(path, folder, name)
        if path.is_dir():
            if path.is_symlink():
                # The hub's cache has none, and one could lead in a circle.
                raise refused(name, path.relative_to(folder).as_posix(), "a link to a folder", verb="is")
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
        raise refused(name, path.relative_to(folder).as_posix(), "a link that leaves the folder")


def _inspect_shards(index: Any, relative: str, name: str) -> None:
    shards = index.get("weight_map") if isinstance(index, dict) else None
    for shard in shards.values() if isinstance(shards, dict) else [None]:
        if not isinstance(shard, str) or not re.fullmatch(r"[\w.-]+\.safetensors", shard, re.ASCII):
            raise refused(
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
            raise refused(
                name, relative, f"{key}, which names Python code of the repository, which is never run"
            )
        if key.lstrip("_") in ("attn_implementation", "experts_implementation"):
            names = setting.values() if isinstance(setting, dict) else [setting]
            if not all(each is None or (isinstance(each, str) and each in _OWN_KERNELS) for each in names):
                raise refused(
                    name, relative, f"{shown(setting)} as its {key}, a kernel that is fetched from the hub"
                )
        if key == "quantization_config" and isinstance(setting, dict):
            method = setting.get("quant_method")
            if not (isinstance(method, str) and method in _QUANTISED):
                allowed = ", ".join(sorted(_QUANTISED))
                raise refused(name, relative, f"{shown(method)} as its quantisation; allowed: {allowed}")
        _inspect_settings(setting, relative, name)


def read_json(path: Path, folder: Path, name: str) -> Any:
    """Return the content of a JSON file in a model's folder; raises `InvalidRequestError` where it can't be read."""
    relative = path.relative_to(folder).as_posix()
    if not path.is_file():
        raise refused(
            name, relative, "missing, so this is not in the layout of diffusers or transformers", verb="is"
        )
    _stays_inside(path, folder, name)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_JSON_BYTES else b""
    except OSError as exc:
        raise refused(name, relative, f"unreadable ({exc.strerror})", verb="is") from exc
    if size > MAX_JSON_BYTES:
        limit = f"{MAX_JSON_BYTES // 1_000_000} MB"
        raise refused(
            name, relative, f"too large for a file of settings; at most {limit} are read", verb="is"
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise refused(name, relative, "no JSON", verb="is") from exc


def refused(name: str, file: str, what: str, *, verb: str = "has") -> InvalidRequestError:
    """Return the error for a file; `what` follows the verb, which is "has" for content and "is" for the file itself."""
    return InvalidRequestError(f"model {name} can't be loaded: {file} {verb} {what}; {_SAFE}", field="model")
