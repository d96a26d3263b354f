"""Bring Pillow's images of any mode into the form that engines work on: upright, in sRGB, mode L, RGB or RGBA."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageCms, ImageFile

from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images.formats import ALLOWED, READ
from ipy_imgvar.images.opening import orientation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["copied", "is_sideways", "is_turned", "normalise", "resized"]

#: Orientations that swap width and height (EXIF 2.32, section 4.6.4).
_SIDEWAYS: Final = (5, 6, 7, 8)
#: The transposition that brings a picture of each orientation upright (EXIF 2.32, section 4.6.4).
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Entries of `info` that `normalise` carries out or drops: Pillow would write some of them into the next file, and they
#: would count twice.
_CARRIED_OUT: Final = (
    "icc_profile",
    "transparency",
    "exif",
    "xmp",
    "XML:com.adobe.xmp",
    "Raw profile type exif",
)
#: Pixels that are worked on at a time: working on all at once would take several times the picture's memory.
_STRIP_PX: Final = 1 << 20
#: Pixels above which a picture with transparency is resized a band at a time, which takes longer and less memory.
_LARGE_PX: Final = 1 << 22
#: Levels of 16 bits that share their eight upper bits.
_STEP_OF_16_BITS: Final = 256
#: Modes that an ICC profile's colour space goes with.
_PROFILED: Final = {"RGB ": ("RGB", "RGBA"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}


def copied(picture: Image.Image) -> Image.Image:
    """Return a PIL image of the caller's, decoded and normalised; later changes of it are not seen.

    Raises
    ------
    InvalidImageError
        If it was opened from a file of a format that we don't read, and is not decoded yet: decoding could start a
        program, as it does for PostScript.
    """
    if 0 in picture.size:
        raise InvalidImageError(f"it is {picture.width}x{picture.height}, so it has no pixels")
    is_decoded = any(vars(picture).get(name) is not None for name in ("_im", "im"))  # by Pillow's version
    if isinstance(picture, ImageFile.ImageFile) and not is_decoded and picture.format not in READ:
        raise InvalidImageError(
            f"it is a {picture.format} file that is not decoded yet; allowed: {ALLOWED}; "
            "convert it first, or call its load() if you trust it"
        )
    return normalise(picture.copy())


def is_sideways(image: Image.Image) -> bool:
    """Return whether width and height change places once an image's orientation is carried out.

    Pillow swaps the sides of a turned TIFF by itself. See `orientation_of` for when a PNG is decoded.
    """
    return image.format != "TIFF" and orientation_of(image) in _SIDEWAYS


def is_turned(image: Image.Image) -> bool:
    """Return whether an orientation is to be carried out, which makes another picture of it."""
    return orientation_of(image) in _TURNS


def normalise(image: Image.Image) -> Image.Image:
    """Return `image` upright, in sRGB and in mode L, RGB or RGBA; 16-bit greys keep their eight upper bits.

    The image is the callee's: it may be changed.

    Raises
    ------
    InvalidImageError
        For a mode whose values have no defined range.
    """
    turn = _TURNS.get(orientation_of(image))
    upright = image
    if turn is not None:
        upright = image.transpose(turn)
        image.close()
    profile = upright.info.get("icc_profile")
    plain_mode = _without_exotic_modes(upright)
    converted = _to_srgb(plain_mode, profile) if profile else plain_mode
    if converted.mode == "LA":
        converted = _with_colours(converted)
    elif converted.mode not in ("L", "RGB", "RGBA"):
        converted = converted.convert("RGB")
    for name in _CARRIED_OUT:
        converted.info.pop(name, None)
    return converted


def _without_exotic_modes(image: Image.Image) -> Image.Image:
    """Return `image` in mode L, LA, RGB, RGBA or CMYK, with its transparency, however the file has it, in a channel."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        return _eight_bits(image)
    if mode in ("I", "F"):
        kind = "32-bit whole numbers" if mode == "I" else "float pixels"
        raise InvalidImageError(
            f"mode {mode} ({kind}) has no defined range; convert the image to 8 bits first, such as "
            "Image.fromarray((array / array.max() * 255).astype('uint8'))"
        )
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if mode == "La":
        return image.convert("LA")  # the only mode that Pillow converts it to
    if mode == "RGBa" or (mode not in ("LA", "RGBA") and image.has_transparency_data):
        return _with_alpha(image)
    if mode == "1":
        return image.convert("L")
    return image if mode in ("L", "LA", "RGB", "RGBA", "CMYK") else image.convert("RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    try:
        return image.convert("RGBA")
    except (TypeError, ValueError):
        if image.info.pop("transparency", None) is None:
            raise
        # The transparent colour was one of an earlier mode.
        return _without_exotic_modes(image)


def _with_colours(image: Image.Image) -> Image.Image:
    """Return an image of mode LA as RGBA; it is closed before that takes its memory."""
    level, alpha = image.getchannel("L"), image.getchannel("A")
    image.close()
    return Image.merge("RGBA", (level, level, level, alpha))


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the top of each strip of an image, and the strip."""
    rows = max(1, _STRIP_PX // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a 16-bit grey picture as L, or RGBA where one level is noted as transparent."""
    key = image.info.get("transparency")
    brightest = 0
    levels = np.empty((image.height, image.width), np.uint8)
    alpha = None if key is None else np.empty_like(levels)
    for top, strip in _strips(image):
        # convert("L") clips 16-bit values at 255, which turns most of the picture white.
        values = np.asarray(strip).astype(np.int32)
        brightest = max(brightest, int(values.max()))
        levels[top : top + len(values)] = (values >> 8).clip(0, 255)
        if alpha is not None:
            alpha[top : top + len(values)] = np.where(values == key, 0, 255)
    image.close()
    if 0 < brightest < _STEP_OF_16_BITS:  # Such as a mask of 0 and 255, or labels: all of it would be black.
        raise InvalidImageError(
            f"it has 16 bits and levels of 0 to {brightest} of 65535, which is black; convert it to 8 bits first, such "
            "as Image.fromarray((array / array.max() * 255).astype('uint8'))"
        )
    grey = Image.fromarray(levels)
    return grey if alpha is None else Image.merge("RGBA", (grey, grey, grey, Image.fromarray(alpha)))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Apply an embedded colour profile, since our files carry none; in place if the mode stays."""
    try:
        given, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        space = given.profile.xcolor_space
        if space == "RGB " and image.mode in ("L", "LA"):
            image = image.convert("RGB") if image.mode == "L" else _with_colours(image)
        if image.mode not in _PROFILED.get(space, ()):
            return image  # A profile for other pixels than these says nothing of them.
        if image.mode in ("RGB", "RGBA"):  # Little CMS leaves the alpha channel as it is.
            ImageCms.profileToProfile(image, given, srgb, outputMode=image.mode, inPlace=True)
            return image
        transform = ImageCms.buildTransform(given, srgb, "L" if image.mode == "LA" else image.mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        # A broken profile is no reason to refuse the picture: viewers ignore it as well.
        return image
    alpha = None
    if image.mode == "LA":
        level, alpha = image.getchannel("L"), image.getchannel("A")
        image.close()
        image = level
    converted = transform.apply(image)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def resized(
    image: Image.Image,
    size: tuple[int, int],
    method: Image.Resampling,
    *,
    box: tuple[float, float, float, float] | None = None,
    reducing_gap: float | None = None,
) -> Image.Image:
    """Return `image` as `Image.resize` does, without its second copy of a large picture with transparency."""
    is_small = image.width * image.height < _LARGE_PX
    if is_small or image.mode != "RGBA" or method == Image.Resampling.NEAREST:
        return image.resize(size, method, box, reducing_gap)
    bands = [_premultiplied(image, name).resize(size, method, box, reducing_gap) for name in "RGBA"]
    return Image.merge("RGBa", bands).convert("RGBA")


def _premultiplied(image: Image.Image, name: str) -> Image.Image:
    """Return a band of mode RGBa of an image of mode RGBA."""
    if name == "A":
        return image.getchannel("A")
    band = Image.new("L", image.size)
    for top, strip in _strips(image):
        band.paste(strip.convert("RGBa").getchannel(name), (0, top))
    return band
