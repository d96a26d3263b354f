"""Escapes for text from outside (a server, a file's name, an image's metadata), so that every output shows it alike.

`markup.escaped` adds the escapes of HTML; the hosted engine masks keys before it calls this module.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from ipy_imgvar.systems import is_reserved

__all__ = ["file_stem", "one_line", "plain", "size_text"]

#: Unicode's general categories of controls, which a terminal obeys, of lone surrogates, which no encoding takes, and of
#: line and paragraph separators (https://www.unicode.org/reports/tr44/#General_Category_Values).
_ESCAPED_CATEGORIES: Final = ("Cc", "Cs", "Zl", "Zp")
#: Unicode's bidirectional embeddings, overrides and isolates: they let a name read as another one
#: (https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing). Joiners and marks stay: scripts and emoji need
#: them.
_BIDIRECTIONAL: Final = frozenset(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
#: Characters that Windows' file systems refuse in a name, and "%", which a browser decodes in a picture's address.
_RESERVED: Final = frozenset('<>:"/\\|?*%')
#: Bytes of a stem: names may have 255 bytes on most file systems, and a number, a digest and an extension follow.
_MAX_STEM_BYTES: Final = 120
#: Bytes of the units that people and file lists use; the libraries' GiB are 7 % larger.
_UNITS: Final = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))


def plain(text: str) -> str:
    r"""Return a text from outside with escapes for the characters that a terminal or page would obey.

    Examples
    --------
    >>> plain("cat\x1b[2J\u202egnp.png\n")
    'cat\\x1b[2J\\u202egnp.png\\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped, text))


def one_line(text: str) -> str:
    r"""Return a text from outside as one plain line: each run of white space becomes a space.

    Examples
    --------
    >>> one_line("no room\n  on the disk\x1b[2J")
    'no room on the disk\\x1b[2J'
    """
    return plain(" ".join(text.split()))


def _escaped(char: str) -> str:
    if unicodedata.category(char) in _ESCAPED_CATEGORIES or char in _BIDIRECTIONAL:
        return char.encode("unicode_escape").decode("ascii")
    return char


def file_stem(name: str) -> str:
    r"""Return a stem that every file system, terminal and page takes, for a file that is named after an image.

    Controls and bidirectional overrides are dropped, since a terminal or page would obey them; reserved punctuation
    becomes "-", a long stem is cut, and a device of Windows, such as con, gets a "-". Letters, marks, joiners and emoji
    of all scripts stay.

    Parameters
    ----------
    name
        The image's name without folders and extension.

    Examples
    --------
    >>> file_stem("a: b\x1b[2J"), file_stem("\n"), file_stem("con")
    ('a- b[2J', 'image', 'con-')
    """
    # The cut may split a character of several bytes; "ignore" drops its rest.
    safe = "".join("-" if char in _RESERVED else char for char in name if plain(char) == char)
    stem = safe.encode()[:_MAX_STEM_BYTES].decode("utf-8", "ignore").strip(" .") or "image"
    head, dot, rest = stem.partition(".")
    return f"{head}-{dot}{rest}" if is_reserved(stem) else stem


def size_text(size: int) -> str:
    """Return a number of bytes in words, in units of 1000.

    Examples
    --------
    >>> size_text(16_000_000_000), size_text(1_234_567), size_text(87)
    ('16.0 GB', '1.2 MB', '87 bytes')
    """
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} byte{'' if size == 1 else 's'}"
