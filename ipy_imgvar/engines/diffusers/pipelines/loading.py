"""Loading of a pipeline from a folder: safetensors only, no code of the folder's, and no bars of the libraries'.

References
----------
https://huggingface.co/docs/diffusers/using-diffusers/loading
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.device.placement import is_out_of_memory, place
from ipy_imgvar.engines.diffusers.pipelines.families import Family, family_of
from ipy_imgvar.engines.diffusers.pipelines.packages import quiet
from ipy_imgvar.engines.diffusers.pipelines.steps import Watch, watch_blocks
from ipy_imgvar.errors import ConfigurationError, EngineError, InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from ipy_imgvar.engines.diffusers.device.machine import Machine

__all__ = ["AdapterFile", "Loaded", "Recipe", "family_named", "load", "takes_adapter"]

#: Characters of a library's message that ours quotes.
_MAX_QUOTED_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An image adapter on this disk.

    Parameters
    ----------
    name
        Its place on the hub, or its file's name and fingerprint, for records.
    folder, subfolder, weight_name
        Where its `.safetensors` file is.
    image_encoder
        The folder of its image encoder, as `load_ip_adapter` takes it, or None.
    """

    name: str
    folder: Path
    subfolder: str
    weight_name: str
    image_encoder: str | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is loaded, and how; `recipes.key_of` tells when a model in memory serves another request.

    Parameters
    ----------
    name
        The model for messages and records, "owner/name@commit" or a folder's name and fingerprint.
    folder
        The pipeline's folder, inspected.
    class_name, family
        The class that its `model_index.json` names, and its family.
    machine, dtype, offload
        The device, the name of the number format, and the option `offload`.
    channels
        The channels that its UNet takes; None for a pipeline without one.
    revision
        The full commit; None for a folder.
    variant
        "fp16" where the folder's weights have that in their names.
    base, base_variant, base_name
        The pipeline that Redux needs beside its own; None for all others.
    adapter
        The image adapter, or None.
    """

    name: str
    folder: Path
    class_name: str
    family: Family
    machine: Machine
    dtype: str
    offload: str = "auto"
    channels: int | None = None
    revision: str | None = None
    variant: str | None = None
    base: Path | None = None
    base_variant: str | None = None
    base_name: str | None = None
    adapter: AdapterFile | None = None

    @property
    def label(self) -> str:
        """The name for messages, without commit or fingerprint."""
        return self.name.partition("@")[0]


@dataclass(slots=True, eq=False)
class Loaded:
    """A model in memory.

    Parameters
    ----------
    recipe
        What it was loaded by.
    pipe
        The pipeline as it was loaded.
    offload
        The offload in use.
    watch
        Receives its steps.
    prior
        Redux's own pipeline, which makes the embedding; None for all others.
    """

    recipe: Recipe
    pipe: Any
    offload: str
    watch: Watch
    prior: Any = None
    _derived: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in records."""
        return self.recipe.name

    @property
    def family(self) -> Family:
        """The family of its class."""
        return self.recipe.family

    @property
    def is_distilled(self) -> bool:
        """Whether a FLUX model was distilled to four steps: klein says so, schnell has no guidance to embed."""
        if getattr(self.pipe.config, "is_distilled", False):
            return True
        transformer = getattr(self.pipe, "transformer", None)
        is_flux = type(self.pipe).__name__.startswith(("FluxPipeline", "FluxImg2Img", "FluxInpaint"))
        return is_flux and not getattr(getattr(transformer, "config", None), "guidance_embeds", True)

    def pipeline(self, class_name: str) -> Any:
        """Return the pipeline of a class that has this model's components; no weights are loaded for it."""
        if type(self.pipe).__name__ == class_name:
            return self.pipe
        if class_name not in self._derived:
            pipe = _of_same_components(self.pipe, class_name)
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
        pipe = _from_folder(diffusers.DiffusionPipeline, recipe.folder, dtype, recipe.variant, recipe.name)
        if recipe.class_name == "FluxPriorReduxPipeline":
            prior, pipe = pipe, _base_of_redux(recipe, dtype)
        if recipe.adapter is not None:
            _add_adapter(pipe, recipe.adapter, recipe.name)
        try:
            offload = place(pipe, recipe.machine, recipe.offload)
            if prior is not None:
                prior.to(recipe.machine.device)
        except (MemoryError, RuntimeError) as exc:
            raise (_too_large(recipe.name) if is_out_of_memory(exc) else _unplaced(recipe, exc)) from exc
    watch = Watch()
    watch_blocks(pipe, watch)
    return Loaded(recipe, pipe, offload, watch, prior)


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
            f"model {name} can't be loaded as a pipeline ({_brief(exc, folder)}); it may need a newer diffusers, or "
            "lack a part: download it again",
            field="model",
        ) from exc
    except (OSError, RuntimeError) as exc:
        if is_out_of_memory(exc):
            raise _too_large(name) from exc
        raise EngineError(
            f"model {name} can't be loaded ({_brief(exc, folder)}); download it again, or choose another model"
        ) from exc


def _unplaced(recipe: Recipe, exc: Exception) -> EngineError:
    where = recipe.machine.name
    return EngineError(
        f"{recipe.name} can't be brought to {where} ({_brief(exc, recipe.folder)}); try --option device=cpu"
    )


def _too_large(name: str) -> EngineError:
    return EngineError(
        f"the memory is too small to load {name}; choose a smaller model, --option offload=group on a GPU, or end "
        "other programs that use it"
    )


def _brief(exc: Exception, folder: Path) -> str:
    """Return a library's message without the folder's path, which no record may have, and of a line's length."""
    text = " ".join(str(exc).replace(str(folder), folder.name).split())
    return f"{type(exc).__name__}: {text[:_MAX_QUOTED_CHARS]}"


def _base_of_redux(recipe: Recipe, dtype: torch.dtype) -> Any:
    """Return the pipeline that makes pictures of Redux's embedding, without the text encoders that it replaces."""
    from diffusers import FluxPipeline

    assert recipe.base is not None  # noqa: S101 - `recipes` has refused it
    unused = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return _from_folder(FluxPipeline, recipe.base, dtype, recipe.base_variant, recipe.name, **unused)


def _add_adapter(pipe: Any, adapter: AdapterFile, name: str) -> None:
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


def _of_same_components(pipe: Any, class_name: str) -> Any:
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


def takes_adapter(class_name: str) -> bool:
    """Return whether a class takes an IP-Adapter."""
    import diffusers

    return hasattr(getattr(diffusers, class_name), "load_ip_adapter")


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
    negative = "negative_prompt" in parameters
    names = (cls.__name__,)
    return Family(
        cls.__name__, names, image.__name__, control, inpaint_name, prompt=prompt, negative=negative
    )


def _siblings(cls: Any) -> tuple[Any, Any]:
    """Return the classes of diffusers' own tables that take an image, and a mask, with the components of `cls`."""
    with quiet():
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
