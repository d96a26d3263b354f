"""Pictures as the panel shows them: HTML of a bounded size, since a notebook is saved with its widgets."""

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

#: Characters of a thumbnail: what a panel shows is saved in the notebook, and transparency makes it a PNG.
_MAX_THUMBNAIL: Final = 45_000


def card_of(picture: Variation, taken: Sample | None, fit: Fit, engine: str) -> Card:
    """Return a picture's card; made on a job's thread, since it decodes the picture."""
    words = f"{caption(picture)} · {plain(engine)}"
    if taken is not None:
        words += f" · distance {distance(taken, picture.original, fit):.2f}"
    return Card(picture, figure(_bounded(partial(picture_html, picture)), words), words)


def sent_html(sample: Sample, name: str, request: VariationRequest) -> str:
    """Return what will be sent of a source, with its name and sizes."""
    width, height = sample.size
    words = f"{plain(name)}, {width}x{height}, {request.fit} to {request.size[0]}x{request.size[1]}"
    image = codec.encode_png(sample.fitted(request.size, request.fit))
    return figure(_bounded(partial(image_html, image, f"What will be sent: {words}")), words)


def _bounded(element: Callable[[int], str]) -> str:
    """Return a thumbnail that is as large as its bound allows."""
    for side_px in (THUMBNAIL_PX, THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX // 2):
        html_text = element(side_px)
        if len(html_text) <= _MAX_THUMBNAIL:
            break
    return html_text
