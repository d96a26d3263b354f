"""A source as an engine is sent it, and the distance of a picture from it, both at the size of a thumbnail.

References
----------
Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4), 2004: section III, equation 13 and its constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.images import codec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import Fit, Size

__all__ = ["THUMBNAIL_PX", "Sample", "distance", "sample", "structural_similarity"]

#: Longest side of a thumbnail, in pixels.
THUMBNAIL_PX: Final = 256
#: Shorter side of a sample, in pixels: a crop that leaves half of a side still fills a thumbnail.
_SAMPLE_PX: Final = 2 * THUMBNAIL_PX
#: Standard deviation and radius of the window, in pixels: the paper's, of 11 x 11.
_SIGMA: Final = 1.5
_RADIUS: Final = 5
#: The paper's K1 and K2, times the range of levels: they keep the fractions finite where a picture is black or even.
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


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


def distance(source: Sample, picture: Image, fit: Fit) -> float:
    """Return 1 - SSIM of a picture and its source as sent: 0 for the same, about 1 for nothing in common.

    Parameters
    ----------
    source
        The sample of the picture's source.
    picture
        The picture, reduced to sides of at most `THUMBNAIL_PX`.
    fit
        How the source was brought to the picture's shape.
    """
    sent = codec.resize(source.fitted(picture.size, fit), picture.size)
    return 1.0 - structural_similarity(_grey(sent), _grey(picture))


def _grey(image: Image) -> NDArray[np.float64]:
    return np.asarray(image.convert("L"), dtype=np.float64)


def structural_similarity(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the mean SSIM of two grey pictures of one shape (H, W), in 0..255.

    The window is a Gaussian of sigma 1.5; where it does not fit into the picture, the mean leaves the pixel out.
    """
    mean_1, mean_2 = _blur(first), _blur(second)
    variance_1 = _blur(first * first) - mean_1 * mean_1
    variance_2 = _blur(second * second) - mean_2 * mean_2
    covariance = _blur(first * second) - mean_1 * mean_2
    luminance = (2 * mean_1 * mean_2 + _C1) / (mean_1**2 + mean_2**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_1 + variance_2 + _C2)
    return float((luminance * structure).mean())


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve with the window, along both axes and only where it fits; the window shrinks to a smaller picture."""
    for axis in (0, 1):
        radius = min(_RADIUS, (image.shape[axis] - 1) // 2)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SIGMA) ** 2)
        windows = np.lib.stride_tricks.sliding_window_view(image, 2 * radius + 1, axis=axis)
        image = windows @ (weights / weights.sum())
    return image
