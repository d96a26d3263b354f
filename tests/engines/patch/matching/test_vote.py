import numpy as np
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.patches import grid
from ipy_imgvar.engines.patch.matching.vote import copy, pack, unpack, vote, vote_at

sizes = st.integers(8, 24)


def identity(shape):
    rows, cols = grid(shape)
    zero = np.zeros((rows, cols), np.int32)
    return NearestNeighborField(zero, zero, shape, shape)


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
@cases(20, 8)
def test_vote_is_the_mean_of_overlapping_patches(seed, source_shape, shape, channels):
    """The packed vote equals the plain mean of what the covering patches show."""
    rng = np.random.default_rng(seed)
    image = rng.random((*source_shape, channels), np.float32)
    keys, queries = grid(source_shape), grid(shape)
    index = rng.integers(0, keys[0] * keys[1], queries[0] * queries[1])
    field = NearestNeighborField.from_flat(index, shape, source_shape)
    np.testing.assert_allclose(vote(pack(image), field, channels), brute_vote(image, field), atol=1e-3)


@given(sizes, sizes, st.sampled_from([0, 1, 2, 3]))
@cases(20, 8)
def test_the_identity_shows_the_source(height, width, reach):
    """Copies and votes of an undisplaced field are the source, to the bit."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.float32) / 255
    field = identity((height, width))
    words = pack(image)
    copied = copy(words, field, Workers(1, None))
    voted = vote_at(words, field, np.arange(height * width), reach, Workers(1, None))
    np.testing.assert_array_equal(copied.reshape(-1), words)
    np.testing.assert_array_equal(voted, words)
    np.testing.assert_array_equal(np.rint(unpack(copied, 3) * 255), np.rint(image * 255))
