import numpy as np
import pytest
from cases import slow

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.subjects.matte import is_certain, matte
from ipy_imgvar.engines.patch.subjects.segmentation import find_subjects, fine_detail


def disc(side=160, radius=0.25):
    """Return a disc's mask, shape (side, side), float32, soft over one pixel."""
    row, col = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip(side * radius - np.hypot(row, col) + 0.5, 0, 1).astype(np.float32)


def painted(mask, channels=3):
    """Return the mask painted orange on a blue ground with a little grain."""
    grain = np.random.default_rng(1).normal(0, 0.01, mask.shape).astype(np.float32)
    ground, subject = np.float32([0.1, 0.3, 0.6, 1]), np.float32([0.9, 0.5, 0.2, 1])
    image = ground + mask[..., None] * (subject - ground) + grain[..., None]
    return np.clip(image[..., :channels], 0, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [160, slow(700)])
def test_edges_move_to_the_picture_s(side, channels):
    """A network's blurred mask gets the picture's own outline, above the filter's size too."""
    truth = disc(side)
    small = resize(truth[..., None], (side * 3 // 4, side * 3 // 4))[..., 0]
    rough = uniform_filter(small, 1)
    enlarged = resize(rough[..., None], truth.shape)[..., 0]
    refined = matte(painted(truth, channels), rough)
    assert refined.shape == truth.shape
    assert refined.dtype == np.float32
    assert refined.min() >= 0
    assert refined.max() <= 1
    assert np.abs(refined - truth).mean() < 0.6 * np.abs(enlarged - truth).mean()
    assert is_certain(refined)


def test_specks_go():
    """A small region far from the subject is removed, the subject stays."""
    truth = disc()
    rough = truth.copy()
    rough[4:10, 4:10] = 1
    refined = matte(painted(rough), rough)
    assert refined[:20, :20].max() == 0
    assert refined[80, 80] > 0.99


def test_an_empty_mask_stays_empty():
    """Nothing marked gives nothing, and nothing is not certain."""
    empty = matte(painted(disc()), np.zeros((64, 64), np.float32))
    assert not empty.any()
    assert not is_certain(empty)


def eight(side=160):
    """Return eight squares of one size, apart from each other."""
    mask = np.zeros((side, side), np.float32)
    for row in (0, 1):
        for col in range(4):
            mask[row * 80 + 10 : row * 80 + 40, col * 40 + 5 : col * 40 + 35] = 1
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((160, 160), np.float32),
        np.ones((160, 160), np.float32),
        disc(radius=0.05),
        uniform_filter(disc(), 8),
        np.maximum(disc(), np.float32(0.4) * disc(radius=0.4)),
        eight(),
        np.full((160, 160), 0.5, np.float32),
    ],
    ids=["nothing", "everything", "a speck", "a soft outline", "haze", "eight things", "half of all"],
)
def test_what_is_not_certain(mask):
    """A matte is refused where it covers too little or too much, is soft or hazy, or is many things."""
    assert not is_certain(mask)


@pytest.mark.parametrize("side", [64, 160, 1024])
def test_a_clean_disc_is_certain(side):
    """One thing with a sharp outline is taken, at any size."""
    assert is_certain(disc(side))


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "camera", "rocket"])
def test_the_engine_s_own_masks_are_refused(photograph, name):
    """Masks of 64 px are wrong by a few pixels somewhere, and are not cut along."""
    source = photograph(name, 300)
    rough = np.maximum.reduce(find_subjects(source, fine_detail(source), 0.45).masks)
    assert not is_certain(matte(source, rough))


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (8, 3), (40, 300)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_shape_has_a_matte(shape, channels):
    """Pictures of a few pixels and long strips get a mask of their size, of 0..1 and without NaN."""
    rng = np.random.default_rng(2)
    refined = matte(rng.random((*shape, channels), np.float32), rng.random((7, 5), np.float32))
    assert refined.shape == shape
    assert refined.min() >= 0
    assert refined.max() <= 1
    assert isinstance(is_certain(refined), bool)
