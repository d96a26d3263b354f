"""How similar pictures are to their sources and to each other, by several measures; and results in such an order.

Pictures are compared at most 256 px long, on white where they are transparent. A picture is decoded once for any number
of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.request import FITS
from ipy_imgvar.results.records import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import Fit
    from ipy_imgvar.results.variation import Variation

__all__ = [
    "Metric",
    "between",
    "most_different",
    "named",
    "ordered",
    "strength_of",
    "to_source",
    "to_sources",
]

#: A measure: a name, or a function of two arrays of shape (H, W, 3), uint8, that returns a number.
Metric = str | Callable[[Any, Any], float]

_NAMES: Final = ("ssim", "new_share", "histogram")
_CLIP: Final = "clip:"
_ALLOWED: Final = f"{', '.join(_NAMES)}, clip:<folder or id>, or a function of two arrays"
#: The orders that need no measure.
_FACTS: Final = ("index", "seed", "strength", "seconds", "size")


class _Measure(NamedTuple):
    """What a measure makes of a picture once, and how it compares what it made of two."""

    prepare: Callable[[Image], Any]
    compare: Callable[[Any, Any], float]


def named(metric: Metric | None) -> Metric:
    """Return a metric in its normal form, "ssim" for None.

    Raises
    ------
    InvalidRequestError
        If it is neither a known name nor a function.
    """
    if metric is None:
        return "ssim"
    is_known = isinstance(metric, str) and (metric in _NAMES or metric.startswith(_CLIP))
    if not is_known and not callable(metric):
        raise InvalidRequestError(f"the metric is {shown(metric)}; allowed: {_ALLOWED}", field="metric")
    return metric


def _measure(metric: Metric | None) -> _Measure:
    from ipy_imgvar.images import similarity

    metric = named(metric)
    if not isinstance(metric, str):
        return _Measure(_opaque, _by_function(metric))
    if metric.startswith(_CLIP):
        from ipy_imgvar.results import clip

        return _Measure(clip.embedding(metric.removeprefix(_CLIP)), clip.nearness)
    return {
        "ssim": _Measure(similarity.Greys, similarity.between),
        "new_share": _Measure(similarity.look, _not_new),
        "histogram": _Measure(similarity.histogram, similarity.intersection),
    }[metric]


def _not_new(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return 1 minus the new share, seen from the picture that has less: a close-up of a source holds nothing new."""
    from ipy_imgvar.images.similarity import new_share

    return 1.0 - min(new_share(first, second), new_share(second, first))


def _opaque(image: Image) -> Image:
    from ipy_imgvar.images import codec

    return codec.on_white(image).convert("RGB")


def _by_function(function: Callable[[Any, Any], float]) -> Callable[[Image, Image], float]:
    from ipy_imgvar.images import codec
    from ipy_imgvar.images.similarity import common_size

    def compare(first: Image, second: Image) -> float:
        size = common_size(first.size, second.size)
        value = function(*(codec.to_array(codec.resize(each, size)) for each in (first, second)))
        try:
            return float(value)
        except (TypeError, ValueError) as exc:
            raise InvalidRequestError(
                f"the metric returned {shown(value)}; allowed: a function of two arrays that returns a number",
                field="metric",
            ) from exc

    return compare


def _small(picture: Variation) -> Image:
    from ipy_imgvar.images import codec
    from ipy_imgvar.images.similarity import THUMBNAIL_PX

    return codec.reduced(picture.original, picture.name, THUMBNAIL_PX)


def to_source(picture: Variation, metric: Metric | None = None, sample: Sample | None = None) -> float:
    """Return how similar a picture is to its source as the engine got it; see `Variation.measure`."""
    from ipy_imgvar.images.similarity import sample as sample_of

    measure = _measure(metric)
    try:
        small = _small(picture)
        sent = (sample or sample_of(picture.source)).sent(small.size, _fit_of(picture))
    except ImageVariationError as exc:
        raise ImageVariationError(f"{picture.name} can't be compared with its source: {exc}") from exc
    return measure.compare(measure.prepare(sent), measure.prepare(small))


def _fit_of(picture: Variation) -> Fit:
    fit = picture.parameters.get("fit")  # A record, or another package's engine, may have anything there.
    return fit if fit in FITS else "crop"


def to_sources(pictures: Iterable[Variation], metric: Metric | None = None) -> list[float]:
    """Return the similarity of each picture to its source, NaN where one of the two can't be read.

    A source is decoded once for all of its pictures.
    """
    from ipy_imgvar.images.similarity import sample

    _measure(metric)  # A wrong name, or a model that isn't there, is no fault of a picture.
    samples: dict[Source, Sample | None] = {}
    found = []
    for each in pictures:
        if each.source not in samples:
            try:
                samples[each.source] = sample(each.source)
            except ImageVariationError:
                samples[each.source] = None
        known = samples[each.source]
        try:
            found.append(math.nan if known is None else each.measure(metric, sample=known))
        except InvalidRequestError:
            raise
        except ImageVariationError:
            found.append(math.nan)
    return found


def between(pictures: Sequence[Variation], metric: Metric | None = None) -> NDArray[np.float64]:
    """Return the similarities of pictures to each other; see `Variations.similarities`."""
    import numpy as np

    measure = _measure(metric)
    prepared = [measure.prepare(_small(each)) for each in pictures]
    found = np.empty((len(prepared), len(prepared)))
    for row, first in enumerate(prepared):
        for column, second in enumerate(prepared[row:], start=row):
            found[row, column] = found[column, row] = measure.compare(first, second)
    return found


def most_different(
    pictures: Sequence[Variation], count: int, metric: Metric | None = None
) -> list[Variation]:
    """Return the pictures that are least similar to each other; see `Variations.most_different`."""
    import numpy as np

    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidRequestError(f"count is {shown(count)}; allowed: a whole number from 1", field="count")
    if count >= len(pictures):
        return list(pictures)
    found = between(pictures, metric)
    np.fill_diagonal(found, np.inf)
    chosen = list(map(int, np.unravel_index(np.argmin(found), found.shape)))[:count]
    np.fill_diagonal(found, -np.inf)
    while len(chosen) < count:
        nearest = found[:, chosen].max(axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
    return [pictures[index] for index in sorted(chosen)]


def ordered(pictures: Sequence[Variation], by: Metric, *, reverse: bool) -> list[Variation]:
    """Return pictures in an order, those without a value last; see `Variations.sorted`."""
    if isinstance(by, str) and by in _FACTS:
        values = [_fact(each, by) for each in pictures]
    else:
        try:
            metric = named(None if by == "similarity" else by)
        except InvalidRequestError as exc:
            raise InvalidRequestError(
                f"the order is {shown(by)}; allowed: similarity, {', '.join(_FACTS)}, {_ALLOWED}", field="by"
            ) from exc
        values = [None if math.isnan(value) else value for value in to_sources(pictures, metric)]
        if pictures and all(value is None for value in values):
            to_source(pictures[0], metric)  # Raises: the order that they have would be no answer.
    known = [index for index, value in enumerate(values) if value is not None]
    known.sort(key=lambda index: cast("float", values[index]), reverse=reverse)
    return [pictures[index] for index in known] + [
        picture for picture, value in zip(pictures, values, strict=True) if value is None
    ]


def _fact(picture: Variation, name: str) -> Any:
    if name == "size":
        return picture.size[0] * picture.size[1], picture.size
    return strength_of(picture) if name == "strength" else getattr(picture, name)


def strength_of(picture: Variation) -> float | None:
    """Return the strength that made a picture, 0..1; None where its engine took none or its record has none."""
    return Fields(dict(picture.parameters) | picture.combination).number("strength")
