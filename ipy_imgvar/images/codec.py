"""Decode, fit and encode images; only this module, `opening` and `modes` import Pillow.

Pictures are always upright (EXIF orientation applied), in sRGB, and of mode L, RGB or RGBA. Pillow's guard against
decompression bombs stays on and is an error here, never a warning.
"""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, PngImagePlugin

from ipy_imgvar.errors import InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.images.formats import JPEG, PNG, WRITTEN, format_of, mime_type_of, written_extension_of
from ipy_imgvar.images.modes import is_sideways, is_turned, normalise, resized
from ipy_imgvar.images.opening import open_lazily, open_stripped
from ipy_imgvar.images.pixels import as_pixels
from ipy_imgvar.images.png import may_be_turned, notes_of, png_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ipy_imgvar.request import Fit, Size

__all__ = [
    "PARAMETERS_KEY",
    "convert",
    "encode_png",
    "fit_image",
    "from_array",
    "grid",
    "is_plain",
    "kept_pixels",
    "of_pixels",
    "on_white",
    "opaque_where",
    "open_image",
    "pad_image",
    "parameters_of",
    "probe",
    "reduced",
    "resize",
    "retarget_image",
    "shrink",
    "to_array",
    "without_opaque_alpha",
]

#: The iTXt keyword under which our own PNGs carry the parameters that repeat them.
PARAMETERS_KEY: Final = "ipy_imgvar"
#: Quality of the JPEG and WebP files that `convert` writes, of 100.
_QUALITY: Final = 92
#: The largest ratio of a target's side to that side of a retargeted image. An engine fills the rest; with more to fill,
#: it repeats objects that should be there once.
_MAX_STRETCH: Final = 1.25
#: The grey or alpha level, of 255, from which a mask's pixel means "keep": the middle.
_KEEP_FROM: Final = 128
#: Pillow's `reducing_gap`: an image is averaged down to this many times the target before it is filtered. Pillow's
#: documentation of `Image.resize` calls 2.0 "very close to fair resampling", and 3.0 not to be told from it.
_THUMBNAIL_GAP, _FITTING_GAP = 2.0, 3.0


def open_image(data: bytes, name: str, *, at_least_px: int | None = None) -> Image.Image:
    """Decode an image of one of `formats.READ`; no other decoder is run.

    Parameters
    ----------
    data
        The encoded image.
    name
        The name that error messages give it.
    at_least_px
        A JPEG may be decoded at a reduced scale as long as both sides keep this many pixels; None decodes it whole.

    Returns
    -------
    Image
        Upright, sRGB, mode L, RGB or RGBA; the first frame of an animation.

    Raises
    ------
    InvalidImageError
        If `data` is empty, no image, broken, or larger than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    image = open_lazily(data, name)
    try:
        if at_least_px is not None:
            image.draft(None, (at_least_px, at_least_px))
        try:
            image.load()
        except ValueError:  # Texts that follow the pixels may be too large as well.
            if image.format != "PNG":
                raise
            image = open_stripped(data)
            image.load()
        if image.format == "WEBP":  # Its decoder holds the first frame three times more, for further ones.
            vars(image).update(_decoder=None, fp=None)
        return normalise(image)
    except InvalidImageError as exc:  # It was decoded, but its mode has no defined range.
        raise InvalidImageError(f"{name}: {exc}") from exc
    except Exception as exc:  # Plugins raise OSError, SyntaxError, ValueError, struct.error and more.
        raise InvalidImageError(
            f"{name} is a {image.format} image that breaks off or is damaged ({str(exc) or type(exc).__name__}); "
            "export or download it again"
        ) from exc


def probe(data: bytes, name: str) -> tuple[str, Size]:
    """Return the MIME type and the upright (width, height) of an encoded image, by its content, without decoding it."""
    if (size := png_size(data, Image.MAX_IMAGE_PIXELS or 0)) is not None:
        is_turned = may_be_turned(data) and is_sideways(open_lazily(notes_of(data), name))
        return PNG.mime_type, size[::-1] if is_turned else size
    image = open_lazily(data, name)
    return mime_type_of(image.format), image.size[::-1] if is_sideways(image) else image.size


def is_plain(data: bytes, name: str) -> bool:
    """Return whether each decoder reads the same picture: an upright PNG or JPEG, RGB or RGBA; no pixel is decoded."""
    image = open_lazily(data, name)
    mime_type = mime_type_of(image.format)
    if mime_type not in (PNG.mime_type, JPEG.mime_type) or image.mode not in ("RGB", "RGBA"):
        return False
    return not (may_be_turned(data) if mime_type == PNG.mime_type else is_turned(image))


def from_array(array: NDArray[Any], name: str) -> Image.Image:
    """Make a picture of an array; see `pixels.as_pixels` for the arrays that are taken."""
    return Image.fromarray(as_pixels(array, name))


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels as an array of shape (H, W, 3), or (H, W, 4) where there is transparency, uint8."""
    return np.array(image if image.mode == "RGBA" else image.convert("RGB"))


def of_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    """Make a picture of an engine's pixels, shape (H, W, 1), (H, W, 3) or (H, W, 4), uint8."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def resize(image: Image.Image, size: Size) -> Image.Image:
    """Bring a picture to a (width, height), with Lanczos' filter; the same object where it has that size."""
    return image if image.size == size else resized(image, size, Image.Resampling.LANCZOS)


def grid(images: Sequence[Image.Image], columns: int, gap_px: int) -> Image.Image:
    """Lay pictures out in rows; every cell has the size of the largest.

    The ground is transparent where one of them has transparency, else white: a picture without any can be a JPEG.
    """
    width = max(image.width for image in images) + gap_px
    height = max(image.height for image in images) + gap_px
    rows = math.ceil(len(images) / columns)
    mode, ground = ("RGBA", "#0000") if any(each.mode == "RGBA" for each in images) else ("RGB", "white")
    sheet = Image.new(mode, (columns * width - gap_px, rows * height - gap_px), ground)
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * width, number // columns * height))
    return sheet


def reduced(data: bytes, name: str, side_px: int) -> Image.Image:
    """Decode a picture with no side longer than `side_px`; a smaller one keeps its size."""
    image = open_image(data, name, at_least_px=side_px)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=_THUMBNAIL_GAP)
    return image


def kept_pixels(mask: Image.Image, size: Size) -> NDArray[np.bool_]:
    """Read a mask: True where the source must stay in place.

    Parameters
    ----------
    mask
        Opaque means keep where it has transparency, else white means keep.
    size
        The (width, height) of the image it belongs to.

    Returns
    -------
    ndarray of shape (height, width), bool
    """
    if mask.size != size:
        raise InvalidImageError(
            f"the mask is {mask.width}x{mask.height}, its image {size[0]}x{size[1]}; "
            "allowed: a mask of the image's shape",
            field="mask",
        )
    levels = np.asarray(mask.getchannel("A") if mask.mode == "RGBA" else mask.convert("L"))
    if 0 < levels.max() < _KEEP_FROM:  # Such a mask would keep nothing, and the user would not know.
        raise InvalidImageError(
            f"the mask's levels are {levels.min()} to {levels.max()} of 255, so it keeps nothing; allowed: True, 255 "
            f"or opaque to keep (from {_KEEP_FROM} on); pass mask.astype(bool), or mask > 0",
            field="mask",
        )
    return levels >= _KEEP_FROM


def opaque_where(keep: NDArray[np.bool_]) -> Image.Image:
    """Make a picture that is opaque black where `keep`, shape (H, W), is True, and transparent white elsewhere."""
    pixels = np.empty((*keep.shape, 4), np.uint8)
    # Many servers hand a mask to code that drops alpha and paints where it is white.
    white = np.where(keep, np.uint8(0), np.uint8(255))
    pixels[:, :, :3], pixels[:, :, 3] = white[:, :, np.newaxis], ~white
    return Image.fromarray(pixels)


def fit_image(image: Image.Image, size: Size, fit: Fit, *, exact_colours: bool = False) -> Image.Image:
    """Give `image` the aspect ratio of `size`, reduced to at most `size`, never enlarged in both directions.

    Parameters
    ----------
    image
        Mode L, RGB or RGBA.
    size
        The width and height that the request names, in pixels.
    fit
        `crop` cuts the longer direction down, evenly on both sides; `stretch` changes the aspect ratio; `pad` keeps
        all of the picture and its own ratio (`pad_image` adds the border).
    exact_colours
        Take the nearest pixel and mix none, as a mask needs it.
    """
    box = (0.0, 0.0, float(image.width), float(image.height))
    if fit == "crop":
        scale = min(image.width / size[0], image.height / size[1])
        # Rounding may give a little more than the picture has, which Pillow refuses.
        width, height = min(size[0] * scale, image.width), min(size[1] * scale, image.height)
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (left, top, left + width, top + height)
    elif fit == "pad":
        scale = min(1.0, size[0] / image.width, size[1] / image.height)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    reduction = min(1.0, max((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]))
    target = (max(1, round(size[0] * reduction)), max(1, round(size[1] * reduction)))
    if target == image.size and box == (0.0, 0.0, *map(float, image.size)):
        return image
    method = Image.Resampling.NEAREST if exact_colours else Image.Resampling.LANCZOS
    return resized(image, target, method, box=box, reducing_gap=None if exact_colours else _FITTING_GAP)


def retarget_image(image: Image.Image, size: Size) -> tuple[Image.Image, Size]:
    """Reduce `image`, in its own aspect ratio, to the scale at which its content goes into another shape.

    It then covers `size` but for a quarter, which an engine can fill without repeating objects. It is never enlarged.

    Returns
    -------
    tuple of Image and (int, int)
        The image, and `size` at its scale: smaller than `size` where the image is too small for it.
    """
    ratios = (size[0] / image.width, size[1] / image.height)
    scale = max(min(ratios), max(ratios) / _MAX_STRETCH)
    if scale >= 1:
        return image, (max(1, round(size[0] / scale)), max(1, round(size[1] / scale)))
    return resize(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale)))), size


def pad_image(image: Image.Image, size: Size) -> Image.Image:
    """Enlarge `image` until it fits into `size` and centre it there, on the mean colour of its border.

    A picture with transparency is padded with transparent pixels.
    """
    scale = min(size[0] / image.width, size[1] / image.height)
    # `ImageOps.contain` rounds the short side of a very long picture to 0.
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    inner = resize(image, (min(size[0], width), min(size[1], height)))
    pixels = np.asarray(inner)
    ground: Any = (0, 0, 0, 0)
    if inner.mode != "RGBA":
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        mean = np.rint(edge.mean(axis=0)).astype(int)
        ground = tuple(mean.tolist()) if mean.ndim else int(mean)
    canvas = Image.new(inner.mode, size, ground)
    canvas.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
    return canvas


def encode_png(image: Image.Image, parameters: Mapping[str, Any] | None = None, *, level: int = 1) -> bytes:
    """Encode as PNG, with `parameters` as JSON in an iTXt chunk.

    Level 1 of zlib is four times faster than Pillow's default at 1024 px and makes files about 12 % larger.
    """
    text = PngImagePlugin.PngInfo()
    if parameters is not None:
        text.add_itxt(PARAMETERS_KEY, json.dumps(parameters, sort_keys=True, ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level, pnginfo=text)
    return buffer.getvalue()


def parameters_of(data: bytes) -> dict[str, Any] | None:
    """Return the parameters that a PNG of ours carries, or None where there are none."""
    image = open_lazily(data, "the picture")
    text = image.info.get(PARAMETERS_KEY)
    try:
        parameters = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return parameters if isinstance(parameters, dict) else None


def convert(data: bytes, extension: str) -> bytes:
    """Return `data` in the format of a file name extension; as it is when it already has that format.

    Raises
    ------
    InvalidRequestError
        For an extension that is none of .png, .jpg, .jpeg and .webp.
    """
    wanted = WRITTEN.get(extension.lower())
    if wanted is None:
        raise InvalidRequestError(
            f"the file extension is {shown(extension)}; allowed: {', '.join(WRITTEN)}", field="out_file"
        )
    if format_of(data) == wanted.name:
        return data
    image = open_image(data, "the picture")
    if wanted.name == "PNG":
        return encode_png(image)
    if wanted.longest_px is not None and max(image.size) > wanted.longest_px:
        raise InvalidRequestError(
            f"the picture is {image.width}x{image.height}; a {wanted.name} has at most {wanted.longest_px} pixels a "
            "side; save it as .png, or make it smaller",
            field="out_file",
        )
    buffer = io.BytesIO()
    flat = image if wanted.has_alpha else on_white(image)
    flat.save(buffer, wanted.name, quality=_QUALITY)
    return buffer.getvalue()


def shrink(data: bytes, size: Size) -> bytes:
    """Return a picture reduced to a (width, height), in its own format."""
    image = open_image(data, "the picture", at_least_px=max(size))
    mime_type, _ = probe(data, "the picture")
    return convert(encode_png(resize(image, size)), written_extension_of(mime_type))


def on_white(image: Image.Image) -> Image.Image:
    """Lay a picture with transparency on white, since JPEG has none."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def without_opaque_alpha(image: Image.Image) -> Image.Image:
    """Return an image without its alpha where that hides nothing."""
    opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    return image.convert("RGB") if opaque else image
