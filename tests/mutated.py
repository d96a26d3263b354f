"""Mutate small files of every format that is read, give them to the codec, and print what came of it.

Run as `python mutated.py FIRST LAST`; test_mutated.py does. It is a process of its own, since the peak of a process's
memory can't be taken back, and a limit on it would stay.
"""

import io
import json
import random
import resource
import sys
import time
import zlib

import numpy as np
from peak import peak_bytes
from PIL import Image, ImageCms, PngImagePlugin

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec

#: Whatever a file claims, no more is decoded than this; at 4 bytes a pixel in Pillow.
MOST_PIXELS = 1_000_000
#: Limits of the process: a file that makes it grow or run for ever ends it.
MOST_BYTES, MOST_S = 4 << 30, 200
_NUMBERS = (0, 1, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def _encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seeds():
    """Return a sound file of each format, in the modes and with the extras that have code of their own."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)
    rgba = Image.fromarray(noise)
    rgb = rgba.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_itxt(codec.PARAMETERS_KEY, '{"seed": 7}', zip=True)
    text.add_text("note", "x" * 4000, zip=True)
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    return [
        _encoded(rgba, "PNG", pnginfo=text, exif=exif, icc_profile=icc),
        _encoded(rgb.quantize(16), "PNG", transparency=3),
        _encoded(deep, "PNG", transparency=4000),
        _encoded(rgb, "PNG", **frames),
        _encoded(rgb, "JPEG", exif=exif, icc_profile=icc),
        _encoded(rgb, "JPEG", progressive=True),
        _encoded(rgb.convert("CMYK"), "JPEG"),
        _encoded(rgb, "MPO", **frames),
        _encoded(rgba, "WEBP", lossless=True, exif=exif, icc_profile=icc),
        _encoded(rgb, "WEBP", **frames),
        _encoded(rgb, "GIF", **frames),
        *(
            _encoded(rgb, "TIFF", compression=each)
            for each in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ),
        _encoded(deep, "TIFF"),
        _encoded(rgba.convert("1"), "TIFF", compression="group4"),
        _encoded(rgb.convert("LAB"), "TIFF"),
        _encoded(rgb, "BMP"),
        _encoded(rgb.quantize(16), "BMP"),
        _encoded(rgba, "AVIF", exif=exif, icc_profile=icc),
    ]


def mutated(data, random):
    """Return a file with one to four faults: bits, numbers, cuts, and pieces that are doubled or gone."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        # Half of the faults hit the first hundred bytes, where the sizes are.
        at = random.randrange(min(len(changed), 100) if random.random() < 0.5 else len(changed))
        fault = random.randrange(6)
        if fault == 0:
            changed[at] ^= 1 << random.randrange(8)
        elif fault == 1:
            changed[at] = random.randrange(256)
        elif fault == 2:
            width, order = random.choice((1, 2, 4)), random.choice(("big", "little"))
            number = random.choice(_NUMBERS) % (1 << 8 * width)
            changed[at : at + width] = number.to_bytes(width, order)
        elif fault == 3:
            del changed[max(at, 16) :]
        elif fault == 4:
            del changed[at : at + random.randint(1, 40)]
        else:
            changed[at:at] = changed[at : at + random.randint(1, 40)]
        if len(changed) < 2:
            break
    return (
        _with_checksums(bytes(changed))
        if data.startswith(b"\x89PNG") and random.random() < 0.7
        else bytes(changed)
    )


def _with_checksums(data):
    """Put a PNG's checksums right, as who means harm does: else nearly every fault ends there."""
    whole, at = bytearray(data), 8
    while at + 12 <= len(whole):
        end = at + 8 + int.from_bytes(whole[at : at + 4], "big")
        if end + 4 > len(whole):
            break
        whole[end : end + 4] = zlib.crc32(whole[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(whole)


def _calls(data):
    yield "probe", lambda: codec.probe(data, "it")
    yield "open", lambda: codec.open_image(data, "it")
    yield "reduced", lambda: codec.reduced(data, "it", 8)
    yield "parameters", lambda: codec.parameters_of(data)
    yield "convert", lambda: codec.convert(data, ".png")


def main(first, last):
    """Print the numbers of files that were read and refused, what was wrong, the longest time and the memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_S, MOST_S))
    sound = seeds()
    for data in sound:
        for _, call in _calls(data):
            call()
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    before = peak_bytes()
    counts, wrong, slowest_s = {"read": 0, "refused": 0}, [], 0.0
    for number in range(first, last):
        data = mutated(sound[number % len(sound)], random.Random(number))  # noqa: S311 - no secret depends on it
        for name, call in _calls(data):
            start = time.process_time()
            try:
                call()
                counts["read"] += name == "open"
            except ImageVariationError as exc:
                counts["refused"] += name == "open"
                if "\n" in str(exc):
                    wrong.append(f"{number} {name}: {exc}")
            except Exception as exc:  # noqa: BLE001 - what else comes is what is looked for
                wrong.append(f"{number} {name}: {type(exc).__name__}: {exc}")
            slowest_s = max(slowest_s, time.process_time() - start)
    grown = peak_bytes() - before
    sys.stdout.write(json.dumps({**counts, "wrong": wrong, "slowest_s": slowest_s, "grown": grown}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
