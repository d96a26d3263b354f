import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.keep import subjects
from ipy_imgvar.engines.patch.regions import box_mean, components


def test_a_tower_is_the_subject(photograph):
    """The rocket on its pad is found, and takes no more than was allowed, or little more."""
    found = subjects(photograph("rocket", 256), 0.4)
    assert found
    union = np.maximum.reduce(found)
    height, width = union.shape
    assert union[int(0.5 * height) : int(0.9 * height), int(0.5 * width)].all()
    assert union.mean() < 0.6


def test_the_head_belongs_to_the_subject(photograph):
    """The astronaut's face is inside one subject."""
    found = subjects(photograph("astronaut", 256), 0.42)
    height, width = found[0].shape
    face = slice(int(0.12 * height), int(0.28 * height)), slice(int(0.36 * width), int(0.5 * width))
    assert max(one[face].mean() for one in found) > 0.95


@pytest.mark.parametrize("name", ["brick", "coins"])
def test_a_texture_has_little_to_keep(name, photograph):
    """Where everything recurs, at most a quarter is kept."""
    assert sum(one.mean() for one in subjects(photograph(name, 200), 0.45)) < 0.3


def test_one_colour_has_no_subject():
    """A flat picture has nothing unusual."""
    assert subjects(np.full((64, 64, 3), 0.4, np.float32), 0.4) == []


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
