"""The display of a sweep: its tables in HTML, as text for terminals, and as one image for front ends without HTML.

The HTML sets no colour and needs no style sheet, script or network. What a page styles in its own tables (stripes, text
at the right, a fixed layout) is undone inline.
"""

from __future__ import annotations

import math
import os.path
import re
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.thumbnails import within
from ipy_imgvar.plain import plain
from ipy_imgvar.results import gallery
from ipy_imgvar.results.axes import shortened, word, words
from ipy_imgvar.results.markup import embedded, escaped
from ipy_imgvar.results.table.board import board_of
from ipy_imgvar.results.table.facets import count_of, facets, limited
from ipy_imgvar.results.table.tiles import BYTES_PER_PX, LARGEST_PX, Tiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipy_imgvar.request import Size
    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.table.facets import Facet
    from ipy_imgvar.results.variation import Variation

__all__ = ["contact_sheet", "html", "text"]

#: Width below which no picture shrinks, in pixels: a page that is narrower scrolls the table.
_LEAST_PX: Final = 72
_LEAST_OF_SEVERAL_PX: Final = 48
#: Pictures in a row of a table of one axis, with the source: so many are not cut at 480 px.
_ACROSS: Final = 5
#: Columns up to which the names of the rows stand at the left; with more, the pictures need the width.
_BESIDE: Final = 3
#: Characters up to which a value is a name at the left of a row; longer ones stand above their row.
_SHORT_CHARS: Final = 24
#: Characters of a value in a head, and in the text in place of a picture.
_HEAD_CHARS, _ALT_CHARS = 240, 60
#: Bytes of the image for front ends without HTML, and the side below which its pictures would show nothing.
_SHEET_BYTES: Final = 60_000
_LEAST_SHEET_PX: Final = 32
#: Columns of the terminal for which the text is laid out.
_WIDTH: Final = 80
_CELL: Final = "padding:3px;text-align:left;vertical-align:top;border:0"
_HEAD: Final = f"{_CELL};vertical-align:bottom;white-space:normal;overflow-wrap:anywhere"
#: A name above a row stays in view when the table is scrolled sideways. There is nothing else in its line, so that it
#: needs no background.
_ABOVE: Final = "display:inline-block;position:sticky;left:3px;max-width:min(100%,400px)"
#: A long name of a column makes it no wider than this, or than its pictures.
_LONG: Final = "display:block;width:0;min-width:max(100%,9em)"
#: A long name takes the width that the pictures have and does not drive them apart.
_ABOVE_LONG: Final = "display:inline-block;position:sticky;left:3px;width:0;min-width:min(100%,400px)"


def html(sweep: Sweep, *, columns: int | None = None, notes: Sequence[str] = (), expected: int = 0) -> str:
    """Return a sweep's tables as an HTML fragment: the source first, values at rows and columns.

    Parameters
    ----------
    sweep
        With more than two axes, or several images, it has several tables.
    columns
        The number of pictures in a row of a table with one axis, the source among them.
    notes
        Further lines below the lines about the run.
    expected
        The number of pictures at the end of the run.
    """
    tables = facets(sweep)
    shown = limited(tables)
    page = _Page(sweep, Tiles(max(expected, count_of(shown) + len(shown))), columns)
    parts = [page.table(each) for each in shown]
    lines = [*_hidden(tables, shown), *gallery.run_lines(sweep), *notes]
    parts += [f'<div style="font-size:85%;margin-top:4px">{escaped(line)}</div>' for line in lines]
    return "".join(parts)


def _hidden(tables: Sequence[Facet], shown: Sequence[Facet]) -> list[str]:
    count = count_of(tables) - count_of(shown)
    return [f"{count} more pictures are not shown; show a part of the sweep: sweep[a:b]"] if count > 0 else []


class _Page:
    """The tables of one page."""

    def __init__(self, sweep: Sweep, tiles: Tiles, columns: int | None) -> None:
        self._sweep, self._tiles, self._columns = sweep, tiles, columns

    def table(self, facet: Facet) -> str:
        """Return one table in a box that scrolls sideways."""
        values = [value for each in [*facet.rows, *facet.columns] for value in each.values()]
        is_long = any(len(word(value)) > _SHORT_CHARS for value in values)
        if facet.is_one_axis:
            body = self._listed(facet) if is_long else self._wrapped(facet)
        elif len(facet.columns) <= _BESIDE and not any(
            len(word(value)) > _SHORT_CHARS for each in facet.rows for value in each.values()
        ):
            body = self._crossed(facet)
        else:
            body = self._banded(facet)
        names = " and ".join(plain(name) for name in self._sweep.axes)
        label = escaped(f"Variations of {facet.first.source.name} by {names}")
        heading = ""
        if facet.heading:
            heading = (
                '<caption style="caption-side:top;text-align:left;color:inherit;padding:6px 3px 0">'
                f'<b style="{_ABOVE}">{_isolated(shortened(facet.heading, _HEAD_CHARS))}</b></caption>'
            )
        return (
            # Without a pointer, only a box that takes the focus can be scrolled.
            f'<div tabindex="0" role="region" aria-label="{label}" style="overflow-x:auto;max-width:100%">'
            '<table style="table-layout:auto;width:auto;margin:0;border-collapse:collapse;border:0">'
            f"{heading}{body}</table></div>"
        )

    def _wrapped(self, facet: Facet) -> str:
        """Return rows of one axis: the source, then the values, each with its name above it."""
        heads = [_of(facet), *map(_named, facet.columns)]
        cells = [self._source(facet), *(self._cell(cell) for cell in facet.cells[0])]
        across = self._columns or max(
            each for each in gallery.columns_of_like_rows(len(cells)) if each <= _ACROSS
        )
        return "".join(
            _row(_head(each, "col") for each in heads[start : start + across])
            + _row(_data(each) for each in cells[start : start + across])
            for start in range(0, len(cells), across)
        )

    def _listed(self, facet: Facet) -> str:
        """Return one axis with long values, such as prompts: each above its pictures."""
        rows = [self._source_band(facet, 1)]
        for name, cell in zip(facet.columns, facet.cells[0], strict=True):
            rows += [_band(name, 1), _row([_data(self._cell(cell))])]
        return "".join(rows)

    def _crossed(self, facet: Facet) -> str:
        """Return two axes with the names of the rows at the left, and the source in the corner."""
        corner = f"{self._source(facet)}{_of(facet)}"
        rows = [_row([_head(corner, ""), *(_column(each) for each in facet.columns)])]
        rows += [
            _row([_head(_named(name), "row", "vertical-align:middle;text-align:right"), *self._cells(cells)])
            for name, cells in zip(facet.rows, facet.cells, strict=True)
        ]
        return "".join(rows)

    def _banded(self, facet: Facet) -> str:
        """Return two axes with the name of each row above it, for many columns or long names."""
        across = len(facet.columns)
        rows = [self._source_band(facet, across), _row(_column(each) for each in facet.columns)]
        for name, cells in zip(facet.rows, facet.cells, strict=True):
            rows += [_band(name, across), _row(self._cells(cells))]
        return "".join(rows)

    def _source_band(self, facet: Facet, across: int) -> str:
        return _row([f'<td colspan="{across}" style="{_CELL}">{self._source(facet)}{_of(facet)}</td>'])

    def _source(self, facet: Facet) -> str:
        small = self._tiles.source(facet.first, self._sweep)
        return "" if small is None else _image(small, f"The source {facet.first.source.name}")

    def _cells(self, cells: Iterable[Sequence[Variation]]) -> list[str]:
        return [_data(self._cell(cell)) for cell in cells]

    def _cell(self, pictures: Sequence[Variation]) -> str:
        """Return the pictures of a cell, or words in their place."""
        if not pictures:
            return f'<div style="min-width:{_LEAST_PX}px">—</div>'
        least = _LEAST_PX if len(pictures) == 1 else _LEAST_OF_SEVERAL_PX
        found = [self._picture(each, least) for each in pictures]
        if len(found) == 1:
            return found[0]
        across = math.ceil(math.sqrt(len(found)))
        return (
            f'<div style="display:grid;grid-template-columns:repeat({across},minmax({least}px,max-content));gap:2px">'
            f"{''.join(found)}</div>"
        )

    def _picture(self, picture: Variation, least_px: int) -> str:
        settings = {name: shortened(word(value), _ALT_CHARS) for name, value in picture.combination.items()}
        n = 1 if self._sweep.request is None else self._sweep.request.n
        number = f", picture {picture.index}" if n > 1 else ""
        try:
            small = self._tiles.picture(picture)
        except ImageVariationError:
            return "no longer in the store"
        return _image(small, f"Variation of {picture.source.name}, {words(settings)}{number}", least_px)


def _of(facet: Facet) -> str:
    """Return the name of a table's source."""
    name = _isolated(shortened(facet.first.source.name, _HEAD_CHARS))
    return f'<span style="font-weight:normal;font-size:85%">{name}</span>'


def _image(small: tuple[bytes, str, Size], alt: str, least_px: int = _LEAST_PX) -> str:
    width = small[2][0]
    least = min(width, least_px)
    return embedded(
        small,
        alt,
        style=f"display:block;margin:0;width:100%;min-width:{least}px;max-width:{width}px;height:auto",
    )


def _row(cells: Iterable[str]) -> str:
    return f'<tr style="background:none">{"".join(cells)}</tr>'


def _head(content: str, scope: str, style: str = "") -> str:
    scoped = f' scope="{scope}"' if scope else ""
    return f'<th{scoped} style="{_HEAD}{";" if style else ""}{style}">{content}</th>'


def _column(combination: Mapping[str, Any]) -> str:
    style = f' style="{_LONG}"' if len(words(combination)) > _SHORT_CHARS else ""
    return _head(f"<span{style}>{_named(combination)}</span>", "col")


def _band(combination: Mapping[str, Any], across: int) -> str:
    is_long = across > 1 and len(words(combination)) > _SHORT_CHARS
    return _row(
        f'<th scope="rowgroup" colspan="{across}" style="{_HEAD};padding-top:8px">'
        f'<span style="{_ABOVE_LONG if is_long else _ABOVE}">{_named(combination)}</span></th>'
    )


def _data(content: str) -> str:
    return f'<td style="{_CELL}">{content}</td>'


def _named(combination: Mapping[str, Any]) -> str:
    """Return an axis and its value for a head; a value of another direction turns nothing around."""
    return ", ".join(
        f"{escaped(name)} {_isolated(shortened(word(value), _HEAD_CHARS))}"
        for name, value in combination.items()
    )


def _isolated(text: str) -> str:
    # MathJax, which JupyterLab runs over outputs, finds no formula that elements break up.
    shown = re.sub(r"[$\\]", r"<span>\g<0></span>", escaped(text))
    return f"<bdi>{shown}</bdi>"


def contact_sheet(sweep: Sweep) -> dict[str, bytes]:
    """Return the tables as one image of at most 60 kB, by its MIME type; empty where pictures would be too small."""
    tables = limited(facets(sweep))
    count = max(1, count_of(tables) + len(tables))
    side_px = min(LARGEST_PX, math.isqrt(int(_SHEET_BYTES / BYTES_PER_PX / count)))
    if not tables or side_px < _LEAST_SHEET_PX:
        return {}
    data, mime_type, _ = within(board_of(sweep, tables, side_px, Tiles(count)).image(), _SHEET_BYTES)
    return {mime_type: data}


def text(sweep: Sweep, *, notes: Sequence[str] = ()) -> str:
    """Return the tables for a terminal, with the name of each picture's file, then the lines about the run.

    A table wider than 80 columns becomes a list with a line for each picture.
    """
    tables = facets(sweep)
    shown = limited(tables)
    folders = {str(each.path.parent) for each in sweep if each.path is not None}
    folder = os.path.commonpath(folders) if folders else ""
    files = {id(each): _file(each, at, folder) for at, each in enumerate(sweep)}
    lines: list[str] = []
    for facet in shown:
        lines += [shortened(facet.heading, _WIDTH), *_lines(facet, files)]
    if any(name.startswith("[") for name in files.values()):
        lines.append("[i]: the picture sweep[i], in memory")
    if folder:
        lines.append(f"files in {plain(folder)}")
    lines += [*_hidden(tables, shown), *gallery.run_lines(sweep), *map(plain, notes)]
    return "\n".join(line for line in lines if line)


def _file(picture: Variation, at: int, folder: str) -> str:
    if not picture.is_there:
        return "gone"
    return f"[{at}]" if picture.path is None else plain(os.path.relpath(picture.path, folder))


def _lines(facet: Facet, files: Mapping[int, str]) -> list[str]:
    """Return the lines of a table, or of a list where the table is too wide."""
    # A list in another order says in each row of which image a picture is, where there are several.
    of = "" if "of" in facet.columns[0] else shortened(plain(facet.first.source.name), _SHORT_CHARS)
    cells = [[" ".join(files[id(each)] for each in cell) or "-" for cell in row] for row in facet.cells]
    rows = [[of, *map(words, facet.columns)]]
    rows += [[words(name) or "file", *row] for name, row in zip(facet.rows, cells, strict=True)]
    if facet.is_one_axis:
        rows = [[first, second] for first, second in zip(*rows, strict=True)]
    lines = _aligned(rows)
    if max(map(len, lines)) <= _WIDTH:
        return lines
    listed = [
        [*(_with_both_ends(word(value)) for value in {**down, **across}.values()), cell]
        for down, row in zip(facet.rows, cells, strict=True)
        for across, cell in zip(facet.columns, row, strict=True)
    ]
    return _aligned([[*map(plain, {**facet.rows[0], **facet.columns[0]}), "file"], *listed])


def _with_both_ends(text: str) -> str:
    """Return a value of at most 24 characters: prompts of one sweep often begin alike."""
    half = _SHORT_CHARS // 2
    return text if len(text) <= _SHORT_CHARS else f"{text[: half - 1]}…{text[-half:]}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
