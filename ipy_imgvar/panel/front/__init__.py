"""The panel's front end: the JavaScript and CSS that the widget sends to the browser, without a build step.

The scripts are joined into one module, so they share one scope: only the last one has an `export`, and none has an
`import`. Every notebook with a panel saves what is sent, so comments and indentation stay here.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

SCRIPTS: Final = (
    "dom.js",
    "link.js",
    "upload.js",
    "source.js",
    "settings.js",
    "run.js",
    "mask.js",
    "gallery.js",
    "lightbox.js",
    "compare.js",
    "take.js",
    "record.js",
    "panel.js",
)
STYLES: Final = ("panel.css", "pictures.css")
#: Comments on lines of their own, and types before an expression; what else looks like a comment may be in a text.
_COMMENTS: Final = re.compile(
    r"^[ ]*/\*(?:(?!\*/).)*\*/[ ]*\n | ^[ ]*//[^\n]*\n | /\*\*[ ]@\w+[ ]\{[^\n]*?\}(?:[ ]\w+)?[ ]\*/[ ]? | ^[ ]+",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


@cache
def module() -> str:
    """Return the front end as one ES module."""
    return _join(SCRIPTS)


@cache
def style() -> str:
    """Return the front end's style sheet."""
    return _join(STYLES)


def _join(names: tuple[str, ...]) -> str:
    folder = Path(__file__).parent
    texts = [(folder / name).read_text("utf-8") for name in names]
    return _COMMENTS.sub("", "\n".join(texts))
