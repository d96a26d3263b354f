"""Round pictures to 8 bits, and divide premultiplied colours by their alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RGBA", "straight", "straight_uint8", "to_uint8"]

#: Channels of a picture with transparency.
RGBA: Final = 4


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round a picture, shape (H, W, C), of values of 0..1 to 8 bits."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * np.float32(255)), np.uint8)


def straight_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round a picture, shape (H, W, C), to 8 bits, its colours divided by alpha first where C is 4."""
    if image.shape[2] == RGBA:
        alpha = image[..., 3:]
        colour = np.divide(image[..., :3], alpha, out=np.zeros_like(image[..., :3]), where=alpha > 0)
        image = np.concatenate([np.minimum(colour, 1), alpha], axis=2)
    return to_uint8(image)


def straight(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture, shape (H, W, C), uint8, with its colours divided by alpha where C is 4."""
    if image.shape[2] < RGBA:
        return image
    colours, alpha = image[..., :3], image[..., 3:]
    divided = np.zeros(colours.shape, np.float32)
    np.divide(colours * np.float32(255), alpha, out=divided, where=alpha > 0)
    return np.concatenate([np.rint(np.minimum(divided, 255)).astype(np.uint8), alpha], axis=2)
