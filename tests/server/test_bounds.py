"""What one request can cost a server: its memory, and how long others wait meanwhile; benchmarks/bounds.py has more."""

import io
import statistics
import struct
import threading
import time
import zlib

import httpx
import pytest
from PIL import Image, ImageCms

from ipy_imgvar.images.decoding import decoding_bytes

JSON = {"content-type": "application/json"}
URL = b"data:image/png;base64,"
#: Beside what a request brings; a server may have 150 MB, and needs the less the smaller the requests are.
SPARE = 20_000_000


def filled(opening, piece, ending, size):
    return opening + piece * (size // len(piece)) + ending


def edit(piece, size, opening=URL):
    return filled(b'{"prompt":"x","size":"64x64","images":[{"image_url":"' + opening, piece, b'"}]}', size)


BODIES = {
    "percents": lambda size: edit(b"%41", size),
    "percents, no base64": lambda size: edit(b"%41", size, b"data:,"),
    "percents alone": lambda size: edit(b"%", size, b"data:,"),
    "percents as escapes": lambda size: edit(b"\\u002541", size, b"data:,"),
    "base64": lambda size: edit(b"QUFB", size),
    "base64 and blanks": lambda size: edit(b"QUFB ", size),
    "no comma": lambda size: edit(b"A", size, b"data:"),
    "objects": lambda size: filled(b'{"images":[', b"{},", b'{}],"prompt":"x"}', size),
    "references": lambda size: filled(b'{"images":[', b'{"image_url":"data:,"},', b"{}]}", size),
    "numbers": lambda size: filled(b'{"n":[', b"1,", b"1]}", size),
    "keys": lambda size: b"{" + b",".join(b'"%d":1' % each for each in range(size // 11)) + b"}",
    "one prompt": lambda size: filled(b'{"prompt":"', b"x", b'"}', size),
    "one key": lambda size: filled(b'{"', b"x", b'":1}', size),
    "deep": lambda size: b'{"a":' * (size // 5),
    "blanks": lambda size: filled(b"{", b" ", b"}", size),
}


class Standing:
    """A server in a process of its own, which has answered an edit; its memory and its health."""

    def __init__(self, launch, memory):
        process = launch("--quiet")
        self.root, self.base = process.root, process.base
        small = saved(Image.new("RGB", (64, 64)), "PNG")
        assert self.send(files={"image": small}).status_code == 200
        self.send(content=edit(b"QUFB", 100), headers=JSON)
        self.memory = memory(process.process.pid)

    def send(self, **body):
        if "files" in body:
            body["data"] = {"prompt": "x", "size": "64x64"}
        return httpx.post(f"{self.base}/images/edits", **body, timeout=100)

    def send_and_ask(self, **body):
        """Send a body; return its answer, and the seconds that each /healthz took meanwhile."""
        over, waits = threading.Event(), []

        def ask():
            # The first is asked in any case: a refusal can come before it.
            with httpx.Client() as client:
                while not waits or not over.is_set():
                    began = time.monotonic()
                    assert client.get(f"{self.root}/healthz", timeout=100).status_code == 200
                    waits.append(time.monotonic() - began)
                    over.wait(0.02)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            return self.send(**body), waits
        finally:
            over.set()
            asking.join()


@pytest.fixture
def standing(launch, memory):
    """Return a server in a process, at rest."""
    return Standing(launch, memory)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.slow
def test_json_is_bounded_before_it_is_parsed(standing):
    """No JSON takes more than four times its bytes: neither its pictures nor what is beside them."""
    for name, make in BODIES.items():
        body = make(3_000_000)
        standing.memory.set_back()
        answer = standing.send(content=body, headers=JSON)
        assert answer.status_code in (400, 413), (name, answer.text)
        assert standing.memory.peak <= 4 * len(body) + SPARE, name


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_largest_json(standing, name):
    """The largest JSON takes what is allowed, and others are answered at once meanwhile."""
    body = BODIES[name](60_000_000)
    answer, waits = standing.send_and_ask(content=body, headers=JSON)
    assert answer.status_code in (400, 413)
    assert standing.memory.peak <= 4 * len(body) + 150_000_000
    assert statistics.median(waits[:20]) < 3


def test_too_much_beside_the_pictures(server, http):
    """What is too much beside the pictures is told from pictures that are."""
    body = filled(b'{"n":[', b"1,", b"1]}", 1_100_000)
    answer = http.post(f"{server.base}/images/edits", content=body, headers=JSON)
    assert answer.status_code == 413
    assert "more than 1 MB beside the data: URLs of its pictures" in answer.json()["error"]["message"]


def profiled():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_16(side):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(side * (1 + 2 * side)), 9)
    header = struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURES = {
    "16-bit grey": grey_16,
    "grey and alpha": lambda side: saved(Image.new("LA", (side, side)), "PNG"),
    "RGBA": lambda side: saved(Image.new("RGBA", (side, side)), "PNG"),
    "RGBA, profile": lambda side: saved(Image.new("RGBA", (side, side)), "PNG", icc_profile=profiled()),
    "palette, profile": lambda side: saved(Image.new("P", (side, side)), "PNG", icc_profile=profiled()),
    "RGB, profile": lambda side: saved(Image.new("RGB", (side, side)), "PNG", icc_profile=profiled()),
    "RGB, key": lambda side: saved(Image.new("RGB", (side, side)), "PNG", transparency=(1, 2, 3)),
    "JPEG, CMYK, progressive": lambda side: saved(
        Image.new("CMYK", (side, side)), "JPEG", progressive=True, subsampling=0
    ),
    "WebP": lambda side: saved(Image.new("RGB", (side, side)), "WEBP", method=0),
}


@pytest.mark.slow
def test_pictures_are_decoded_within_what_is_told(standing):
    """A picture of any kind takes no more memory to decode than was told before from its headers."""
    side = 2200
    for name, make in PICTURES.items():
        data = make(side)
        standing.memory.set_back()
        assert standing.send(files={"image": data}).status_code == 200, name
        told = decoding_bytes(data, (side, side))
        assert standing.memory.peak <= told + 4 * len(data) + 5_000_000, name
        assert told == {"WebP": 16, "JPEG, CMYK, progressive": 12, "RGB, key": 8}.get(name, 7) * side**2


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_largest_pictures(standing, name):
    """The largest picture takes 4 bytes a pixel and 150 MB, or is refused before it is decoded."""
    side = 6300
    data = PICTURES[name](side)
    answer, waits = standing.send_and_ask(files={"image": data})
    assert standing.memory.peak <= 4 * len(data) + 4 * side**2 + 150_000_000
    assert statistics.median(waits[:20]) < 3
    assert answer.status_code == (400 if name in ("WebP", "JPEG, CMYK, progressive", "RGB, key") else 200)
    assert answer.status_code == 200 or "MB to decode" in answer.json()["error"]["message"]


def test_turned_pictures_are_copied():
    """A picture with an orientation counts with its copy, a square one as well."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG"):
        image = Image.new("RGB", (40, 40))
        assert decoding_bytes(saved(image, kind, exif=exif), (40, 40)) == 8 * 40 * 40
        assert decoding_bytes(saved(image, kind), (40, 40)) == 7 * 40 * 40


@pytest.mark.parametrize(
    ("mode", "options", "a_pixel"),
    [
        ("L", {"progressive": True}, 7),
        ("RGB", {"progressive": True, "subsampling": 0}, 10),
        ("RGB", {"progressive": True, "subsampling": 2}, 7),
        ("RGB", {"subsampling": 0}, 7),
        ("CMYK", {}, 8),
    ],
)
def test_progressive_jpegs(mode, options, a_pixel):
    """A progressive JPEG counts with the coefficients that its decoder holds until the last scan."""
    data = saved(Image.new(mode, (64, 64)), "JPEG", **options)
    assert decoding_bytes(data, (64, 64)) == a_pixel * 64 * 64


def test_jpegs_of_several_scans():
    """A JPEG counts as a progressive one does where a scan lacks components, and with the most where it has no scan."""
    data = saved(Image.new("RGB", (64, 64)), "JPEG", subsampling=0)
    scan = data.index(b"\xff\xda")
    assert decoding_bytes(data[: scan + 4] + b"\1" + data[scan + 5 :], (64, 64)) == 10 * 64 * 64
    assert decoding_bytes(data[:scan], (64, 64)) == 12 * 64 * 64
    filled_up = data[:scan] + b"\xff\xff" + data[scan:]
    assert decoding_bytes(filled_up, (64, 64)) == 7 * 64 * 64


def test_long_pictures(server, http):
    """A picture of one row is refused: its decoder holds some rows of it."""
    data = saved(Image.new("1", (70_000, 1)), "PNG")
    answer = http.post(f"{server.base}/images/variations", files={"image": data}, data={"size": "64x64"})
    assert answer.status_code == 400
    assert "65535 a side" in answer.json()["error"]["message"]
