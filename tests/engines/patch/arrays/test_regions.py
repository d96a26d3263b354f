import numpy as np
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.regions import (
    dilation,
    fill_holes,
    label,
    threshold_otsu,
    uniform_filter,
)


@given(st.integers(0, 2**32 - 1), st.integers(0, 7))
@cases(20, 8)
def test_dilation_reaches_exactly_its_radius(seed, radius):
    """A pixel is marked when one at most `radius` rows and columns away was."""
    mask = np.random.default_rng(seed).random((17, 12)) < 0.03
    expected = np.zeros_like(mask)
    for row, col in np.argwhere(mask):
        expected[
            max(0, row - radius) : row + radius + 1,
            max(0, col - radius) : col + radius + 1,
        ] = True
    np.testing.assert_array_equal(dilation(mask, radius), expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
@cases(30, 8)
def test_labels_are_the_connected_regions(seed, height, width):
    """Two marked neighbours share a label, and labels number the regions a flood fill finds."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    labels = label(mask)
    assert ((labels > 0) == mask).all()
    for axis in (0, 1):
        first, second = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        both = (first > 0) & (second > 0)
        assert (first[both] == second[both]).all()
    todo, regions = {tuple(pixel) for pixel in np.argwhere(mask)}, 0
    while todo:
        regions += 1
        edge = [todo.pop()]
        while edge:
            row, col = edge.pop()
            for pixel in ((row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)):
                if pixel in todo:
                    todo.remove(pixel)
                    edge.append(pixel)
    assert len(np.unique(labels[mask])) == regions


def test_the_filter_of_a_constant_is_the_constant():
    """Borders are repeated, so nothing darkens towards them."""
    np.testing.assert_allclose(uniform_filter(np.full((5, 9), 0.3, np.float32), 3), 0.3, atol=1e-6)


def test_a_ring_is_filled_and_a_bay_is_not():
    """Only what the border does not reach is a hole; a diagonal gap lets nothing through."""
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    mask[3:6, 3:6] = False
    expected = np.zeros_like(mask)
    expected[2:7, 2:7] = True
    np.testing.assert_array_equal(fill_holes(mask), expected)
    mask[2, 4] = False
    np.testing.assert_array_equal(fill_holes(mask), mask)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40))
@cases(30, 8)
def test_the_threshold_separates_best(values):
    """No other threshold makes the two classes' variance between them larger."""
    array = np.array(values, np.float32)
    threshold = threshold_otsu(array)

    def between(level):
        above = array >= level
        if above.all():
            return 0.0
        return above.mean() * (1 - above.mean()) * (array[above].mean() - array[~above].mean()) ** 2

    assert threshold in array
    assert between(threshold) >= max(between(level) for level in array) - 1e-4
