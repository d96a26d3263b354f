"""HTML for texts and pictures in notebooks and pages: all escaping, embedding and captions are here.

The HTML sets no colour and needs no style sheet, so that light and dark themes both work.
"""

from __future__ import annotations

import base64
import html
import re
from typing import TYPE_CHECKING, Final

from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from ipy_imgvar.request import Size

__all__ = ["embedded", "escaped", "figure"]

#: The style of a picture that shrinks with its cell and keeps its aspect ratio.
_FLUID: Final = "display:block;max-width:100%;height:auto;margin:0"
#: The option in a caption that must stay on one line, so that it can be copied.
_INDEX: Final = re.compile(r"--index \d+")


def escaped(text: str) -> str:
    r"""Return a text, which may come from outside, as HTML that shows it and obeys nothing in it.

    Examples
    --------
    >>> escaped("<b>\x1b[2J")
    '&lt;b&gt;\\x1b[2J'
    """
    return html.escape(plain(text))


def embedded(picture: tuple[bytes, str, Size], alt: str, *, style: str = _FLUID) -> str:
    """Return an img element that holds a picture.

    Parameters
    ----------
    picture
        Its bytes, MIME type and size, as `thumbnails.thumbnail` returns them.
    alt
        The alternative text, not escaped yet.
    style
        The element's CSS.
    """
    data, mime_type, (width, height) = picture
    text = base64.b64encode(data).decode("ascii")
    return (
        f'<img src="data:{mime_type};base64,{text}" alt="{escaped(alt)}" width="{width}" height="{height}" '
        f'style="{style}">'
    )


def figure(image: str, words: str, *, style: str = "margin:0", caption_style: str = "") -> str:
    """Return a picture with a caption.

    Parameters
    ----------
    image
        An img element, a link around one, or "" where there is no picture.
    words
        The caption, not escaped yet; no line break splits its options.
    style, caption_style
        The CSS of the figure and the caption; "" where a style sheet has it.
    """
    caption = _INDEX.sub(r'<span style="white-space:nowrap">\g<0></span>', escaped(words))
    return (
        f"<figure{_styled(style)}>{image}<figcaption{_styled(caption_style)}>{caption}</figcaption></figure>"
    )


def _styled(style: str) -> str:
    return f' style="{style}"' if style else ""
