import numpy as np
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.subjects.barrier import barrier_distance, salient_objects


def brute_distance(image):
    """Return the exact distance from the third nearest side, by trying every path's highest and lowest value."""
    height, width = image.shape
    values = np.unique(image)
    sides = np.full((4, height, width), np.inf)
    starts = [(0, slice(None)), (height - 1, slice(None)), (slice(None), 0), (slice(None), width - 1)]
    for side, start in enumerate(starts):
        for low in values:
            for high in values[values >= low]:
                allowed = (image >= low) & (image <= high)
                reached = np.zeros_like(allowed)
                reached[start] = allowed[start]
                while True:
                    padded = np.pad(reached, 1)
                    grown = allowed & (
                        reached | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
                    )
                    if (grown == reached).all():
                        break
                    reached = grown
                sides[side][reached] = np.minimum(sides[side][reached], high - low)
    return np.sort(sides, axis=0)[2]


@given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.integers(2, 7))
@cases(40, 10)
def test_the_distance_is_never_too_small(seed, height, width):
    """Sweeping misses some paths, so a distance may be larger than the exact one, never smaller."""
    image = np.random.default_rng(seed).integers(0, 4, (height, width)).astype(np.float32)
    swept = barrier_distance(image[..., None])
    assert (swept >= brute_distance(image) - 1e-6).all()


def test_the_distance_is_exact_for_an_object_on_a_plain_ground():
    """Ground is at no distance; a square is at the difference of its colour."""
    image = np.full((20, 20), 0.2, np.float32)
    image[6:12, 8:14] = 0.9
    np.testing.assert_allclose(barrier_distance(image[..., None]), brute_distance(image), atol=1e-6)


def test_what_two_sides_cut_off_is_an_object():
    """What stands in a corner is an object, since ground reaches three sides and it reaches two."""
    image = np.full((40, 40, 3), 0.7, np.float32)
    image[20:, :15] = 0.1
    marked = salient_objects(image)
    np.testing.assert_array_equal(marked, image[..., 0] < 0.5)


def test_noise_has_no_objects():
    """Where nothing is apart from the rest, no ground is claimed."""
    assert salient_objects(np.random.default_rng(0).random((64, 64, 3), np.float32)) is None
