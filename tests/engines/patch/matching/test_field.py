import numpy as np
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.patches import grid

sizes = st.integers(8, 24)


@given(st.integers(0, 2**32 - 1), sizes, sizes, st.floats(0.4, 2.5))
@cases(30, 8)
def test_a_rescaled_field_stays_inside_the_source(seed, height, width, factor):
    """For any sizes of the two levels, every patch of the rescaled field lies inside the source."""
    rng = np.random.default_rng(seed)
    shape = (height, width)
    rows, cols = grid(shape)
    field = NearestNeighborField.from_flat(rng.integers(0, rows * cols, rows * cols), shape, shape)
    larger = max(8, round(height * factor)), max(8, round(width * factor))
    rescaled = field.rescale(larger, larger)
    top = rescaled.rows + np.arange(rescaled.rows.shape[0])[:, None]
    left = rescaled.cols + np.arange(rescaled.cols.shape[1])
    assert rescaled.rows.shape == grid(larger)
    assert top.min() >= 0
    assert left.min() >= 0
    assert top.max() < grid(larger)[0]
    assert left.max() < grid(larger)[1]


def test_a_moved_region_stays_moved_when_rescaled():
    """A displacement scales with the level."""
    shape = (32, 32)
    shifted = NearestNeighborField(
        np.full((26, 26), 2, np.int32), np.full((26, 26), -3, np.int32), shape, shape
    )
    rescaled = shifted.rescale((64, 64), (64, 64))
    middle = slice(10, 45)
    assert set(np.unique(rescaled.rows[middle, middle])) == {4}
    assert set(np.unique(rescaled.cols[middle, middle])) == {-6}


def test_seams_lie_where_displacements_change():
    """Both sides of a change are marked, and nothing else."""
    rows = np.zeros((10, 10), np.int32)
    rows[:, 5:] = 1
    seams = NearestNeighborField(rows, np.zeros_like(rows), (16, 16), (20, 20)).seams()
    np.testing.assert_array_equal(np.flatnonzero(seams.any(axis=0)), [4, 5])
