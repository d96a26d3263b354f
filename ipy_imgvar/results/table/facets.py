"""A sweep as tables: which picture stands in which row and column, for the page, the terminal and the figure alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.plain import plain
from ipy_imgvar.results.axes import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.variation import Variation

__all__ = ["MOST_SHOWN", "Facet", "count_of", "facets", "limited"]

#: Pictures that a page, a terminal or a figure shows at most; the rest can be shown as slices.
MOST_SHOWN: Final = 256
#: Columns at most: a wider table is out of sight for the most part.
_MOST_COLUMNS: Final = 64


@dataclass(frozen=True, slots=True)
class Facet:
    """One table of a sweep, of one source and one combination of all axes but the last two.

    Parameters
    ----------
    first
        A picture of the table's source, which knows the source and how it was fitted.
    heading
        What tells this table from the sweep's others, in words; "" for the only one.
    rows, columns
        The axis down and the axis across, each value as a combination such as {"seed": 1}; `rows` is [{}] for a
        sweep of one axis.
    cells
        The pictures of each row and column: none where none was made, several where `n` is above 1.
    """

    first: Variation
    heading: str
    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[Mapping[str, Any]]
    cells: Sequence[Sequence[Sequence[Variation]]]

    @property
    def is_one_axis(self) -> bool:
        """Whether only the columns have names."""
        return len(self.rows) == 1 and not self.rows[0]


def facets(sweep: Sweep) -> list[Facet]:
    """Return a sweep's tables, source by source.

    The last axis goes across, the one before it down. A value without any picture is left out if the run came to its
    end: the sweep is then a slice of another one. A sweep in another order, such as a sorted one, is one table that
    lists its pictures.
    """
    if not sweep.is_in_order:
        return [_list(sweep)]
    firsts = sweep.sources_of_pictures()
    grids = sweep.grid if len(firsts) > 1 else [sweep.grid]
    outer, inner = list(sweep.axes)[:-2], list(sweep.axes)[-2:]
    found = []
    for first, grid in zip(firsts, grids, strict=False):
        for places in product(*(range(len(sweep.axes[name])) for name in outer)):
            part = grid
            for at in places:
                part = part[at]
            varied = {name: sweep.axes[name][at] for name, at in zip(outer, places, strict=True)}
            heading = [plain(first.source.name)] if len(firsts) > 1 else []
            facet = _facet(
                sweep, first, ", ".join([*heading, words(varied)] if varied else heading), inner, part
            )
            if sweep.status == "done":
                facet = _without_gaps(facet)
            if facet.rows and facet.columns:
                found.append(facet)
    return found


def _facet(sweep: Sweep, first: Variation, heading: str, names: Sequence[str], grid: Any) -> Facet:
    across = [{names[-1]: value} for value in sweep.axes[names[-1]]]
    down: list[Mapping[str, Any]] = [{}]
    if len(names) > 1:
        down = [{names[0]: value} for value in sweep.axes[names[0]]]
    else:
        grid = [grid]
    cells = [[list(_pictures(cell)) for cell in row] for row in grid]
    return Facet(first, heading, down, across, cells)


def _list(sweep: Sweep) -> Facet:
    several = len(sweep.sources_of_pictures()) > 1
    names = []
    for each in sweep:
        source = {"of": plain(each.source.name)} if several else {}
        number = {} if sweep.request is None or sweep.request.n == 1 else {"picture": each.index}
        names.append({**source, **each.combination, **number})
    return Facet(sweep[0], "", [{}], names, [[[each] for each in sweep]])


def _pictures(cell: Any) -> Iterator[Variation]:
    for each in cell if isinstance(cell, list) else [cell]:
        if each is not None:
            yield each


def _without_gaps(facet: Facet) -> Facet:
    rows = [at for at, row in enumerate(facet.cells) if any(row)]
    columns = [at for at in range(len(facet.columns)) if any(row[at] for row in facet.cells)]
    return _part(facet, rows, columns)


def _part(facet: Facet, rows: Sequence[int], columns: Sequence[int]) -> Facet:
    return replace(
        facet,
        rows=[facet.rows[at] for at in rows],
        columns=[facet.columns[at] for at in columns],
        cells=[[facet.cells[row][column] for column in columns] for row in rows],
    )


def count_of(tables: Sequence[Facet]) -> int:
    """Return the number of pictures in some tables."""
    return sum(len(cell) for facet in tables for row in facet.cells for cell in row)


def limited(tables: Sequence[Facet], most: int = MOST_SHOWN) -> list[Facet]:
    """Return the beginning of some tables: whole rows, of at most `most` pictures together, and one row at least."""
    shown: list[Facet] = []
    left = most
    for facet in tables:
        of_a_cell = max((len(cell) for row in facet.cells for cell in row), default=1)
        widest = max(1, most // max(1, of_a_cell))
        if not facet.is_one_axis:
            widest = min(widest, _MOST_COLUMNS)
        facet = _part(facet, range(len(facet.rows)), range(min(len(facet.columns), widest)))  # noqa: PLW2901
        rows = 0
        for row in facet.cells:
            left -= sum(map(len, row))
            if left < 0 and (shown or rows):
                break
            rows += 1
        if rows:
            shown.append(_part(facet, range(rows), range(len(facet.columns))))
        if rows < len(facet.rows):
            break
    return shown
