"""The images API's form and JSON, both directions, as pure functions: no socket, no file, no clock.

The hosted engine reads answers and writes requests with it; the server writes answers. An answer with ten pictures
is 20 MB of base64, so pictures are cut out of the JSON text before it is parsed: what is left is small.

References
----------
https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

import binascii
import json
import re
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

try:
    from pybase64 import b64decode as _fast_b64decode
except ImportError:  # It is compiled, and there is no wheel for every platform.
    _fast_b64decode = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "NO_USAGE",
    "Answer",
    "ErrorBody",
    "Event",
    "Item",
    "form_fields",
    "model_fields",
    "multipart",
    "read_answer",
    "read_error",
    "read_events",
    "salvage",
    "write_answer",
    "write_error",
    "write_error_event",
    "write_event",
    "write_models",
]

_B64_KEY: Final = b'"b64_json"'
#: Stands for a picture that was cut out; its number follows. No base64 holds a colon.
_CUT: Final = "cut:"
_MAX_MESSAGE: Final = 400
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
    """What a server sent back for one request."""

    items: list[Item]
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The fields of a server's refusal, in whichever shape it came."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a streamed answer."""

    item: Item | None = None
    is_partial: bool = False
    usage: dict[str, Any] | None = None
    error: ErrorBody | None = None


def form_fields(body: Mapping[str, Any]) -> dict[str, str]:
    """Return a request's scalar fields as a form writes them; a None is left out.

    Examples
    --------
    >>> form_fields({"n": 2, "stream": True, "user": None})
    {'n': '2', 'stream': 'true'}
    """
    return {name: _form_text(value) for name, value in body.items() if value is not None}


def _form_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def multipart(fields: Mapping[str, str], files: Iterable[tuple[str, str, bytes, str]]) -> tuple[str, bytes]:
    """Return the content type and the body of a form with files.

    It is one piece: sent as a dozen, a form takes longer to send than to answer.

    Parameters
    ----------
    fields
        As `form_fields` writes them.
    files
        Name, file name, content and MIME type of each.

    References
    ----------
    https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data for the escapes; some
    servers break on `filename*=`, so a name that is not ASCII goes as plain UTF-8.
    """
    boundary = secrets.token_hex(16)
    pieces: list[bytes] = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        pieces.append(head.encode("utf-8", "replace"))
    for name, filename, data, kind in files:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"; '
            f'filename="{_quoted(filename)}"\r\nContent-Type: {kind}\r\n\r\n'
        )
        pieces += [head.encode("utf-8", "replace"), data, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)


def _quoted(name: str) -> str:
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


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
        raise ValueError(f"it is JSON {json.dumps(answer)[:40]}, not an object")  # noqa: TRY004 - one type for the caller
    entries = answer.get("data")
    if not isinstance(entries, list) or not entries:
        raise ValueError("it has no pictures")
    return Answer([_item(entry, spans) for entry in entries], _usage(answer))


def salvage(body: bytes | bytearray) -> list[Item]:
    """Return the pictures that are whole in an answer that broke off."""
    _, spans = _separated(body)  # Joined, the rest would be a second copy of what may be 70 MB.
    return [Item(encoded=span) for span in spans]


def _cut_out(body: bytes | bytearray) -> tuple[bytes, list[bytes | memoryview]]:
    """Return the JSON with every complete base64 text replaced by its number, and those texts.

    Searching for quotes runs at memory speed; `json.loads` copies each text twice and decodes it once.
    """
    pieces, spans = _separated(body)
    return b"".join(pieces), spans


def _separated(body: bytes | bytearray) -> tuple[list[bytes | memoryview], list[bytes | memoryview]]:
    """Return the pieces of that JSON, and the texts."""
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    spans: list[bytes | memoryview] = []
    position = 0
    while (key := body.find(_B64_KEY, position)) >= 0:
        opening = body.find(b'"', key + len(_B64_KEY))
        closing = _closing_quote(body, opening) if opening >= 0 else -1
        if closing < 0:
            break
        between = body[key + len(_B64_KEY) : opening].strip()
        if between != b":" or body[key - 1 : key] == b"\\":  # null, or the word stands in another text
            pieces.append(view[position:opening])
            position = opening
            continue
        pieces += [view[position : opening + 1], f"{_CUT}{len(spans)}".encode()]
        spans.append(view[opening + 1 : closing])
        if body.find(b"\\", opening, closing) >= 0:
            spans[-1] = _unescaped(body[opening : closing + 1])
        position = closing
    pieces.append(view[position:])
    return pieces, spans


def _closing_quote(body: bytes | bytearray, opening: int) -> int:
    """Return where the JSON text ends that begins at `opening`, or -1."""
    closing = body.find(b'"', opening + 1)
    while closing > 0 and body[closing - 1 : closing] == b"\\":
        backslashes = closing - len(body[opening:closing].rstrip(b"\\")) - opening
        if backslashes % 2 == 0:
            break
        closing = body.find(b'"', closing + 1)
    return closing


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
    if isinstance(text, str) and text.startswith(_CUT) and text[len(_CUT) :].isdecimal():
        return Item(encoded=spans[int(text[len(_CUT) :])])
    url = entry.get("url")
    if isinstance(url, str) and url:
        return Item(url=url)
    return Item(problem="an entry of its data has neither b64_json nor url")


def _usage(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    usage = answer.get("usage")
    return dict(usage) if isinstance(usage, dict) else None


def read_error(body: bytes, content_type: str = "") -> ErrorBody:
    """Read a refusal, whatever shape a server gives it: OpenAI's, FastAPI's, a validator's, HTML, or text.

    Parameters
    ----------
    body
        What was sent; may be empty.
    content_type
        The header of that name.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorBody(message=_from_text(body, content_type))
    if not isinstance(parsed, dict):
        return ErrorBody(message=_one_line(parsed if isinstance(parsed, str) else ""))
    error = parsed.get("error", parsed)
    if not isinstance(error, dict):
        return ErrorBody(message=_one_line(str(error)), details=parsed)
    message = error.get("message") or _details(error.get("detail")) or _details(parsed.get("detail"))
    message = message or _details(error.get("validation")) or error.get("title") or ""
    code, param = error.get("code"), error.get("param")
    return ErrorBody(
        message=_one_line(str(message)),
        code=str(code) if code is not None else None,
        param=str(param) if param is not None else None,
        details=error,
    )


def _details(detail: Any) -> str:
    """FastAPI gives a text, or a list of objects with `loc` and `msg`; validators give `message`."""
    if isinstance(detail, list):
        texts = []
        for each in detail:
            entry = each if isinstance(each, dict) else {"msg": each}
            place = ".".join(str(part) for part in entry.get("loc") or entry.get("location") or ())
            texts.append(
                ": ".join(filter(None, [place, str(entry.get("msg") or entry.get("message") or "")]))
            )
        return "; ".join(texts)
    return detail if isinstance(detail, str) else ""


def _from_text(body: bytes, content_type: str) -> str:
    text = body[:20_000].decode("utf-8", "replace")
    if "html" in content_type.lower() or text.lstrip()[:1] == "<":
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text) or re.search(
            r"(?is)<h1[^>]*>(.*?)</h1>", text
        )
        text = re.sub(r"<[^>]*>", " ", title[1]) if title else ""
    return _one_line(text)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 3] + "..."


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Read a streamed answer: server-sent events, as OpenAI and others name them.

    Parameters
    ----------
    chunks
        The bytes as they come. Comments such as ": ping" and the closing "[DONE]" are passed over.

    References
    ----------
    https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6
    """
    name, data = b"", []
    for line in _lines(chunks):
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
        if data and (event := _event(name, b"\n".join(data))) is not None:
            yield event
        name, data = b"", []
    if data and (event := _event(name, b"\n".join(data))) is not None:
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


def _event(name: bytes, body: bytes) -> Event | None:
    if body.strip() == b"[DONE]":
        return None
    skeleton, spans = _cut_out(body)
    try:
        parsed = json.loads(skeleton)
    except (ValueError, RecursionError):
        start = body[:80].decode("utf-8", "replace")
        return Event(error=ErrorBody(message=f"an event can't be read: {_one_line(start)}"))
    if not isinstance(parsed, dict):
        return None
    kind = str(parsed.get("type") or name.decode("utf-8", "replace"))
    if parsed.get("error") or kind == "error":
        return Event(error=read_error(skeleton))
    entries = parsed["data"] if isinstance(parsed.get("data"), list) and parsed["data"] else [parsed]
    if not any(isinstance(each, dict) and ("b64_json" in each or "url" in each) for each in entries):
        return None
    return Event(item=_item(entries[0], spans), is_partial="partial" in kind, usage=_usage(parsed))


#: What an engine that counts no tokens has used; the API's schema wants the fields.
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


def write_error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> bytes:
    """Return the JSON of a refusal, in the API's shape.

    References
    ----------
    https://platform.openai.com/docs/guides/error-codes
    """
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


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
    """Return what `write_error` made as the last event of a stream that can't go on."""
    return b"event: error\ndata: " + error + b"\n\n"


def write_models(names: Iterable[str], *, created: int) -> bytes:
    """Return the JSON of `GET /models`."""
    return json.dumps({"object": "list", "data": [model_fields(name, created) for name in names]}).encode()


def model_fields(name: str, created: int) -> dict[str, Any]:
    """Return what the API says of one model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "imgvar"}
