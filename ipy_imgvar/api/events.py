"""A streamed answer of the images API: server-sent events, read and written as pure functions.

The fields of an event are those of an answer; `answers` reads and writes them.

References
----------
https://platform.openai.com/docs/api-reference/images-streaming
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.api.answers import Item, cut_out, item_of, picture_fields, usage_of
from ipy_imgvar.api.refusals import ErrorBody, one_line, read_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Event", "read_events", "write_error_event", "write_event"]

#: Bytes of an unreadable event that its error message quotes from: more than the characters below take in UTF-8.
_MAX_QUOTED_BYTES: Final = 4000
#: Characters of an unreadable event in the error message, which is one line.
_MAX_QUOTED_CHARS: Final = 80


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a streamed answer.

    Parameters
    ----------
    items
        The pictures: all of them finished, or all of them partial.
    is_partial
        The pictures are first looks, and finished ones follow.
    usage
        The token counts, as the server sent them.
    error
        The server's refusal to go on; such an event has no pictures.
    """

    items: list[Item]
    is_partial: bool = False
    usage: dict[str, Any] | None = None
    error: ErrorBody | None = None


def read_events(chunks: Iterable[bytes], clean: Callable[[str], str] = str) -> Iterator[Event]:
    """Read a streamed answer: server-sent events, as OpenAI and others name them.

    Parameters
    ----------
    chunks
        The bytes as the network delivers them. Comments such as ": ping" and the closing "[DONE]" give no event.
    clean
        Called with the text of each error, as in `refusals.read_error`.

    References
    ----------
    https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6, except that an
    event at the end of the stream is read also without the empty line that should end it.
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
    """Split at CR, LF and CR LF only: `str.splitlines` also splits at characters that may stand in a JSON text."""
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
        skeleton, spans = cut_out(body)
        parsed = json.loads(skeleton)
    except (ValueError, RecursionError):
        start = one_line(body[:_MAX_QUOTED_BYTES].decode("utf-8", "replace"), clean, most=_MAX_QUOTED_CHARS)
        return Event([], error=ErrorBody(message=f"an event can't be read: {start}"))
    if not isinstance(parsed, dict):
        return None
    kind = str(parsed.get("type") or name.decode("utf-8", "replace"))
    if parsed.get("error") or kind == "error":
        return Event([], error=read_error(skeleton, clean=clean))
    entries = parsed["data"] if isinstance(parsed.get("data"), list) and parsed["data"] else [parsed]
    usage = usage_of(parsed)
    if not any(isinstance(each, dict) and ("b64_json" in each or "url" in each) for each in entries):
        return None if usage is None else Event([], usage=usage)
    return Event([item_of(each, spans) for each in entries], is_partial="partial" in kind, usage=usage)


def write_event(kind: str, item: Item, facts: Mapping[str, Any]) -> bytes:
    """Return one event of a streamed answer, as bytes to send.

    Parameters
    ----------
    kind
        The event's type, such as "image_edit.completed".
    item
        The picture, as base64.
    facts
        The event's other fields.
    """
    pieces = [f"event: {kind}\ndata: {{{json.dumps('type')}:{json.dumps(kind)},".encode()]
    pieces += [f"{json.dumps(name)}:{json.dumps(value)},".encode() for name, value in facts.items()]
    return b"".join([*pieces, *picture_fields(item, b""), b"}\n\n"])


def write_error_event(error: bytes) -> bytes:
    """Return a body that `refusals.write_error` made as the last event of a stream that can't go on."""
    return b"event: error\ndata: " + error + b"\n\n"
