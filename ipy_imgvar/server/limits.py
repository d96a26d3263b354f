"""How much a server takes on: every bound in one value, each with its unit in its name.

With the defaults, a request takes at the most four times its own bytes, 4 bytes for each pixel of its images, and
150 MB, until its picture is being made. `benchmarks/bounds.py` measures it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

__all__ = ["Limits"]


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Only Linux has it.
        return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one server.

    Parameters
    ----------
    runs
        Engine runs at a time: one for each core.
    queue
        Requests that may wait for a run; beyond that the answer is 503.
    connections
        Open connections; beyond that the answer is 503.
    upload_bytes
        One request's body; the API's own limit for one image of an edit is 50 MB.
    uploads_bytes
        All bodies together that are being read or wait for their run.
    chunk_timeout_s
        A body may pause this long, and a client may leave an answer unread this long.
    upload_timeout_s
        A whole body may take this long.
    header_timeout_s
        A request's line and headers may take this long.
    idle_timeout_s
        An open connection may rest this long between two requests.
    header_bytes
        A request's line and headers.
    run_timeout_s
        One run; 0 means no limit.
    image_pixels
        An uploaded image: 160 MB once it is decoded.
    image_side_px
        Its longer side; a decoder holds rows, and a pointer to each.
    decoding_bytes
        What decoding an image may take beside 4 bytes for each of its pixels. Most need 4 to 7 bytes a pixel, a turned
        or a CMYK one 8, a progressive JPEG up to 12, a WebP 16; `decoding.decoding_bytes` knows before.
    kept_bytes
        All pictures together that are offered at an address.
    kept_s
        How long a picture is offered, as the API says.
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
    kept_bytes: int = 512_000_000
    kept_s: float = 3600.0
