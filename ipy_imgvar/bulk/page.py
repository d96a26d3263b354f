"""How a bulk run looks: `index.html` beside the pictures, and what a notebook shows of the result.

The page links to the files and holds none of them, so it is small and moves with its folder. A notebook is saved with
what it shows, so there only a few thumbnails are put in, whatever the run's size.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.thumbnails import thumbnail
from ipy_imgvar.results.markup import embedded, escaped, figure
from ipy_imgvar.results.store import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.bulk.result import BulkItem, BulkResult

__all__ = ["PAGE_ITEMS", "fragment", "write_pages"]

#: More rows than this make a browser slow, so they go to a page of their own.
PAGE_ITEMS: Final = 500
#: Items of a bulk result that a cell shows, the failures that it names, and the pictures of each item: one screen.
_SHOWN_ITEMS: Final = 8
_SHOWN_FAILURES: Final = 5
_SHOWN_PICTURES: Final = 4
#: The longer side of a thumbnail on the page, in pixels.
_THUMBNAIL_PX: Final = 96
#: Of a picture's number in a file's name; a longer one is no number of ours.
_MAX_DIGITS: Final = 4
#: How each page begins; by it a page of another run is known.
_HEAD: Final = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Variations</title>'
_STYLE: Final = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:1.5em;color-scheme:light dark}"
    "section{display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start;padding:10px 0;border-top:1px solid #8886}"
    "figure{margin:0;width:180px}img{display:block;max-width:180px;max-height:180px}"
    "figcaption{font-size:80%;overflow-wrap:anywhere}figure:first-child{padding-right:12px;font-weight:600}"
)


def write_pages(result: BulkResult) -> Path:
    """Write `index.html`, and `index-2.html` and so on for long runs, and return the first one's path.

    Raises
    ------
    ImageVariationError
        If a page of that name is there that no bulk run has written; it is left as it is.
    """
    pages = max(1, -(-len(result) // PAGE_ITEMS))
    for number in range(pages):
        part = result[number * PAGE_ITEMS : (number + 1) * PAGE_ITEMS]
        rows = "\n".join(_row(each, result.out_dir) for each in part)
        links = " ".join(
            f"<b>{each + 1}</b>" if each == number else f'<a href="{_page_name(each)}">{each + 1}</a>'
            for each in range(pages)
        )
        text = (
            f"{_HEAD}<style>{_STYLE}</style></head><body>\n<h1>Variations</h1>\n<p>{escaped(result.summary())}</p>\n"
            + (f"<nav>Page {links}</nav>\n" if pages > 1 else "")
            + f"{rows}\n</body></html>\n"
        )
        _refuse_foreign(result.out_dir / _page_name(number))
        write_atomic(result.out_dir / _page_name(number), text.encode())
    return result.out_dir / _page_name(0)


def _refuse_foreign(path: Path) -> None:
    if path.is_fifo():  # It would be waited for.
        raise ImageVariationError("it is a pipe, and is left as it is")
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(len(_HEAD)) not in (b"", _HEAD.encode()):
            raise ImageVariationError("a page that no bulk run has written is there, and is left as it is")


def _page_name(number: int) -> str:
    return f"index-{number + 1}.html" if number else "index.html"


def _row(item: BulkItem, out_dir: Path) -> str:
    source = _source_of(item)
    figures = [_figure(source, out_dir, item.source, "")]
    for index, path in _numbered(item):
        seed = "" if item.seed is None else f" · seed {item.seed} · --index {index}"
        figures.append(_figure(path, out_dir, f"{index}{seed}", f"Variation {index} of {item.source}"))
    note = f"<p>{escaped(f'{item.status}: {item.error}')}</p>" if item.error else ""
    return f"<section>{''.join(figures)}{note}</section>"


def _numbered(item: BulkItem) -> list[tuple[int, Path]]:
    """Return the pictures with their numbers: a run by `index` has one that is not the first, as its name says."""
    numbers = [path.stem.rpartition("-")[2] for path in item.paths]
    return [
        (int(number) if number.isdecimal() and len(number) <= _MAX_DIGITS else place, path)
        for place, (number, path) in enumerate(zip(numbers, item.paths, strict=True), start=1)
    ]


def _source_of(item: BulkItem) -> Path | None:
    """Return the picture that stands for the source: a thumbnail, the file itself, or None where there is neither."""
    if item.thumbnail is not None:
        return item.thumbnail
    # An item that is no file has a hash in its id, and its source is a description.
    if not item.source or item.item != item.source:
        return None
    return Path(os.path.expanduser(item.source))  # noqa: PTH111 - Path raises where there is no such user


def _figure(path: Path | None, out_dir: Path, caption: str, alt: str) -> str:
    link = ""
    if path is not None:
        with contextlib.suppress(ValueError):  # A ledger may name what no file can be called.
            address = escaped(_address(path, out_dir))
            image = f'<img loading="lazy" src="{address}" alt="{escaped(alt or caption)}">'
            link = f'<a href="{address}">{image}</a>'
    return figure(link, caption, style="")


def _address(path: Path, out_dir: Path) -> str:
    """Return the relative link to a file, or the absolute one where no relative one exists."""
    try:
        relative = os.path.relpath(path, out_dir)
    except ValueError:  # On another drive of Windows.
        return path.absolute().as_uri()
    return quote(os.fsencode(Path(relative).as_posix()))


def fragment(result: BulkResult) -> str:
    """Return the counts, a few thumbnails and a few errors as an HTML fragment, however long the run was."""
    shown = [each for each in result[: 2 * _SHOWN_ITEMS] if each.paths][:_SHOWN_ITEMS]
    failed = result.failed
    parts = [f"<div>{escaped(result.summary())}</div>"]
    parts += [_thumbnails(each) for each in shown]
    if len(result) > len(shown):
        parts.append(f"<div>{len(shown):,} of {len(result):,} items are shown</div>")
    parts += [f"<div>{escaped(f'{each.source}: {each.error}')}</div>" for each in failed[:_SHOWN_FAILURES]]
    if len(failed) > _SHOWN_FAILURES:
        parts.append(f"<div>and {len(failed) - _SHOWN_FAILURES:,} more failed</div>")
    parts.append(f"<div>all of them: <code>{escaped(str(result.out_dir / 'index.html'))}</code></div>")
    return "".join(parts)


def _thumbnails(item: BulkItem) -> str:
    source = _source_of(item)
    paths: Sequence[Path] = [*([source] if source else []), *item.paths[:_SHOWN_PICTURES]]
    images = "".join(map(_thumbnail, paths))
    more = len(item.paths) - _SHOWN_PICTURES
    note = f" and {more} more" if more > 0 else ""
    name = f'<span style="font-size:85%">{escaped(item.source)}{note}</span>'
    return f'<div style="display:flex;gap:6px;align-items:center;margin:4px 0">{images}{name}</div>'


def _thumbnail(path: Path) -> str:
    try:
        if not path.is_file():  # It was moved or removed since, and a pipe would be waited for.
            return ""
        return embedded(thumbnail(path.read_bytes(), _THUMBNAIL_PX), path.stem, style="margin:0")
    except (OSError, ImageVariationError):
        return ""
