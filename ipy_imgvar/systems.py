"""In what systems differ: a browser has no threads, and file systems don't tell the same names apart."""

from __future__ import annotations

import sys
import unicodedata
from typing import Final

__all__ = ["folded", "in_browser", "is_reserved", "on_windows"]

#: Names of devices on Windows, in any case and with any extension: a file of such a name can't be made there
#: (https://learn.microsoft.com/windows/win32/fileio/naming-a-file).
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{kind}{number}" for kind in ("COM", "LPT") for number in "0123456789¹²³"]
)


def in_browser() -> bool:
    """Return whether Python runs in a browser, as in JupyterLite: without threads, processes and sockets.

    Emscripten's sockets can be opened, but no byte comes through them, so asking them would not tell.
    """
    return sys.platform == "emscripten"


def on_windows() -> bool:
    """Return whether this is Windows, where an open file can be neither removed nor replaced."""
    # Not `sys.platform == "win32"` where it is asked: mypy would check one of the two branches only.
    return sys.platform == "win32"


def is_reserved(name: str) -> bool:
    """Return whether Windows takes a file's name for a device.

    Examples
    --------
    >>> [is_reserved(name) for name in ("con.png", "NUL", "com1 .tar.gz", "console.png")]
    [True, True, True, False]
    """
    return name.partition(".")[0].rstrip(" ").upper() in _DEVICES


def folded(name: str) -> str:
    """Return what two names share that this system's usual file system takes for the same file.

    Windows and macOS ignore case; macOS also takes letters with marks for the same whether they are one character or
    two. A volume may be set up otherwise, so two names that differ in this way are never both used there.
    """
    if sys.platform in ("win32", "darwin"):
        return unicodedata.normalize("NFC", name).casefold()
    return name
