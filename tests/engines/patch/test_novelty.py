import numpy as np

from ipy_imgvar.engines.patch.novelty import new_share
from ipy_imgvar.engines.patch.resize import resize


def test_a_moved_or_mirrored_copy_is_not_new(photograph):
    """Shifting by a few pixels, mirroring and zooming out leave next to nothing new."""
    source = photograph("coffee", 40)
    assert new_share(source, source) < 0.01
    assert new_share(np.roll(source, 3, axis=1), source) < 0.03
    assert new_share(source[:, ::-1], source) < 0.01
    smaller = np.pad(resize(source, (36, 36)), ((2, 2), (2, 2), (0, 0)), mode="edge")
    assert new_share(smaller, source) < 0.08


def test_another_picture_is_new(photograph):
    """Two pictures of different things share little."""
    assert new_share(photograph("coffee", 40), photograph("astronaut", 40)) > 0.4


def test_flat_pictures_do_not_divide_by_zero():
    """A picture of one colour correlates with nothing."""
    flat = np.zeros((20, 20, 3), np.float32)
    assert new_share(flat, flat) == 1
