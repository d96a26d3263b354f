"""A request as a form with files (multipart/form-data), written in one piece."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["form_fields", "multipart"]


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

    The body is one piece of bytes: a form in a dozen pieces takes longer to send than a server takes to answer it.

    Parameters
    ----------
    fields
        The texts of the fields by name, as `form_fields` returns them.
    files
        Field name, file name, content and MIME type of each file.

    References
    ----------
    https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data for the escapes; some
    servers break on `filename*=`, so a name that is not ASCII goes as plain UTF-8.
    """
    # 128 random bits: no file holds them by chance, so the files need not be searched for the boundary.
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
