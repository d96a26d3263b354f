"""From a model's name to what is loaded: the files on this disk, the device and the number format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.device.machine import dtype_of
from ipy_imgvar.engines.diffusers.pipelines.loading import AdapterFile, Recipe, family_named, takes_adapter
from ipy_imgvar.engines.diffusers.weights.download import fetch, fetch_adapter
from ipy_imgvar.engines.diffusers.weights.fingerprint import fingerprint
from ipy_imgvar.engines.diffusers.weights.inspection import inspect_adapter, inspect_folder
from ipy_imgvar.engines.diffusers.weights.reference import Reference, reference
from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from ipy_imgvar.engine import Job
    from ipy_imgvar.engines.diffusers.device.machine import Machine

__all__ = ["base_of", "checked_adapter", "key_of", "name_of", "recipe_of"]

#: Characters of a commit, and of its beginning that a record has.
_FULL_COMMIT_CHARS, _COMMIT_CHARS = 40, 12
#: The class that makes embeddings for another pipeline.
_REDUX: Final = "FluxPriorReduxPipeline"


def key_of(model: Reference, machine: Machine, options: Mapping[str, Any]) -> Hashable:
    """Return what a loaded model is found by: the next run with the same key uses its weights.

    Options that mean the same give the same key, and files that have changed on this disk another one.
    """
    adapter = _named_adapter(options)
    has_own = model.preset is not None and model.preset.adapter is not None
    return (
        model.repo,
        model.revision,
        model.folder and (model.folder, fingerprint(model.folder)),
        machine.device,
        str(dtype_of(machine, options["dtype"])),
        "none" if machine.kind != "cuda" and options["offload"] == "auto" else options["offload"],
        (adapter, fingerprint(adapter)) if isinstance(adapter, Path) else has_own and adapter is None,
        options["base"],
    )


def name_of(model: Reference, commit: str | None = None) -> str:
    """Return a model's name for records: `owner/name@commit`, or a folder's name and fingerprint, in 12 digits."""
    if model.folder is not None:
        digits = fingerprint(model.folder)
        return f"{model.name}@{digits}" if digits else model.name
    revision = commit or model.revision
    if revision is None:
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
    family = family_named(class_name, model.name)
    base = base_of(model, class_name, options)
    base_local = None if base is None else fetch(base, half=half, **more)
    if base is not None and base_local is not None:
        inspect_folder(base_local.folder, base.name)
    return Recipe(
        name=name_of(model, local.commit),
        folder=local.folder,
        class_name=class_name,
        family=family,
        machine=machine,
        dtype=str(dtype).removeprefix("torch."),
        offload=options["offload"],
        channels=_channels(local.folder),
        revision=local.commit,
        variant=local.variant,
        base=None if base_local is None else base_local.folder,
        base_variant=None if base_local is None else base_local.variant,
        base_name=None if base is None or base_local is None else name_of(base, base_local.commit),
        adapter=_adapter(model, class_name, options, more),
    )


def _channels(folder: Path) -> int | None:
    """Return the channels that the UNet of a pipeline's folder takes; None without a UNet."""
    try:
        channels = json.loads((folder / "unet" / "config.json").read_text("utf-8")).get("in_channels")
    except (OSError, ValueError, AttributeError):
        return None
    return channels if isinstance(channels, int) else None


def base_of(model: Reference, class_name: str, options: Mapping[str, Any]) -> Reference | None:
    """Return the pipeline that makes the pictures of a model that only encodes the source; None for any other."""
    name = options["base"] or (model.preset.base if model.preset is not None else None)
    if class_name != _REDUX and name is not None:
        raise InvalidRequestError(
            f"{model.name} makes its own pictures; leave the option base out", field="options"
        )
    if class_name == _REDUX and name is None:
        raise InvalidRequestError(
            f"{model.name} only makes embeddings; name the pipeline that makes the pictures: "
            "--option base=black-forest-labs/FLUX.1-schnell",
            field="options",
        )
    return None if name is None else reference(name)


def _named_adapter(options: Mapping[str, Any]) -> Path | str | None:
    """Return the file that the option `adapter` names, "none", or None where it is left out."""
    named = options["adapter"]
    if named is None or named.strip().lower() == "none":
        return named and "none"
    return Path(os.path.expanduser(named)).absolute()  # noqa: PTH111 - "~nobody" is a folder's name


def checked_adapter(options: Mapping[str, Any]) -> Path | str | None:
    """Return what `_named_adapter` returns, after an inspection of the file; refuse what is none."""
    path = _named_adapter(options)
    if isinstance(path, Path):
        if not path.is_file():
            raise InvalidRequestError(
                f"adapter is {shown(options['adapter'])}, which is no file; allowed: an IP-Adapter's .safetensors "
                "file, or none",
                field="options",
            )
        inspect_adapter(path)
    return path


def _adapter(
    model: Reference, class_name: str, options: Mapping[str, Any], more: Mapping[str, Any]
) -> AdapterFile | None:
    """Return the image adapter: the option's file, else the preset's; the option "none" wants none."""
    path = checked_adapter(options)
    if isinstance(path, Path):
        if not takes_adapter(class_name):
            raise InvalidRequestError(
                f"{model.name} is a {class_name}, which takes no image adapter; leave the option adapter out",
                field="options",
            )
        encoder = "image_encoder" if (path.parent / "image_encoder").is_dir() else None
        return AdapterFile(f"{path.name}@{fingerprint(path)}", path.parent, "", path.name, encoder)
    own = None if model.preset is None else model.preset.adapter
    if path is not None or own is None:
        return None
    local = fetch_adapter(own, **more)
    name = f"{name_of(Reference(own.repo), local.commit)}: {own.subfolder}/{own.weight_name}"
    return AdapterFile(name, local.folder, own.subfolder, own.weight_name, own.image_encoder)
