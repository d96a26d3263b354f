"""What the pictures of a call are made of, and how far they may go: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.findings import Findings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scene", "Settings"]

#: Range of the values (0..1) of a picture of one colour: a step and a half of 8 bits, which rounding may leave.
_FLAT: Final = 1.5 / 255
#: Every how many rows and columns `Scene.is_flat` looks first.
_SPARSE: Final = 16
#: Short side, in pixels, below which there are too few patches to rearrange.
_TINY: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How pictures are made.

    Attributes
    ----------
    strength : float
        0 (a second shot of the scene) to 1 (as free as the material allows).
    seed : int
        The same seed, scene and settings give the same bytes.
    flip : bool
        Whether pictures may be mirrored; those with text are not, nor are second shots below strength 0.3.
    tone : bool
        Whether light and colour may vary; where pixels stay in place they don't.
    """

    strength: float
    seed: int
    flip: bool = True
    tone: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A source, and what is known of it.

    Attributes
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C is 1 (grey), 3 (RGB) or 4 (RGBA, premultiplied).
    shape : tuple of int
        Rows and columns of the pictures; another shape than the source's is a new arrangement at the same scale.
    keep : ndarray of shape (H, W), bool, or None
        True keeps a pixel in place and equal to the source's; needs `shape` to be the source's. None chooses
        subjects that stay whole, but may move.
    detailed : ndarray of shape (H', W', C), uint8, or None
        The source with more pixels than `shape`, premultiplied where C is 4, for shots that show a part of it.
    subject : ndarray of shape (h, w), float32, 0..1, or None
        A mask of the source's subject, 1 inside, of any size: no shot cuts it, and where it is certain the subject may
        be shown larger before its ground.
    findings : Findings
        What is known of the source and the subject; the calls with one scene share it.
    """

    source: NDArray[np.float32]
    shape: tuple[int, int]
    keep: NDArray[np.bool_] | None = None
    detailed: NDArray[np.uint8] | None = None
    subject: NDArray[np.float32] | None = None
    findings: Findings = field(default_factory=Findings, repr=False)

    @property
    def fixed(self) -> bool:
        """Whether pixels stay in place."""
        return self.keep is not None

    @property
    def free(self) -> bool:
        """Whether a shot will do: no pixel stays in place, and the shape is the source's."""
        return self.keep is None and self.shape == self.source.shape[:2]

    @property
    def is_flat(self) -> bool:
        """Whether the source is of one colour, so that only its tone can vary."""

        def flat(part: NDArray[np.float32]) -> bool:
            return bool((part.max(axis=(0, 1)) - part.min(axis=(0, 1))).max() < _FLAT)

        # A few pixels tell it of nearly every picture.
        return flat(self.source[::_SPARSE, ::_SPARSE]) and flat(self.source)

    @property
    def has_patches(self) -> bool:
        """Whether there are enough different patches to rearrange, and any that may move."""
        if self.keep is not None and self.keep.all():
            return False
        return min(*self.source.shape[:2], *self.shape) >= _TINY and not self.is_flat

    def restored(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a picture, shape (*shape, C), float32, with the pixels that stay in place put back."""
        return image if self.keep is None else np.where(self.keep[..., None], self.source, image)
