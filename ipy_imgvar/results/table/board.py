"""The places of a sweep's pictures and words in one image, for a figure and for front ends without HTML."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.plain import plain
from ipy_imgvar.results.axes import words
from ipy_imgvar.results.table.tiles import LARGEST_PX, opened_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.table.facets import Facet
    from ipy_imgvar.results.table.tiles import Tiles
    from ipy_imgvar.results.variation import Variation

__all__ = ["FONT_PX", "LINE_PX", "Board", "board_of"]

#: Height of the font and of a line, in pixels, and the mean width of a letter: rather too wide than too narrow.
FONT_PX: Final = 14
LINE_PX: Final = 18
_LETTER_PX: Final = 7.7
#: Lines of a name at most; the rest is cut.
_MOST_LINES: Final = 5
_GAP_PX: Final = 6
#: Pictures in a row of one axis at most.
_ACROSS: Final = 6


@dataclass
class Board:
    """Pictures and texts, each with the position of its left edge and its top, in pixels."""

    width: int = 0
    height: int = 0
    pictures: list[tuple[Image, int, int, str]] = field(default_factory=list)
    texts: list[tuple[str, int, int]] = field(default_factory=list)

    def image(self) -> Image:
        """Return all of it as one image."""
        from ipy_imgvar.images.lettering import lettered

        placed = [(image, left, top) for image, left, top, _ in self.pictures]
        return lettered((self.width, self.height), placed, self.texts, FONT_PX)

    def write(self, text: str, left: int, top: int, width: int) -> int:
        """Place a text of several lines, and return its height."""
        wrapped = _wrapped(text, width)
        self.texts += [(line, left, top + at * LINE_PX) for at, line in enumerate(wrapped)]
        return len(wrapped) * LINE_PX


def board_of(sweep: Sweep, tables: Sequence[Facet], side_px: int, tiles: Tiles | None = None) -> Board:
    """Return tables one below the other, with pictures of at most `side_px` a side.

    Parameters
    ----------
    tables
        One at least.
    tiles
        The thumbnails that a page shows, to use them again; None for better ones.
    """
    board = Board(height=_GAP_PX)
    for facet in tables:
        if facet.heading:
            board.height += board.write(facet.heading, _GAP_PX, board.height, 40 * FONT_PX)
        rows = _rows(sweep, facet, side_px, tiles)
        width = max([round(8 * _LETTER_PX), *(cell.width for row in rows for cell in row)])
        for row in rows:
            _place(board, row, width)
        board.height += _GAP_PX
    return board


@dataclass
class _Cell:
    """A name, and the pictures below it, each with its name for `Axes.get_label`.

    `beside` means that the name stands beside the pictures of its row, `below` at the row's end.
    """

    name: str = ""
    stands: Literal["above", "beside", "below"] = "above"
    pictures: list[tuple[Image, str]] = field(default_factory=list)
    note: str = ""
    across: int = 1

    @property
    def width(self) -> int:
        """The width of its pictures, in pixels."""
        return max((image.width for image, _ in self.pictures), default=0) * self.across


def _rows(sweep: Sweep, facet: Facet, side_px: int, tiles: Tiles | None) -> list[list[_Cell]]:
    """Return the cells of a table, the source in the first one."""
    source = opened_source(facet.first, sweep)
    corner = _Cell(plain(facet.first.source.name))
    if source is not None:
        source.thumbnail((side_px, side_px))
        corner.pictures.append((source, corner.name))
    most = max(len(each) for row in facet.cells for each in row)
    cells = [[_cell(each, side_px, most, tiles) for each in row] for row in facet.cells]
    if facet.is_one_axis:
        for cell, name in zip(cells[0], facet.columns, strict=True):
            cell.name = words(name)
        row = [corner, *cells[0]]
        return [row[at : at + _ACROSS] for at in range(0, len(row), _ACROSS)]
    rows = [[corner, *(_Cell(words(name), "below") for name in facet.columns)]]
    return rows + [[_Cell(words(name), "beside"), *row] for name, row in zip(facet.rows, cells, strict=True)]


def _cell(pictures: Sequence[Variation], side_px: int, most: int, tiles: Tiles | None) -> _Cell:
    """Return the pictures of a combination, as small as `most` of them need to be."""
    if not pictures:
        return _Cell(note="-")
    across = math.ceil(math.sqrt(most))
    cell = _Cell(across=across)
    for each in pictures:
        try:
            small = (tiles.picture(each) if tiles else each.thumbnail(LARGEST_PX))[0]
        except ImageVariationError:
            cell.note = "no longer in the store"
            continue
        image = codec.reduced(small, each.name, max(1, (side_px - (across - 1) * 2) // across))
        cell.pictures.append((image, words(each.combination)))
    return cell


def _place(board: Board, row: Sequence[_Cell], width: int) -> None:
    """Add a row below what is there; the names above its pictures end on one line."""
    heads = [_height(cell.name, width) for cell in row]
    top = board.height + max(
        (h for cell, h in zip(row, heads, strict=True) if cell.stands == "above"), default=0
    )
    lefts = [_GAP_PX + at * (width + _GAP_PX) for at in range(len(row))]
    end = max([top, *(board.height + head for head in heads)])
    for left, cell in zip(lefts, row, strict=True):
        if cell.note:
            end = max(end, top + board.write(cell.note, left, top, width))
        for number, (image, name) in enumerate(cell.pictures):
            down, across = divmod(number, cell.across)
            x, y = left + across * (image.width + 2), top + down * (image.height + 2)
            board.pictures.append((image, x, y, name))
            end = max(end, y + image.height)
    for left, cell, head in zip(lefts, row, heads, strict=True):
        starts = {"above": top - head, "beside": (top + end - head) // 2, "below": end - head}
        board.write(cell.name, left, max(board.height, starts[cell.stands]), width)
    board.width = max(board.width, lefts[-1] + width + _GAP_PX)
    board.height = end + _GAP_PX


def _height(text: str, width: int) -> int:
    return len(_wrapped(text, width)) * LINE_PX


def _wrapped(text: str, width: int) -> list[str]:
    most = max(4, int(width / _LETTER_PX))
    return textwrap.wrap(text, most, max_lines=_MOST_LINES, placeholder="…")
