"""The bounds of a server, as one value; the names carry the units.

With the defaults, a request takes at most four times its own bytes, 4 bytes for each pixel of its images, and 150 MB,
until its run begins. `benchmarks/bounds.py` measures it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

__all__ = ["Limits"]


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Only Linux has the call.
        return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one server.

    Parameters
    ----------
    runs
        Engine runs at a time; the default is one for each core.
    queue
        Requests that may wait for a run; beyond that the answer is 503.
    connections
        Open connections; beyond that the answer is 503.
    upload_bytes
        The body of one request; the API's own limit for one image of an edit is 50 MB.
    uploads_bytes
        All bodies in memory together: those that are being read, and those that wait for their run.
    chunk_timeout_s
        The longest pause within a body, and the longest time that a client may leave an answer unread.
    upload_timeout_s
        The longest time for a whole body.
    header_timeout_s
        The longest time for a request's line and headers.
    idle_timeout_s
        The longest time between two requests on one connection.
    header_bytes
        The size of a request's line and headers.
    run_timeout_s
        The longest time of one run; 0 means no limit.
    image_pixels
        The pixels of an uploaded image: 40 million take 160 MB when they are decoded.
    image_side_px
        The longer side of an uploaded image; a decoder holds whole rows, and a pointer to each.
    decoding_bytes
        The memory for decoding an image, beyond 4 bytes a pixel. Most images need 4 to 7 bytes a pixel, a turned or
        CMYK image 8, a progressive JPEG up to 12, a WebP 16; `decoding.decoding_bytes` computes it beforehand.
    links_bytes
        All pictures with an address together.
    links_s
        The lifetime of a picture's address; the API's own is 60 minutes.
    """

    runs: int = field(default_factory=_cores)
    queue: int = 64
    connections: int = 512
    upload_bytes: int = 64_000_000
    uploads_bytes: int = 512_000_000
    chunk_timeout_s: float = 20.0
    upload_timeout_s: float = 300.0
    header_timeout_s: float = 10.0
    idle_timeout_s: float = 20.0
    header_bytes: int = 16_384
    run_timeout_s: float = 600.0
    image_pixels: int = 40_000_000
    image_side_px: int = 65_535
    decoding_bytes: int = 145_000_000
    links_bytes: int = 512_000_000
    links_s: float = 3600.0
