"""`Variation`: one picture of a run, its settings and its forms.

A picture is held as the bytes that the engine gave, in memory or in a file of the store; every other form is computed
on demand. `representations` shows results in a notebook, and `forms` returns them in the caller's response format.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.formats import subtype_of
from ipy_imgvar.images.source import Source
from ipy_imgvar.plain import plain
from ipy_imgvar.results import files
from ipy_imgvar.results.axes import shortened, words
from ipy_imgvar.results.representations import Represented

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.request import Size
    from ipy_imgvar.results.measures import Metric

__all__ = ["Variation"]

#: Characters of the values in a repr.
_SETTING_CHARS: Final = 80


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
    combination
        The values of a sweep's axes that made it, JSON-safe; empty outside of a sweep.
    seconds
        Seconds since the picture before it in its run, or since the run's start; None where no run says.
    image_number
        The number of its source among the images of a sweep, from 0; None outside of a sweep.
    """

    __slots__ = (
        "_data",
        "_lease",
        "_similarity",
        "_thumbnails",
        "combination",
        "image_number",
        "index",
        "mime_type",
        "original_size",
        "parameters",
        "path",
        "reduce_to",
        "remote_url",
        "seconds",
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
        combination: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        image_number: int | None = None,
    ) -> None:
        self._data = data
        self._lease: object = None
        self._thumbnails: dict[tuple[int, int | None], tuple[builtins.bytes, str, Size]] = {}
        self._similarity: float | None = None
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
        self.combination = dict(combination or {})
        self.seconds = seconds
        self.image_number = image_number

    def kept_at(self, path: Path, lease: object) -> Variation:
        """Return the same picture as a file in the store, read on demand.

        Parameters
        ----------
        path
            The file of the original.
        lease
            An object that protects the file as long as it is referenced; the picture holds it.
        """
        stored = self.bound_to(self.source, path=path)
        stored._lease = lease  # noqa: SLF001 - an object of this class
        return stored

    def bound_to(
        self, source: Source, *, data: builtins.bytes | None = None, path: Path | None = None
    ) -> Variation:
        """Return the same picture with another object for its source, and its original in `data` or at `path`."""
        return Variation(
            data,
            source=source,
            mime_type=self.mime_type,
            size=self.original_size,
            index=self.index,
            seed=self.seed,
            parameters=self.parameters,
            remote_url=self.remote_url,
            path=path,
            reduce_to=self.reduce_to,
            combination=self.combination,
            seconds=self.seconds,
            image_number=self.image_number,
        )

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

    def thumbnail(self, side_px: int, most_bytes: int | None = None) -> tuple[builtins.bytes, str, Size]:
        """Return the picture reduced for display: see `thumbnails.thumbnail`, and `thumbnails.within` for few bytes.

        Thumbnails are cached, since a display that is updated shows them many times.
        """
        if (side_px, most_bytes) not in self._thumbnails:
            from ipy_imgvar.images import thumbnails

            if most_bytes is None:
                made = thumbnails.thumbnail(self.original, side_px)
            else:
                made = thumbnails.within(self._reduced(side_px), most_bytes)
            self._thumbnails[side_px, most_bytes] = made
        return self._thumbnails[side_px, most_bytes]

    def _reduced(self, side_px: int) -> Image:
        """Return the picture with no side longer than `side_px`, from a thumbnail where one is large enough."""
        from ipy_imgvar.images import codec

        larger = (data for (side, _), (data, *_) in self._thumbnails.items() if side >= side_px)
        return codec.reduced(next(larger, None) or self.original, self.name, side_px)

    @property
    def similarity(self) -> float:
        """How similar the picture is to its source, 0..1: the structural similarity (SSIM), as on the panel's cards.

        1 is the same picture. The source is cropped, padded or stretched as the engine got it. The number is computed
        once, and not again where the source's file changes.

        Notes
        -----
        It compares structure in grey at 256 px. So a change of colour alone is not seen; a shifted, zoomed or mirrored
        copy counts as far away, although nothing in it is new; and details that a thumbnail loses don't count.
        `measure("new_share")` sees shifts, zooms and mirrors for what they are, `measure("histogram")` sees colours.

        Raises
        ------
        ImageVariationError
            If the picture or its source can't be read.

        References
        ----------
        Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
        IEEE Transactions on Image Processing 13(4), 2004.
        """
        return self.measure()

    def measure(self, metric: Metric | None = None, *, sample: Sample | None = None) -> float:
        """Return how similar the picture is to its source as the engine got it, by any measure.

        Parameters
        ----------
        metric
            See `Variations.similarities`; None is "ssim", which is `similarity`.
        sample
            The source's sample, where a caller measures many pictures of one source.

        Raises
        ------
        InvalidRequestError
            If there is no such metric.
        ImageVariationError
            If the picture or its source can't be read.
        """
        from ipy_imgvar.results import measures

        if measures.named(metric) != "ssim":
            return measures.to_source(self, metric, sample)
        if self._similarity is None:
            self._similarity = measures.to_source(self, metric, sample)
        return self._similarity

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
        return files.save([self], path)[0]

    def __repr__(self) -> str:
        width, height = self.size
        made_by = shortened(words({**self.combination, "seed": self.seed}), _SETTING_CHARS)
        return plain(f"<Variation {self.name}: {width}x{height} {self.mime_type}, {made_by}>")


def _contained(size: Size, limit: Size) -> Size:
    """Return the largest size, up to `size` itself, that fits into `limit` with the same aspect ratio."""
    scale = min(1.0, limit[0] / size[0], limit[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
