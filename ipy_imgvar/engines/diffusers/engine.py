"""The `diffusers` engine: open-weights models on the user's own GPU or CPU.

This module checks requests, finds and loads the model, and records what made each picture. `weights` finds models,
`pipelines` turns a request into a call, `device` places it, and `pictures` runs it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.deadline import with_deadline
from ipy_imgvar.engines.diffusers import recipes
from ipy_imgvar.engines.diffusers.capabilities import CAPABILITIES, capabilities, family_of_model
from ipy_imgvar.engines.diffusers.device.machine import find
from ipy_imgvar.engines.diffusers.device.placement import set_tiling
from ipy_imgvar.engines.diffusers.forecast import default_model, forecast, read_images, warn_of_memory
from ipy_imgvar.engines.diffusers.pictures import Run
from ipy_imgvar.engines.diffusers.pipelines.calls import call_of, check_call
from ipy_imgvar.engines.diffusers.pipelines.frame import frame_of, trained_side
from ipy_imgvar.engines.diffusers.pipelines.holder import MODELS
from ipy_imgvar.engines.diffusers.pipelines.loading import load
from ipy_imgvar.engines.diffusers.pipelines.packages import import_packages
from ipy_imgvar.engines.diffusers.preview import Previewer, load_decoder
from ipy_imgvar.engines.diffusers.weights.download import fetch_part
from ipy_imgvar.engines.diffusers.weights.inspection import inspect_folder
from ipy_imgvar.engines.diffusers.weights.reference import Reference, reference
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.settings import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ipy_imgvar.engine import Capabilities, Forecast, Job
    from ipy_imgvar.engines.diffusers.pipelines.calls import Call
    from ipy_imgvar.engines.diffusers.pipelines.frame import Frame
    from ipy_imgvar.engines.diffusers.pipelines.loading import Loaded
    from ipy_imgvar.request import Size, VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = ["DiffusersEngine"]

#: What makes a run shorter, in the message of a timeout.
_SHORTER: Final = "lower n, size or --option steps, or choose a smaller model"


class DiffusersEngine:
    """The engine for pipelines of diffusers; all engines of a process share one model in memory.

    Parameters
    ----------
    connection
        Ignored; the registry passes it to every engine, and this one sends no image.
    """

    name = "diffusers"

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection or Connection()
        #: The models that a server was started with, the default first; empty for an engine that serves any.
        self._served: list[str] = []

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what the engine takes with a model; see `engine.Engine`."""
        return capabilities(self._connection, model)

    def check(self, request: VariationRequest) -> None:
        """Refuse a model that may not be loaded, and `fit` retarget; see `engine.Engine`."""
        if request.fit == "retarget":
            raise InvalidRequestError(
                "fit is retarget; allowed: crop, pad, stretch; only patch has it", field="fit"
            )
        name = self._named(request.model)
        if name is None:
            return
        model = reference(name)
        if model.folder is not None:
            inspect_folder(model.folder, model.name)
        family = family_of_model(model)
        if request.options.get("negative_prompt") and family is not None and not family.negative:
            raise InvalidRequestError(f"{model.name} takes no negative prompt; leave it out", field="options")

    def model(self, request: VariationRequest) -> str:
        """Return the model as the request names it, a preset by its hub id; see `engine.Engine`.

        A run's result names the commit too, which a download may change: a bulk run that goes on compares this name.
        """
        name = self._named(request.model)
        return "the machine's default" if name is None else recipes.name_of(reference(name))

    def forecast(self, requests: Sequence[VariationRequest]) -> Forecast:
        """Say what would be downloaded and loaded; see `engine.Forecasts`."""
        return forecast(requests, self._named(requests[0].model))

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Yield the pictures one by one; see `engine.Engine`."""
        if request.image is None or request.seed is None:
            raise InvalidRequestError("the engine diffusers needs an image and a seed", field="image")
        check = with_deadline(job.check, request.timeout, _SHORTER)
        waiting = with_deadline(
            job.check, request.timeout, "wait for the end of the other run on this device"
        )
        options = CAPABILITIES.defaults() | dict(request.options)
        with MODELS.turn(self, waiting, lambda: job.progress(0, "waiting for another run on this device")):
            loaded, model, versions = self._load(self._named(request.model), options, job, check, request)
            job.model = loaded.name
            family = loaded.family
            of_preset = None if model.preset is None else model.preset.side_px
            side = options["side"] or of_preset or trained_side(loaded.pipe, family)
            frame = frame_of(request, side, min(family.least_px, side), family.grid_px)
            steps = None if model.preset is None else model.preset.steps
            call = call_of(loaded, request, options, frame, steps)
            set_tiling(call.pipe, frame.made[0] * frame.made[1])
            run = Run(
                loaded,
                call,
                frame,
                request,
                job,
                check,
                _parameters(loaded, request, options=options, call=call, made=frame.made, versions=versions),
                batch=_batch(loaded, options, call, job),
                preview=self._previewer(options, loaded, job, check),
            )
            for line in (*call.notes, *_notes(request, loaded, frame)):
                job.warn(line)
            yield from run.pictures()

    def prepare(self, models: Sequence[str], job: Job, options: Mapping[str, Any] | None = None) -> None:
        """Download and load models for a server; see `engine.LoadsWeights`."""
        MODELS.hold(len(models))
        settled = CAPABILITIES.defaults() | dict(options or {})
        served = []
        wanted: list[str | None] = [*models]
        with MODELS.turn(self, job.check, lambda: job.progress(0, "waiting for another run on this device")):
            for name in wanted or [None]:
                loaded, model, _ = self._load(name, settled, job, job.check)
                served.append(name or (model.preset.name if model.preset else model.name))
                job.announce(f"loaded {loaded.name} on {loaded.recipe.machine.name}")
        self._served = served

    def unload(self) -> list[str]:
        """Free the weights of this process; see `engine.LoadsWeights`."""
        return MODELS.free()

    def close(self) -> None:
        """Free the weights unless another engine of this process uses them; a later run loads them again."""
        MODELS.leave(self)

    def _named(self, name: str | None) -> str | None:
        """Return the model that a request means, or None for the machine's default."""
        if name is None:
            return self._served[0] if self._served else None
        return name

    def _load(
        self,
        name: str | None,
        options: Mapping[str, Any],
        job: Job,
        check: Callable[[], None],
        request: VariationRequest | None = None,
    ) -> tuple[Loaded, Reference, dict[str, str]]:
        """Return the model, loaded, and the packages' versions; refuse what it can't do for a request before."""

        def waits() -> None:
            job.progress(0, "waiting for a load that was left before; it can't be stopped")

        if "diffusers" not in sys.modules:
            job.progress(0, "importing torch and diffusers, about ten seconds the first time")
        versions = MODELS.background.run(import_packages, check, waits)
        machine = find(options["device"])
        if machine.note:
            job.warn(machine.note)
        model = reference(name or default_model(machine, job))
        key = recipes.key_of(model, machine, options)
        held = MODELS.find(key)
        if held is None and request is not None:
            read_images(request)
        recipe = recipes.recipe_of(model, machine, options, job, check) if held is None else held.recipe
        if request is not None:
            check_call(recipe, request, options)
        if held is not None:
            return held, model, versions
        warn_of_memory(model, machine, job)
        job.progress(0, f"loading {recipe.name} ({recipe.dtype}, {machine.name})")
        loaded = MODELS.add(key, lambda: MODELS.background.run(lambda: load(recipe), check, waits))
        return loaded, model, versions

    def _previewer(
        self, options: Mapping[str, Any], loaded: Loaded, job: Job, check: Callable[[], None]
    ) -> Previewer | None:
        """Return what decodes unfinished pictures, if the request names a tiny autoencoder and someone looks."""
        name = options["preview_decoder"]
        if name is None or job.listener.on_preview is None:
            return None
        model = reference(name, index="config.json")
        local = fetch_part(model, local_files_only=options["local_files_only"], job=job, check=check)
        machine, dtype = loaded.recipe.machine, loaded.recipe.dtype
        return Previewer(load_decoder(local.folder, machine, dtype, model.name))


def _batch(loaded: Loaded, options: Mapping[str, Any], call: Call, job: Job) -> int:
    """Return how many pictures are made at once, and say where a batch changes them."""
    batch: int = options["batch"]
    if batch == 1:
        return 1
    if not loaded.family.batches or not {"generator", "num_images_per_prompt"} <= call.takes:
        job.warn(
            f"batch is 1: {loaded.recipe.label} makes other pictures in a batch than alone, or takes none"
        )
        return 1
    job.warn(
        "pictures of a batch may differ a little from those made alone; batch=1 repeats them byte for byte"
    )
    return batch


def _notes(request: VariationRequest, loaded: Loaded, frame: Frame) -> list[str]:
    """Return lines on what becomes of the source and the mask."""
    assert request.image is not None  # noqa: S101 - `generate` has refused it
    (width, height), lines = frame.made, []
    if frame.transparent:
        lines.append(f"{request.image.name} has transparency, which no model makes: it was laid on white")
    if width < frame.source.width and height < frame.source.height:
        lines.append(f"made at {width}x{height}, the size that suits {loaded.recipe.label}, then enlarged")
    if frame.keep is not None and frame.keep.all():
        lines.append("the mask keeps every pixel: the pictures are the source")
    return lines


def _parameters(
    loaded: Loaded,
    request: VariationRequest,
    *,
    options: Mapping[str, Any],
    call: Call,
    made: Size,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that makes a picture again on the same machine, without its index; no path, no token."""
    assert request.image is not None  # noqa: S101 - `generate` has refused it
    settings = request.settings()
    machine = loaded.recipe.machine
    public = {option.name for option in CAPABILITIES.options if not option.trusted}
    return {
        "engine": DiffusersEngine.name,
        "model": loaded.name,
        **({"revision": loaded.recipe.revision} if loaded.recipe.revision else {}),
        **({"base": loaded.recipe.base_name} if loaded.recipe.base_name else {}),
        **{name: settings[name] for name in ("size", "strength", "seed", "fit")},
        **({"prompt": request.prompt} if request.prompt else {}),
        "options": {name: value for name, value in options.items() if name in public and value is not None},
        "made": f"{made[0]}x{made[1]}",
        "call": call.record,
        "device": f"{machine.kind}: {machine.name}",
        "dtype": loaded.recipe.dtype,
        "offload": loaded.offload,
        "versions": dict(versions),
        "source_sha256": request.image.sha256,
        **({"mask_sha256": request.mask.sha256} if request.mask else {}),
    }
