"""Servers' refusals: read in any shape that a server gives them, written in OpenAI's.

References
----------
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ErrorBody", "one_line", "read_error", "write_error"]

#: Characters of a message; a longer one is cut, since an error is one line that a person reads.
_MAX_MESSAGE: Final = 400
#: Bytes of a text or HTML page in which its message is searched: it stands in the title, at the beginning.
_MAX_TEXT_BYTES: Final = 20_000


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The fields of a server's refusal.

    Parameters
    ----------
    message
        One line; "" where the server gave no reason.
    code, param
        The API's error code and the name of the parameter in question, where the server names them.
    details
        All fields that stood beside the message, as the server sent them and not cleaned.
    """

    message: str = ""
    code: str | None = None
    param: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def read_error(body: bytes, content_type: str = "", clean: Callable[[str], str] = str) -> ErrorBody:
    """Read a refusal, whatever shape a server gives it: OpenAI's, FastAPI's, a validator's, HTML, or text.

    Parameters
    ----------
    body
        The answer's body, which may be empty.
    content_type
        The header of that name.
    clean
        Removes secrets. It is called with each text before that is cut, so that half of a key is not left at its end.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorBody(message=one_line(_from_text(body, content_type), clean))
    if isinstance(parsed, list):  # Google sends a list of one.
        parsed = next((each for each in parsed if isinstance(each, dict)), None)
    if not isinstance(parsed, dict):
        return ErrorBody(message=one_line(parsed if isinstance(parsed, str) else "", clean))
    error = parsed.get("error")
    fields = error if isinstance(error, dict) else parsed
    code, param = (_word(fields.get(name), clean) for name in ("code", "param"))
    return ErrorBody(one_line(_message(parsed), clean), code, param, fields)


def _message(parsed: Mapping[str, Any]) -> str:
    """Return the text of the first field, of those that servers use, that has one."""
    error = parsed.get("error")
    inner = error if isinstance(error, dict) else {}
    texts = (
        _said(inner.get("message")),
        _said(inner.get("detail")),
        # `"error": true` and a status beside a message say nothing that the status does not.
        error.strip() if isinstance(error, str) else "",
        _said(parsed.get("message")),
        _said(parsed.get("detail")),
        _said(inner.get("validation")) or _said(parsed.get("validation")),
        _said(inner.get("title")) or _said(parsed.get("title")),
        _said(error) if isinstance(error, list) else "",
    )
    return next(filter(None, texts), "")


def _said(value: Any) -> str:
    """Return a text, or the texts of a list: FastAPI gives objects with `loc` and `msg`, validators `message`."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_entry, value)))
    return _entry(value)


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict):
        return entry.strip() if isinstance(entry, str) else ""
    location = entry.get("loc") or entry.get("location")
    parts = location if isinstance(location, list) else [location]
    where = ".".join(str(part) for part in parts if _is_word(part))
    messages = (entry.get("msg"), entry.get("message"), entry.get("error"))
    return ": ".join(filter(None, [where, *[each for each in messages if isinstance(each, str)][:1]]))


def _is_word(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _word(value: Any, clean: Callable[[str], str]) -> str | None:
    return one_line(str(value), clean) if _is_word(value) else None


def _from_text(body: bytes, content_type: str) -> str:
    text = body[:_MAX_TEXT_BYTES].decode("utf-8", "replace")
    if "html" in content_type.lower() or text.lstrip()[:1] == "<":
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text) or re.search(
            r"(?is)<h1[^>]*>(.*?)</h1>", text
        )
        text = html.unescape(re.sub(r"<[^>]*>", " ", title[1])) if title else ""
    return text


def one_line(text: str, clean: Callable[[str], str] = str, most: int = _MAX_MESSAGE) -> str:
    """Return a text as one line of at most `most` characters; `clean` removes secrets, as in `read_error`."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 3] + "..."


def write_error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> bytes:
    """Return the JSON of a refusal in the API's shape; `kind` is its `type`."""
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()
