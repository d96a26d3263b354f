"""The views of a bulk run: `index.html` beside the pictures, and the fragment that a notebook shows.

The page links to the files and embeds none, so it is small and moves with its folder. A notebook is saved with its
output, so the fragment embeds a few thumbnails only, however long the run was.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.thumbnails import thumbnail
from ipy_imgvar.results.markup import embedded, escaped, figure
from ipy_imgvar.storage import objects
from ipy_imgvar.storage.addresses import is_address
from ipy_imgvar.storage.folder import open_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.bulk.result import BulkItem, BulkResult
    from ipy_imgvar.storage.folder import Folder

__all__ = ["PAGE_ITEMS", "fragment", "write_pages"]

#: Items on one page of `index.html`: browsers lay out longer pages slowly.
PAGE_ITEMS: Final = 500
#: Items that a cell shows: about one screen.
_SHOWN_ITEMS: Final = 8
#: Failures that a cell names; one line each.
_SHOWN_FAILURES: Final = 5
#: Pictures of each item that a cell shows, beside the source: one row.
_SHOWN_PICTURES: Final = 4
#: The longer side of a thumbnail in a cell, in pixels: a row of five and the name fit in a cell.
_THUMBNAIL_PX: Final = 96
#: Digits of a picture's number in its file name. A longer number is not from a run, and `int` of thousands of digits is
#: an error.
_MAX_DIGITS: Final = 4
#: The beginning of each page; a file that begins otherwise is not overwritten.
_HEAD: Final = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Variations</title>'
#: The page's style sheet; it follows the browser's light or dark scheme.
_STYLE: Final = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:1.5em;color-scheme:light dark}"
    "section{display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start;padding:10px 0;border-top:1px solid #8886}"
    "figure{margin:0;width:180px}img{display:block;max-width:180px;max-height:180px}"
    "figcaption{font-size:80%;overflow-wrap:anywhere}figure:first-child{padding-right:12px;font-weight:600}"
)


def write_pages(result: BulkResult) -> Path | str:
    """Write `index.html`, and `index-2.html` and so on for long runs, and return the first one's path or address.

    Raises
    ------
    ImageVariationError
        If a page can't be written, or a file of its name exists that no bulk run wrote; that stays as it is.
    """
    folder = open_folder(result.out_dir)
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
        _refuse_foreign(folder, _page_name(number))
        folder.write(_page_name(number), text.encode())
    return result.page


def _refuse_foreign(folder: Folder, name: str) -> None:
    path = folder.where(name)
    head = b""
    if not isinstance(path, Path):
        with contextlib.suppress(FileNotFoundError):
            head = folder.read(name)[: len(_HEAD)]
    elif path.is_fifo():  # Opening a pipe waits for a writer.
        raise ImageVariationError(f"{path} can't be written (it is a pipe, and is left as it is)")
    else:
        with contextlib.suppress(OSError), path.open("rb") as file:
            head = file.read(len(_HEAD))
    if head not in (b"", _HEAD.encode()):
        raise ImageVariationError(
            f"{path} can't be written (a page that no bulk run has written is there, and is left as it is)"
        )


def _page_name(number: int) -> str:
    return f"index-{number + 1}.html" if number else "index.html"


def _row(item: BulkItem, out_dir: Path | str) -> str:
    source = _source_of(item, out_dir)
    figures = [_figure(source, out_dir, item.source, "")]
    for index, path in _numbered(item):
        seed = "" if item.seed is None else f" · seed {item.seed} · --index {index}"
        figures.append(_figure(path, out_dir, f"{index}{seed}", f"Variation {index} of {item.source}"))
    note = f"<p>{escaped(f'{item.status}: {item.error}')}</p>" if item.error else ""
    return f"<section>{''.join(figures)}{note}</section>"


def _numbered(item: BulkItem) -> list[tuple[int, Path | str]]:
    """Return the pictures with the numbers in their names; with `index`, a run's only picture may have any number."""
    numbers = [_stem(path).rpartition("-")[2] for path in item.paths]
    return [
        (int(number) if number.isdecimal() and len(number) <= _MAX_DIGITS else position, path)
        for position, (number, path) in enumerate(zip(numbers, item.paths, strict=True), start=1)
    ]


def _stem(path: Path | str) -> str:
    return path.stem if isinstance(path, Path) else posixpath.splitext(posixpath.basename(path))[0]


def _source_of(item: BulkItem, out_dir: Path | str) -> Path | str | None:
    """Return where the source's thumbnail or the source itself is, or None where there is neither."""
    if item.thumbnail is not None:
        return item.thumbnail
    if isinstance(out_dir, str):  # A page in an object store links to nothing outside of its folder.
        return None
    # The id of a file is its path. An image from memory has a description as its source, and a hash in its id.
    is_far = is_address(item.source) or item.source.lower().startswith(("http://", "https://"))
    if not item.source or item.item != item.source or is_far:
        return None
    return Path(os.path.expanduser(item.source))  # noqa: PTH111 - Path raises for an unknown user


def _figure(path: Path | str | None, out_dir: Path | str, caption: str, alt: str) -> str:
    link = ""
    if path is not None:
        with contextlib.suppress(ValueError):  # A ledger may hold a name that no file can have.
            address = escaped(_address(path, out_dir))
            image = f'<img loading="lazy" src="{address}" alt="{escaped(alt or caption)}">'
            link = f'<a href="{address}">{image}</a>'
    return figure(link, caption, style="")


def _address(path: Path | str, out_dir: Path | str) -> str:
    """Return the relative link to a file, or the absolute one where no relative one exists."""
    if isinstance(path, str):
        return quote(path.removeprefix(str(out_dir)).lstrip("/"))  # Such as "sources/cat.jpg".
    try:
        relative = os.path.relpath(path, out_dir)
    except ValueError:  # On another drive of Windows.
        return path.absolute().as_uri()
    return quote(os.fsencode(Path(relative).as_posix()))


def fragment(result: BulkResult) -> str:
    """Return the counts, a few thumbnails and a few errors as an HTML fragment."""
    # A few more items are read than shown, since failed ones have no pictures; a long ledger is not read to its end.
    shown = [each for each in result[: 2 * _SHOWN_ITEMS] if each.paths][:_SHOWN_ITEMS]
    failed = result.failed
    parts = [f"<div>{escaped(result.summary())}</div>"]
    parts += [_thumbnails(each, result.out_dir) for each in shown]
    if len(result) > len(shown):
        parts.append(f"<div>{len(shown):,} of {len(result):,} items are shown</div>")
    parts += [f"<div>{escaped(f'{each.source}: {each.error}')}</div>" for each in failed[:_SHOWN_FAILURES]]
    if len(failed) > _SHOWN_FAILURES:
        parts.append(f"<div>and {len(failed) - _SHOWN_FAILURES:,} more failed</div>")
    parts.append(f"<div>all of them: <code>{escaped(str(result.page))}</code></div>")
    return "".join(parts)


def _thumbnails(item: BulkItem, out_dir: Path | str) -> str:
    source = _source_of(item, out_dir)
    paths: Sequence[Path | str] = [*([source] if source else []), *item.paths[:_SHOWN_PICTURES]]
    images = "".join(map(_thumbnail, paths))
    more = len(item.paths) - _SHOWN_PICTURES
    note = f" and {more} more" if more > 0 else ""
    name = f'<span style="font-size:85%">{escaped(item.source)}{note}</span>'
    return f'<div style="display:flex;gap:6px;align-items:center;margin:4px 0">{images}{name}</div>'


def _thumbnail(path: Path | str) -> str:
    try:
        if isinstance(path, str):
            from ipy_imgvar.images.fetch import MAX_BYTES  # It loads httpx, which a run on disk doesn't need.

            data = objects.read(path, most_bytes=MAX_BYTES)
        elif path.is_file():  # The file may be gone, and opening a pipe waits for a writer.
            data = path.read_bytes()
        else:
            return ""
        return embedded(thumbnail(data, _THUMBNAIL_PX), _stem(path), style="margin:0")
    except (OSError, ImageVariationError):
        return ""
