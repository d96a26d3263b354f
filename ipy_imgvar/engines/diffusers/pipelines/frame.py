"""The source at the size that a model works at, and the picture at the size that the request wants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ipy_imgvar.images import codec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.engines.diffusers.pipelines.families import Family
    from ipy_imgvar.request import Size, VariationRequest

__all__ = ["Frame", "frame_of", "trained_side", "working_size"]


#: Pixels of a side of a thin picture: FLUX.2 refuses less, and other models make nothing of it.
_LEAST_SIDE_PX: Final = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """A source, ready for a pipeline.

    Parameters
    ----------
    image
        The source at the working size, RGB.
    repaint
        White where the mask lets the pipeline paint, at the working size, mode L; None without a mask.
    source, keep
        The source at the finished size without its border, and where its pixels stay, shape (H, W); None without a
        mask.
    size
        (width, height) of the finished picture, with the border of `fit` "pad".
    transparent
        The source had transparency, which was laid on white.
    """

    image: Image
    repaint: Image | None
    source: Image
    keep: NDArray[np.bool_] | None
    size: Size
    transparent: bool = False

    @property
    def made(self) -> Size:
        """The working size, (width, height) in pixels."""
        return self.image.size

    def finished(self, picture: Image) -> Image:
        """Return a pipeline's picture at the finished size, with the kept pixels of the source pasted in.

        No pipeline keeps a pixel by itself, since the autoencoder changes each. Pasted before the last resize, kept
        pixels would be mixed with their neighbours.
        """
        picture = codec.resize(picture.convert("RGB"), self.source.size)
        if self.keep is not None:
            pixels = np.where(self.keep[..., None], codec.to_array(self.source), codec.to_array(picture))
            picture = codec.of_pixels(pixels)
        return picture if picture.size == self.size else codec.pad_image(picture, self.size)


def working_size(size: Size, side_px: int, least_px: int, grid_px: int) -> Size:
    """Return the size at which a model makes a picture of this shape.

    Parameters
    ----------
    size
        (width, height) of the finished picture in pixels.
    side_px, least_px
        The sides of the largest and the smallest square that the model makes well; the area stays between theirs.
    grid_px
        The number that divides both sides of the result.
    """
    side = math.sqrt(size[0] * size[1])
    scale = max(min(max(side, least_px), side_px) / side, _LEAST_SIDE_PX / min(size))
    width, height = (round(each * scale / grid_px) * grid_px for each in size)
    return width, height


def trained_side(pipe: Any, family: Family) -> int:
    """Return the side in pixels of the square that a model was trained on, from its own configuration where it says."""
    config = getattr(getattr(pipe, "unet", None), "config", None)
    sample = getattr(config, "sample_size", None)
    if isinstance(sample, int):
        return int(sample * pipe.vae_scale_factor)
    return family.side_px


def frame_of(request: VariationRequest, side_px: int, least_px: int, grid_px: int) -> Frame:
    """Decode and fit a request's source and mask; see `working_size` for the numbers."""
    assert request.image is not None  # noqa: S101 - the engine has refused it
    made = working_size(request.size, side_px, least_px, grid_px)
    # A mask has the full image's pixels, so the image must not be decoded at a reduced scale.
    image = request.image.open(at_least_px=None if request.mask else max(*request.size, *made))
    image = codec.without_opaque_alpha(image)
    inner = request.size
    if request.fit == "pad":
        scale = min(request.size[0] / image.width, request.size[1] / image.height)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        made = working_size(inner, side_px, least_px, grid_px)
    # Fitted once for both: a model that works at 512 px must not get the blur of a picture of 256.
    larger = max(1.0, *(each / side for each, side in zip(made, inner, strict=True)))
    target = (round(request.size[0] * larger), round(request.size[1] * larger))
    fitted = codec.fit_image(codec.on_white(image).convert("RGB"), target, request.fit)
    repaint = keep = None
    if request.mask is not None:
        kept = codec.from_array(codec.kept_pixels(request.mask.open(), image.size), "the mask")
        kept = codec.fit_image(kept, target, request.fit, exact_colours=True)
        keep = _enlarged(np.asarray(kept) > 0, inner)
        repaint = codec.from_array(~_enlarged(np.asarray(kept) > 0, made), "the mask")
    source = codec.resize(fitted, inner)
    return Frame(codec.resize(fitted, made), repaint, source, keep, request.size, image.mode == "RGBA")


def _enlarged(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Return a mask at another size: at each pixel's centre, the nearest pixel."""
    rows = (np.arange(size[1]) + 0.5) * mask.shape[0] / size[1]
    cols = (np.arange(size[0]) + 0.5) * mask.shape[1] / size[0]
    enlarged: NDArray[np.bool_] = mask[rows.astype(int)[:, None], cols.astype(int)[None, :]]
    return enlarged
