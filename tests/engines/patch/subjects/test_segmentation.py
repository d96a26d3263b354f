import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.regions import box_mean, components
from ipy_imgvar.engines.patch.subjects.segmentation import lost_detail, subjects


def found(source, cover=0.4):
    """Return a picture's subjects."""
    return subjects(source, lost_detail(source), cover)


def test_a_tower_is_a_thing_on_the_ground(photograph):
    """The rocket is found on its pad, without the sky."""
    tower = found(photograph("rocket", 256))
    union = np.maximum.reduce(tower.masks)
    height, width = union.shape
    assert tower.on_ground
    assert union[int(0.5 * height) : int(0.9 * height), int(0.5 * width)].all()
    assert union.mean() < 0.4


def test_thin_legs_belong_to_what_stands_on_them(photograph):
    """The camera's tripod, thinner than a pixel where subjects are found, is one subject with the man."""
    largest = found(photograph("camera", 256)).masks[0]
    height, width = largest.shape
    for row, col in ((0.3, 0.4), (0.7, 0.58), (0.9, 0.53)):
        assert largest[int(row * height), int(col * width)]


def test_coins_are_kept_one_by_one(photograph):
    """Separate things are separate subjects, none larger than a coin or a few that touch."""
    coins = found(photograph("coins", 256))
    assert coins.on_ground
    assert len(coins.masks) >= 12
    assert max(mask.mean() for mask in coins.masks) < 0.1


def test_the_head_belongs_to_the_subject(photograph):
    """The astronaut's face is inside one subject."""
    masks = found(photograph("astronaut", 256), 0.42).masks
    height, width = masks[0].shape
    face = slice(int(0.12 * height), int(0.28 * height)), slice(int(0.36 * width), int(0.5 * width))
    assert max(one[face].mean() for one in masks) > 0.95


def test_a_texture_has_little_to_keep(photograph):
    """Where everything recurs, at most a quarter is kept."""
    assert sum(one.mean() for one in found(photograph("brick", 200), 0.45).masks) < 0.3


def test_one_colour_has_no_subject():
    """A flat picture has nothing unusual."""
    assert found(np.full((64, 64, 3), 0.4, np.float32)).masks == ()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_components_are_the_connected_regions(seed, height, width):
    """Two marked neighbours share a label, and labels number the regions a flood fill finds."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    labels = components(mask)
    assert ((labels > 0) == mask).all()
    for axis in (0, 1):
        first, second = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        both = (first > 0) & (second > 0)
        assert (first[both] == second[both]).all()
    todo, regions = {tuple(place) for place in np.argwhere(mask)}, 0
    while todo:
        regions += 1
        edge = [todo.pop()]
        while edge:
            row, col = edge.pop()
            for place in ((row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)):
                if place in todo:
                    todo.remove(place)
                    edge.append(place)
    assert len(np.unique(labels[mask])) == regions


def test_a_box_mean_of_a_constant_is_the_constant():
    """Borders are repeated, so nothing darkens towards them."""
    np.testing.assert_allclose(box_mean(np.full((5, 9), 0.3, np.float32), 3), 0.3, atol=1e-6)
