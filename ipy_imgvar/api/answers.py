"""The images API's answers, both directions, as pure functions: no socket, no file, no clock.

The hosted engine reads answers with it, and the server writes them. An answer with ten pictures
is 20 MB of base64, so pictures are cut out of the JSON text before it is parsed: what is left is small.

References
----------
https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

import binascii
import codecs
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from ipy_imgvar.api.jsontext import texts_of
from ipy_imgvar.api.refusals import ErrorBody, one_line, read_error

try:
    from pybase64 import b64decode as _fast_b64decode
except ImportError:  # It is compiled, and there is no wheel for every platform.
    _fast_b64decode = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "NO_USAGE",
    "Answer",
    "Event",
    "Item",
    "model_fields",
    "read_answer",
    "read_events",
    "salvage",
    "write_answer",
    "write_error_event",
    "write_event",
    "write_models",
]

_B64_KEY: Final = b'"b64_json"'
#: Stands for a picture that was cut out; its number follows. No base64 holds a colon.
_CUT: Final = "cut:"
#: Fields and entries of an answer: parsed, each may take a hundred times its bytes, and no answer has a thousand.
_MOST_PARTS: Final = 100_000
#: Bytes of an event that can't be read that are searched for its message.
_READ_OF_NOISE: Final = 4000
#: Bytes of a text from which it is decoded as base64 without a look at whether it is blank.
_LONGEST_BLANK: Final = 1000
#: Decodes base64 and refuses everything else, with `binascii.Error`.
_strict_b64decode: Final[Callable[[Any], bytes]] = (
    partial(_fast_b64decode, validate=True)
    if _fast_b64decode is not None
    else partial(binascii.a2b_base64, strict_mode=True)
)


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of an answer: as base64, or an address, or why there is none."""

    encoded: bytes | memoryview | None = None
    url: str | None = None
    problem: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the item of a picture, to be written into an answer."""
        return cls(encoded=binascii.b2a_base64(data, newline=False))

    def read(self) -> bytes:
        """Decode the picture; not before it is asked for, so that ten are not held twice.

        Raises
        ------
        ValueError
            If there is none, or anything but base64 and white space.
        """
        if self.encoded is None:
            raise ValueError(self.problem or "it is an address")
        text = self.encoded
        if bytes(text[:5]) == b"data:":
            text = bytes(text).partition(b",")[2]
        if not len(text):
            raise ValueError("b64_json is empty")
        try:
            return _strict_b64decode(text)
        except binascii.Error:
            pass
        try:
            # Mail-style base64 has line breaks. Anything else that is skipped would change the picture.
            return _strict_b64decode(bytes(text).translate(None, b" \t\r\n"))
        except binascii.Error as exc:
            raise ValueError(f"b64_json can't be decoded ({exc})") from exc


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to one request."""

    items: list[Item]
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a streamed answer; its pictures are all finished, or none of them is."""

    items: list[Item]
    is_partial: bool = False
    usage: dict[str, Any] | None = None
    error: ErrorBody | None = None


def read_answer(body: bytes | bytearray) -> Answer:
    """Read the JSON of a successful answer.

    Parameters
    ----------
    body
        All of it, in UTF-8.

    Raises
    ------
    ValueError
        If it is no JSON, or not an object with a list `data` that has at least one entry.
    """
    skeleton, spans = _cut_out(body)
    try:
        answer = json.loads(skeleton)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"it is no JSON ({exc})") from exc
    if not isinstance(answer, dict):
        kind = "null" if answer is None else f"of the type {type(answer).__name__}"
        raise ValueError(f"it is JSON {kind}, not an object")  # noqa: TRY004 - one type for the caller
    entries = answer.get("data")
    if not isinstance(entries, list) or not entries:
        raise ValueError("it has no pictures")
    return Answer([_item(entry, spans) for entry in entries], _usage(answer))


def salvage(body: bytes | bytearray) -> list[Item]:
    """Return the pictures that are whole in an answer that broke off."""
    _, spans = _separated(body)  # Joined, the rest would be a second copy of up to 70 MB.
    return [Item(encoded=span) for span in spans if not _is_blank(span)]


def _cut_out(body: bytes | bytearray) -> tuple[bytes, list[bytes | memoryview]]:
    """Return the JSON with every complete base64 text replaced by its number, and those texts.

    Raises ValueError where the rest is too much to be read.
    """
    pieces, spans = _separated(body)
    skeleton = b"".join(pieces)
    if sum(map(skeleton.count, (b",", b"[", b"{"))) > _MOST_PARTS:
        raise ValueError(f"it has more than {_MOST_PARTS:,} fields")
    return skeleton, spans


def _separated(body: bytes | bytearray) -> tuple[list[bytes | memoryview], list[bytes | memoryview]]:
    """Return the pieces of that JSON, and the texts."""
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    spans: list[bytes | memoryview] = []
    position = 0
    for opening, closing in islice(texts_of(body, _B64_KEY), _MOST_PARTS):
        if opening == closing:
            continue
        pieces += [view[position : opening + 1], f"{_CUT}{len(spans)}".encode()]
        spans.append(view[opening + 1 : closing])
        if body.find(b"\\", opening, closing) >= 0:
            spans[-1] = _unescaped(body[opening : closing + 1])
        position = closing
    pieces.append(view[position:])
    return pieces, spans


def _unescaped(text: bytes | bytearray) -> bytes:
    r"""Return a quoted JSON text as it is meant: PHP writes "\/" for "/", .NET "\u002B" for "+"."""
    try:
        return str(json.loads(text)).encode("utf-8", "replace")
    except ValueError:
        return bytes(text[1:-1])


def _item(entry: Any, spans: list[bytes | memoryview]) -> Item:
    if not isinstance(entry, dict):
        return Item(problem="an entry of its data is no object")
    text = entry.get("b64_json")
    encoded = None
    if isinstance(text, str) and text.startswith(_CUT) and text[len(_CUT) :].isdecimal():
        # A server may write the same into a text that was not cut out.
        with suppress(ValueError, IndexError):
            encoded = spans[int(text[len(_CUT) :])]
    if encoded is not None and not _is_blank(encoded):
        return Item(encoded=encoded)
    url = entry.get("url")
    if isinstance(url, str) and url.strip():
        return Item(url=url.strip())
    if encoded is not None:
        return Item(problem="b64_json is empty, and there is no url")
    return Item(problem="an entry of its data has neither b64_json nor url")


def _is_blank(text: bytes | memoryview) -> bool:
    """Return whether nothing but white space stands in a base64 text; a long one never counts as blank."""
    return len(text) < _LONGEST_BLANK and not bytes(text).strip()


def _usage(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    usage = answer.get("usage")
    return dict(usage) if isinstance(usage, dict) else None


def read_events(chunks: Iterable[bytes], clean: Callable[[str], str] = str) -> Iterator[Event]:
    """Read a streamed answer: server-sent events, as OpenAI and others name them.

    Parameters
    ----------
    chunks
        The bytes as they come. Comments such as ": ping" and the closing "[DONE]" are passed over.
    clean
        As in `refusals.read_error`.

    References
    ----------
    https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6
    """
    name, data = b"", []
    for number, text in enumerate(_lines(chunks)):
        line = text if number else text.removeprefix(codecs.BOM_UTF8)
        if line.startswith(b":"):
            continue
        if line:
            label, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if label == b"data":
                data.append(value)
            elif label == b"event":
                name = value
            continue
        if data and (event := _event(name, b"\n".join(data), clean)) is not None:
            yield event
        name, data = b"", []
    if data and (event := _event(name, b"\n".join(data), clean)) is not None:
        yield event


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split where the standard does: str.splitlines knows further line ends, which may stand inside a JSON text."""
    pending: list[bytes] = []
    for chunk in chunks:
        if b"\n" not in chunk and b"\r" not in chunk:
            pending.append(chunk)
            continue
        text = b"".join([*pending, chunk])
        # A CR at the very end may be half of a CR LF.
        held = b"\r" if text.endswith(b"\r") else b""
        text = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        pending = [rest + held]
        yield from lines
    yield from b"".join(pending).replace(b"\r", b"\n").split(b"\n")


def _event(name: bytes, body: bytes, clean: Callable[[str], str]) -> Event | None:
    if body.strip() == b"[DONE]":
        return None
    try:
        skeleton, spans = _cut_out(body)
        parsed = json.loads(skeleton)
    except (ValueError, RecursionError):
        start = one_line(body[:_READ_OF_NOISE].decode("utf-8", "replace"), clean, most=80)
        return Event([], error=ErrorBody(message=f"an event can't be read: {start}"))
    if not isinstance(parsed, dict):
        return None
    kind = str(parsed.get("type") or name.decode("utf-8", "replace"))
    if parsed.get("error") or kind == "error":
        return Event([], error=read_error(skeleton, clean=clean))
    entries = parsed["data"] if isinstance(parsed.get("data"), list) and parsed["data"] else [parsed]
    usage = _usage(parsed)
    if not any(isinstance(each, dict) and ("b64_json" in each or "url" in each) for each in entries):
        return None if usage is None else Event([], usage=usage)
    return Event([_item(each, spans) for each in entries], is_partial="partial" in kind, usage=usage)


#: The usage of an engine that counts no tokens; the API's schema wants the fields.
NO_USAGE: Final[Mapping[str, Any]] = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}


def write_answer(items: Iterable[Item], *, created: int, facts: Mapping[str, Any] | None = None) -> bytes:
    """Return the JSON of a successful answer.

    Parameters
    ----------
    items
        Each with its bytes, sent as base64, or with an address.
    created
        Unix time in seconds.
    facts
        Further fields, such as `usage` and `output_format`.
    """
    pieces = [f'{{"created":{created},'.encode()]
    pieces += [f"{json.dumps(name)}:{json.dumps(value)},".encode() for name, value in (facts or {}).items()]
    pieces.append(b'"data":[')
    for number, item in enumerate(items):
        pieces += [b"," if number else b"", *_picture_fields(item, b"{"), b"}"]
    return b"".join([*pieces, b"]}"])


def _picture_fields(item: Item, opening: bytes) -> list[bytes]:
    # Base64 needs no escaping, and passing it through `json.dumps` copies megabytes twice.
    if item.encoded is None:
        return [opening, b'"url":', json.dumps(item.url).encode()]
    return [opening, b'"b64_json":"', bytes(item.encoded), b'"']


def write_event(kind: str, item: Item, facts: Mapping[str, Any]) -> bytes:
    """Return one event of a streamed answer.

    Parameters
    ----------
    kind
        Such as "image_edit.completed".
    item
        Its bytes are sent as base64.
    facts
        The other fields that the event carries.
    """
    pieces = [f"event: {kind}\ndata: {{{json.dumps('type')}:{json.dumps(kind)},".encode()]
    pieces += [f"{json.dumps(name)}:{json.dumps(value)},".encode() for name, value in facts.items()]
    return b"".join([*pieces, *_picture_fields(item, b""), b"}\n\n"])


def write_error_event(error: bytes) -> bytes:
    """Return a body of `refusals.write_error` as the last event of a stream that can't go on."""
    return b"event: error\ndata: " + error + b"\n\n"


def write_models(names: Iterable[str], *, created: int) -> bytes:
    """Return the JSON of `GET /models`."""
    return json.dumps({"object": "list", "data": [model_fields(name, created) for name in names]}).encode()


def model_fields(name: str, created: int) -> dict[str, Any]:
    """Return the API's fields of one model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "imgvar"}
