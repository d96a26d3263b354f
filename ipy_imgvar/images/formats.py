"""The one table of image formats, and the messages about files of any other.

Some of Pillow's decoders start programs (EPS runs Ghostscript) or open files that the image names. So each image, from
wherever it comes, is opened with the formats of this table only. Any other format is recognised by its first bytes
alone; nothing of it is decoded.

References
----------
https://pillow.readthedocs.io/en/stable/handbook/security.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALLOWED",
    "FORMATS",
    "JPEG",
    "PNG",
    "READ",
    "SEARCHED",
    "WRITTEN",
    "Format",
    "extension_of",
    "format_of",
    "mime_type_of",
    "refusal_of",
    "subtype_of",
    "written_extension_of",
]


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read.

    Parameters
    ----------
    name
        Pillow's.
    mime_type
        As Pillow gives it.
    extensions
        With their dot; files of ours get the first one.
    api_name
        The images API's, in `output_format` and for uploads; "" where the API does not name the format.
    is_written
        `codec.convert` writes it. These are also the formats that the API's edits route takes and answers in.
    is_searched
        A folder or pattern is searched for it. Not every Pillow decodes the others, and a search must find the same
        files on each machine.
    has_alpha
        It can hold transparency.
    longest_px
        The longest side that it can hold, in pixels; None where no picture that Pillow opens is longer.
    signatures
        How its files begin; none where `format_of` looks at more than the beginning.
    """

    name: str
    mime_type: str
    extensions: tuple[str, ...]
    api_name: str = ""
    is_written: bool = False
    is_searched: bool = True
    has_alpha: bool = True
    longest_px: int | None = None
    signatures: tuple[bytes, ...] = ()


PNG: Final = Format("PNG", "image/png", (".png",), "png", is_written=True, signatures=(b"\x89PNG\r\n\x1a\n",))
JPEG: Final = Format(
    "JPEG",
    "image/jpeg",
    (".jpg", ".jpeg"),
    "jpeg",
    is_written=True,
    has_alpha=False,
    longest_px=65_500,  # libjpeg's JPEG_MAX_DIMENSION
    signatures=(b"\xff\xd8\xff",),
)
FORMATS: Final = (
    PNG,
    JPEG,
    # 14 bits a side: the WebP container specification, "VP8X".
    Format("WEBP", "image/webp", (".webp",), "webp", is_written=True, longest_px=16_383),
    Format("GIF", "image/gif", (".gif",), "gif", signatures=(b"GIF87a", b"GIF89a")),
    Format("TIFF", "image/tiff", (".tif", ".tiff"), signatures=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Format("BMP", "image/bmp", (".bmp",), signatures=(b"BM",)),
    Format("AVIF", "image/avif", (".avif",), is_searched=False),
    Format("HEIF", "image/heif", (".heif", ".heic"), is_searched=False),
)
ALLOWED: Final = "PNG, JPEG, WebP, GIF, TIFF, BMP and AVIF, and HEIC with pillow-heif installed"

#: By Pillow's names. An MPO is a JPEG of several pictures, and few programs know its own type and extension.
_BY_NAME: Final = {**{each.name: each for each in FORMATS}, "MPO": JPEG}
_BY_MIME_TYPE: Final = {each.mime_type: each for each in FORMATS}
#: Pillow's names of the formats that are read.
READ: Final = tuple(_BY_NAME)
#: The formats that `codec.convert` writes, by file name extension.
WRITTEN: Final[Mapping[str, Format]] = {
    extension: each for each in FORMATS if each.is_written for extension in each.extensions
}
#: The file name extensions that a folder or pattern is searched for.
SEARCHED: Final = tuple(extension for each in FORMATS if each.is_searched for extension in each.extensions)

#: Brands of ISO base media files whose pictures are AV1 (https://aomediacodec.github.io/av1-avif/, section 6) or HEVC
#: (ISO/IEC 23008-12, annex B). The first brand may be a general one, so the compatible ones are looked at too.
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIF_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
#: Bytes of an ISO file's first box that are searched for brands: its own length field may claim 4 GB, and files have
#: fewer than ten brands of 4 bytes.
_MOST_BRANDS_BYTES: Final = 256
#: The first bytes of formats that are not read, and the names of those.
_OTHERS: Final = (
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS (PostScript)"),
    (b"%PDF", "PDF"),
    (b"8BPS", "PSD (Photoshop)"),
    (b"icns", "ICNS"),
    (b"\0\0\1\0", "ICO"),
    (b"#define", "XBM"),
    (b"/* XPM */", "XPM"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xffO\xffQ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\1\0\0\0", "EMF"),
    (b"SIMPLE  =", "FITS"),
    (b"\x89HDF", "HDF5"),
    (b"GRIB", "GRIB"),
    (b"BUFR", "BUFR"),
    (b"P1", "PPM"),
    (b"P2", "PPM"),
    (b"P3", "PPM"),
    (b"P4", "PPM"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
    (b"\x01\xda", "SGI"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
)


def format_of(data: bytes) -> str | None:
    """Return Pillow's name of an encoded image's format, by its first bytes; None for any format that is not read."""
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((each.name for each in FORMATS if data.startswith(each.signatures)), None)


def _of_brands(data: bytes) -> str | None:
    end = min(int.from_bytes(data[:4], "big"), _MOST_BRANDS_BYTES)
    brands = {bytes(data[8:12]), *(bytes(data[at : at + 4]) for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def mime_type_of(name: str | None) -> str:
    """Return the MIME type of one of `READ`, Pillow's names."""
    return _BY_NAME[name or ""].mime_type


def subtype_of(mime_type: str) -> str:
    """Return the part of a MIME type that names the format, such as "jpeg"."""
    return mime_type.rpartition("/")[2]


def extension_of(mime_type: str) -> str:
    """Return the file name extension of a MIME type, with its dot; of an unknown type, its subtype."""
    known = _BY_MIME_TYPE.get(mime_type)
    return known.extensions[0] if known is not None else f".{subtype_of(mime_type)}"


def written_extension_of(mime_type: str) -> str:
    """Return the extension of a picture that `codec.convert` has to write: .png for a format that it can't write."""
    extension = extension_of(mime_type)
    return extension if extension in WRITTEN else ".png"


def refusal_of(data: bytes, name: str, *, has_decoder: bool) -> str:
    """Return the message about bytes that can't be opened as an image.

    Parameters
    ----------
    data
        All of the file, or its beginning.
    name
        The name that the message gives it.
    has_decoder
        Whether its format, where it is one of `READ`, can be decoded here.
    """
    known = format_of(data)
    if known is not None and has_decoder:
        # Rare is a TIFF of 64-bit floats, for example. Pillow does not say which of the two it is.
        return f"{name} is a damaged {known} image, or of a rare kind; export it as PNG, or download it again"
    if known == "HEIF":
        return f"{name} is a HEIC image; install pillow-heif to read it, or export it as JPEG"
    if known is not None:
        return f"{name} is a {known} image, which this Pillow can't read; install a newer one: pip install -U pillow"
    start = bytes(data[:64]).lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = next((kind for signature, kind in _OTHERS if start.startswith(signature)), None)
    if kind is not None:
        return f"{name} looks like {kind}, which is not an image we read; allowed: {ALLOWED}; export it as one of these"
    return f"{name} is not an image (its content begins with {shown(bytes(data[:8]))}); allowed: {ALLOWED}"
