"""A source as an engine is sent it, and how similar a picture is to it or to another picture, at a thumbnail's size.

Every number here is a similarity from 0 to 1, and 1 for equal pictures; `new_share` alone counts what is new.

References
----------
Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4), 2004: section III, equation 13 and its constants.
M. J. Swain, D. H. Ballard, "Color indexing", International Journal of Computer Vision 7(1), 1991: histogram
intersection, equation 1.
J. P. Lewis, "Fast normalized cross-correlation", Vision Interface, 1995: equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ipy_imgvar.images import codec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import Fit, Size

__all__ = [
    "THUMBNAIL_PX",
    "Greys",
    "Sample",
    "between",
    "common_size",
    "histogram",
    "intersection",
    "look",
    "new_share",
    "sample",
    "structural_similarity",
    "to_source",
]

#: Longest side of a thumbnail, in pixels.
THUMBNAIL_PX: Final = 256
#: Shorter side of a sample, in pixels: a crop that leaves half of a side still fills a thumbnail.
_SAMPLE_PX: Final = 2 * THUMBNAIL_PX
#: Standard deviation and radius of the window, in pixels: the paper's, of 11 x 11.
_SIGMA: Final = 1.5
_RADIUS: Final = 5
#: The paper's K1 and K2, times the range of levels: they keep the fractions finite where a picture is black or even.
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
#: Levels of a histogram for each of red, green and blue: 512 colours, where the paper has 2048 in other axes.
_LEVELS: Final = 8
#: `new_share`: sides in pixels of the picture, of the part of the source that is looked for, and of its zooms.
_LOOK_PX: Final = 64
_INNER: Final = slice(6, 58)
_ZOOMED_PX: Final = (42, 44, 47, 49, 52)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A reduced copy of a source, and the (width, height) that the source has upright."""

    image: Image
    size: Size

    def fitted(self, size: Size, fit: Fit) -> Image:
        """Return the source as an engine is sent it for a size and a fit, with no side above `THUMBNAIL_PX`."""
        scale = min(1.0, THUMBNAIL_PX / max(size))
        small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        # Retargeting sends the whole image in its own shape; padding does too, and adds a border.
        image = codec.fit_image(self.image, small, "pad" if fit == "retarget" else fit)
        return codec.pad_image(image, small) if fit == "pad" else image

    def sent(self, size: Size, fit: Fit) -> Image:
        """Return the source in the very shape of a picture that was made of it, for a comparison."""
        return codec.resize(self.fitted(size, fit), size)


def sample(source: Source) -> Sample:
    """Read a source once, for any number of previews and comparisons.

    Raises
    ------
    InvalidImageError
        If it can't be read.
    """
    image = source.open()
    size = image.size
    scale = min(1.0, _SAMPLE_PX / max(1, min(size)))
    return Sample(codec.resize(image, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))), size)


def to_source(source: Sample, picture: Image, fit: Fit) -> float:
    """Return the similarity of a picture to its source as sent, 0..1, by SSIM in grey: 1 for the same.

    Parameters
    ----------
    source
        The sample of the picture's source.
    picture
        The picture, reduced to sides of at most `THUMBNAIL_PX`.
    fit
        How the source was brought to the picture's shape.
    """
    return between(Greys(source.sent(picture.size, fit)), Greys(picture))


class Greys:
    """A picture's grey levels and what SSIM needs of them alone, computed once for any number of comparisons."""

    def __init__(self, image: Image) -> None:
        #: What transparency hides is not seen, so it does not count.
        self._image = codec.on_white(image).convert("L")
        self.size: Size = image.size
        self._moments: dict[Size, Moments] = {}

    def moments(self, size: Size) -> Moments:
        """Return the levels at a (width, height) in pixels, with their local means and variances."""
        if size not in self._moments:
            self._moments[size] = Moments.of(np.asarray(codec.resize(self._image, size), dtype=np.float64))
        return self._moments[size]


def between(first: Greys, second: Greys) -> float:
    """Return the SSIM of two pictures, 0..1; see `common_size` for pictures of two shapes."""
    size = common_size(first.size, second.size)
    # SSIM may be slightly negative, which says no more than 0 does; above 1 is rounding.
    return min(1.0, max(0.0, _ssim(first.moments(size), second.moments(size))))


def common_size(first: Size, second: Size) -> Size:
    """Return the size at which two pictures are compared: the smaller width and the smaller height."""
    return min(first[0], second[0]), min(first[1], second[1])


class Moments(NamedTuple):
    """Grey levels of shape (H, W) in 0..255, with the mean and the variance in the window around each pixel."""

    levels: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, levels: NDArray[np.float64]) -> Moments:
        mean = _blur(levels)
        return cls(levels, mean, _blur(levels * levels) - mean * mean)


def structural_similarity(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the mean SSIM of two grey pictures of one shape (H, W), in 0..255.

    The window is a Gaussian of sigma 1.5; where it does not fit into the picture, the mean leaves the pixel out.
    """
    return _ssim(Moments.of(first), Moments.of(second))


def _ssim(first: Moments, second: Moments) -> float:
    covariance = _blur(first.levels * second.levels) - first.mean * second.mean
    luminance = (2 * first.mean * second.mean + _C1) / (first.mean**2 + second.mean**2 + _C1)
    structure = (2 * covariance + _C2) / (first.variance + second.variance + _C2)
    return float((luminance * structure).mean())


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve with the window, along both axes and only where it fits; the window shrinks to a smaller picture."""
    for axis in (0, 1):
        radius = min(_RADIUS, (image.shape[axis] - 1) // 2)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SIGMA) ** 2)
        windows = np.lib.stride_tricks.sliding_window_view(image, 2 * radius + 1, axis=axis)
        image = windows @ (weights / weights.sum())
    return image


def histogram(image: Image) -> NDArray[np.float64]:
    """Return the share of a picture's pixels in each of 8 x 8 x 8 colours, shape (512,); the shares sum to 1."""
    levels = np.asarray(codec.on_white(image).convert("RGB"), dtype=np.intp) * _LEVELS // 256
    colours = (levels[:, :, 0] * _LEVELS + levels[:, :, 1]) * _LEVELS + levels[:, :, 2]
    return np.bincount(colours.ravel(), minlength=_LEVELS**3) / colours.size


def intersection(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the part of two histograms that both have, 0..1."""
    return min(1.0, float(np.minimum(first, second).sum()))


def look(image: Image) -> NDArray[np.float64]:
    """Return the grey levels of a picture as `new_share` compares them, shape (64, 64), in 0..255."""
    return _scaled(np.asarray(codec.on_white(image).convert("L"), dtype=np.float64), _LOOK_PX)


def new_share(source: NDArray[np.float64], picture: NDArray[np.float64]) -> float:
    """Return the share of a picture that is new against its source, 0..1: 0 is the source, moved or mirrored.

    It is 1 minus the best correlation of the source's inner 80 % with any place of the picture. All shifts, five zooms
    from 0.8 to 1, and mirroring are tried; a change of light is not seen.

    Parameters
    ----------
    source, picture
        From `look`, shape (64, 64), in 0..255.
    """
    if np.array_equal(source, picture):  # Its inner part may be too even to be found again.
        return 0.0
    inner = source[_INNER, _INNER]
    best = max(_best_correlation(_scaled(inner, side), picture) for side in _ZOOMED_PX)
    return 1.0 - min(1.0, max(0.0, best))


def _scaled(levels: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Resize levels to a square of `side` pixels with a triangle, which hardly depends on a shift below a pixel."""
    for _ in (0, 1):
        scale = levels.shape[0] / side
        centres = (np.arange(side) + 0.5) * scale - 0.5
        weights = np.arange(levels.shape[0]) - centres[:, None]
        weights = np.maximum(0.0, 1.0 - np.abs(weights) / max(1.0, scale))
        levels = (weights / weights.sum(axis=1, keepdims=True) @ levels).T
    return levels


def _best_correlation(template: NDArray[np.float64], picture: NDArray[np.float64]) -> float:
    """Return the largest normalised correlation of a square template, or its mirror image, with a window of a picture.

    The products of all windows come from one Fourier transform, and what each window holds from running sums.
    """
    side, places = template.shape[0], picture.shape[0] - template.shape[0] + 1
    template = template - template.mean()
    picture = picture - picture.mean()
    both = np.fft.rfft2(np.stack([template, template[:, ::-1]]), picture.shape)
    found = np.fft.irfft2(np.fft.rfft2(picture) * both.conj(), picture.shape)[:, :places, :places]
    energy = _window_sums(picture**2, side) - _window_sums(picture, side) ** 2 / side**2
    # Below this, a window or template is even but for rounding: it has nothing that could be found.
    least = 1e-3 * side**2
    if (own := float((template**2).sum())) < least:
        return 1.0 if energy.max() < least else 0.0
    scale = np.sqrt(own * np.maximum(energy, least))
    return float(np.where(energy < least, 0.0, found / scale).max())


def _window_sums(levels: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return the sum of each square window of a picture, shape (H - side + 1, W - side + 1)."""
    sums = np.pad(levels, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    windows: NDArray[np.float64] = (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    )
    return windows
