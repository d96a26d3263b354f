"""Any kind of image input becomes a `Source`: a name, and the image when it is asked for.

Files and addresses are read when needed, never before. Arrays, PIL images and open files may change later, so they are
copied at once. `codec` decodes, and `fetch` fetches.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from ipy_imgvar.errors import ImageVariationError, InvalidImageError, shown
from ipy_imgvar.images.dataurl import decode_data_url
from ipy_imgvar.images.formats import SEARCHED
from ipy_imgvar.images.kinds import inherits, members
from ipy_imgvar.plain import file_stem, plain
from ipy_imgvar.storage.addresses import host_of, is_address, local_path, name_of
from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

__all__ = [
    "IMAGE_KINDS",
    "Source",
    "decode_data_url",
    "load_sources",
    "missing_file",
]

#: The kinds of value that are taken as an image, as messages list them.
IMAGE_KINDS = (
    "a path, an http(s) or data: URL, an address such as s3://bucket/cat.png, bytes, a binary file object, a PIL "
    "image, a numpy array (or anything with __array__), a matplotlib figure, an IPython Image, a Variation, or a "
    "list of these"
)

#: Only ASCII's punctuation, and spaces: letters, marks and joiners of all scripts, and emoji, are part of a name.
_PUNCTUATION = re.compile(r"[^\S\n]|[!-,./:-@\[-^`{-~]")


class Source:
    """One input image.

    Parameters
    ----------
    name
        A file's name, or a description such as "array of shape (8, 8, 3)".
    path
        Where to read it, or None.
    data
        Its encoded bytes, or None.
    picture
        A decoded image, or None.
    url
        An address that `fetch` or `storage.objects` reads, such as https://host/cat.png or s3://bucket/cat.png, or
        None. One of `path`, `data`, `picture` and `url` is enough; without any the source is
        only a name, as in a history whose pictures came from memory.
    """

    __slots__ = ("_data", "_digest", "_picture", "_url", "name", "path")

    def __init__(
        self,
        name: str,
        *,
        path: Path | None = None,
        data: bytes | None = None,
        picture: Image | None = None,
        url: str | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self._data = data
        self._picture = picture
        self._url = url
        self._digest: str | None = None

    def __repr__(self) -> str:
        return f"Source({self.name!r})"

    def __str__(self) -> str:
        return plain(self.name)

    @property
    def stem(self) -> str:
        """The name without folders and extension, fit for a file name; see `plain.file_stem`."""
        # A picture of the store lies at a path that says nothing: ".../1.png".
        if self.path is not None and self.path.name == self.name:
            return file_stem(self.path.stem)
        # A description such as "array of shape (8, 8, 3)" becomes one word, "array-of-shape--8--8--3".
        words = _PUNCTUATION.sub("-", PurePosixPath(self.name).stem)
        return file_stem(words.strip("-"))

    @property
    def sha256(self) -> str:
        """The hex digest of the encoded bytes."""
        if self._digest is None:
            self._digest = hashlib.sha256(self.read()).hexdigest()
        return self._digest

    @property
    def host(self) -> str | None:
        """The server or bucket of an address that was not fetched yet, without user and password; None for others."""
        return None if self._url is None else host_of(self._url)

    def read(self) -> bytes:
        """Return the encoded bytes as they came, or a decoded image as a PNG.

        Raises
        ------
        InvalidImageError
            If the file is gone or can't be read.
        ConnectionFailedError
            If it lies at an address that can't be fetched.
        """
        self.fetch()
        if self._data is not None:
            return self._data
        if self.path is not None:
            return self._read_file(self.path)
        if self._picture is not None:
            from ipy_imgvar.images import codec

            return codec.encode_png(self._picture)
        raise InvalidImageError(f"{self.name}: the source was in memory and is gone; pass it again")

    def fetch(self, *, timeout_s: float = 0, check: Callable[[], None] | None = None) -> None:
        """Fetch the image now if the source is an address that was not fetched yet; do nothing for any other source.

        Parameters
        ----------
        timeout_s
            Seconds that all of it may take; 0 means ten minutes.
        check
            Called ten times a second while it waits; raises to break off.

        Raises
        ------
        ImageVariationError
            See `fetch.get` and `storage.objects.read`.
        """
        if self._url is None:
            return
        if in_browser():
            raise InvalidImageError(
                f"{self.name} can't be fetched: Python in a browser has no sockets; put the picture into a file beside "
                "the notebook, and give its path, or give its bytes"
            )
        from ipy_imgvar.images import fetch

        if is_address(self._url):
            from ipy_imgvar.storage import objects

            total_s = timeout_s or fetch.TOTAL_S
            self._data = objects.read(self._url, most_bytes=fetch.MAX_BYTES, timeout_s=total_s, check=check)
        else:
            self._data = fetch.get(self._url, name=self.name, total_s=timeout_s, check=check)
        self._url = None  # It may hold a signature or a password.

    def _read_file(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise missing_file(path) from None
        except OSError as exc:
            raise InvalidImageError(f"{self.name} can't be read ({exc.strerror or exc})") from exc

    def open(self, *, at_least_px: int | None = None) -> Image:
        """Return the decoded image: upright, sRGB, mode L, RGB or RGBA.

        Parameters
        ----------
        at_least_px
            See `codec.open_image`.

        Raises
        ------
        InvalidImageError
            If it is no image, damaged or too large.
        """
        if self._picture is not None:
            return self._picture
        from ipy_imgvar.images import codec

        return codec.open_image(self.read(), self.name, at_least_px=at_least_px)

    @classmethod
    def of_picture(cls, name: str, picture: Image) -> Self:
        """Wrap a PIL image; later changes of it are not seen."""
        from ipy_imgvar.images.modes import copied

        try:
            return cls(name, picture=copied(picture))
        except InvalidImageError as exc:
            raise InvalidImageError(f"the {name}: {exc}") from exc
        except Exception as exc:  # A lazily opened file breaks only here, and may be closed.
            raise InvalidImageError(f"the {name} can't be read ({exc}); open or make it again") from exc


def load_sources(value: Any, *, field: str = "image", name: str | None = None) -> list[Source]:
    """Turn any kind of image into sources: one, or one for each image of a value that holds several.

    Parameters
    ----------
    value
        Any kind of image that `Client.variations` takes; `kinds.members` tells which hold several.
    field
        The name of the argument, for error messages.
    name
        A name for an image without a file name, such as the variable that held it.

    Raises
    ------
    InvalidImageError
        If it is no kind of image, its file is missing or a folder, or its array has an unclear shape or range.
    """
    try:
        return _load(value, field, name)
    except RecursionError as exc:
        raise InvalidImageError(f"{field} is a list that holds itself; pass a flat one", field=field) from exc


def _load(value: Any, field: str, name: str | None) -> list[Source]:
    several = members(value)
    if several is not None:
        if not several:
            raise InvalidImageError(
                f"{field} is an empty {type(value).__name__}; pass at least one image", field=field
            )
        names = [f"{name}[{index}]" if name else None for index in range(len(several))]
        return [
            source
            for item, its_name in zip(several, names, strict=True)
            for source in _load(item, field, its_name)
        ]
    try:
        return [_load_one(value, name)]
    except InvalidImageError as exc:
        exc.field = field
        raise
    except ImageVariationError:
        raise
    except Exception as exc:  # A foreign object may raise anything when it is looked at.
        text = f"{name or 'the image'} ({type(value).__name__}) can't be read ({type(exc).__name__}: {exc})"
        raise InvalidImageError(f"{text}; allowed: {IMAGE_KINDS}", field=field) from exc


def _load_one(value: Any, name: str | None) -> Source:  # noqa: C901, PLR0911
    if isinstance(value, Source):
        return value
    if inherits(value, "ipy_imgvar.Variation"):
        variation: Source = value.as_source()
        return variation
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, os.PathLike):
        return _from_path(Path(os.fsdecode(value)))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Source(name or f"image of {len(value)} bytes", data=bytes(value))
    if inherits(value, "PIL.Image"):
        return Source.of_picture(name or f"PIL image {value.width}x{value.height}", value)
    if hasattr(value, "savefig"):
        return _from_figure(value, name or "figure")
    if inherits(value, "IPython.Image"):
        return _from_ipython(value, name or "IPython image")
    if hasattr(value, "read"):
        return _from_file(value, name or "file object")
    if hasattr(value, "__array__"):
        return _from_arraylike(value, name)
    raise InvalidImageError(
        f"{name or 'the image'} is {shown(value)} ({type(value).__name__}); allowed: {IMAGE_KINDS}"
    )


def _from_text(text: str) -> Source:
    lowered = text[:8].lower()
    if lowered.startswith("data:"):
        return Source("data: URL", data=decode_data_url(text))
    if lowered.startswith(("http://", "https://")):
        # The query and user part stay out of the name: they may hold a signature or a password.
        try:
            parts = urlsplit(text)
        except ValueError as exc:
            raise InvalidImageError(
                f"the address is not valid ({exc}); allowed: http(s)://host/path"
            ) from exc
        if not parts.hostname:
            raise InvalidImageError("the address names no host; allowed: http(s)://host/path")
        name = PurePosixPath(unquote(parts.path)).name or parts.hostname
        return Source(name, url=text)
    if not text or "\0" in text:
        raise InvalidImageError(f"the image is {shown(text)}; allowed: {IMAGE_KINDS}")
    if is_address(text):
        return Source(name_of(text), url=text)
    return _from_path(Path(local_path(text)))


def _from_path(path: Path) -> Source:
    try:
        path = path.expanduser()
        if path.is_dir():
            names = sorted(each.name for each in path.iterdir() if each.suffix.lower() in SEARCHED)
            inside = names[0] if names else "cat.png"
            raise InvalidImageError(f"{path} is a folder; name an image in it, such as {path / inside}")
        if not path.exists():
            raise missing_file(path)
        if not path.is_file():  # Reading a device such as /dev/zero, or a pipe, may never end.
            raise InvalidImageError(f"{path} is a device or pipe; allowed: a file, or open(path, 'rb')")
    except (OSError, RuntimeError) as exc:  # A name too long for the file system, or "~nobody".
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidImageError(f"{shown(str(path))} can't be opened ({reason}); check the path") from exc
    return Source(path.name, path=path)


def missing_file(path: Path) -> InvalidImageError:
    """Return the error for a path without a file; it names up to three near names in the same folder."""
    try:
        # A wrong case or extension of a short name is near too, which difflib's ratio alone doesn't see.
        names = {each.name.lower(): each.name for each in path.parent.iterdir()}
        near = [names[name] for name in difflib.get_close_matches(path.name.lower(), names, n=3)]
    except OSError:
        return InvalidImageError(f"there is no file {path}: its folder {path.parent} does not exist")
    hint = f"; near names there: {', '.join(near)}" if near else f"; looked in {path.parent.absolute()}"
    return InvalidImageError(f"there is no file {path}{hint}")


def _from_figure(figure: Any, name: str) -> Source:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Source(name, data=buffer.getvalue())


def _from_ipython(value: Any, name: str) -> Source:
    """Take the bytes of an `IPython.display.Image`, or the file or URL that it names and did not embed."""
    if isinstance(value.data, bytes):
        return Source(name, data=value.data)
    if location := value.filename or value.url:
        return _from_text(str(location))
    raise InvalidImageError("the IPython Image is empty; make it with data=, filename= or url=")


def _from_file(file: Any, name: str) -> Source:
    try:
        data = file.read()
    except (OSError, ValueError) as exc:  # It is closed, write-only, or decodes a picture's bytes as text.
        raise InvalidImageError(
            f"the file object can't be read ({exc}); open it in binary mode: open(path, 'rb')"
        ) from exc
    if not data and (position := _position_in(file)):
        raise InvalidImageError(
            f"the file object is at its end (byte {position:,}), so there is nothing to read; call its seek(0) first"
        )
    if not isinstance(data, (bytes, bytearray)):
        raise InvalidImageError(
            f"the file object gives {type(data).__name__}; open it in binary mode: open(path, 'rb')"
        )
    own_name = getattr(file, "name", None)
    return Source(Path(own_name).name if isinstance(own_name, str) else name, data=bytes(data))


def _position_in(file: Any) -> int:
    """Return how many bytes of a file were read before, 0 where it can't say."""
    try:
        return int(file.tell())
    except (AttributeError, TypeError, ValueError, OSError):
        return 0


def _from_arraylike(value: Any, name: str | None) -> Source:
    import numpy as np

    from ipy_imgvar.images import codec

    kind = "array" if isinstance(value, np.ndarray) else type(value).__name__
    try:
        # `asarray` would drop a masked array's mask without a word.
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    except Exception as exc:  # A foreign __array__ may raise anything, as torch's does for a tensor on a GPU.
        raise InvalidImageError(f"the {kind} can't become an array ({exc})") from exc
    return Source(name or kind, picture=codec.from_array(array, name or f"the {kind}"))
