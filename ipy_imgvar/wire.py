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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "NO_USAGE",
    "Answer",
    "ErrorBody",
    "Event",
    "Item",
    "form_fields",
    "model_fields",
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


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of an answer: its bytes, or an address, or why it can't be read."""

    data: bytes | None = None
    url: str | None = None
    problem: str | None = None


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
    _, spans = _cut_out(body)
    return [item for item in (_decoded(span) for span in spans) if item.data is not None]


def _cut_out(body: bytes | bytearray) -> tuple[bytes, list[bytes | memoryview]]:
    """Return the JSON with every complete base64 text replaced by its number, and those texts.

    Searching for quotes runs at memory speed; `json.loads` copies each text twice and decodes it once.
    """
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    spans: list[bytes | memoryview] = []
    position = 0
    while (key := body.find(_B64_KEY, position)) >= 0:
        opening = body.find(b'"', key + len(_B64_KEY))
        between = body[key + len(_B64_KEY) : opening].strip()
        closing = body.find(b'"', opening + 1)
        if opening < 0 or closing < 0:
            break
        if between != b":":  # null, or the word stands in another text
            pieces.append(view[position:opening])
            position = opening
            continue
        pieces += [view[position : opening + 1], f"{_CUT}{len(spans)}".encode()]
        spans.append(view[opening + 1 : closing])
        if body.find(b"\\", opening, closing) >= 0:
            # PHP servers write "\\/" for "/", which JSON allows.
            spans[-1] = re.sub(rb"\\(?:[nr]|(.))", rb"\1", body[opening + 1 : closing])
        position = closing
    pieces.append(view[position:])
    return b"".join(pieces), spans


def _item(entry: Any, spans: list[bytes | memoryview]) -> Item:
    if not isinstance(entry, dict):
        return Item(problem="an entry of its data is no object")
    text = entry.get("b64_json")
    if isinstance(text, str) and text.startswith(_CUT) and text[len(_CUT) :].isdecimal():
        return _decoded(spans[int(text[len(_CUT) :])])
    url = entry.get("url")
    if isinstance(url, str) and url:
        return Item(url=url)
    return Item(problem="an entry of its data has neither b64_json nor url")


def _decoded(span: bytes | memoryview) -> Item:
    if bytes(span[:5]) == b"data:":
        span = bytes(span).partition(b",")[2]
    if not len(span):
        return Item(problem="b64_json is empty")
    try:
        return Item(data=binascii.a2b_base64(span))
    except binascii.Error as exc:
        return Item(problem=f"b64_json can't be decoded ({exc})")


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


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Read a streamed answer: server-sent events, as OpenAI and others name them.

    Parameters
    ----------
    lines
        Without their line ends. Comments such as ": ping" and the closing "[DONE]" are passed over.

    References
    ----------
    https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6
    """
    name, data = "", []
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            label, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if label == "data":
                data.append(value)
            elif label == "event":
                name = value
            continue
        if data and (event := _event(name, "\n".join(data))) is not None:
            yield event
        name, data = "", []
    if data and (event := _event(name, "\n".join(data))) is not None:
        yield event


def _event(name: str, data: str) -> Event | None:
    if data.strip() == "[DONE]":
        return None
    body = data.encode()
    skeleton, spans = _cut_out(body)
    try:
        parsed = json.loads(skeleton)
    except (ValueError, RecursionError):
        return Event(error=ErrorBody(message=f"an event can't be read: {_one_line(data[:80])}"))
    if not isinstance(parsed, dict):
        return None
    kind = str(parsed.get("type") or name)
    if "error" in parsed or kind == "error":
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
    if item.data is None:
        return [opening, b'"url":', json.dumps(item.url).encode()]
    return [opening, b'"b64_json":"', binascii.b2a_base64(item.data, newline=False), b'"']


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
