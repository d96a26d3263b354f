"""HTML of the panel's pictures, of bounded size, since the notebook's file holds the widgets' HTML."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ipy_imgvar.images import codec
from ipy_imgvar.images.similarity import THUMBNAIL_PX, distance
from ipy_imgvar.panel.state import Card
from ipy_imgvar.plain import plain
from ipy_imgvar.results.gallery import caption, image_html, picture_html
from ipy_imgvar.results.markup import figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.request import Fit, VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = ["card_of", "sent_html"]

#: Characters of a thumbnail's HTML, which the notebook's file holds; a transparent picture is a PNG, which is larger.
_MAX_THUMBNAIL: Final = 45_000


def card_of(picture: Variation, source: Sample | None, fit: Fit, engine: str) -> Card:
    """Return a picture's card; call it on a task's thread, since it decodes the picture."""
    words = f"{caption(picture)} · {plain(engine)}"
    if source is not None:
        words += f" · distance {distance(source, picture.original, fit):.2f}"
    return Card(picture, figure(_bounded(partial(picture_html, picture)), words), words)


def sent_html(sample: Sample, name: str, request: VariationRequest) -> str:
    """Return HTML of the source as the engine gets it, cropped or padded, with its name and sizes."""
    width, height = sample.size
    words = f"{plain(name)}, {width}x{height}, {request.fit} to {request.size[0]}x{request.size[1]}"
    image = codec.encode_png(sample.fitted(request.size, request.fit))
    return figure(_bounded(partial(image_html, image, f"What will be sent: {words}")), words)


def _bounded(element: Callable[[int], str]) -> str:
    """Return the largest of three thumbnails within the bound, else the smallest; `element` takes a side in pixels."""
    for side_px in (THUMBNAIL_PX, THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX // 2):
        html_text = element(side_px)
        if len(html_text) <= _MAX_THUMBNAIL:
            break
    return html_text
