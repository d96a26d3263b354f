"""The panel's front end: JavaScript and CSS that the widget sends to the browser as they are, without a build step.

The scripts are joined into one module, so they share one scope: only the last one has an `export`, and none has an
`import`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

SCRIPTS = (
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
STYLES = ("panel.css", "pictures.css")


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
    return "\n".join((folder / name).read_text("utf-8") for name in names if (folder / name).exists())
