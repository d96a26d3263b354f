"""The positions of long texts in a JSON document that is not parsed yet.

A search for quotes runs at memory speed, while `json.loads` copies each text twice and lets no other thread run. So
the hosted engine and the server first cut pictures out of a document, then parse the rest.

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
    r"""Yield the positions of the opening and the closing quote of each text that a key has.

    Each byte is read a bounded number of times, so that no document, however it is made, takes longer than its length
    allows. A caller bounds the number of occurrences.

    Parameters
    ----------
    body
        The document, which may be damaged; nothing after a text without an end is searched.
    key
        The key with its quotes.

    Yields
    ------
    tuple of int and int
        Twice the same position for a key whose value is no text, or that stands inside another text.

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
    """Return the end of the JSON text that begins at `opening`, or -1; each byte is read twice at most."""
    closing = body.find(b'"', opening + 1)
    while closing > 0 and body[closing - 1] == _BACKSLASH:
        before = closing - 1
        while body[before] == _BACKSLASH:  # The opening quote ends this loop at the latest.
            before -= 1
        # An even number of backslashes escapes itself, and the quote ends the text.
        if (closing - before) % 2:
            break
        closing = body.find(b'"', closing + 1)
    return closing
