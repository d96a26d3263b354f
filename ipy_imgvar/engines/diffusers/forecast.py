"""What a run of the engine `diffusers` would download and load, for a plan, from the request and this disk alone.

The packages of the extra are not imported for it, with one exception: without a named model the machine's device
decides which one answers, and only torch knows that device. A named GPU has to be checked by torch as well.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import settings
from ipy_imgvar.engine import Download, Forecast, Job, Listener
from ipy_imgvar.engines.diffusers import recipes
from ipy_imgvar.engines.diffusers.capabilities import CAPABILITIES, class_of, family_of_model
from ipy_imgvar.engines.diffusers.device.machine import Machine, find
from ipy_imgvar.engines.diffusers.pipelines.frame import working_size
from ipy_imgvar.engines.diffusers.pipelines.holder import MODELS
from ipy_imgvar.engines.diffusers.pipelines.packages import import_torch, refuse_missing
from ipy_imgvar.engines.diffusers.weights import cache, refusals
from ipy_imgvar.engines.diffusers.weights.download import (
    adapter_files,
    cached_adapter,
    cached_copy,
    cached_part,
    free_bytes,
    size_text,
)
from ipy_imgvar.engines.diffusers.weights.hub import host
from ipy_imgvar.engines.diffusers.weights.presets import default_preset
from ipy_imgvar.engines.diffusers.weights.reference import Reference, reference
from ipy_imgvar.engines.diffusers.weights.selection import listing_of
from ipy_imgvar.images import codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipy_imgvar.engines.diffusers.weights.presets import Adapter
    from ipy_imgvar.request import VariationRequest

__all__ = ["default_model", "forecast", "read_images", "warn_of_memory"]

#: Options that decide what is downloaded and loaded, and where.
_DECISIVE: Final = (
    "device",
    "dtype",
    "offload",
    "adapter",
    "base",
    "local_files_only",
    "preview_decoder",
    "side",
)


def forecast(requests: Sequence[VariationRequest], named: str | None) -> Forecast:
    """Say what requests would download and load; see `engine.Forecasts`.

    Parameters
    ----------
    requests
        Requests with one model.
    named
        The model that they mean; None for the machine's default.
    """
    refuse_missing()
    seen: set[tuple[int, int]] = set()
    variants: dict[tuple[Any, ...], VariationRequest] = {}
    for request in requests:
        if request.is_at_hand and (id(request.image), id(request.mask)) not in seen:
            seen.add((id(request.image), id(request.mask)))
            read_images(request)
        decisive = tuple(str(request.options.get(name)) for name in _DECISIVE)
        variants.setdefault((decisive, request.size), request)
    parts = [_forecast_one(request, named) for request in variants.values()]
    return Forecast(
        model=parts[0].model,
        loads=tuple(dict.fromkeys(line for each in parts for line in each.loads)),
        downloads=tuple(dict.fromkeys(item for each in parts for item in each.downloads)),
        notes=tuple(dict.fromkeys(line for each in parts for line in each.notes)),
    )


def _forecast_one(request: VariationRequest, named: str | None) -> Forecast:
    options = CAPABILITIES.defaults() | dict(request.options)
    notes: list[str] = []
    job = Job(listener=Listener(on_notice=notes.append))
    machine = _machine(options["device"], is_needed=named is None)
    if machine is not None and machine.note:
        job.warn(machine.note)
    # With a default model there is a machine: it was needed.
    model = reference(named or default_model(machine or _UNKNOWN, job))
    if machine is not None:
        warn_of_memory(model, machine, job)
    downloads, more = _downloads(model, options)
    return Forecast(
        model=recipes.name_of(model, cache.commit_of(model)),
        loads=(_load(model, machine, options),),
        downloads=tuple(downloads),
        notes=(*notes, *job.warnings, *more, *_reduced(model, request, options)),
    )


#: A device of which nothing is known.
_UNKNOWN: Final = Machine("", "cpu", "the best device of this machine", None)


def _machine(device: str | None, *, is_needed: bool) -> Machine | None:
    """Return the device, or None where it takes an import of torch to know it and nothing needs it."""
    if device == "cpu":
        return Machine("cpu", "cpu", "CPU", None)
    if device is None and not is_needed and "torch" not in sys.modules:
        return None
    import_torch()
    return find(device)


def _load(model: Reference, machine: Machine | None, options: Mapping[str, Any]) -> str:
    name = recipes.name_of(model, cache.commit_of(model))
    place = machine or _UNKNOWN
    where = f"{place.name} ({place.device})" if place.kind != "cpu" else place.name
    if machine is not None and "torch" in sys.modules:
        held = MODELS.find(recipes.key_of(model, machine, options))
        if held is not None:
            return f"{held.name} is loaded already, on {where}"
    form = f", as {options['dtype']}" if options["dtype"] else ""
    return f"{name} onto {where}{form}"


def _downloads(model: Reference, options: Mapping[str, Any]) -> tuple[list[Download], list[str]]:
    """Return what would be fetched, and notes: what would fail without a network, and what the hub is asked."""
    adapter = recipes.checked_adapter(options)
    own = model.preset.adapter if model.preset is not None and adapter is None else None
    name = class_of(model)
    base = None if name is None else recipes.base_of(model, name, options)
    missing = [each for each in (model, base) if each is not None and not _is_here(each)]
    lacks_adapter = own is not None and cached_adapter(own) is None
    downloads = []
    if model.preset is not None and (missing or lacks_adapter):
        downloads.append(_of_preset(model, base, options))
    else:
        downloads += [_of_unknown_size(each.name) for each in missing]
    if (decoder := options["preview_decoder"]) is not None:
        part = reference(decoder, index="config.json")
        if cached_part(part) is None:
            downloads.append(_of_unknown_size(part.name, "for unfinished pictures, where they are shown; "))
    if options["local_files_only"] or settings.hub_offline():
        absent = missing[0].name if missing else own.repo if own is not None and lacks_adapter else None
        return [], [] if absent is None else [f"a run would fail: {refusals.offline(absent)}"]
    return downloads, [*_asked(model, base), *_room(downloads)]


def _is_here(model: Reference) -> bool:
    """Return whether all files of a pipeline are on this disk, in 16 or in 32 bits: either is used."""
    return model.folder is not None or any(cached_copy(model, half=half) for half in (True, False))


def _of_preset(model: Reference, base: Reference | None, options: Mapping[str, Any]) -> Download:
    """Return the download of a preset, whose row has the size of all its parts together."""
    preset = model.preset
    assert preset is not None  # noqa: S101 - the caller has checked it
    here = sum(_bytes_here(each, ("",)) for each in (model, base) if each is not None)
    if preset.adapter is not None:
        here += _bytes_of_adapter(preset.adapter)
    needed = max(0, round(preset.disk_gb * 1e9) - here)
    words = [
        f"from {host()}",
        f"licence: {preset.licence}{'' if preset.commercial else ', no commercial use'}",
    ]
    if preset.gated:
        words.append("gated: only for accounts that have accepted its terms")
    if here:
        words.append(f"{size_text(here)} of it are on this disk")
    if is_other := bool(options["adapter"] or options["base"]):
        words.append(f"at most {size_text(needed)}, since an option replaces a part of it")
    parts = [
        preset.repo,
        *([preset.adapter.repo] if preset.adapter else []),
        *([recipes.name_of(base)] if base else []),
    ]
    name = f"{preset.name}: {', '.join(parts)}"
    return Download(name, None if is_other else needed, "; ".join(words))


def _of_unknown_size(name: str, why: str = "") -> Download:
    return Download(name, None, f"{why}from {host()}; its size is not known without asking there")


def _bytes_of_adapter(adapter: Adapter) -> int:
    weights, encoder = adapter_files(adapter)
    return _bytes_here(Reference(adapter.repo, adapter.revision), (weights, f"{encoder}/"))


def _bytes_here(model: Reference, beginnings: tuple[str, ...]) -> int:
    """Return the bytes of a repository's cached files whose paths begin so."""
    snapshot = cache.snapshot_of(model)
    files = [] if snapshot is None else listing_of(snapshot)
    return sum(file.size for file in files if file.path.startswith(beginnings))


def _asked(model: Reference, base: Reference | None) -> list[str]:
    """Return a line on the requests to the hub that precede each load of a repository."""
    repos = [each for each in (model, base) if each is not None and each.repo is not None]
    if not repos:
        return []
    names = " and ".join(map(recipes.name_of, repos))
    moving = [each for each in repos if not cache.COMMIT.fullmatch(each.revision or "")]
    newer = "; a newer version is downloaded if there is one" if moving else ""
    return [
        f"{host()} will be asked for the list of files of {names}{newer}; --option local_files_only=true asks nothing"
    ]


def _room(downloads: Sequence[Download]) -> list[str]:
    needed = sum(each.bytes or 0 for each in downloads)
    free = free_bytes() if needed else 0
    if needed <= free:
        return []
    line = (
        f"a run would fail: {size_text(needed)} are needed on the disk of the hub's cache, which has {size_text(free)} "
        "free; make room there, or set HF_HOME to a folder on another disk"
    )
    return [line]


def _reduced(model: Reference, request: VariationRequest, options: Mapping[str, Any]) -> list[str]:
    """Return a line where the model works at another size; a size that only loaded weights tell is left out."""
    family = family_of_model(model)
    side = options["side"] or (model.preset.side_px if model.preset is not None else None)
    if family is None or side is None or request.fit == "pad":
        return []
    width, height = working_size(request.size, side, min(family.least_px, side), family.grid_px)
    if width < request.size[0] and height < request.size[1]:
        return [f"made at {width}x{height}, the size that suits {model.name}, then enlarged"]
    return []


def read_images(request: VariationRequest) -> None:
    """Decode the source and the mask, so that a broken one is told before gigabytes are fetched for it."""
    assert request.image is not None  # noqa: S101 - the callers have refused it
    image = request.image.open()
    if request.mask is not None:
        codec.kept_pixels(request.mask.open(), image.size)


def default_model(machine: Machine, job: Job) -> str:
    """Return the preset for a machine, and say which and why before anything is fetched or loaded."""
    preset = default_preset(machine.memory_bytes, machine.kind)
    memory = f" with {machine.memory_bytes / 1e9:.0f} GB" if machine.memory_bytes else ""
    slow = "; a CPU takes minutes, --engine patch answers in a second" if machine.kind == "cpu" else ""
    job.announce(
        f"no model was named: {preset.name} ({preset.repo}, {preset.disk_gb:g} GB on disk, licence {preset.licence}) "
        f"for {machine.name}{memory}{slow}; --model names another"
    )
    return preset.name


def warn_of_memory(model: Reference, machine: Machine, job: Job) -> None:
    """Say that a preset needs more memory than the GPU has, before the load that would show it."""
    needed = 0.0 if model.preset is None else model.preset.memory_gb
    if machine.kind == "cuda" and machine.memory_bytes and machine.memory_bytes < needed * 1e9:
        job.warn(
            f"{model.name} needs a GPU with about {needed:g} GB, and {machine.name} has "
            f"{machine.memory_bytes / 1e9:.0f}: parts of it move in and out, which is slow"
        )
