"""Reads a request's body, a multipart form or JSON, and enforces every bound on the way.

A form holds texts and bytes only. A text in place of an image is refused: the server opens no path and no address
that a request names.

References
----------
RFC 7578, "Returning Values from Forms: multipart/form-data".
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ipy_imgvar.errors import shown
from ipy_imgvar.plain import plain
from ipy_imgvar.server.jsonbody import read_json
from ipy_imgvar.server.queue import ClientGoneError
from ipy_imgvar.server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping

    from ipy_imgvar.server.limits import Limits

__all__ = ["Form", "Uploads", "read_form"]

#: Parts of a form: far more than the API has fields. Each part takes time to parse.
_MAX_PARTS: Final = 64
#: Bytes of a text field: a prompt of the API has up to 32,000 characters, of up to 4 bytes in UTF-8.
_MAX_TEXT_BYTES: Final = 200_000
#: Characters of a field's name in a message; a client may send any text as a name.
_MAX_NAME_CHARS: Final = 60
#: Digits of Content-Length that are read: Python refuses to convert a text of thousands of digits.
_MAX_LENGTH_DIGITS: Final = 20
#: Seconds of Retry-After where too many uploads are in memory.
_RETRY_AFTER_S: Final = 5
#: A field with a picture: clients send image, image[] or, as PHP's do, image[0].
_PICTURE: Final = re.compile(r"(image|mask)(?:\[\d{0,4}\])?")


@dataclass(slots=True)
class Form:
    """The content of a body: scalar fields as the client sent them, and encoded images."""

    values: dict[str, Any] = field(default_factory=dict)
    images: list[bytes] = field(default_factory=list)
    mask: bytes | None = None


class Uploads:
    """Counts the bytes of all bodies in memory against one bound."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts bytes and raises `Refusal` at the bound; the block's end frees them."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self._bytes + count > self._max_bytes:
                raise Refusal(
                    503,
                    "the server holds as many uploads as it can; send it again after the time in Retry-After",
                    code="overloaded",
                    headers={"retry-after": str(_RETRY_AFTER_S)},
                )
            own += count
            self._bytes += count

        try:
            yield take
        finally:
            self._bytes -= own


async def read_form(
    headers: Mapping[str, str],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    limits: Limits,
    take: Callable[[int], None],
    *,
    json_too: bool,
) -> Form:
    """Read a request's body as a form.

    Parameters
    ----------
    headers
        The request's headers, with names in lower case.
    receive
        ASGI's function for the next message.
    limits
        The bounds of its size and its time.
    take
        Counts the bytes in memory; see `Uploads.share`.
    json_too
        Whether the route takes JSON as well as a form.

    Raises
    ------
    Refusal
        If it is too large, too slow, of another type, or broken.
    ClientGoneError
        If the connection broke off.
    """
    if headers.get("content-encoding", "identity") != "identity":
        raise Refusal(415, "the body is compressed; send it as it is", code="unsupported_encoding")
    _check_length(headers.get("content-length"), limits)
    kind, options = parse_options_header(headers.get("content-type", ""))
    body = _chunks(receive, limits, take)
    if kind == b"multipart/form-data":
        return await _read_multipart(options.get(b"boundary", b""), body)
    if kind == b"application/json" and json_too:
        data = bytearray()
        async for chunk in body:
            data += chunk
        # Decoding megabytes of base64 on the event loop would hold up every other connection.
        return Form(*await asyncio.to_thread(read_json, data))
    allowed = "multipart/form-data" + (" or application/json" if json_too else "")
    received = shown(kind.decode("latin-1")) if kind else "missing"
    raise Refusal(415, f"the content type is {received}; allowed: {allowed}", code="unsupported_content_type")


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        413,
        f"the request is larger than {limits.upload_bytes / 1e6:g} MB; send a smaller or stronger compressed image",
        code="request_too_large",
    )


def _check_length(length: str | None, limits: Limits) -> None:
    if length is not None and length.isdecimal() and int(length[:_MAX_LENGTH_DIGITS]) > limits.upload_bytes:
        raise _too_large(limits)


async def _chunks(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], limits: Limits, take: Callable[[int], None]
) -> AsyncIterator[bytes]:
    # A chunked body has no Content-Length, so the bytes are counted as they come.
    total = 0
    try:
        async with asyncio.timeout(limits.upload_timeout_s):
            while True:
                async with asyncio.timeout(limits.chunk_timeout_s):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                chunk: bytes = message.get("body", b"")
                total += len(chunk)
                if total > limits.upload_bytes:
                    raise _too_large(limits)
                take(len(chunk))
                if chunk:
                    yield chunk
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        raise Refusal(
            408, "the body came too slowly; send it again", code="timeout", headers={"connection": "close"}
        ) from None


class _Parts:
    """The parser's callbacks; they add one part after another to a form."""

    def __init__(self) -> None:
        self.form = Form()
        self.ended = False
        self._count = 0
        self._header = [bytearray(), bytearray()]
        self._name: str | None = None
        self._is_file = False
        self._data = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return the callbacks by the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise Refusal(
                400, f"the form has more than {_MAX_PARTS} parts; leave some out", code="invalid_form"
            )
        self._name, self._is_file, self._data = None, False, bytearray()

    def _end_header(self) -> None:
        name, value = bytes(self._header[0]).lower(), bytes(self._header[1])
        self._header = [bytearray(), bytearray()]
        if name == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = _text(options.get(b"name", b""), "a part's name")
            self._is_file = b"filename" in options

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        if not self._is_picture and len(self._data) > _MAX_TEXT_BYTES:
            raise Refusal(
                400,
                f"{_shown_name(self._name)} is longer than {_MAX_TEXT_BYTES} bytes; shorten it, or leave it out",
                code="value_too_long",
                param=_shown_name(self._name),
            )

    @property
    def _is_picture(self) -> bool:
        return _PICTURE.fullmatch(self._name or "") is not None

    def _end(self) -> None:
        if not self._name:
            raise Refusal(400, "a part of the form has no name", code="invalid_form")
        if (picture := _PICTURE.fullmatch(self._name)) is not None:
            self._add_picture(picture[1], bytes(self._data))
            return
        if self._is_file:
            name = _shown_name(self._name)
            raise Refusal(400, f"{name} is a file; send it as text", code="invalid_value", param=name)
        _set_once(self.form, self._name, _text(bytes(self._data), _shown_name(self._name)))

    def _add_picture(self, name: str, data: bytes) -> None:
        if not data:
            raise Refusal(400, f"{name} is empty; send an image file", code="invalid_image", param=name)
        if name == "image":
            self.form.images.append(data)
        elif self.form.mask is None:
            self.form.mask = data
        else:
            raise Refusal(400, "mask is given twice; send one", code="invalid_value", param=name)

    def _finish(self) -> None:
        self.ended = True


def _shown_name(name: str | None) -> str:
    """Return a field's name in a form that an answer can show; a client may send any text."""
    return plain((name or "a field")[:_MAX_NAME_CHARS])


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refusal(
            400, f"{name} is not UTF-8; send text in UTF-8", code="invalid_value", param=name
        ) from None


def _set_once(form: Form, name: str, value: Any) -> None:
    if name in form.values:
        shown_name = _shown_name(name)
        raise Refusal(400, f"{shown_name} is given twice; send one", code="invalid_value", param=shown_name)
    form.values[name] = value


async def _read_multipart(boundary: bytes, body: AsyncIterator[bytes]) -> Form:
    parts = _Parts()
    broken = Refusal(
        400,
        "the multipart form is broken or has no boundary; let a client library write it",
        code="invalid_form",
    )
    if not boundary:
        raise broken
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        async for chunk in body:
            parser.write(chunk)
    except FormParserError:
        raise broken from None
    if not parts.ended:
        raise broken
    return parts.form
