"""How many images a bulk run has, and how many are done; nothing is written, and no image is decoded."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipy_imgvar.bulk.comparison import comparison
from ipy_imgvar.bulk.items import Item, Items, ReadyItem
from ipy_imgvar.bulk.known import Known
from ipy_imgvar.bulk.ledger import LedgerLines
from ipy_imgvar.bulk.parts import read_ledger
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images.source import Source
from ipy_imgvar.storage.addresses import host_of
from ipy_imgvar.storage.folder import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipy_imgvar.storage.folder import Folder

__all__ = ["Counts", "count_images", "images_text", "other_text"]


@dataclass(frozen=True, slots=True)
class Counts:
    """The size of a bulk run.

    Parameters
    ----------
    found
        The number of images.
    done
        Those of them that the ledger lists as done and whose pictures are there.
    bytes_to_do
        The size of the other files in bytes; None if an image is no file.
    hosts
        The buckets and servers that the other images are read from, each once; see `host_of`.
    other
        Those of the images to do that have pictures by other settings.
    """

    found: int
    done: int
    bytes_to_do: int | None
    hosts: tuple[str, ...] = ()
    other: int = 0

    @property
    def to_do(self) -> int:
        """The number of images that a run would work on."""
        return self.found - self.done

    def __str__(self) -> str:
        return f"{images_text(self.found)}, {self.done:,} done, {self.to_do:,} to do"


def images_text(number: int) -> str:
    """Return a number of images in words, such as "1 image"."""
    return f"{number:,} image{'' if number == 1 else 's'}"


def other_text(number: int) -> str:
    """Return the line on images that have pictures by other settings."""
    have, are = ("has", "it is") if number == 1 else ("have", "they are")
    return f"{images_text(number)} {have} pictures by other settings there: {are} asked for again"


def count_images(
    images: Any, out_dir: str | Path, *, settings: dict[str, Any] | None = None, resume: bool = True
) -> Counts:
    """Count the images of a run, and those that are done.

    An image is done if the ledger says so and its pictures are there. A run also compares the image's digest, so it
    makes one again whose file has changed since; here that one counts as done. A file that has no record under its path
    is read only if a record has its size, since it may have been moved.

    Parameters
    ----------
    images, out_dir, resume
        See `Client.map`.
    settings
        The settings of the run, as `settings_of` returns them: an image counts as done if its last record has the
        same. None counts every image that has any.

    Raises
    ------
    InvalidRequestError
        If the folder can't be written, no image is found, or `images` is an iterator, which counting would use up.
    """
    (folder := open_folder(out_dir)).check(write=False)
    items = Items(images, folder.address)
    if items.is_once:
        raise InvalidRequestError(
            f"images is a {type(images).__name__}, which counting would use up; give a list, a folder or a pattern",
            field="images",
        )
    found = done = other = 0
    size: int | None = 0
    hosts: dict[str, None] = {}  # In the order in which they come first.
    with _known(folder, settings, resume=resume) as known:
        for item in items:
            found += 1
            ready = _ready(item)
            if ready is not None and known is not None and known.finds(ready):
                done += 1
                continue
            if isinstance(item.image, str) and not item.is_file and item.image[:5].lower() != "data:":
                hosts[host_of(item.image)] = None
            other += ready is not None and known is not None and known.has_other(ready.item)
            if size is not None:
                own = None if ready is None or isinstance(ready.image, Source) else Known.size(ready)
                if own is None and item.is_file:
                    own = 0  # A missing file fails in its turn.
                size = None if own is None else size + own
    return Counts(found, done, size, tuple(hosts), other)


@contextlib.contextmanager
def _known(folder: Folder, settings: dict[str, Any] | None, *, resume: bool) -> Iterator[Known | None]:
    """Give what the folder's ledger says is done by the same settings; None without a ledger."""
    file = None
    if resume:
        with contextlib.suppress(OSError):
            file = read_ledger(folder)
    if file is None:
        yield None
        return
    try:
        is_same = comparison(settings) if settings is not None else (lambda _: True)
        yield Known(LedgerLines(file), folder, is_same)
    finally:
        os.close(file)


def _ready(item: Item) -> ReadyItem | None:
    try:
        return item.ready()
    except Exception:  # noqa: BLE001 - a foreign object's methods may raise anything; it fails in its turn
        return None
