"""Pictures that the engine's tests share."""

import numpy as np
import pytest
from PIL import Image
from skimage import data


@pytest.fixture(scope="session")
def photograph():
    """Return a function that loads a scikit-image photograph as a square float image."""

    def load(name, side_px):
        picture = Image.fromarray(getattr(data, name)()).convert("RGB")
        short = min(picture.size)
        left, top = (picture.width - short) // 2, (picture.height - short) // 2
        square = picture.crop((left, top, left + short, top + short)).resize((side_px, side_px))
        return np.asarray(square, np.float32) / 255

    return load


@pytest.fixture(scope="session")
def small(photograph):
    """Return a small photograph, shape (72, 72, 3)."""
    return photograph("astronaut", 72)
