"""Embeddings of pictures by a CLIP model on this disk: what a picture shows, as a vector.

torch and transformers are imported when a model is asked for. Nothing is downloaded, no pickle is read and no code of a
repository is run.

References
----------
Radford et al., "Learning transferable visual models from natural language supervision", 2021,
https://arxiv.org/abs/2103.00020
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import settings
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.modelfiles import inspect_part, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["embedding", "nearness"]

#: `owner/name` on the hub, without the dots that a path may have.
_REPO: Final = re.compile(r"(?!.*\.\.)\w[\w.-]*/\w[\w.-]*", re.ASCII)
_ALLOWED: Final = (
    "allowed: clip:FOLDER or clip:OWNER/NAME, a CLIP model on this disk in the layout of transformers"
)


def embedding(model: str) -> Callable[[Image], NDArray[np.float64]]:
    """Return a function that embeds a picture as a vector of length 1.

    Parameters
    ----------
    model
        A folder, or `owner/name` of a repository in the hub's cache.

    Raises
    ------
    InvalidRequestError
        If there is no such model on this disk, or it is none that is loaded here.
    ImageVariationError
        If transformers or torch is not installed.
    """
    return _load(_folder(model.strip()), model.strip())


def nearness(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the cosine of two embeddings, 0..1; pictures that a model puts opposite each other have 0, too."""
    return min(1.0, max(0.0, float(first @ second)))


def _folder(model: str) -> Path:
    """Return the folder with a model's files."""
    folder = Path(model)
    try:
        folder = folder.expanduser()
        is_folder = bool(model) and folder.is_dir()
    except (OSError, ValueError, RuntimeError):  # No path at all, or "~nobody".
        is_folder = False
    if is_folder:
        return _model_in(folder.absolute(), model)
    if not _REPO.fullmatch(model):
        raise InvalidRequestError(
            f"the metric's model is {shown(model)}, no folder; {_ALLOWED}", field="metric"
        )
    repo = settings.hub_cache() / f"models--{model.replace('/', '--')}"
    try:
        commit = (repo / "refs" / "main").read_text("ascii").strip()
    except (OSError, ValueError):
        commit = ""
    snapshot = repo / "snapshots" / commit
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not snapshot.is_dir():
        raise InvalidRequestError(
            f"the metric's model {model} is neither a folder nor in the hub's cache, and a measure downloads nothing; "
            f"fetch it with: hf download {model}",
            field="metric",
        )
    return _model_in(snapshot, model)


def _model_in(folder: Path, model: str) -> Path:
    if not (folder / "config.json").is_file():
        raise InvalidRequestError(
            f"the metric's model {model} has no config.json; {_ALLOWED}", field="metric"
        )
    return folder


def _preparation(folder: Path, name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a model's image processor: its own, in either layout, else CLIP's for its input's size."""
    if (folder / "preprocessor_config.json").is_file():
        settings = read_json(folder / "preprocessor_config.json", folder, name)
    elif (folder / "processor_config.json").is_file():
        whole = read_json(folder / "processor_config.json", folder, name)
        settings = whole.get("image_processor") if isinstance(whole, dict) else None
    else:
        vision = kind.get("vision_config")
        side = vision.get("image_size") if isinstance(vision, dict) else None
        settings = {"size": {"shortest_edge": side}, "crop_size": side} if isinstance(side, int) else {}
    return settings if isinstance(settings, dict) else {}


@lru_cache(maxsize=2)
def _load(folder: Path, name: str) -> Callable[[Image], NDArray[np.float64]]:
    try:
        inspect_part(folder, name)
        config = read_json(folder / "config.json", folder, name)
        config = config if isinstance(config, dict) else {}
        preparation = _preparation(folder, name, config)
    except InvalidRequestError as exc:
        exc.field = "metric"
        raise
    if config.get("model_type") != "clip":
        raise InvalidRequestError(
            f"the metric's model {name} is of the type {shown(config.get('model_type'))}; {_ALLOWED}",
            field="metric",
        )
    try:
        import torch
        import transformers
    except ImportError as exc:
        raise ImageVariationError(
            f"the metric clip:{name} needs torch and transformers; install them with: pip install "
            "'ipy-imgvar[diffusers]'"
        ) from exc
    try:
        loaded = transformers.CLIPModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()
        processor = transformers.CLIPImageProcessor.from_dict(preparation)
    except Exception as exc:  # A folder may hold anything, and the libraries raise anything.
        reason = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise InvalidRequestError(
            f"the metric's model {name} can't be loaded ({reason}); {_ALLOWED}", field="metric"
        ) from exc

    def embed(image: Image) -> NDArray[np.float64]:
        from ipy_imgvar.images import codec

        pixels = processor(images=codec.on_white(image).convert("RGB"), return_tensors="pt")
        with torch.inference_mode():
            features: Any = loaded.get_image_features(**pixels)
        # Version 5 of transformers returns an object, version 4 the tensor itself.
        features = getattr(features, "pooler_output", features)
        vector: NDArray[np.float64] = features[0].double().cpu().numpy()
        length = float((vector @ vector) ** 0.5)
        return vector / length if length else vector

    return embed
