"""From a model's name to what is loaded: the files on this disk, the device and the number format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipy_imgvar.engines.diffusers.device.machine import dtype_of
from ipy_imgvar.engines.diffusers.pipelines.loading import AdapterFile, Recipe, family_named
from ipy_imgvar.engines.diffusers.weights.download import fetch, fetch_adapter
from ipy_imgvar.engines.diffusers.weights.inspection import inspect_adapter, inspect_folder
from ipy_imgvar.engines.diffusers.weights.reference import reference
from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from ipy_imgvar.engine import Job
    from ipy_imgvar.engines.diffusers.device.machine import Machine
    from ipy_imgvar.engines.diffusers.weights.reference import Reference

__all__ = ["key_of", "name_of", "recipe_of"]

#: The options that decide on the weights in memory.
_DECIDING = ("adapter", "base", "dtype", "offload")
#: Characters of a commit, and of its beginning that a record has.
_FULL_COMMIT_CHARS, _COMMIT_CHARS = 40, 12


def key_of(model: Reference, machine: Machine, options: Mapping[str, Any]) -> Hashable:
    """Return what a loaded model is found by: the next run with the same key uses its weights."""
    return (model.repo, model.revision, model.folder, machine.device, *(options[name] for name in _DECIDING))


def name_of(model: Reference, commit: str | None = None) -> str:
    """Return a model's name for records: `owner/name@commit` with the commit's first digits, or a folder's name."""
    revision = commit or model.revision
    if model.repo is None or revision is None:
        return model.name
    is_commit = len(revision) == _FULL_COMMIT_CHARS
    return f"{model.repo}@{revision[:_COMMIT_CHARS] if is_commit else revision}"


def recipe_of(
    model: Reference, machine: Machine, options: Mapping[str, Any], job: Job, check: Callable[[], None]
) -> Recipe:
    """Download what is missing, inspect it, and return how it is loaded.

    Raises
    ------
    InvalidRequestError
        If the model or an option names something that can't be loaded, or may not be.
    EngineError
        If a download fails.
    """
    dtype = dtype_of(machine, options["dtype"])
    half = str(dtype) != "torch.float32"
    more: dict[str, Any] = {"local_files_only": options["local_files_only"], "job": job, "check": check}
    local = fetch(model, half=half, **more)
    index = inspect_folder(local.folder, model.name)
    class_name = str(index["_class_name"])
    # Refused before the other model in memory makes room.
    family_named(class_name, model.name)
    base = _base_of(model, options)
    base_local = None if base is None else fetch(base, half=half, **more)
    if base is not None and base_local is not None:
        inspect_folder(base_local.folder, base.name)
    return Recipe(
        name=name_of(model, local.commit),
        folder=local.folder,
        class_name=class_name,
        machine=machine,
        dtype=str(dtype).removeprefix("torch."),
        offload=options["offload"],
        variant=local.variant,
        base=None if base_local is None else base_local.folder,
        base_variant=None if base_local is None else base_local.variant,
        adapter=_adapter(model, options, more),
    )


def _base_of(model: Reference, options: Mapping[str, Any]) -> Reference | None:
    name = options["base"] or (model.preset.base if model.preset is not None else None)
    return None if name is None else reference(name)


def _adapter(model: Reference, options: Mapping[str, Any], more: Mapping[str, Any]) -> AdapterFile | None:
    """Return the image adapter: the option's file, else the preset's; the option "none" wants none."""
    named = options["adapter"]
    if named is not None and named.strip().lower() != "none":
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise InvalidRequestError(
                f"adapter is {shown(named)}, which is no file; allowed: an IP-Adapter's .safetensors file, or none",
                field="options",
            )
        inspect_adapter(path)
        encoder = "image_encoder" if (path.parent / "image_encoder").is_dir() else None
        return AdapterFile(path.parent, "", path.name, encoder)
    preset = model.preset
    if named is not None or preset is None or preset.adapter is None:
        return None
    local = fetch_adapter(preset.adapter, **more)
    return AdapterFile(
        local.folder, preset.adapter.subfolder, preset.adapter.weight_name, preset.adapter.image_encoder
    )
