"""The display of pictures: HTML for notebooks, a contact sheet as the one image of a cell, a table for terminals.

It does not depend on IPython. It escapes every text from outside, and sets no colour, so that light and dark themes
both work. A saved notebook holds thumbnails, never originals.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Final, cast

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.images.kinds import inherits
from ipy_imgvar.images.thumbnails import encoded, thumbnail
from ipy_imgvar.plain import plain
from ipy_imgvar.results.axes import shortened, word, words
from ipy_imgvar.results.markup import embedded, escaped, figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipy_imgvar.results.variations import Variation, Variations

__all__ = [
    "caption",
    "columns_of_like_rows",
    "contact_sheet",
    "history_html",
    "history_text",
    "html",
    "prepare",
    "preview_html",
    "text",
]

#: Longest side of a thumbnail on the page, in pixels: of the only picture, and of each where there are several. No
#: thumbnail is larger than its place on the page, so that notebooks stay small.
_ALONE_PX: Final = 512
_TOGETHER_PX: Final = 256
#: Share of its width to which a picture shrinks before a row breaks, chosen so that four of 256 px fit into 740 px.
_SHRUNK: Final = 0.7
#: Pictures in a row at most, chosen so that a row is wider than most screens: 12 of 256 px have 3160 px.
_MOST_COLUMNS: Final = 12
#: Full rows from which on the last row may be short, since it is then no longer noticed.
_MANY_ROWS: Final = 4
#: Width of the narrowest caption, in pixels, chosen so that its words do not break.
_CAPTION_PX: Final = 160
#: Characters of a sweep's values in a caption.
_SETTING_CHARS: Final = 60
#: Characters of one value of an axis in the history, chosen so that a line has some of a prompt.
_VALUE_CHARS: Final = 24
#: Longest side of the contact sheet, in pixels.
_SHEET_PX: Final = 1024
#: Gap between two pictures, in pixels, on the page and in the sheet.
_GAP_PX: Final = 8
#: Longest side of a thumbnail in the history, in pixels.
_HISTORY_PX: Final = 64
#: Runs that a history shows at most, since every thumbnail makes the notebook larger.
_HISTORY_RUNS: Final = 20


def html(
    pictures: Sequence[Variation], *, columns: int | None = None, notes: Sequence[str] = (), expected: int = 0
) -> str:
    """Return a gallery as an HTML fragment that needs no style sheet, script or network.

    Parameters
    ----------
    pictures
        For a `Variations`, a line about the run and its warnings follow.
    columns
        The number of pictures in a row; None for rows of similar length, as wide as the page allows.
    notes
        Further lines below the pictures.
    expected
        The number of pictures at the end of the run, so that the thumbnails' size stays the same until then.
    """
    count = max(expected, len(pictures))
    side_px = _side_px(count)
    figures, widths = [], [_CAPTION_PX]
    for each in pictures:
        element, width = _figure(each, side_px)
        figures.append(element)
        widths.append(width)
    layout = f"grid-template-columns:repeat({columns},minmax(0,max-content))"
    if not columns:
        template, across = _rows_of_like_length(count, max(widths))
        layout = f"grid-template-columns:{template};max-width:{across}"
    lines = "".join(
        f'<div style="font-size:85%;margin-top:4px">{escaped(line)}</div>'
        for line in [*run_lines(pictures), *notes]
    )
    return f'<div style="display:grid;{layout};gap:{_GAP_PX}px">{"".join(figures)}</div>{lines}'


def _rows_of_like_length(count: int, tile_px: int) -> tuple[str, str]:
    """Return the CSS columns and the largest width of a grid whose number of columns depends on the page's width.

    A fragment has no style sheet, so it can't use media queries. But the length `(100% - 740px)*9999` is huge on a page
    wider than 740 px and negative on any other, so that `min` and `max` choose one of two lengths with it.
    """
    smallest_px = round(tile_px * _SHRUNK)
    column, width = "100%", f"{tile_px}px"
    for number in sorted(columns_of_like_rows(count))[1:]:
        page_px = _across(number, smallest_px)
        # Half a pixel less than its share, so that rounding leaves room for all.
        share = f"(100% - {(number - 1) * _GAP_PX}px)/{number} - .5px"
        column = f"max({share},min({column},({page_px}px - 100%)*9999))"
        width = f"max({width},min({_across(number, tile_px)}px,(100% - {page_px}px)*9999))"
    return f"repeat(auto-fill,minmax({column},1fr))", width


def columns_of_like_rows(count: int) -> list[int]:
    """Return the numbers of columns with rows of similar length for `count` pictures, such as 7, 4, 2 and 1 for seven.

    The last row has at least half of the others' length, or follows more than `_MANY_ROWS` full rows.
    """
    numbers = {math.ceil(count / rows) for rows in range(1, count + 1)} or {1}
    return [
        each
        for each in numbers
        if each <= _MOST_COLUMNS and (-count % each <= max(1, each // 2) or count > each * _MANY_ROWS)
    ]


def _across(columns: int, tile_px: int) -> int:
    """Return the width of a row of tiles with their gaps, in pixels."""
    return columns * (tile_px + _GAP_PX) - _GAP_PX


def prepare(picture: Variation, expected: int) -> None:
    """Make the thumbnail for `html` now, while the engine works on the next picture."""
    with contextlib.suppress(ImageVariationError):  # `html` shows the error.
        picture.thumbnail(_side_px(expected))


def _side_px(count: int) -> int:
    return _ALONE_PX if count == 1 else _TOGETHER_PX


def _figure(picture: Variation, side_px: int) -> tuple[str, int]:
    """Return a picture with its caption, and its width in pixels."""
    try:
        image, width = _image(picture, side_px)
    except ImageVariationError as exc:  # The store has removed its original; the other pictures are shown.
        return f'<figure style="margin:0;max-width:{side_px}px">{escaped(str(exc))}</figure>', side_px
    style = f"margin:0;max-width:{max(width, _CAPTION_PX)}px"
    small = "font-size:85%;overflow-wrap:anywhere"
    return figure(image, caption(picture), style=style, caption_style=small), width


def _image(picture: Variation, side_px: int) -> tuple[str, int]:
    """Return an img element, and its width in pixels."""
    small = picture.thumbnail(side_px)
    return embedded(small, f"Variation {picture.index} of {picture.source.name}"), small[2][0]


def preview_html(data: bytes) -> str:
    """Return a first look of a picture as an HTML fragment, or "" where it can't be decoded."""
    try:
        element = embedded(thumbnail(data, _ALONE_PX), "A first look")
    except ImageVariationError:
        return ""
    return f'<div style="opacity:.8">{element}</div>'


def caption(picture: Variation) -> str:
    """Return a picture's name, size and means as text, with the options that make it again where it has a seed."""
    width, height = picture.size
    seed = "" if picture.seed is None else f" · seed {picture.seed} · --index {picture.index}"
    means = picture.parameters.get("means")
    # A server, or a file, may say anything.
    how = f" · {plain(means)}" if isinstance(means, str) else ""
    # A sweep's pictures differ in more than their seed.
    varied = {name: value for name, value in picture.combination.items() if name not in ("seed", "size")}
    setting = f" · {shortened(words(varied), _SETTING_CHARS)}" if varied else ""
    return f"{plain(picture.name)} · {width}x{height}{setting}{how}{seed}"


def run_lines(pictures: Sequence[Variation]) -> list[str]:
    """Return a line about a run (pictures, engine, seconds, tokens, status), then its warnings."""
    if not inherits(pictures, "ipy_imgvar.Variations"):
        return []
    run = cast("Variations", pictures)
    if run.engine is None:
        return []
    model = f" ({plain(run.model)})" if run.model and run.model != run.engine else ""
    seconds = f" · {run.elapsed:.1f} s" if run.elapsed else ""
    tokens = (run.usage or {}).get("total_tokens")
    # A server may send any JSON as its count.
    usage = f" · {tokens} tokens" if isinstance(tokens, int) and tokens else ""
    count = f"{len(run)} picture{'' if len(run) == 1 else 's'}"
    state = "" if run.status == "done" else f" · {plain(run.status)}"
    line = f"{count} by {plain(run.engine)}{model}{seconds}{usage}{state}"
    return [line, *map(plain, run.warnings)]


def contact_sheet(pictures: Sequence[Variation]) -> dict[str, bytes]:
    """Return one image of at most 1024 px a side that has all pictures in a grid, by its MIME type.

    The image is a JPEG, or a PNG where it has transparency. The result is empty if the store has removed all originals.
    """
    cells = []
    pictures = [each for each in pictures if each.is_there]
    columns = math.ceil(math.sqrt(len(pictures)))
    # The page's thumbnails are used again, since decoding the originals would take most of the time.
    shown_px = _side_px(len(pictures))
    side_px = min(shown_px, _SHEET_PX // max(1, columns) - _GAP_PX)
    for each in pictures:
        # Another process may remove the original from the store at this moment.
        with contextlib.suppress(ImageVariationError):
            cells.append(codec.reduced(each.thumbnail(shown_px)[0], each.name, side_px))
    if not cells:
        return {}
    data, mime_type = encoded(cells[0] if len(cells) == 1 else codec.grid(cells, columns, _GAP_PX))
    return {mime_type: data}


def text(pictures: Variations, *, notes: Sequence[str] = ()) -> str:
    """Return a table of name, size and path for a terminal, the lines about the run, and the notes."""
    if not pictures:
        return "\n".join([*run_lines(pictures), *map(plain, notes)])
    rows = [("name", "size", "path")]
    rows += [
        (plain(each.name), f"{each.size[0]}x{each.size[1]}", plain(str(each.path or "in memory")))
        for each in pictures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = [f"{name:<{widths[0]}}  {size:<{widths[1]}}  {path}" for name, size, path in rows]
    return "\n".join([*table, *run_lines(pictures), *map(plain, notes)])


def _history_rows(runs: Sequence[Variations]) -> list[tuple[str, ...]]:
    """Return a row of texts for each of the newest runs, in the columns of `_HISTORY_HEAD`."""
    first = max(0, len(runs) - _HISTORY_RUNS)
    rows: list[tuple[str, ...]] = []
    for number, run in enumerate(runs[first:], start=first):
        when = f"{run.started.astimezone():%Y-%m-%d %H:%M}" if run.started else ""
        sources = ", ".join(dict.fromkeys(plain(each.source.name) for each in run))
        count = f"{len(run)} picture{'' if len(run) == 1 else 's'}"
        state = "" if run.status == "done" else f", {plain(run.status)}"
        rows.append(
            (f"history()[{number}]", when, plain(run.engine or ""), sources, _how(run), count + state)
        )
    return rows


def _how(run: Variations) -> str:
    """Return a run's size, strength, seed and index in words; for a sweep, all values of its axes follow its size."""
    request = run.request
    settings: dict[str, Any] = {}
    if request:
        settings = {
            "size": f"{request.size[0]}x{request.size[1]}",
            "strength": request.strength,
            "seed": request.seed,
            "--index": request.index,
        }
    axes: Mapping[str, Sequence[Any]] = getattr(run, "axes", {})
    for name, values in axes.items():
        settings[name] = shortened(
            ", ".join(shortened(word(each), _VALUE_CHARS) for each in values), _SETTING_CHARS
        )
    told = {name: value for name, value in settings.items() if value is not None}
    # A size needs no name, unless there are several.
    size = [] if "size" in axes else [told.pop("size")] if "size" in told else []
    return ", ".join([*size, *([words(told)] if told else [])])


_HISTORY_HEAD: Final = ("run", "when", "engine", "of", "how", "made")


def _history_note(runs: Sequence[Variations]) -> str:
    hidden = len(runs) - _HISTORY_RUNS
    return f"{hidden} earlier runs are not shown; history() has them" if hidden > 0 else ""


def history_text(runs: Sequence[Variations]) -> str:
    """Return a table of the newest runs for a terminal."""
    if not runs:
        return "nothing was made yet"
    rows = [_HISTORY_HEAD, *_history_rows(runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HISTORY_HEAD))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, _history_note(runs)]).rstrip()


def history_html(runs: Sequence[Variations]) -> str:
    """Return a table of the newest runs with thumbnails, as an HTML fragment."""
    if not runs:
        return "<div>nothing was made yet</div>"
    shown = runs[-_HISTORY_RUNS:]
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in (*_HISTORY_HEAD, "pictures"))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{escaped(cell)}</td>' for cell in row)
        + f'<td><div style="display:flex;gap:2px">{_thumbnails(run)}</div></td></tr>'
        for row, run in zip(_history_rows(runs), shown, strict=True)
    )
    note = escaped(_history_note(runs))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><div>{note}</div>"


def _thumbnails(run: Variations) -> str:
    elements = []
    for each in run:
        # Another process may remove the original from the store at this moment.
        with contextlib.suppress(ImageVariationError):
            elements.append(_image(each, _HISTORY_PX)[0])
    return "".join(elements)
