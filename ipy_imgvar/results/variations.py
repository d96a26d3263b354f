"""`Variations`: the pictures of a run, as a sequence that knows how they were made."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, overload

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.plain import plain
from ipy_imgvar.results import files, frames, measures
from ipy_imgvar.results.representations import Represented, look_of
from ipy_imgvar.results.variation import Variation

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.measures import Metric

__all__ = ["Variation", "Variations"]


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
        other = copy.copy(self)
        other._pictures = tuple(pictures)  # noqa: SLF001 - a copy of this object
        # A result's lists and mappings are its own, so that a caller may change one of two.
        other.warnings = list(self.warnings)
        other.usage = None if self.usage is None else dict(self.usage)
        return other

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

    def similarities(self, metric: Metric | None = None) -> NDArray[np.float64]:
        """Return how similar the pictures are to each other, shape (n, n), symmetric; 1 is the same picture.

        Parameters
        ----------
        metric
            - "ssim" (also None): see `Variation.similarity` for what it does not see.
            - "new_share": 1 minus the share of a picture that is new against the other. A copy that is shifted, zoomed
              up to a quarter or mirrored, in another light, has nothing new; colour is not seen.
            - "histogram": the part that the histograms of 512 colours share. Only colours count, not where they are.
            - "clip:<folder or id>": the cosine of the pictures' embeddings by a CLIP model, 0 where it is below. It
              sees what is shown rather than pixels. The model is a folder, or a repository in the hub's cache; nothing
              is downloaded. It needs the extra `diffusers`.
            - A function of two arrays, uint8 of one shape (H, W, 3), that returns a number. It is called once for each
              pair, with the earlier picture first, and is taken to be symmetric.

            All but a function are from 0 to 1. Pictures are compared at 256 px at most, on white where they are
            transparent; two of different sizes at the smaller width and the smaller height.

        Raises
        ------
        InvalidRequestError
            If there is no such metric, or the model can't be used.
        ImageVariationError
            If a picture can't be read.

        References
        ----------
        Wang et al. 2004 for "ssim"; Swain, Ballard, "Color indexing", International Journal of Computer Vision 7(1),
        1991, for "histogram"; Radford et al., "Learning transferable visual models from natural language supervision",
        2021 (https://arxiv.org/abs/2103.00020), for "clip".
        """
        return measures.between(self, metric)

    def measure(self, metric: Metric | None = None) -> list[float]:
        """Return how similar each picture is to its source, NaN where one of the two can't be read.

        It decodes each source once for all of its pictures, which `Variation.measure` of each would not.

        Raises
        ------
        InvalidRequestError
            If there is no such metric, see `similarities`.
        """
        return measures.to_sources(self, metric)

    def most_different(self, count: int = 2, metric: Metric | None = None) -> Self:
        """Return the `count` pictures that are least similar to each other, in the run's order.

        Two are the exact answer. Each further one is the picture that is least similar to the nearest chosen one.

        Raises
        ------
        InvalidRequestError
            If `count` is no whole number from 1.
        ImageVariationError
            See `similarities`, which also explains `metric`.
        """
        return self.with_pictures(measures.most_different(self, count, metric))

    def sorted(self, by: Metric = "similarity", *, reverse: bool = False) -> Self:
        """Return the same run with its pictures in an order, the smallest value first.

        Parameters
        ----------
        by
            "similarity" to the source; "index", "seed", "strength", "seconds" or "size"; or a metric to the source, see
            `similarities`.
        reverse
            The largest value first, so for "similarity" the picture that is most similar to its source.

        Notes
        -----
        Equal pictures keep their order. Those without a value come last either way, such as one whose file is gone.

        Raises
        ------
        InvalidRequestError
            If there is no such order.
        ImageVariationError
            If no picture can be compared with its source, such as arrays of an earlier process.
        """
        return self.with_pictures(measures.ordered(self, by, reverse=reverse))

    def to_frame(self, *, similarity: bool = True) -> pd.DataFrame:
        """Return a pandas data frame with a row for each picture; its columns are `frames.COLUMNS`.

        `source`, `path`, `engine`, `model`, `prompt`, `fit`, `run` (the run's id in the store), `status`, `error` and
        `size` ("512x512") are text; `index` and `seed` whole numbers; `strength` (0..1), `similarity` (0..1) and
        `seconds` floats; `started` is a time in UTC. A sweep's other axes follow, one column each. A missing value is
        NA, NaN or NaT. Results, sweeps, the history and bulk runs have the same columns of the same types.

        Parameters
        ----------
        similarity
            Whether to measure each picture, which decodes it and its source; else the column holds NaN. It holds NaN
            too where one of the two can't be read.

        Raises
        ------
        ImageVariationError
            If pandas is not installed.
        """
        return frames.frame_of([self], similarity=similarity)

    @staticmethod
    def from_frame(frame: pd.DataFrame | pd.Series[Any]) -> Variations:
        """Return the pictures of a frame's rows, in the order of the rows.

        A picture in the store is described by its run's record, one of our PNGs elsewhere by the settings that it
        carries, and any other by its row.

        Parameters
        ----------
        frame
            A frame from `to_frame`, filtered and sorted as you like, or one row of it. Only the column `path` must be
            left.

        Raises
        ------
        InvalidRequestError
            If it is no such frame, or a row has no path or no picture that can be read there.
        """
        return Variations(frames.pictures_in(frame))

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
            If a file can't be written; `partial` has the pictures.
        """
        with self._kept_by_an_error():
            return files.save(self, where)

    def save_as(self, paths: Sequence[Path]) -> list[Path]:
        """Write each picture to its path, and return the paths; see `save`."""
        with self._kept_by_an_error():
            return files.save_as(self, paths)

    def save_into(self, folder: Path, numbers: Iterable[int] | None = None) -> list[Path]:
        """Write every picture into a folder under an unused name; see `files.save_into`."""
        with self._kept_by_an_error():
            return files.save_into(self, folder, numbers)

    @contextlib.contextmanager
    def _kept_by_an_error(self) -> Iterator[None]:
        """Give an error of saving these pictures, which may be all that the user paid for."""
        try:
            yield
        except ImageVariationError as exc:
            exc.partial = self
            raise

    def __repr__(self) -> str:
        maker = f" by {self.engine}" if self.engine else ""
        state = "" if self.status == "done" else f", {self.status}"
        return plain(
            f"<{type(self).__name__}: {len(self)} picture{'' if len(self) == 1 else 's'}{maker}{state}>"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's signature
        printer.text(repr(self) if cycle or not self else look_of(self).text(self))
