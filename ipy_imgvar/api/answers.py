"""The images API's answers, read and written as pure functions: no socket, no file, no clock.

The hosted engine reads answers, and the server writes them. An answer with ten pictures has 20 MB of base64, so
pictures are cut out of the JSON text before it is parsed; the rest of the text is small. `events` has the same for
streamed answers.

References
----------
https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

import binascii
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from ipy_imgvar.api.jsontext import texts_of

try:
    from pybase64 import b64decode as _fast_b64decode
except ImportError:  # It is compiled, and there is no wheel for every platform.
    _fast_b64decode = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "NO_USAGE",
    "Answer",
    "Item",
    "cut_out",
    "item_of",
    "model_fields",
    "picture_fields",
    "read_answer",
    "salvage",
    "usage_of",
    "write_answer",
    "write_models",
]

_B64_KEY: Final = b'"b64_json"'
#: Stands for a picture that was cut out; its number follows. No base64 holds a colon.
_CUT: Final = "cut:"
#: Fields and entries of an answer, together; an answer with more is refused before it is parsed, since each may take
#: a hundred times its bytes then. Chosen far above real answers, none of which has a thousand.
_MOST_PARTS: Final = 100_000
#: Bytes of a base64 text from which it never counts as blank: the check copies the text. Chosen so that a picture's
#: megabytes are never copied, while any blank text that a server would write is shorter.
_LONGEST_BLANK: Final = 1000
#: Decodes base64 and refuses everything else, with `binascii.Error`.
_strict_b64decode: Final[Callable[[Any], bytes]] = (
    partial(_fast_b64decode, validate=True)
    if _fast_b64decode is not None
    else partial(binascii.a2b_base64, strict_mode=True)
)


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of an answer.

    Parameters
    ----------
    encoded
        The picture as base64, not decoded yet.
    url
        The address of the picture, where the server sent one instead.
    problem
        Why the entry has neither, for the error message.
    """

    encoded: bytes | memoryview | None = None
    url: str | None = None
    problem: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the item of a picture, to be written into an answer."""
        return cls(encoded=binascii.b2a_base64(data, newline=False))

    def read(self) -> bytes:
        """Decode the picture; callers do so one by one, so that memory never holds ten pictures twice.

        Raises
        ------
        ValueError
            If the item has no base64, or a text with anything but base64 and white space.
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
    """A server's answer to one request; `usage` has the token counts as the server sent them."""

    items: list[Item]
    usage: dict[str, Any] | None = None


def read_answer(body: bytes | bytearray) -> Answer:
    """Read the JSON of a successful answer.

    Parameters
    ----------
    body
        The whole body, in UTF-8.

    Raises
    ------
    ValueError
        If the body is no JSON object with a list `data` that has at least one entry.
    """
    skeleton, spans = cut_out(body)
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
    return Answer([item_of(entry, spans) for entry in entries], usage_of(answer))


def salvage(body: bytes | bytearray) -> list[Item]:
    """Return the complete pictures of an answer that broke off."""
    _, spans = _separated(body)  # Joining the other pieces, as `cut_out` does, could copy up to 70 MB.
    return [Item(encoded=span) for span in spans if not _is_blank(span)]


def cut_out(body: bytes | bytearray) -> tuple[bytes, list[bytes | memoryview]]:
    """Return the JSON with every complete base64 text replaced by a mark, and those texts by the marks' numbers.

    Raises
    ------
    ValueError
        If the JSON without the texts has too many fields to be parsed.
    """
    pieces, spans = _separated(body)
    skeleton = b"".join(pieces)
    if sum(map(skeleton.count, (b",", b"[", b"{"))) > _MOST_PARTS:
        raise ValueError(f"it has more than {_MOST_PARTS:,} fields")
    return skeleton, spans


def _separated(body: bytes | bytearray) -> tuple[list[bytes | memoryview], list[bytes | memoryview]]:
    """Return the pieces of the JSON that `cut_out` joins, and the texts."""
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
    r"""Return a quoted JSON text without its escapes: PHP writes "\/" for "/", .NET "\u002B" for "+"."""
    try:
        return str(json.loads(text)).encode("utf-8", "replace")
    except ValueError:
        return bytes(text[1:-1])


def item_of(entry: Any, spans: list[bytes | memoryview]) -> Item:
    """Return the item of one parsed entry of `data`, or of one event.

    Parameters
    ----------
    entry
        Parsed from the JSON that `cut_out` returned.
    spans
        The texts that `cut_out` returned with it.
    """
    if not isinstance(entry, dict):
        return Item(problem="an entry of its data is no object")
    text = entry.get("b64_json")
    encoded = None
    if isinstance(text, str) and text.startswith(_CUT) and text[len(_CUT) :].isdecimal():
        # A server may write such a mark itself, into a text that was not cut out.
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
    """Return whether a base64 text holds only white space; a long text never counts as blank."""
    return len(text) < _LONGEST_BLANK and not bytes(text).strip()


def usage_of(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the token counts of a parsed answer or event, or None where the server sent none."""
    usage = answer.get("usage")
    return dict(usage) if isinstance(usage, dict) else None


#: The usage of an engine that counts no tokens: the API's schema requires these fields, so they are 0.
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
        Each has base64 or an address, and is sent so.
    created
        The time of the answer, as Unix time in seconds.
    facts
        The answer's other fields, such as `usage` and `output_format`.
    """
    pieces = [f'{{"created":{created},'.encode()]
    pieces += [f"{json.dumps(name)}:{json.dumps(value)},".encode() for name, value in (facts or {}).items()]
    pieces.append(b'"data":[')
    for number, item in enumerate(items):
        pieces += [b"," if number else b"", *picture_fields(item, b"{"), b"}"]
    return b"".join([*pieces, b"]}"])


def picture_fields(item: Item, opening: bytes) -> list[bytes]:
    """Return the JSON of one picture in pieces, without its closing brace.

    Parameters
    ----------
    item
        The picture, as base64 or an address.
    opening
        The bytes before the picture's field: a brace, or nothing where other fields come before it.
    """
    # Base64 needs no escapes, and `json.dumps` would copy megabytes twice.
    if item.encoded is None:
        return [opening, b'"url":', json.dumps(item.url).encode()]
    return [opening, b'"b64_json":"', bytes(item.encoded), b'"']


def write_models(names: Iterable[str], *, created: int) -> bytes:
    """Return the JSON of `GET /models`; `created` is Unix time in seconds."""
    return json.dumps({"object": "list", "data": [model_fields(name, created) for name in names]}).encode()


def model_fields(name: str, created: int) -> dict[str, Any]:
    """Return the API's fields of one model; `created` is Unix time in seconds."""
    return {"id": name, "object": "model", "created": created, "owned_by": "imgvar"}
