"""Opening an encoded image: its header is read, with the decoders of `formats.READ` and no other.

Pillow warns of each oddity of a file, with a path of this machine in the warning. These warnings are suppressed: an
image that can be read is read, and one that can't raises one error.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, UnidentifiedImageError

from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images.bombs import excess_of
from ipy_imgvar.images.formats import format_of, refusal_of
from ipy_imgvar.images.png import colour_key, profile_of, stripped

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["open_lazily", "open_stripped", "orientation_of"]

_ORIENTATION: Final = 0x0112  # EXIF 2.32, section 4.6.4
_warnings_lock = threading.Lock()  # `catch_warnings` changes process-wide state


def open_lazily(data: bytes, name: str) -> Image.Image:
    """Open an image and decode no pixel of it.

    Parameters
    ----------
    data
        The encoded image.
    name
        The name that error messages give it.

    Raises
    ------
    InvalidImageError
        If `data` is empty, no image that we read, damaged, or has more pixels or pieces than is safe.
    """
    if not data:
        raise InvalidImageError(f"{name} is empty (0 bytes); pass an image file")
    kind = format_of(data)
    if kind is None or not _has_decoder(kind):
        raise InvalidImageError(refusal_of(data, name, has_decoder=False))
    if (excess := excess_of(data, kind)) is not None:
        raise InvalidImageError(
            f"{name} is a {kind} image with {excess}, which would take very long to read; export it again"
        )
    try:
        with _quietly():
            image = _opened(data, kind)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as exc:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InvalidImageError(
            f"{name} has more pixels than is safe to open; allowed: {limit:.1f} million; reduce it first, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        ) from exc
    except UnidentifiedImageError as exc:
        raise InvalidImageError(refusal_of(data, name, has_decoder=True)) from exc
    except Exception as exc:  # Damaged headers surface as any of a plugin's errors.
        raise InvalidImageError(f"{name} is damaged ({exc}); export or download it again") from exc
    if kind != "PNG":
        # Pillow keeps the orientation once it has read it, so decoding a TIFF won't read it again, and warn.
        # A PNG's may follow its pixels.
        orientation_of(image)
    return image


def _opened(data: bytes, kind: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except ValueError:
        if kind != "PNG":
            raise
        return open_stripped(data)
    return _with_scaled_key(image, data) if kind == "PNG" else image


def open_stripped(data: bytes) -> Image.Image:
    """Open a PNG whose texts or profile are larger than Pillow takes: one chunk may hold 1 MiB, all texts 64 MiB."""
    image = Image.open(io.BytesIO(stripped(data)), formats=["PNG"])
    if (profile := profile_of(data)) is not None:
        image.info["icc_profile"] = profile
    return _with_scaled_key(image, data)


def _with_scaled_key(image: Image.Image, data: bytes) -> Image.Image:
    if "transparency" in image.info:
        image.info["transparency"] = colour_key(data, image.info["transparency"])
    return image


def orientation_of(image: Image.Image) -> Any:
    """Return how an image is turned: EXIF's 1 to 8, or anything else where that is unknown.

    A PNG that holds none before its pixels is decoded, since one may follow them.
    """
    try:
        with _quietly():
            return image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - broken EXIF is no reason to refuse a picture; viewers ignore it as well
        return None


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress Pillow's warnings, but raise the one of its guard against decompression bombs."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _has_decoder(kind: str) -> bool:
    """Return whether Pillow can open a format here; pillow-heif is registered where it is installed."""
    if kind == "HEIF" and find_spec("pillow_heif") is not None:
        import_module("pillow_heif").register_heif_opener()
    if kind not in Image.OPEN:
        Image.init()
    return kind in Image.OPEN
