"""Long texts of a JSON document, found before it is parsed.

Searching for quotes runs at memory speed, while `json.loads` copies each text twice and lets no other thread run. So
the hosted engine and the server cut pictures out of a document first, and parse what is left.

References
----------
RFC 8259, section 7 (strings).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["texts_of"]

_BACKSLASH: Final = ord("\\")


def texts_of(body: bytes | bytearray, key: bytes) -> Iterator[tuple[int, int]]:
    r"""Yield where the opening and the closing quote of each text of a key stand.

    Each byte is looked at a bounded number of times, also in a document that is made to take long. A caller bounds the
    number of occurrences.

    Parameters
    ----------
    body
        The document, which may be broken; the rest after a text that has no end is passed over.
    key
        With its quotes.

    Yields
    ------
    tuple of int and int
        Twice the same place for an occurrence whose value is no text, or that stands inside another text.

    Examples
    --------
    >>> list(texts_of(b'{"a": "x\\"y", "a": 7, "b": 0}', b'"a"'))
    [(6, 11), (22, 22)]
    """
    position = 0
    while (start := body.find(key, position)) >= 0:
        end = start + len(key)
        opening = body.find(b'"', end)
        if opening < 0:
            return
        closing = opening
        is_inside = body[start - 1 : start] == b"\\"
        if not is_inside and body[end:opening].strip() == b":":
            closing = _closing_quote(body, opening)
            if closing < 0:
                return
        yield opening, closing
        position = closing


def _closing_quote(body: bytes | bytearray, opening: int) -> int:
    """Return where the JSON text ends that begins at `opening`, or -1; each byte is looked at twice at most."""
    closing = body.find(b'"', opening + 1)
    while closing > 0 and body[closing - 1] == _BACKSLASH:
        before = closing - 1
        while body[before] == _BACKSLASH:  # It ends at the opening quote.
            before -= 1
        if (closing - before) % 2:
            break
        closing = body.find(b'"', closing + 1)
    return closing
