"""The items of a bulk run: every kind of input becomes items, one by one, and no image is read before its turn.

The ledger tells items apart by their ids: the path as it was given, or the index or label and a hash of the content.
Seeds and file names come from the image's bytes, which a worker reads: an image has the same pictures under any id.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from ipy_imgvar.errors import InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.images.formats import SEARCHED
from ipy_imgvar.images.kinds import inherits, members
from ipy_imgvar.images.source import Source, load_sources, missing_file
from ipy_imgvar.plain import file_stem
from ipy_imgvar.results.variations import Variation
from ipy_imgvar.storage.addresses import fault_of, is_address, local_path, shown_address
from ipy_imgvar.storage.objects import Object, listing, stat

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

__all__ = ["Item", "Items", "ReadyItem", "digest"]

#: File names that are sorted at a time: a folder's names come in order up to this many, and a folder of a million takes
#: no more memory than one of this size.
_SORTED_AT_ONCE: Final = 10_000
#: Texts that begin so are addresses; any other text is a path or a pattern.
_URL: Final = re.compile(r"(?i)(https?|data):")
#: Hexadecimal digits of a content's hash in an id: 48 bits, which tell the items of one index or label apart.
_HASH_DIGITS: Final = 12
#: Columns that the message about a data frame lists.
_SHOWN_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True)
class ReadyItem:
    """An item whose turn has come, in a form that can be sent to another process.

    Parameters
    ----------
    item
        The item's id.
    stem
        The beginning of its pictures' names; a hash of its bytes follows.
    source
        The source's name in the ledger: the path as it was given, or a description.
    image
        An absolute path, an address, a URL, or a `Source` in memory.
    is_file
        Whether `source` is a path.
    size
        The size of an object in bytes, as a listing says; else None.
    version
        What a listing says of an object that changes when its content does, such as its ETag; else None.
    """

    item: str
    stem: str
    source: str
    image: str | Source = field(repr=False)
    is_file: bool
    size: int | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a run, as it was given; `ready` examines it.

    Parameters
    ----------
    index
        Its position in the run, from 0.
    image
        A path or an address as text, or any other image that the client takes.
    is_file
        Whether `image` is a path.
    label
        The label of its pandas row; None for an image from elsewhere.
    is_object
        Whether `image` is the address of an object, or of a file that a web page lists.
    size, version
        What a listing says of such an object; see `ReadyItem`.
    """

    index: int
    image: Any = field(repr=False)
    is_file: bool
    label: Any = None
    is_object: bool = False
    size: int | None = None
    version: str | None = None

    @property
    def label_or_index(self) -> str:
        """The name of an item that has no path."""
        return str(self.index if self.label is None else self.label)

    def ready(self) -> ReadyItem:
        """Return the item as a worker needs it; an image in memory is encoded, and no file is read.

        Raises
        ------
        InvalidImageError
            If the object is no image of a kind that the client takes.
        """
        if self.is_file:
            # "./photos" and "photos" are the same folder, and must not be paid for twice.
            given = os.path.normpath(self.image).replace(os.sep, "/")
            path = os.path.join(os.getcwd(), os.path.expanduser(self.image))  # noqa: PTH109, PTH111, PTH118 - 20 times as fast as Path
            stem = os.path.splitext(os.path.basename(given))[0]  # noqa: PTH119, PTH122 - likewise
            return ReadyItem(given, file_stem(stem), given, path, is_file=True)
        if self.is_object:
            return self._ready_object()
        if isinstance(self.image, str):
            # The address may hold a signature, so only its hash goes into the id.
            name = f"{self.label_or_index}-{hashlib.sha256(self.image.encode()).hexdigest()[:_HASH_DIGITS]}"
            kind = "data URL" if self.image[:5].lower() == "data:" else "URL"
            return ReadyItem(
                name,
                file_stem(self.label_or_index),
                f"{kind} {self.label_or_index}",
                self.image,
                is_file=False,
            )
        source = load_sources(self.image, name=f"image {self.label_or_index}")[0]
        # The encoded bytes are about a tenth as long as the pixels, so they are sent to the worker.
        source = Source(source.name, data=source.read())
        return ReadyItem(
            f"{self.label_or_index}-{source.sha256[:_HASH_DIGITS]}",
            file_stem(self.label_or_index),
            source.name,
            source,
            is_file=False,
        )

    def _ready_object(self) -> ReadyItem:
        # Whoever has the ledger may know where the image lies, but not the password that opens it.
        given = shown_address(self.image)
        name = given.partition("::")[0].rstrip("/").rpartition("/")[2]
        stem = PurePosixPath(unquote(name) if _URL.match(given) else name).stem
        return ReadyItem(
            given,
            file_stem(stem),
            given,
            self.image,
            is_file=False,
            size=self.size,
            version=self.version,
        )


def digest(item: str) -> bytes:
    """Return the SHA-256 of an item's id; an id may hold any bytes that a file name may."""
    return hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest()


class Items:
    """The images of a bulk run; iteration searches folders and patterns as it goes.

    Parameters
    ----------
    images
        A folder, a pattern, anything that `Client.variations` takes, a pandas Series or a data frame of one column, or
        an iterable of these. A folder stands for the images right in it; `**` in a pattern also searches subfolders.
        Either may be an address: s3://bucket/photos, s3://bucket/**/*.png, https://host/photos/ (a page of links).
    out_dir
        The run's output folder, a path or an address, which no search of a folder or pattern enters.

    Raises
    ------
    InvalidRequestError
        If `images` is a data frame of several columns, or one path or pattern without a file.
    """

    def __init__(self, images: Any, out_dir: str | Path) -> None:
        self._out_is_address = isinstance(out_dir, str) and is_address(out_dir)
        self._out = _place(str(out_dir)) if self._out_is_address else os.path.abspath(out_dir)  # noqa: PTH100
        self._out = f"{self._out.rstrip(os.sep)}{'/' if self._out_is_address else os.sep}"
        #: Whether a search has found files in the output folder.
        self._has_left_out = False
        #: Whether `images` is an iterator, which counting would use up; an open file is one image.
        self.is_once = isinstance(images, Iterator) and not hasattr(images, "read")
        self._labelled = _is_pandas(images)
        if self._labelled:
            self._images: Any = _column(images)
        elif (several := members(images)) is not None:
            self._images = several
        elif _is_iterable(images):
            self._images = images
        else:
            self._images = [images]
            self._refuse_missing(images)

    def _refuse_missing(self, image: Any) -> None:
        """Raise at once for a path or pattern without a file that is the run's only item."""
        if not isinstance(image, (str, os.PathLike)):
            return
        text = local_path(os.fsdecode(image))
        if wrong := fault_of(text):
            raise InvalidImageError(wrong)
        if _URL.match(text):
            return
        if is_address(text) and not _is_searched(text):
            stat(text)
            return
        path = os.path.expanduser(text)  # noqa: PTH111 - Path would drop a leading "./"
        first = next(iter(self), None)
        if first is None or first.image != text or os.path.isfile(path):  # noqa: PTH113
            return
        if self._has_left_out:
            raise InvalidRequestError(
                "out_dir is the folder of the images, or one above it, and a run takes no image from its out_dir; "
                f"choose another, such as {self._out}variations",
                field="out_dir",
            )
        if is_address(text):
            raise InvalidImageError(
                f"no image was found at {shown_address(text)}; looked for {', '.join(SEARCHED)} right in it; a "
                "pattern such as s3://bucket/**/*.png looks deeper"
            )
        if os.path.isdir(path):  # noqa: PTH112
            raise InvalidImageError(
                f"{shown(text)} holds no image right in it; looked for {', '.join(SEARCHED)}; a pattern such as "
                f"{os.path.join(text, '**', '*.png')} looks deeper"  # noqa: PTH118
            )
        if glob.has_magic(text):
            raise InvalidImageError(f"no file matches {shown(text)}; looked in {Path.cwd()}")
        raise missing_file(Path(path))

    @property
    def is_plain(self) -> bool:
        """Whether another thread may count the items: a foreign iterable may belong to the caller's thread."""
        return self._labelled or isinstance(self._images, (list, tuple))

    def count(self, stop: threading.Event | None = None) -> int | None:
        """Return how many items there are, or None for an iterator, which counting would use up, or after a stop."""
        if self.is_once:
            return None
        found = 0
        for _ in self:
            if stop is not None and stop.is_set():
                return None
            found += 1
        return found

    def __iter__(self) -> Iterator[Item]:
        pairs = self._images.items() if self._labelled else ((None, image) for image in self._images)
        index = 0
        for label, image in pairs:
            for single, is_file in self._expand(image):
                if isinstance(single, Object):
                    yield Item(index, single.address, False, label, True, single.size, single.version)  # noqa: FBT003
                else:
                    yield Item(index, single, is_file, label)
                index += 1

    def _expand(self, image: Any) -> Iterator[tuple[Any, bool]]:
        """Yield the single images that one object stands for, and whether each is a path."""
        if isinstance(image, Source) and image.path is not None:
            yield str(image.path), True
        elif (several := members(_column(image) if _is_pandas(image) else image)) is not None:
            yield from chain.from_iterable(map(self._expand, several))
        elif isinstance(image, (str, os.PathLike)) and not isinstance(image, Variation):
            text = local_path(os.fsdecode(image))
            if is_address(text) or _URL.match(text):
                for each in self._objects(text):
                    yield each, False
            else:
                path = None
                for path in self._paths(text):
                    yield path, True
                if path is None:  # The item then fails in its turn, and the result names it.
                    yield text, True
        else:
            yield image, False

    def _paths(self, text: str) -> Iterable[str]:
        """Return the paths that a path, folder or pattern stands for."""
        # The usual case, without a look at the disk: a missing file fails in its turn.
        if text.lower().endswith(SEARCHED) and not glob.has_magic(text):
            return (text,)
        expanded = os.path.expanduser(text)  # noqa: PTH111 - Path would drop a leading "./"
        if os.path.isdir(expanded):  # noqa: PTH112 - Path raises on a null byte
            return self._outside(_scan(expanded, _is_image_name))
        if not glob.has_magic(text) or os.path.lexists(expanded):
            return (text,)
        head, tail = os.path.split(expanded)
        if glob.has_magic(head) or "**" in tail or not tail:
            matches = glob.iglob(expanded, recursive=True)  # noqa: PTH207 - Path.glob drops a leading "./"
            return self._outside(filter(os.path.isfile, matches))
        # A pattern in the last part only: `_scan` holds fewer names in memory than `glob` does.
        match = re.compile(fnmatch.translate(tail)).match
        if not os.path.isdir(head or os.curdir):  # noqa: PTH112
            return ()
        return self._outside(_scan(head, lambda name: match(name) is not None))

    def _objects(self, text: str) -> Iterator[Object | str]:
        """Yield the objects that an address stands for, as the listing goes; a missing one fails in its turn."""
        one = Object(text, None, None) if is_address(text) else text
        if not _is_searched(text):
            yield one
            return
        is_pattern = glob.has_magic(shown_address(text))
        is_empty = True
        for found in listing(text, wanted=None if is_pattern else _is_image_name):
            if self._out_is_address and _place(found.address).startswith(self._out):
                self._has_left_out = True
            else:
                is_empty = False
                yield found
        if is_empty:
            yield one

    def _outside(self, paths: Iterable[str]) -> Iterator[str]:
        """Leave out the output folder, whose pictures an earlier run made."""
        if self._out_is_address:
            return iter(paths)
        return filter(self._is_outside, paths)

    def _is_outside(self, path: str) -> bool:
        is_outside = not os.path.abspath(path).startswith(self._out)  # noqa: PTH100
        self._has_left_out = self._has_left_out or not is_outside
        return is_outside


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(SEARCHED)


def _is_searched(address: str) -> bool:
    """Return whether an address stands for what is listed at it: a folder or a pattern."""
    if is_address(address):
        shown = shown_address(address)
        link = shown.partition("::")[0]
        return glob.has_magic(shown) or not _is_image_name(link if "://" in link else shown)
    # An address of the web may be of an image that has no extension, and "?" begins its query.
    path = re.split(r"[?#]", address, maxsplit=1)[0]
    return address[:4].lower() == "http" and (path.endswith("/") or "*" in path)


def _place(address: str) -> str:
    """Return an address in one spelling, so that it can be compared with others."""
    protocol, _, rest = shown_address(address).partition("://")
    protocol = {"s3a": "s3", "gcs": "gs"}.get(protocol.lower(), protocol.lower())
    return f"{protocol}://{rest.lstrip('/') if protocol == 'memory' else rest}".rstrip("/")


def _scan(folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the paths of the files in a folder whose names are wanted and begin with no dot."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            names = (
                entry.name
                for entry in entries
                if entry.name[0] != "." and wanted(entry.name) and entry.is_file()
            )
            while chunk := sorted(islice(names, _SORTED_AT_ONCE)):
                for name in chunk:
                    yield os.path.join(folder, name)  # noqa: PTH118 - a Path costs ten times as much
    except OSError as exc:
        raise InvalidImageError(f"the folder {shown(folder)} can't be read ({exc.strerror or exc})") from exc


def _is_pandas(value: Any) -> bool:
    return inherits(value, "pandas.DataFrame", "pandas.Series", "pandas.Index")


def _column(value: Any) -> Any:
    """Return the one column of a pandas object, as a Series."""
    if value.ndim == 1:
        return value if hasattr(value, "items") else value.to_series()
    if len(value.columns) != 1:
        names = ", ".join(map(str, islice(value.columns, _SHOWN_COLUMNS)))
        raise InvalidRequestError(
            f"images is a data frame with {len(value.columns)} columns; pass the one that holds the images, such as "
            f'frame["path"]; it has: {names}',
            field="images",
        )
    return value.iloc[:, 0]


def _is_iterable(value: Any) -> bool:
    """Return whether a value holds several images, as generators and sets do; an array or an open file is one image."""
    one = (str, bytes, bytearray, memoryview, os.PathLike, Source, Variation)
    if isinstance(value, one) or any(hasattr(value, name) for name in ("read", "__array__", "savefig")):
        return False
    return isinstance(value, Iterable) and not inherits(value, "PIL.Image", "PIL.Iterator")
