"""The figure of a sweep: matplotlib's where that is installed, else an image."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.results.table.board import FONT_PX, board_of
from ipy_imgvar.results.table.facets import MOST_SHOWN, count_of, facets
from ipy_imgvar.results.table.tiles import Tiles

if TYPE_CHECKING:
    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.table.board import Board

__all__ = ["figure"]

#: Pixels and points of an inch.
_DPI: Final = 100
_POINTS: Final = 72
#: Quality of the JPEG that a notebook shows, chosen so that 64 photographs have about 330 kB.
_JPEG_QUALITY: Final = 75


def figure(sweep: Sweep) -> Any:
    """Return a sweep's tables as a figure; see `Sweep.plot`."""
    tables = facets(sweep)
    count = count_of(tables)
    if not 0 < count <= MOST_SHOWN:
        advice = "plot a part of it, such as sweep[:64].plot()" if count else "nothing was made"
        raise ImageVariationError(f"the sweep has {count} pictures; a figure has 1 to {MOST_SHOWN}; {advice}")
    board = board_of(sweep, tables, Tiles(count + len(tables)).side_px)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return board.image()
    return _drawn(Figure(figsize=(board.width / _DPI, board.height / _DPI), dpi=_DPI), board)


def _drawn(drawing: Any, board: Board) -> Any:
    width, height = board.width, board.height
    for image, left, top, name in board.pictures:
        box = (left / width, 1 - (top + image.height) / height, image.width / width, image.height / height)
        axes = drawing.add_axes(box, label=name)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
    for text, left, top in board.texts:
        drawing.text(
            left / width,
            1 - top / height,
            text,
            va="top",
            fontsize=FONT_PX * _POINTS / _DPI,
            parse_math=False,  # A prompt may have dollar signs.
        )
    # IPython shows a figure that pyplot does not know only where pyplot was imported, and then as a PNG, in which 64
    # photographs have 2.5 MB. So the figure says how it is shown.
    drawing._ipython_display_ = partial(_show, drawing)
    return drawing


def _show(drawing: Any) -> None:
    from IPython.display import publish_display_data

    buffer = io.BytesIO()
    drawing.savefig(buffer, format="jpeg", pil_kwargs={"quality": _JPEG_QUALITY})
    bundle = {"image/jpeg": buffer.getvalue(), "text/plain": str(drawing)}
    publish_display_data(bundle)  # type: ignore[no-untyped-call]
