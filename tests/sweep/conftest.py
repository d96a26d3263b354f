"""What the tests of sweeps share: a client whose engine makes a picture in no time, and images."""

import pytest
from painter import Painter, pixel

from ipy_imgvar import Client


@pytest.fixture
def painter():
    return Painter()


@pytest.fixture
def client(painter):
    """Return a client of the engine that paints one pixel."""
    with Client(painter) as made:
        yield made


@pytest.fixture
def image():
    return pixel(100)
