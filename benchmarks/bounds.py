"""What one request can cost `imgvar serve`: its peak memory beside what is allowed, and how long `/healthz` takes.

Run with `python benchmarks/bounds.py [--megabytes 60] [--megapixels 39.7] [WORD ...]`; a word picks the cases whose
names hold it. Each case gets a server of its own, which has answered one small request before. Allowed, above the
server's memory at rest: four times the request's bytes, four bytes for each pixel of its pictures, and 150 MB. Linux
only: the peak is the kernel's (VmHWM in /proc/PID/status, set back by writing 5 to /proc/PID/clear_refs).
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import resource
import statistics
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUNDARY = "imgvar"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
#: Above what a request brings, in bytes.
SPARE = 150_000_000
#: The server may have this much address space, so that a fault of it is no fault of the machine.
MOST_BYTES = 8_000_000_000


@dataclass(frozen=True)
class Case:
    """One request, or several of the same at once."""

    name: str
    kind: str
    body: Callable[[int, int], bytes]
    pictures: int = 0
    route: str = "edits"
    at_once: int = 1


def text_part(name: str, value: bytes) -> bytes:
    """Return a text of a form."""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


def form(*files: tuple[str, bytes], **fields: str) -> bytes:
    """Return a form with these files; it asks for a small picture."""
    pieces = [
        text_part(name, value.encode())
        for name, value in {"prompt": "x", "size": "64x64", "response_format": "b64_json", **fields}.items()
    ]
    for name, data in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
        pieces += [head.encode(), data, b"\r\n"]
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])


def edit(url: bytes, more: bytes = b"") -> bytes:
    """Return the JSON of an edit of the picture at an address."""
    return b'{"prompt":"x","size":"64x64","images":[{"image_url":"' + url + b'"}]' + more + b"}"


def filled(opening: bytes, piece: bytes, ending: bytes, size: int) -> bytes:
    """Return an opening, as many pieces as `size` takes, and an ending."""
    return opening + piece * (size // len(piece)) + ending


def png(pixels: int, depth: int, colour: int, *, interlaced: bool = False, more: bytes = b"") -> bytes:
    """Return a black PNG of one level, by the standard's words for depth and colour."""
    side = int(pixels**0.5)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = [(0, 0, 1, 1)]
    if interlaced:  # https://www.w3.org/TR/png-3/#8Interlace
        passes = [
            (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
        ]  # fmt: skip
    packer, packed = zlib.compressobj(9), []
    for left, top, across, down in passes:
        row = bytes(1 + (len(range(left, side, across)) * bits + 7) // 8)
        packed += [packer.compress(row) for _ in range(top, side, down)]
    packed.append(packer.flush())

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            more,
            palette,
            chunk(b"IDAT", b"".join(packed)),
            chunk(b"IEND", b""),
        ]
    )


def chunk_of(name: bytes, data: bytes) -> bytes:
    """Return a PNG's chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def profile() -> bytes:
    """Return a PNG's chunk with an sRGB profile."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return chunk_of(b"iCCP", b"p\0\0" + zlib.compress(data))


def turned() -> bytes:
    """Return a PNG's chunk that says that the picture lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return chunk_of(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))


def saved(pixels: int, mode: str, kind: str, *, frames: int = 1, **options: object) -> bytes:
    """Return a picture as Pillow writes it."""
    side = int(pixels**0.5)
    buffer = io.BytesIO()
    first = Image.new(mode, (side, side))
    if frames > 1:
        options |= {"save_all": True, "append_images": [Image.new(mode, (side, side), 9)] * (frames - 1)}
    first.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: int) -> bytes:
    """Return a PNG of about a size that nothing can compress."""
    side = int((size / 3) ** 0.5)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(
        buffer, "PNG", compress_level=1
    )
    return buffer.getvalue()


def url_of(data: bytes) -> bytes:
    """Return a data: URL."""
    return b"data:image/png;base64," + base64.b64encode(data)


def picture(name: str, make: Callable[[int], bytes], **options: object) -> Case:
    """Return the case of one picture in a form."""
    route = options.pop("route", "variations")
    return Case(
        name, FORM, lambda _, pixels: form(("image", make(pixels))), pictures=1, route=str(route), **options
    )


def with_mask(pixels: int) -> bytes:
    """Return a form with a picture and a mask, both as large as they may be."""
    data = png(pixels, 8, 6)
    return form(("image", data), ("mask", data))


PERCENT = b"data:image/png;base64,"
CASES = [
    Case("JSON: %41", JSON, lambda size, _: edit(filled(PERCENT, b"%41", b"", size))),
    Case("JSON: %41, no base64", JSON, lambda size, _: edit(filled(b"data:,", b"%41", b"", size))),
    Case("JSON: % alone", JSON, lambda size, _: edit(filled(b"data:,", b"%", b"", size))),
    Case("JSON: \\u0041", JSON, lambda size, _: edit(filled(PERCENT, b"\\u0041", b"", size))),
    Case("JSON: \\u0025\\u0034\\u0031", JSON, lambda size, _: edit(filled(b"data:,", b"\\u002541", b"", size))),
    Case("JSON: backslashes", JSON, lambda size, _: edit(filled(PERCENT, b"\\\\", b"", size))),
    Case("JSON: quotes", JSON, lambda size, _: edit(filled(PERCENT, b'\\"', b"", size))),
    Case("JSON: blanks in base64", JSON, lambda size, _: edit(filled(PERCENT, b"QUFB ", b"", size))),
    Case("JSON: one letter and blanks", JSON, lambda size, _: edit(filled(PERCENT, b" ", b"", size))),
    Case("JSON: base64", JSON, lambda size, _: edit(filled(PERCENT, b"QUFB", b"", size))),
    Case("JSON: no comma", JSON, lambda size, _: edit(filled(b"data:", b"QUFB", b"", size))),
    Case("JSON: images of {}", JSON, lambda size, _: filled(b'{"images":[', b"{},", b'{}],"prompt":"x"}', size)),
    Case("JSON: empty pictures", JSON,
         lambda size, _: filled(b'{"images":[', b'{"image_url":"data:,"},', b'{}],"prompt":"x"}', size)),
    Case("JSON: numbers", JSON, lambda size, _: filled(b'{"n":[', b"1,", b"1]}", size)),
    Case("JSON: one number", JSON, lambda size, _: filled(b'{"n":', b"9", b"}", size)),
    Case("JSON: one key", JSON, lambda size, _: filled(b'{"', b"k", b'":1}', size)),
    Case("JSON: one key of escapes", JSON, lambda size, _: filled(b'{"', b"\\u00e9", b'":1}', size)),
    Case("JSON: one prompt", JSON, lambda size, _: filled(b'{"prompt":"', b"k", b'"}', size)),
    Case("JSON: texts", JSON, lambda size, _: filled(b'{"n":[', b'"",', b'""]}', size)),
    Case("JSON: keys", JSON,
         lambda size, _: b"{" + b",".join(b'"%d":1' % each for each in range(size // 12)) + b"}"),
    Case("JSON: [[[[", JSON, lambda size, _: filled(b"", b"[", b"", size)),
    Case('JSON: {"a":{"a":', JSON, lambda size, _: filled(b"", b'{"a":', b"", size)),
    Case("JSON: blanks", JSON, lambda size, _: filled(b"{", b" ", b"}", size)),
    Case("JSON: two pictures", JSON,
         lambda size, _: edit(filled(PERCENT, b"QUFB", b"", size // 2),
                              b',"mask":{"image_url":"' + filled(PERCENT, b"QUFB", b"", size // 2) + b'"}')),
    Case("JSON: noise", JSON, lambda size, _: edit(url_of(noise(size * 3 // 4))), pictures=-1),
    Case("form: noise", FORM, lambda size, _: form(("image", noise(size))), pictures=-1),
    Case("form: zeros", FORM, lambda size, _: form(("image", bytes(size)))),
    Case("form: two pictures", FORM, lambda size, _: form(("image", bytes(size // 2)), ("mask", bytes(size // 2)))),
    Case("form: 60 pictures", FORM, lambda size, _: form(*[("image[]", bytes(size // 60))] * 60)),
    Case("form: CR", FORM, lambda size, _: form(("image", b"\r" * size))),
    Case("form: CR LF", FORM, lambda size, _: form(("image", b"\r\n" * (size // 2)))),
    Case("form: almost boundaries", FORM, lambda size, _: form(("image", b"\r\n--imgva" * (size // 9)))),
    Case("form: tiny parts", FORM, lambda size, _: filled(b"", text_part("a", b""), b"", size)),
    Case("form: one text", FORM, lambda size, _: form(prompt="x" * size)),
    Case("form: texts", FORM,
         lambda size, _: b"".join(text_part(f"t{each}", b"x" * 190_000) for each in range(size // 190_000))),
    Case("form: one header", FORM,
         lambda size, _: f"--{BOUNDARY}\r\nX: ".encode() + b"a" * size + b"\r\n\r\n"),
    Case("form: one header's name", FORM, lambda size, _: f"--{BOUNDARY}\r\n".encode() + b"a" * size + b": b\r\n\r\n"),
    Case("form: headers", FORM, lambda size, _: f"--{BOUNDARY}\r\n".encode() + b"a: b\r\n" * (size // 6)),
    Case("form: before it", FORM, lambda size, _: b"\r\n" * (size // 2) + form(("image", b"x"))),
    Case("form: after it", FORM, lambda size, _: form(("image", b"x")) + b"\r\n" * (size // 2)),
    picture("PNG, grey 16", lambda pixels: png(pixels, 16, 0)),
    picture("PNG, grey 16, edits", lambda pixels: png(pixels, 16, 0), route="edits"),
    picture("PNG, grey 1", lambda pixels: png(pixels, 1, 0)),
    picture("PNG, grey and alpha", lambda pixels: png(pixels, 8, 4)),
    picture("PNG, grey 16 and alpha", lambda pixels: png(pixels, 16, 4)),
    picture("PNG, palette", lambda pixels: png(pixels, 8, 3)),
    picture("PNG, palette, profile", lambda pixels: png(pixels, 8, 3, more=profile())),
    picture("PNG, palette, key", lambda pixels: saved(pixels, "P", "PNG", transparency=0)),
    picture("PNG, RGB", lambda pixels: png(pixels, 8, 2)),
    picture("PNG, RGB, key", lambda pixels: saved(pixels, "RGB", "PNG", transparency=(1, 2, 3))),
    picture("PNG, RGB, profile", lambda pixels: png(pixels, 8, 2, more=profile())),
    picture("PNG, RGB 16", lambda pixels: png(pixels, 16, 2)),
    picture("PNG, RGB 16, interlaced", lambda pixels: png(pixels, 16, 2, interlaced=True)),
    picture("PNG, RGBA", lambda pixels: png(pixels, 8, 6)),
    picture("PNG, RGBA, interlaced", lambda pixels: png(pixels, 8, 6, interlaced=True)),
    picture("PNG, RGBA, profile", lambda pixels: png(pixels, 8, 6, more=profile())),
    picture("PNG, RGBA, turned", lambda pixels: png(pixels, 8, 6, more=turned())),
    picture("PNG, RGBA, turned, profile", lambda pixels: png(pixels, 8, 6, more=profile() + turned())),
    Case("PNG, RGBA, mask", FORM, lambda _, pixels: with_mask(pixels), pictures=2),
    picture("JPEG, RGB", lambda pixels: saved(pixels, "RGB", "JPEG")),
    picture("JPEG, CMYK", lambda pixels: saved(pixels, "CMYK", "JPEG")),
    picture("JPEG, progressive", lambda pixels: saved(pixels, "RGB", "JPEG", progressive=True)),
    picture("JPEG, CMYK, progressive", lambda pixels: saved(pixels, "CMYK", "JPEG", progressive=True)),
    picture("GIF", lambda pixels: saved(pixels, "P", "GIF")),
    picture("GIF, animated", lambda pixels: saved(pixels, "P", "GIF", frames=3)),
    picture("WebP", lambda pixels: saved(pixels, "RGB", "WEBP", method=0)),
    picture("WebP, lossless", lambda pixels: saved(pixels, "RGBA", "WEBP", lossless=True, method=0, quality=0)),
    picture("WebP, animated", lambda pixels: saved(pixels, "RGBA", "WEBP", frames=3, method=0)),
    Case("six at once: base64", JSON, lambda size, _: edit(filled(PERCENT, b"QUFB", b"", size)), at_once=6),
    Case("six at once: %41", JSON, lambda size, _: edit(filled(PERCENT, b"%41", b"", size)), at_once=6),
    Case("six at once: RGBA", FORM, lambda _, pixels: form(("image", png(pixels, 8, 6))), pictures=1, at_once=6),
]  # fmt: skip


class Server:
    """`imgvar serve` in a process of its own, with its memory and its health."""

    def __init__(self, options: list[str] | None = None) -> None:
        command = [sys.executable, "-m", "ipy_imgvar.server", "--port", "0", "--quiet", *(options or [])]

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))

        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=limit)  # noqa: PLW1509
        assert self.process.stderr is not None  # noqa: S101
        self.place = urlsplit(self.process.stderr.readline().strip())
        small = form(("image", png(64 * 64, 8, 2)))
        status, text = self.ask(Case("small", FORM, lambda *_: small), small)
        assert status == 200, text  # noqa: S101
        small = edit(url_of(png(64 * 64, 8, 2)))
        status, text = self.ask(Case("small", JSON, lambda *_: small), small)
        assert status == 200, text  # noqa: S101
        self.at_rest = self._memory("VmRSS")
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    @property
    def peak(self) -> int:
        """The most memory that it had since it was at rest, above that, in bytes."""
        return self._memory("VmHWM") - self.at_rest

    def ask(self, case: Case, body: bytes) -> tuple[int | str, str]:
        """Send a case and return the status and the beginning of the answer."""
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=300)
        try:
            connection.request("POST", f"/v1/images/{case.route}", body, {"content-type": case.kind})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()[:1000]
        except (OSError, http.client.HTTPException) as exc:  # It answers and closes while we still send.
            return type(exc).__name__, ""
        finally:
            connection.close()

    def healths(self, over: threading.Event) -> Iterator[float]:
        """Ask for its health until `over`; yield the seconds of each answer."""
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=300)
        while not over.is_set():
            began = time.monotonic()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            yield time.monotonic() - began
            over.wait(0.02)
        connection.close()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None  # noqa: S101
        self.process.stderr.close()


@dataclass(frozen=True)
class Seen:
    """What a case did to a server."""

    peak: int
    allowed: int
    seconds: float
    healths_s: list[float]
    answers: list[tuple[int | str, str]]


def measured(case: Case, size: int, pixels: int) -> Seen:
    """Send a case to a new server."""
    body = case.body(size, pixels)
    decoded = size // 3 if case.pictures < 0 else case.pictures * pixels
    server = Server()
    over, waits = threading.Event(), list[float]()
    watcher = threading.Thread(target=lambda: waits.extend(server.healths(over)))
    watcher.start()
    try:
        answers: list[tuple[int | str, str]] = []
        clients = [
            threading.Thread(target=lambda: answers.append(server.ask(case, body)))
            for _ in range(case.at_once)
        ]
        began = time.monotonic()
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        seconds = time.monotonic() - began
        over.set()
        watcher.join()
        allowed = case.at_once * (4 * len(body) + 4 * decoded + SPARE)
        return Seen(server.peak, allowed, seconds, sorted(waits), answers)
    finally:
        over.set()
        server.close()


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--megapixels", type=float, default=39.7)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; peak and allowed in MB above rest; /healthz in ms: median, longest")
    for case in CASES:
        if options.words and not any(word in case.name for word in options.words):
            continue
        seen = measured(case, int(options.megabytes * 1e6), int(options.megapixels * 1e6))
        statuses = sorted({str(status) for status, _ in seen.answers})
        message = seen.answers[0][1]
        if message.startswith('{"error"'):
            message = json.loads(message)["error"]["message"]
        print(
            f"{'ok  ' if seen.peak <= seen.allowed else 'OVER'} {case.name:30} {seen.peak / 1e6:5.0f} of "
            f"{seen.allowed / 1e6:5.0f} MB  {seen.seconds:5.1f} s  "
            f"health {statistics.median(seen.healths_s) * 1000:4.0f} {seen.healths_s[-1] * 1000:5.0f}  "
            f"{'/'.join(statuses)} {message[:90]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
