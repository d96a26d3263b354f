"""Loading of a pipeline from a folder: safetensors only, no code of the folder's, and no bars of the libraries'.

References
----------
https://huggingface.co/docs/diffusers/using-diffusers/loading
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipy_imgvar.engines.diffusers.device.placement import place
from ipy_imgvar.engines.diffusers.pipelines.families import Family, family_of
from ipy_imgvar.engines.diffusers.pipelines.packages import quiet
from ipy_imgvar.engines.diffusers.pipelines.steps import Watch, watch_blocks
from ipy_imgvar.errors import ConfigurationError, EngineError, InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from ipy_imgvar.engines.diffusers.device.machine import Machine

__all__ = ["AdapterFile", "Loaded", "Recipe", "derived", "load"]


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An image adapter on this disk.

    Parameters
    ----------
    folder, subfolder, weight_name
        Where its `.safetensors` file is.
    image_encoder
        The folder of its image encoder, as `load_ip_adapter` takes it, or None.
    """

    folder: Path
    subfolder: str
    weight_name: str
    image_encoder: str | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is loaded, and how; two equal recipes share their weights.

    Parameters
    ----------
    name
        The model for messages and records, "owner/name@commit" or a folder's name.
    folder
        The pipeline's folder, inspected.
    class_name
        The class that its `model_index.json` names.
    machine, dtype, offload
        The device, the name of the number format, and the option `offload`.
    variant
        "fp16" where the folder's weights have that in their names.
    base
        The folder of the pipeline that Redux needs beside its own; None for all others.
    adapter
        The image adapter, or None.
    """

    name: str
    folder: Path
    class_name: str
    machine: Machine
    dtype: str
    offload: str = "auto"
    variant: str | None = None
    base: Path | None = None
    base_variant: str | None = None
    adapter: AdapterFile | None = None


@dataclass(slots=True, eq=False)
class Loaded:
    """A model in memory.

    Parameters
    ----------
    name
        See `Recipe`.
    recipe
        What it was loaded by.
    pipe
        The pipeline as it was loaded.
    family
        Its family.
    offload
        The offload in use.
    watch
        Receives its steps.
    prior
        Redux's own pipeline, which makes the embedding; None for all others.
    """

    name: str
    recipe: Recipe
    pipe: Any
    family: Family
    offload: str
    watch: Watch
    prior: Any = None
    _derived: dict[str, Any] = field(default_factory=dict)

    def pipeline(self, class_name: str) -> Any:
        """Return the pipeline of a class that has this model's components; no weights are loaded for it."""
        if type(self.pipe).__name__ == class_name:
            return self.pipe
        if class_name not in self._derived:
            pipe = derived(self.pipe, class_name)
            watch_blocks(pipe, self.watch)
            self._derived[class_name] = pipe
        return self._derived[class_name]

    def rest(self) -> None:
        """Bring offloaded weights back after a call, also after one that ended with an exception."""
        self.watch.release()
        self.pipe.maybe_free_model_hooks()


def load(recipe: Recipe) -> Loaded:
    """Load a pipeline into the memory of its device.

    Raises
    ------
    InvalidRequestError
        If the pipeline takes no image, or the folder's parts don't make a pipeline.
    EngineError
        If the weights can't be read, or the memory is full.
    """
    import diffusers
    import torch

    dtype = getattr(torch, recipe.dtype)
    prior = None
    with quiet():
        family = family_named(recipe.class_name, recipe.name)
        pipe = _from_folder(diffusers.DiffusionPipeline, recipe.folder, dtype, recipe.variant, recipe.name)
        if recipe.class_name == "FluxPriorReduxPipeline":
            prior, pipe = pipe, _base_of_redux(recipe, dtype)
        if recipe.adapter is not None:
            _add_adapter(pipe, recipe.adapter, recipe.name)
        offload = place(pipe, recipe.machine, recipe.offload)
        if prior is not None:
            prior.to(recipe.machine.device)
    watch = Watch()
    watch_blocks(pipe, watch)
    return Loaded(recipe.name, recipe, pipe, family, offload, watch, prior)


def _from_folder(
    loader: Any, folder: Path, dtype: torch.dtype, variant: str | None, name: str, **components: None
) -> Any:
    try:
        return loader.from_pretrained(
            folder,
            dtype=dtype,
            variant=variant,
            use_safetensors=True,  # left out, a pickle is loaded where there is no safetensors file
            trust_remote_code=False,
            local_files_only=True,
            **components,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise InvalidRequestError(
            f"model {name} can't be loaded as a pipeline ({type(exc).__name__}: {exc}); it may need a newer diffusers, "
            "or lack a part: download it again",
            field="model",
        ) from exc
    except (OSError, RuntimeError) as exc:
        raise EngineError(
            f"the weights of {name} can't be loaded ({type(exc).__name__}: {exc}); download them again, or choose "
            "another model"
        ) from exc


def _base_of_redux(recipe: Recipe, dtype: torch.dtype) -> Any:
    """Return the pipeline that makes pictures of Redux's embedding, without the text encoders that it replaces."""
    from diffusers import FluxPipeline

    if recipe.base is None:
        raise InvalidRequestError(
            f"{recipe.name} only makes embeddings; name the pipeline that makes the pictures: "
            "--option base=black-forest-labs/FLUX.1-schnell",
            field="options",
        )
    unused = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return _from_folder(FluxPipeline, recipe.base, dtype, recipe.base_variant, recipe.name, **unused)


def _add_adapter(pipe: Any, adapter: AdapterFile, name: str) -> None:
    if not hasattr(pipe, "load_ip_adapter"):
        raise InvalidRequestError(
            f"{name} is a {type(pipe).__name__}, which takes no image adapter; leave the option adapter out",
            field="options",
        )
    try:
        pipe.load_ip_adapter(
            str(adapter.folder),
            subfolder=adapter.subfolder,
            weight_name=adapter.weight_name,
            image_encoder_folder=adapter.image_encoder,
            local_files_only=True,
        )
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as exc:
        raise InvalidRequestError(
            f"the adapter {adapter.weight_name} does not fit {name} ({type(exc).__name__}: {exc}); allowed: an "
            "IP-Adapter for this model",
            field="options",
        ) from exc
    if getattr(pipe, "image_encoder", None) is None:
        raise InvalidRequestError(
            f"the adapter {adapter.weight_name} has no image encoder; put its folder image_encoder beside it",
            field="options",
        )


def derived(pipe: Any, class_name: str) -> Any:
    """Return a pipeline of another class with the same components.

    `from_pipe` would convert the shared weights to one number format, float32 unless it is told another.
    """
    import diffusers

    cls = getattr(diffusers, class_name)
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in pipe.components:
            given[name] = pipe.components[name]
        elif name in pipe.config:
            given[name] = pipe.config[name]
        elif parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            given |= {} if name == "self" else {name: None}
    with quiet():
        return cls(**given)


def family_named(class_name: str, name: str) -> Family:
    """Return the family of a class by its name; for a class that the table lacks, one read from its signature.

    Raises
    ------
    ConfigurationError
        If the class needs packages that are missing.
    InvalidRequestError
        If this diffusers lacks the class, or neither it nor its siblings take an image.
    """
    import diffusers

    with quiet():
        cls: Any = getattr(diffusers, class_name, None)
    if backends := getattr(
        cls, "_backends", None
    ):  # diffusers' stand-in for a class whose packages are missing
        raise ConfigurationError(
            f"{name} is a {class_name}, which needs the packages {', '.join(backends)}; install those that are missing"
        )
    if not isinstance(cls, type) or not issubclass(cls, diffusers.DiffusionPipeline):
        raise InvalidRequestError(
            f"model {name} is a {shown(class_name)}, which diffusers {diffusers.__version__} lacks; update it: "
            "pip install -U diffusers, or choose another model",
            field="model",
        )
    return family_of(class_name) or _family_by_signature(cls, name)


def _family_by_signature(cls: Any, name: str) -> Family:
    image, inpaint = _siblings(cls)
    parameters = {} if image is None else inspect.signature(image.__call__).parameters
    if image is None or "image" not in parameters:
        raise InvalidRequestError(
            f"model {name} is a {cls.__name__}, which takes no image; allowed: a model for image to image, such as the "
            "presets klein, z-image, sdxl",
            field="model",
        )
    prompt = "prompt" in parameters
    control: Any = "strength" if "strength" in parameters else "wording" if prompt else "none"
    inpaint_name = None if inpaint is None else inpaint.__name__
    return Family(cls.__name__, (cls.__name__,), image.__name__, control, inpaint_name, prompt=prompt)


def _siblings(cls: Any) -> tuple[Any, Any]:
    """Return the classes of diffusers' own tables that take an image, and a mask, with the components of `cls`."""
    from diffusers.pipelines import auto_pipeline as tables

    texts: Mapping[str, Any] = tables.AUTO_TEXT2IMAGE_PIPELINES_MAPPING
    images: Mapping[str, Any] = tables.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING
    masks: Mapping[str, Any] = tables.AUTO_INPAINT_PIPELINES_MAPPING
    takes = inspect.signature(cls.__call__).parameters
    own = cls if "image" in takes and "mask_image" not in takes else None
    for key, each in [*texts.items(), *images.items(), *masks.items()]:
        if each is cls:
            return own or images.get(key), masks.get(key)
    return own, None
