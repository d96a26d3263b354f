"""Reads an edit's JSON: cuts its pictures out first, so that only a bounded rest is parsed.

`json.loads` takes up to 30 bytes of memory for each byte, and lets no other thread run, so its input must be short.

References
----------
RFC 8259, "The JavaScript Object Notation (JSON) Data Interchange Format".
"""

from __future__ import annotations

import json
import re
import secrets
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.api.jsontext import texts_of
from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images.dataurl import PIECE_BYTES, decode_pieces
from ipy_imgvar.server.refusals import Refusal, too_many_images

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_json"]

#: Bytes of the JSON without its pictures: a prompt has up to 32,000 characters, each of up to 12 bytes as escapes.
_MOST_BYTES: Final = 1_000_000
#: The key of a picture's address, as JSON.
_KEY: Final = b'"image_url"'
#: Bytes of an address; a shorter one stays in the JSON.
_LONG_BYTES: Final = 1024
#: The longest run of whole characters and escapes in a JSON text; a URL has ASCII characters only.
_WHOLE: Final = re.compile(rb'(?:[ !#-\[\]-~]++|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt])*+')


def read_json(body: bytes | bytearray) -> tuple[dict[str, Any], list[bytes], bytes | None]:
    """Return an edit's scalar fields, its images and its mask; call it on a thread, since it decodes megabytes.

    Raises
    ------
    Refusal
        If the body is no JSON object, is too long without its pictures, or has a picture that is no data: URL.
    """
    mark = secrets.token_hex(8)  # 64 random bits: no client can guess them and send a text like a mark.
    texts, rest = _cut_out(body, mark)
    try:
        parsed = json.loads(rest)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON; send one JSON object", code="invalid_json") from None
    if not isinstance(parsed, dict):
        raise Refusal(400, "the body is JSON, and no object; send one JSON object", code="invalid_json")
    images, mask = parsed.pop("images", None), parsed.pop("mask", None)
    if images is not None and not isinstance(images, list):
        raise Refusal(400, "images is no list; send a list of objects", code="invalid_value", param="images")
    if images and len(images) > 1:  # Refused before any is decoded, which takes memory.
        raise too_many_images(len(images))

    def picture(reference: Any, name: str) -> bytes:
        return _decode(_url_of(reference, mark, texts), name)

    decoded = [picture(each, "images[0]") for each in images or []]
    return parsed, decoded, None if mask is None else picture(mask, "mask")


def _cut_out(body: bytes | bytearray, mark: str) -> tuple[list[memoryview], bytes]:
    """Return the pictures' long addresses, and the JSON with a mark and a number in place of each."""
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    texts: list[memoryview] = []
    position = size = 0
    for opening, closing in texts_of(body, _KEY):
        if size + opening - position > _MOST_BYTES:
            break
        if closing - opening > _LONG_BYTES:
            pieces += [view[position : opening + 1], f"{mark}{len(texts)}".encode()]
            texts.append(view[opening + 1 : closing])
            size += opening - position
            position = closing
    if size + len(body) - position > _MOST_BYTES:
        raise Refusal(
            413,
            f"the JSON has more than {_MOST_BYTES / 1e6:g} MB beside the data: URLs of its pictures; leave it out",
            code="request_too_large",
        )
    return texts, b"".join([*pieces, view[position:]])


def _url_of(reference: Any, mark: str, texts: list[memoryview]) -> Iterator[bytes]:
    """Return a reference's address in pieces; no pieces for anything else."""
    url = reference.get("image_url") if isinstance(reference, dict) and len(reference) == 1 else None
    if not isinstance(url, str):
        return iter(())
    if url.startswith(mark):
        return _unescape(texts[int(url.removeprefix(mark))])
    return (url[start : start + PIECE_BYTES].encode() for start in range(0, len(url), PIECE_BYTES))


def _unescape(text: memoryview) -> Iterator[bytes]:
    """Yield a JSON text in pieces, without its escapes."""
    at = 0
    while at < len(text):
        match = _WHOLE.match(text, at, at + PIECE_BYTES)
        piece = bytes(match[0]) if match else b""
        if not piece:
            raise ValueError("it has characters that are not ASCII")
        yield json.loads(b'"' + piece + b'"').encode() if b"\\" in piece else piece
        at += len(piece)


def _decode(url: Iterator[bytes], name: str) -> bytes:
    """Return the image in a data: URL; any other address is refused, since the server opens none."""
    try:
        start = next(url, b"")
        if start[:5].lower() == b"data:":
            return decode_pieces(chain([start], url))
    except InvalidImageError as exc:
        raise Refusal(400, f"{name}: {exc}", code="invalid_image", param=name) from None
    except ValueError:
        pass
    raise Refusal(
        400,
        f"{name} needs an image_url that is a data: URL; this server opens no addresses and keeps no files",
        code="invalid_image",
        param=name,
    )
