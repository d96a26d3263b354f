"""The result of a run: `Variation`, one picture, and `Variations`, a sequence of them.

A picture is held as the bytes that the engine gave, in memory or in a file of the store; every other form is computed
on demand. `representations` shows results in a notebook, and `forms` returns them in the caller's response format.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.formats import WRITTEN, subtype_of
from ipy_imgvar.images.source import Source
from ipy_imgvar.plain import plain
from ipy_imgvar.results import files
from ipy_imgvar.results.representations import Represented

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.request import Size, VariationRequest

__all__ = ["Variation", "Variations"]


class Variation(Represented):
    """One picture.

    Parameters
    ----------
    data
        The encoded picture, byte for byte as the engine gave it, or None when `path` has it.
    source
        The image that was varied.
    mime_type
        The type of the bytes, such as "image/png".
    size
        (width, height) in pixels.
    index
        The picture's number among the variations of its source, from 1.
    seed
        The seed of the engine's random numbers, or None.
    parameters
        All settings that make the picture again; JSON-safe, without paths, user, headers or address.
    remote_url
        The picture's address on a server, or None.
    path
        The file of its original in the store, or None.
    reduce_to
        The request's (width, height) in pixels, where the server could only make a larger picture. `original` is that
        picture, and `bytes` are reduced to fit.
    """

    __slots__ = (
        "_data",
        "_lease",
        "_thumbnail",
        "index",
        "mime_type",
        "original_size",
        "parameters",
        "path",
        "reduce_to",
        "remote_url",
        "seed",
        "size",
        "source",
    )

    def __init__(
        self,
        data: bytes | None,
        *,
        source: Source,
        mime_type: str,
        size: Size,
        index: int = 1,
        seed: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        remote_url: str | None = None,
        path: Path | None = None,
        reduce_to: Size | None = None,
    ) -> None:
        self._data = data
        self._lease: object = None
        self._thumbnail: tuple[int, tuple[builtins.bytes, str, Size]] | None = None
        self.source = source
        self.mime_type = mime_type
        self.original_size = size
        self.reduce_to = reduce_to
        self.size = size if reduce_to is None else _contained(size, reduce_to)
        self.index = index
        self.seed = seed
        self.parameters = dict(parameters or {})
        self.remote_url = remote_url
        self.path = path

    def kept_at(self, path: Path, lease: object) -> Variation:
        """Return the same picture as a file in the store, read on demand.

        Parameters
        ----------
        path
            The file of the original.
        lease
            An object that protects the file as long as it is referenced; the picture holds it.
        """
        stored = Variation(
            None,
            source=self.source,
            mime_type=self.mime_type,
            size=self.original_size,
            index=self.index,
            seed=self.seed,
            parameters=self.parameters,
            remote_url=self.remote_url,
            path=path,
            reduce_to=self.reduce_to,
        )
        stored._lease = lease
        return stored

    @property
    def name(self) -> str:
        """A short name for captions and files: the source's stem and the number."""
        return f"{self.source.stem}-{self.index}"

    def as_source(self) -> Source:
        """Return the picture as an image to vary again."""
        # The extension tells `stem` where the name ends: "my.cat-1" alone would lose its "-1".
        name = f"{self.name}.{subtype_of(self.mime_type)}"
        return Source(name, path=self.path, data=None if self.path else self.bytes)

    @property
    def is_there(self) -> bool:
        """Whether `bytes` can be read: false when the store has removed the original."""
        return self._data is not None or (self.path is not None and self.path.is_file())

    @property
    def bytes(self) -> builtins.bytes:
        """The encoded picture, reduced where the request's size is smaller than the server makes.

        Raises
        ------
        ImageVariationError
            If the store no longer has the original.
        """
        data = self.original
        if self.size == self.original_size:
            return data
        from ipy_imgvar.images import codec

        return codec.shrink(data, self.size)

    @property
    def original(self) -> builtins.bytes:
        """The encoded picture byte for byte as the engine gave it; see `bytes`."""
        if self._data is not None:
            return self._data
        try:
            return Path(self.path or "").read_bytes()
        except OSError as exc:
            raise ImageVariationError(
                f"{self.name}: its original {self.path} is no longer in the store ({exc.strerror}); make it again"
            ) from exc

    @property
    def base64(self) -> str:
        """The encoded picture as base64 text, without a header."""
        return base64.b64encode(self.bytes).decode("ascii")

    @property
    def url(self) -> str:
        """The picture's address on a server, else a data: URL."""
        return self.remote_url or f"data:{self.mime_type};base64,{self.base64}"

    @property
    def image(self) -> Image:
        """The decoded picture: a PIL image of mode L, RGB or RGBA, a new one each time."""
        from ipy_imgvar.images import codec

        return codec.open_image(self.bytes, self.name)

    def thumbnail(self, side_px: int) -> tuple[builtins.bytes, str, Size]:
        """Return the picture reduced for display: see `thumbnails.thumbnail`.

        The last thumbnail is cached, since a display that is updated shows it many times.
        """
        if self._thumbnail is None or self._thumbnail[0] != side_px:
            from ipy_imgvar.images.thumbnails import thumbnail

            self._thumbnail = (side_px, thumbnail(self.original, side_px))
        return self._thumbnail[1]

    def to_numpy(self) -> NDArray[np.uint8]:
        """Return the pixels, shape (H, W, 3), or (H, W, 4) where there is transparency; uint8."""
        from ipy_imgvar.images import codec

        return codec.to_array(self.image)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        if copy is False:
            raise ValueError("a Variation is decoded into a new array each time; copy=False is not possible")
        array = self.to_numpy()
        return array if dtype is None else array.astype(dtype)

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file; the extension (.png, .jpg, .jpeg, .webp) decides the format.

        A picture that has this format already is written unchanged. Missing folders are made, an existing file is
        replaced in one step, and the path is returned.

        Raises
        ------
        InvalidRequestError
            If the path has another extension, or is a folder.
        ImageVariationError
            If the file can't be written.
        """
        return Variations([self]).save(path)[0]

    def __repr__(self) -> str:
        width, height = self.size
        return plain(f"<Variation {self.name}: {width}x{height} {self.mime_type}, seed {self.seed}>")


def _contained(size: Size, limit: Size) -> Size:
    """Return the largest size, up to `size` itself, that fits into `limit` with the same aspect ratio."""
    scale = min(1.0, limit[0] / size[0], limit[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class Variations(Represented, Sequence[Variation]):
    """The pictures of a run, source by source.

    Parameters
    ----------
    pictures
        In the order of their sources.
    engine, model
        The names of the engine and the model, or None.
    request
        The run's request, without its image; None for a sequence that no run returned.
    elapsed
        The run's duration in seconds.
    usage
        The server's token counts, or None.
    warnings
        Messages for the caller, a line each.
    status
        `done`, `failed`, `interrupted` or `running`.
    started
        When the run began, with its time zone, or None.
    """

    def __init__(
        self,
        pictures: Iterable[Variation] = (),
        *,
        engine: str | None = None,
        model: str | None = None,
        request: VariationRequest | None = None,
        elapsed: float = 0.0,
        usage: Mapping[str, Any] | None = None,
        warnings: Iterable[str] = (),
        status: str = "done",
        started: datetime | None = None,
    ) -> None:
        self._pictures = tuple(pictures)
        self.engine = engine
        self.model = model
        self.request = request
        self.elapsed = elapsed
        self.usage = dict(usage) if usage is not None else None
        self.warnings = list(warnings)
        self.status = status
        self.started = started

    @overload
    def __getitem__(self, index: int) -> Variation: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Variation | Self:
        found = self._pictures[index]
        return self.with_pictures(found) if isinstance(found, tuple) else found

    def with_pictures(self, pictures: Iterable[Variation]) -> Self:
        """Return the same run with other pictures, such as some of its own."""
        return type(self)(
            pictures,
            engine=self.engine,
            model=self.model,
            request=self.request,
            elapsed=self.elapsed,
            usage=self.usage,
            warnings=self.warnings,
            status=self.status,
            started=self.started,
        )

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def bytes(self) -> list[builtins.bytes]:
        """The encoded pictures."""
        return [each.bytes for each in self]

    @property
    def base64(self) -> list[str]:
        """The encoded pictures as base64 text."""
        return [each.base64 for each in self]

    @property
    def urls(self) -> list[str]:
        """The addresses on a server, else data: URLs."""
        return [each.url for each in self]

    @property
    def images(self) -> list[Image]:
        """The decoded pictures."""
        return [each.image for each in self]

    def to_numpy(self) -> NDArray[np.uint8]:
        """Return the pixels as one array of shape (n, H, W, 3), or (n, H, W, 4) where one has transparency; uint8.

        Raises
        ------
        ImageVariationError
            If there are no pictures, or they differ in size.
        """
        import numpy as np

        sizes = sorted({each.size for each in self})
        if len(sizes) != 1:
            received = ", ".join(f"{width}x{height}" for width, height in sizes) or "no pictures"
            raise ImageVariationError(
                f"an array needs one size, these are {received}; use [v.to_numpy() for v in ...]"
            )
        arrays = [each.to_numpy() for each in self]
        channels = max(array.shape[2] for array in arrays)
        opaque = ((0, 0), (0, 0), (0, 1))
        return np.stack(
            [
                array if array.shape[2] == channels else np.pad(array, opaque, constant_values=255)
                for array in arrays
            ]
        )

    def save(self, where: str | Path) -> list[Path]:
        """Write every picture to a file and return the paths.

        Parameters
        ----------
        where
            A folder (one that exists, or a path without an extension), see `save_into`; or a pattern for
            `files.expand_pattern`, whose extension decides the format. Existing files of the pattern are replaced.

        Raises
        ------
        InvalidRequestError
            If the pattern gives two pictures one name, or has an extension that can't be written.
        ImageVariationError
            If a file can't be written.
        """
        target = Path(where)
        with contextlib.suppress(RuntimeError):  # There is no such user; the pattern's own check says so.
            target = target.expanduser()
        if target.is_dir() or not target.suffix:
            return self.save_into(target)
        stems = [each.source.stem for each in self]
        return self.save_as(files.expand_pattern(str(target), stems, tuple(WRITTEN)))

    def save_as(self, paths: Sequence[Path]) -> list[Path]:
        """Write each picture to its path, and return the paths; see `save`."""
        return files.save_as(self, paths)

    def save_into(self, folder: Path, numbers: Iterable[int] | None = None) -> list[Path]:
        """Write every picture into a folder under an unused name; see `files.save_into`."""
        return files.save_into(self, folder, numbers)

    def __repr__(self) -> str:
        maker = f" by {self.engine}" if self.engine else ""
        state = "" if self.status == "done" else f", {self.status}"
        return plain(f"<Variations: {len(self)} picture{'' if len(self) == 1 else 's'}{maker}{state}>")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's signature
        from ipy_imgvar.results import gallery

        printer.text(repr(self) if cycle or not self else gallery.text(self))
