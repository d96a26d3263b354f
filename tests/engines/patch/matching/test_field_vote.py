import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.regions import dilate
from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.matching.field import Field
from ipy_imgvar.engines.patch.matching.patches import grid
from ipy_imgvar.engines.patch.matching.vote import copy, pack, unpack, vote, vote_at

sizes = st.integers(8, 24)
shapes = st.tuples(sizes, sizes)


def identity(shape):
    rows, cols = grid(shape)
    zero = np.zeros((rows, cols), np.int32)
    return Field(zero, zero, shape, shape)


def brute_vote(image, field):
    height, width = field.output
    total = np.zeros((height, width, image.shape[2]))
    count = np.zeros((height, width, 1))
    for row in range(field.rows.shape[0]):
        for col in range(field.rows.shape[1]):
            top, left = row + field.rows[row, col], col + field.cols[row, col]
            total[row : row + 7, col : col + 7] += image[top : top + 7, left : left + 7]
            count[row : row + 7, col : col + 7] += 1
    return total / count


@given(
    st.integers(0, 2**32 - 1), st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.sampled_from([1, 3, 4])
)
@settings(max_examples=20, deadline=None)
def test_vote_is_the_mean_of_overlapping_patches(seed, known_shape, shape, channels):
    """The packed vote equals the plain mean of what the covering patches show."""
    rng = np.random.default_rng(seed)
    image = rng.random((*known_shape, channels), np.float32)
    known, asked = grid(known_shape), grid(shape)
    index = rng.integers(0, known[0] * known[1], asked[0] * asked[1])
    field = Field.from_flat(index, shape, known_shape)
    np.testing.assert_allclose(vote(pack(image), field, channels), brute_vote(image, field), atol=1e-3)


@given(sizes, sizes, st.sampled_from([0, 1, 2, 3]))
@settings(max_examples=20, deadline=None)
def test_the_identity_shows_the_source(height, width, reach):
    """Copies and votes of an undisplaced field are the source, to the bit."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.float32) / 255
    field = identity((height, width))
    packed = pack(image)
    copied = copy(packed, field, Workers(1, None))
    voted = vote_at(packed, field, np.arange(height * width), reach, Workers(1, None))
    np.testing.assert_array_equal(copied.reshape(-1), packed)
    np.testing.assert_array_equal(voted, packed)
    np.testing.assert_array_equal(np.rint(unpack(copied, 3) * 255), np.rint(image * 255))


@given(st.integers(0, 2**32 - 1), sizes, sizes, st.floats(0.4, 2.5))
@settings(max_examples=30, deadline=None)
def test_an_enlarged_field_stays_inside_the_source(seed, height, width, factor):
    """Whatever the two levels' sizes, every patch of the enlarged field lies inside the source."""
    rng = np.random.default_rng(seed)
    shape = (height, width)
    rows, cols = grid(shape)
    field = Field.from_flat(rng.integers(0, rows * cols, rows * cols), shape, shape)
    larger = max(8, round(height * factor)), max(8, round(width * factor))
    grown = field.enlarged(larger, larger)
    top = grown.rows + np.arange(grown.rows.shape[0])[:, None]
    left = grown.cols + np.arange(grown.cols.shape[1])
    assert grown.rows.shape == grid(larger)
    assert top.min() >= 0
    assert left.min() >= 0
    assert top.max() < grid(larger)[0]
    assert left.max() < grid(larger)[1]


def test_a_moved_region_stays_moved_when_enlarged():
    """A displacement scales with the level."""
    shape = (32, 32)
    shifted = Field(np.full((26, 26), 2, np.int32), np.full((26, 26), -3, np.int32), shape, shape)
    grown = shifted.enlarged((64, 64), (64, 64))
    middle = slice(10, 45)
    assert set(np.unique(grown.rows[middle, middle])) == {4}
    assert set(np.unique(grown.cols[middle, middle])) == {-6}


@given(st.integers(0, 2**32 - 1), st.integers(0, 7))
@settings(max_examples=20, deadline=None)
def test_dilate_reaches_exactly_its_radius(seed, radius):
    """A pixel is marked when one at most `radius` rows and columns away was."""
    mask = np.random.default_rng(seed).random((17, 12)) < 0.03
    expected = np.zeros_like(mask)
    for row, col in np.argwhere(mask):
        expected[
            max(0, row - radius) : row + radius + 1,
            max(0, col - radius) : col + radius + 1,
        ] = True
    np.testing.assert_array_equal(dilate(mask, radius), expected)


def test_seams_lie_where_displacements_change():
    """Both sides of a change are marked, and nothing else."""
    rows = np.zeros((10, 10), np.int32)
    rows[:, 5:] = 1
    seams = Field(rows, np.zeros_like(rows), (16, 16), (20, 20)).seams()
    np.testing.assert_array_equal(np.flatnonzero(seams.any(axis=0)), [4, 5])
