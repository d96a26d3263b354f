"""Which image formats are read, and what is said of the others: Pillow has more decoders than are safe to offer.

Some of Pillow's decoders start programs (EPS runs Ghostscript) or open files that the image names. So each image, from
wherever it comes, is opened with the formats below only. What another format looks like is told by its first bytes
alone; nothing of it is decoded.

References
----------
https://pillow.readthedocs.io/en/stable/handbook/security.html
"""

from __future__ import annotations

from typing import Final

from ipy_imgvar.errors import shown

__all__ = ["ALLOWED", "READ", "format_of", "refusal_of"]

#: Pillow's names of what is read; a JPEG may turn out to be an MPO, which is a JPEG of several pictures.
READ: Final = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
ALLOWED: Final = "PNG, JPEG, WebP, GIF, TIFF, BMP and AVIF, and HEIC with pillow-heif installed"

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
#: Brands of ISO base media files whose pictures are AV1 (https://aomediacodec.github.io/av1-avif/, section 6) or HEVC
#: (ISO/IEC 23008-12, annex B). The first brand may be a general one, so the compatible ones are looked at too.
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIF_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_MOST_BRANDS_BYTES: Final = 256
#: How formats that are not read begin, and what to call them.
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
    """Return Pillow's name of an encoded image's format, by its first bytes; None for what is not read."""
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def _of_brands(data: bytes) -> str | None:
    end = min(int.from_bytes(data[:4], "big"), _MOST_BRANDS_BYTES)
    brands = {bytes(data[8:12]), *(bytes(data[at : at + 4]) for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def refusal_of(data: bytes, name: str, *, has_decoder: bool) -> str:
    """Return what is said of bytes that can't be opened as an image.

    Parameters
    ----------
    data
        All of the file, or its beginning.
    name
        What to call it.
    has_decoder
        Whether its format, where it is one of `READ`, can be decoded here.
    """
    found = format_of(data)
    if found is not None and has_decoder:
        # Such as a TIFF of 64-bit floats; which of the two it is, Pillow does not say.
        return f"{name} is a damaged {found} image, or of a rare kind; export it as PNG, or download it again"
    if found == "HEIF":
        return f"{name} is a HEIC image; install pillow-heif to read it, or export it as JPEG"
    if found is not None:
        return f"{name} is a {found} image, which this Pillow can't read; install a newer one: pip install -U pillow"
    start = bytes(data[:64]).lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = next((kind for signature, kind in _OTHERS if start.startswith(signature)), None)
    if kind is not None:
        return f"{name} looks like {kind}, which is not an image we read; allowed: {ALLOWED}; export it as one of these"
    return f"{name} is not an image (its content begins with {shown(bytes(data[:8]))}); allowed: {ALLOWED}"
