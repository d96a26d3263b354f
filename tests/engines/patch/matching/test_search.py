import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.patches import grid, vectors
from ipy_imgvar.engines.patch.matching.search import ALPHA, nearest_complete, patch_match


def brute_force(queries, keys, scale):
    distances = np.array([[((q - k) ** 2).sum() / scale for k in keys] for q in queries], np.float64)
    return distances, (distances / (ALPHA + distances.min(axis=0))).argmin(axis=1)


@given(st.integers(0, 2**32 - 1), st.integers(8, 13), st.integers(8, 13), st.sampled_from([1, 3, 4]))
@cases(15, 8)
def test_exact_search_is_the_brute_force_one(seed, height, width, channels):
    """The matrix product finds what comparing every pair finds."""
    rng = np.random.default_rng(seed)
    queries = vectors(rng.random((height, width, channels), np.float32))
    keys = vectors(rng.random((width, height, channels), np.float32))
    scale = 49 * channels
    distances, best = brute_force(queries, keys, scale)
    match = nearest_complete(queries, keys, scale, Workers(1, None))
    np.testing.assert_array_equal(match.index, best)
    np.testing.assert_allclose(match.distance, distances[np.arange(len(queries)), best], atol=1e-5)
    np.testing.assert_allclose(match.key_distance, distances.min(axis=0), atol=1e-5)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_do_not_change_the_result(threads, photograph):
    """Chunks on several threads find the same as one thread."""
    patches = vectors(photograph("coffee", 40))
    shuffled = patches[::-1] * np.float32(0.9)
    alone = nearest_complete(shuffled, patches, 147, Workers(1, None))
    shared = nearest_complete(shuffled, patches, 147, Workers(threads, None))
    np.testing.assert_array_equal(alone.index, shared.index)
    np.testing.assert_array_equal(alone.key_distance, shared.key_distance)


def test_own_patches_are_found(photograph):
    """A picture asked for its own patches gets each one back in its position."""
    patches = vectors(photograph("astronaut", 20))
    match = nearest_complete(patches, patches, 147, Workers(1, None))
    np.testing.assert_array_equal(match.index, np.arange(len(patches)))


def random_field(rng, shape):
    rows, cols = grid(shape)
    return NearestNeighborField.from_flat(rng.integers(0, rows * cols, rows * cols), shape, shape)


def mean_distance(field, features):
    rows, cols = field.rows.shape
    index = (field.rows + np.arange(rows)[:, None]) * cols + field.cols + np.arange(cols)
    return ((features - features[index.reshape(-1)]) ** 2).sum(axis=1).mean()


def test_patch_match_approaches_the_exact_field(photograph):
    """A few rounds from a random field bring the distance below a tenth of where it began."""
    rng = np.random.default_rng(1)
    features = vectors(photograph("rocket", 48))
    shape = (48, 48)
    field = random_field(rng, shape)
    before = mean_distance(field, features)
    everywhere = np.arange(len(features))
    for _ in range(6):
        jumps = [rng.integers(-reach, reach, (2, len(features)), dtype=np.int32) for reach in (24, 8, 3)]
        field = patch_match(field, features, features.__getitem__, everywhere, jumps, view=48)
    assert mean_distance(field, features) < 0.1 * before


def test_patch_match_leaves_the_rest_alone(photograph):
    """Patches that are not named movable keep their displacement, and no distance grows."""
    rng = np.random.default_rng(2)
    features = vectors(photograph("coffee", 30))
    field = random_field(rng, (30, 30))
    movable = np.flatnonzero(rng.random(len(features)) < 0.3)
    moved = patch_match(field, features[movable], features.__getitem__, movable, [], view=30)
    still = np.ones(len(features), bool)
    still[movable] = False
    np.testing.assert_array_equal(moved.rows.reshape(-1)[still], field.rows.reshape(-1)[still])
    np.testing.assert_array_equal(moved.cols.reshape(-1)[still], field.cols.reshape(-1)[still])
    assert mean_distance(moved, features) <= mean_distance(field, features)
