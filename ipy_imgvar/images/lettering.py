"""Pictures and words on one white image, for the sheets that stand where neither HTML nor matplotlib is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from ipy_imgvar.images.codec import on_white

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipy_imgvar.request import Size

__all__ = ["lettered"]


def lettered(
    size: Size,
    pictures: Iterable[tuple[Image.Image, int, int]],
    texts: Iterable[tuple[str, int, int]],
    font_px: int,
) -> Image.Image:
    """Return a white image with pictures and black words.

    Parameters
    ----------
    size
        Its width and height in pixels.
    pictures, texts
        Each with the position of its left edge and its top, in pixels. Pillow's own font has Latin letters; it draws a
        box for any other.
    font_px
        The height of the font.
    """
    sheet = Image.new("RGB", size, "white")
    for picture, left, top in pictures:
        sheet.paste(on_white(picture).convert("RGB"), (left, top))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(font_px)
    for text, left, top in texts:
        pen.text((left, top), text, fill="black", font=font)
    return sheet
