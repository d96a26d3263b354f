"""Small files that would take minutes or gigabytes are refused before they are decoded."""

import io
import struct
import time
import zlib

import pytest
from cases import slow
from PIL import Image

from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images import codec
from ipy_imgvar.images.bombs import excess_of


def encoded(image, kind, **options):
    """Return an image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(size=(32, 24), *, scans=0, segments=b""):
    """Return a progressive grey JPEG with so many scans more than it needs, and segments before its first."""
    data = encoded(Image.new("L", size, 128), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xd9")
    last = data[data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda")) : end]
    return data[:2] + segments + data[2:end] + last * scans + data[end:]


def gif(blocks):
    """Return a GIF with something before its first frame."""
    data = encoded(Image.new("L", (32, 24)), "GIF")
    at = 13 + 3 * (2 << (data[10] & 7))
    return data[:at] + blocks + data[at:]


def png(*chunks):
    """Return a PNG with chunks after its header."""
    data = encoded(Image.new("L", (32, 24)), "PNG")
    more = b"".join(
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in chunks
    )
    return data[:33] + more + data[33:]


def tiff(entries):
    """Return a TIFF whose directory has so many entries, all with the same text."""
    at = 10 + 12 * entries + 4
    tags = b"".join(struct.pack("<HHLL", tag, 7, 9000, at) for tag in range(1000, 1000 + entries))
    return b"II*\0" + struct.pack("<LH", 8, entries) + tags + bytes(4 + 9000)


BOMBS = {
    "scans of a large JPEG": (lambda: jpeg((8000, 8000), scans=200), "more than 23 scans of 64000000 pixels"),
    "scans of a small JPEG": (lambda: jpeg(scans=2000), "more than 100 scans of 768 pixels"),
    "EXIF in pieces": (
        lambda: jpeg(segments=b"\xff\xe1\0\x09Exif\0\0x" * 400_000),
        "more than 1000 segments",
    ),
    "comments of a JPEG": (lambda: jpeg(segments=b"\xff\xfe\0\2" * 500_000), "more than 1000 segments"),
    "fill bytes of a JPEG": (lambda: jpeg(segments=b"\xff" * 2_000_000), "more than 1000 segments"),
    "comments of a GIF": (lambda: gif(b"\x21\xfe\1x\0" * 500_000), "more than 20000 blocks"),
    "one comment in pieces": (lambda: gif(b"\x21\xfe" + b"\1x" * 500_000 + b"\0"), "more than 20000 blocks"),
    "chunks of a PNG": (lambda: png(*[(b"abCd", b"")] * 200_000), "more than 10000 private chunks"),
    "entries of a TIFF": (lambda: tiff(60_000), "more than 4096 entries"),
}


@pytest.mark.parametrize("kind", [slow(kind) if "large" in kind else kind for kind in BOMBS])
def test_files_of_too_many_pieces(kind):
    """A file with far more scans, segments, blocks or entries than any encoder writes is refused at once, by number."""
    make, words = BOMBS[kind]
    data = make()
    start = time.process_time()
    with pytest.raises(InvalidImageError, match=words):
        codec.open_image(data, "it")
    assert time.process_time() - start < 0.5
    if not data.startswith(b"\x89PNG"):  # Whose size is read without opening it.
        with pytest.raises(InvalidImageError, match=words):
            codec.probe(data, "it")


def test_files_of_many_pieces():
    """What encoders write, and more, is read: scans for each bit, 255 segments of a profile, long comments."""
    profile = b"".join(
        b"\xff\xe2" + struct.pack(">H", 17) + b"ICC_PROFILE\0" + bytes([number, 255, 0])
        for number in range(1, 256)
    )
    for data in (
        jpeg(scans=40),
        jpeg(segments=profile),
        gif(b"\x21\xfe" + (b"\xff" + b"x" * 255) * 10_000 + b"\0"),
        png(*[(b"abCd", b"x")] * 1000),
    ):
        assert codec.open_image(data, "it").size == (32, 24)


def test_what_only_looks_like_scans():
    """Bytes of scans are not counted in a segment or behind the first picture, as in a photograph with a film."""
    look_alike = b"\xff\xe5" + struct.pack(">H", 2 + 60_000) + b"\xff\xda" * 30_000
    assert excess_of(jpeg(segments=look_alike) + b"\xff\xda" * 100_000, "JPEG") is None


def test_long_runs_of_fill_bytes():
    """Two million fill bytes in a JPEG's scans are passed over in linear time."""
    data = jpeg(scans=3)
    end = data.rindex(b"\xff\xd9")
    start = time.process_time()
    assert excess_of(data[:end] + b"\xff" * 2_000_000 + b"\0" + data[end:], "JPEG") is None
    assert time.process_time() - start < 1


@pytest.mark.parametrize("kind", ["GIF", slow("WEBP"), slow("AVIF"), slow("PNG"), slow("TIFF")])
def test_animations_of_many_frames(kind):
    """An animation takes the time of its first frame, however many follow."""
    frames = [Image.new("RGB", (300, 300), (n, 0, 0)) for n in range(1, 60)]
    data = encoded(
        Image.new("RGB", (300, 300), "blue"),
        kind,
        save_all=True,
        append_images=frames,
        **({"speed": 10} if kind == "AVIF" else {}),
    )
    codec.open_image(encoded(frames[0], kind), "it")
    start = time.process_time()
    assert codec.open_image(data, "it").convert("RGB").getpixel((9, 9))[2] > 250
    assert time.process_time() - start < 0.5
