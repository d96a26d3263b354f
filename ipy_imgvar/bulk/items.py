"""What a bulk run is to work on: anything becomes items, found one by one, and nothing is read before its turn.

An item has an id that says nothing of its place in the run or of the machine, since seeds, file names and the ledger
hang on it: of a file, the path as it was given; of anything else, its index or label and a hash of its content.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.images.formats import SEARCHED
from ipy_imgvar.images.kinds import inherits, members
from ipy_imgvar.images.source import Source, load_sources, missing_file
from ipy_imgvar.plain import file_stem
from ipy_imgvar.results.variations import Variation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Item", "Items", "Ready", "digest"]

#: Names of a folder are sorted this many at a time, so that a folder of a million takes no more memory.
_SORTED_AT_ONCE: Final = 10_000
_URL: Final = re.compile(r"(?i)(https?|data):")


@dataclass(frozen=True, slots=True)
class Ready:
    """An item whose turn has come.

    Parameters
    ----------
    item
        Its id.
    stem
        What the names of its pictures begin with; with `digest(item)` they are unique.
    source
        What the ledger calls the source: the path as it was given, or a name.
    image
        An absolute path, a URL, or a `Source` in memory: all of them can be sent to another process.
    is_file
        Whether `source` is a path.
    """

    item: str
    stem: str
    source: str
    image: str | Source
    is_file: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One image to work on, as it was given; `ready` looks at it.

    Parameters
    ----------
    index
        Its place, from 0.
    image
        A path as text, or anything else that the client takes.
    is_file
        Whether `image` is a path.
    label
        The label of its row where it came from pandas, else None.
    """

    index: int
    image: Any
    is_file: bool
    label: Any = None

    @property
    def place(self) -> str:
        """What an item without a path is called: the label, else the index."""
        return str(self.index if self.label is None else self.label)

    def ready(self) -> Ready:
        """Return what a worker needs; reads what lies in memory, and no file.

        Raises
        ------
        InvalidImageError
            If it is no kind of image.
        """
        if self.is_file:
            # "./photos" and "photos" are the same folder, and a server is not to be paid twice for it.
            given = os.path.normpath(self.image).replace(os.sep, "/")
            path = os.path.join(os.getcwd(), os.path.expanduser(self.image))  # noqa: PTH109, PTH111, PTH118 - 20 times as fast
            stem = os.path.splitext(os.path.basename(given))[0]  # noqa: PTH119, PTH122 - likewise
            return Ready(given, file_stem(stem), given, path, is_file=True)
        if isinstance(self.image, str):
            # The address may hold a signature, so only its hash goes into the id.
            name = f"{self.place}-{hashlib.sha256(self.image.encode()).hexdigest()[:12]}"
            kind = "data URL" if self.image[:5].lower() == "data:" else "URL"
            return Ready(name, file_stem(self.place), f"{kind} {self.place}", self.image, is_file=False)
        source = load_sources(self.image, name=f"image {self.place}")[0]
        # Its bytes, not its pixels, travel to a worker: they are a tenth as long.
        source = Source(source.name, data=source.read())
        return Ready(
            f"{self.place}-{source.sha256[:12]}", file_stem(self.place), source.name, source, is_file=False
        )


def digest(item: str) -> bytes:
    """Return 32 bytes that stand for an item's id, which may hold anything a file name may."""
    return hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest()


class Items:
    """The images of a bulk run; iterating finds them one by one.

    Parameters
    ----------
    images
        A folder, a pattern, anything that `Client.variations` takes, a pandas Series or a data frame of one column, or
        an iterable of these. Of a folder, the images right in it are taken; `**` in a pattern goes deeper.
    out_dir
        What lies in it is left out where a folder or pattern is searched.

    Raises
    ------
    InvalidRequestError
        If nothing can be found by it.
    """

    def __init__(self, images: Any, out_dir: Path) -> None:
        self._out = os.path.join(os.path.abspath(out_dir), "")  # noqa: PTH100, PTH118 - compared as text
        self._once = isinstance(images, Iterator) and not hasattr(images, "read")
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
        """Raise at once what would fail as the only item: a path or pattern that leads nowhere."""
        if not isinstance(image, (str, os.PathLike)) or _URL.match(os.fsdecode(image)):
            return
        text = os.fsdecode(image)
        path = os.path.expanduser(text)  # noqa: PTH111 - Path would drop a leading "./"
        if next(iter(self)).image != text or os.path.isfile(path):  # noqa: PTH113
            return
        if os.path.isdir(path):  # noqa: PTH112
            raise InvalidImageError(
                f"{shown(text)} holds no image right in it; looked for {', '.join(SEARCHED)}; a pattern such as "
                f"{os.path.join(text, '**', '*.png')} looks deeper"  # noqa: PTH118
            )
        if glob.has_magic(text):
            raise InvalidImageError(f"no file matches {shown(text)}; looked in {Path.cwd()}")
        raise missing_file(Path(path))

    def count(self) -> int | None:
        """Return how many there are, or None where finding out would use them up."""
        return None if self._once else sum(1 for _ in self)

    def __iter__(self) -> Iterator[Item]:
        pairs = self._images.items() if self._labelled else ((None, image) for image in self._images)
        index = 0
        for label, image in pairs:
            for found, is_file in self._expanded(image):
                yield Item(index, found, is_file, label)
                index += 1

    def _expanded(self, image: Any) -> Iterator[tuple[Any, bool]]:
        if isinstance(image, Source) and image.path is not None:
            yield str(image.path), True
        elif (several := members(_column(image) if _is_pandas(image) else image)) is not None:
            yield from chain.from_iterable(map(self._expanded, several))
        elif isinstance(image, (str, os.PathLike)) and not isinstance(image, Variation):
            text = os.fsdecode(image)
            if _URL.match(text):
                yield text, False
            else:
                path = None
                for path in self._paths(text):
                    yield path, True
                if path is None:  # It fails when its turn comes, rather than being passed over in silence.
                    yield text, True
        else:
            yield image, False

    def _paths(self, text: str) -> Iterable[str]:
        if text.lower().endswith(SEARCHED) and not glob.has_magic(text):
            return (text,)
        expanded = os.path.expanduser(text)  # noqa: PTH111 - Path would drop a leading "./"
        if os.path.isdir(expanded):  # noqa: PTH112 - of a null byte it says no, Path raises
            return self._outside(_scan(expanded, lambda name: name.lower().endswith(SEARCHED)))
        if not glob.has_magic(text) or os.path.lexists(expanded):
            return (text,)
        head, tail = os.path.split(expanded)
        if glob.has_magic(head) or "**" in tail or not tail:
            matches = glob.iglob(expanded, recursive=True)  # noqa: PTH207 - Path.glob gives other paths than were asked
            return self._outside(filter(os.path.isfile, matches))
        match = re.compile(fnmatch.translate(tail)).match
        if not os.path.isdir(head or os.curdir):  # noqa: PTH112
            return ()
        return self._outside(_scan(head, lambda name: match(name) is not None))

    def _outside(self, paths: Iterable[str]) -> Iterator[str]:
        """Leave out what an earlier run has made."""
        return (path for path in paths if not os.path.abspath(path).startswith(self._out))  # noqa: PTH100


def _scan(folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
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
    if value.ndim == 1:
        return value if hasattr(value, "items") else value.to_series()
    if len(value.columns) != 1:
        names = ", ".join(map(str, islice(value.columns, 8)))
        raise InvalidRequestError(
            f"images is a data frame with {len(value.columns)} columns; pass the one that holds the images, such as "
            f'frame["path"]; it has: {names}',
            field="images",
        )
    return value.iloc[:, 0]


def _is_iterable(value: Any) -> bool:
    """Return whether a value is several images, not one: generators and sets are, arrays and open files are not."""
    one = (str, bytes, bytearray, memoryview, os.PathLike, Source, Variation)
    if isinstance(value, one) or any(hasattr(value, name) for name in ("read", "__array__", "savefig")):
        return False
    return isinstance(value, Iterable) and not inherits(value, "PIL.Image", "PIL.Iterator")
