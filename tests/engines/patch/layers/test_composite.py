import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.layers.composite import draw_layers, prepare


def scene(shape=(96, 120), box=(30, 80, 40, 80), channels=3):
    """Return a grey ramp with a white rectangle on it, and the rectangle's matte; `box` as top, bottom, left, right."""
    ramp = np.linspace(0.2, 0.4, shape[1], dtype=np.float32)
    image = np.tile(ramp[None, :, None], (shape[0], 1, channels))
    if channels == 4:
        image[..., 3] = 1
    matte = np.zeros(shape, np.float32)
    matte[box[0] : box[1], box[2] : box[3]] = 1
    return image + matte[..., None] * (1 - image), matte


def extent(picture):
    """Return top, bottom, left and right of what is white."""
    white = picture[..., 0] > 0.7
    rows, cols = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    return rows[0], rows[-1] + 1, cols[0], cols[-1] + 1


def test_the_subject_grows_about_its_base():
    """The base and the middle stay in place, and the height grows by the scale."""
    image, matte = scene()
    top, bottom, left, right = extent(prepare(image, matte).compose(1.1, 0))
    assert abs(bottom - 80) <= 1
    assert abs((bottom - top) - 55) <= 1
    assert abs((left + right) / 2 - 60) <= 1


def test_scale_one_gives_the_source_back():
    """Cut out and put back in place, the subject's picture is the source."""
    image, matte = scene()
    np.testing.assert_allclose(prepare(image, matte).compose(1, 0), image, atol=0.02)


def test_the_top_stays_in_the_picture():
    """However large the scale, the subject keeps a margin to the border above it."""
    image, matte = scene(box=(6, 80, 40, 80))
    layers = prepare(image, matte)
    assert layers.most < 1.1
    assert extent(layers.compose(5, 0))[0] >= 1


@pytest.mark.parametrize("box", [(1, 80, 40, 80), (30, 80, 1, 119)], ids=["above", "at the sides"])
def test_a_subject_without_room_is_refused(box):
    """No layers are made where a subject would grow by less than 3 percent."""
    assert prepare(*scene(box=box)) is None


def test_nothing_to_cut_out_gives_none():
    """An empty matte has no layers."""
    image, matte = scene()
    assert prepare(image, matte * 0) is None


def test_what_the_border_cuts_stays_at_it():
    """A subject cut by the lower border still reaches it, over its whole width, and keeps its top in the picture."""
    image, matte = scene(box=(5, 96, 40, 80))
    picture = prepare(image, matte).compose(1.18, 0)
    top, bottom, left, right = extent(picture)
    assert bottom == 96
    assert top >= 1
    assert right - left > 41
    assert (picture[-1, 41:79, 0] > 0.9).all()


def test_no_rim_and_no_hole_is_left():
    """Beside the grown subject the ground is the ramp it was, without white or dark pixels."""
    image, matte = scene()
    clean = scene(box=(0, 0, 0, 0))[0]
    layers = prepare(image, matte)
    picture = layers.compose(1.1, 0)
    top, bottom, left, right = extent(picture)
    beside = np.ones(matte.shape, bool)
    beside[top - 2 : bottom + 2, left - 2 : right + 2] = False
    assert np.abs(picture - clean)[beside].max() < 0.03


def test_soft_edges_have_the_colour_of_the_subject():
    """A pixel half subject and half ground shows the subject's own colour before another ground."""
    image, matte = scene()
    matte[29, 40:80] = 0.5
    image[29, 40:80] = 0.5 + 0.5 * scene(box=(0, 0, 0, 0))[0][29, 40:80]
    layers = prepare(image, matte)
    row = 29 - layers.box.top
    part = layers.subject[row, 10:30]
    np.testing.assert_allclose(part[:, :-1] / part[:, -1:], 1, atol=0.05)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 48), st.integers(1, 48), st.sampled_from([1, 3, 4])),
    st.floats(1, 1.2),
    st.floats(0, 1),
)
@cases(60, 15)
def test_any_picture_and_matte_give_a_picture(seed, shape, scale, defocus):
    """Shape, type and range are the source's, and no colour exceeds its alpha."""
    height, width, channels = shape
    rng = np.random.default_rng(seed)
    image = rng.random(shape, np.float32)
    if channels == 4:
        image[..., :3] *= image[..., 3:]
    matte = np.zeros((height, width), np.float32)
    top, left = rng.integers(0, height), rng.integers(0, width)
    matte[top : top + rng.integers(1, 30), left : left + rng.integers(1, 30)] = rng.random(dtype=np.float32)
    layers = prepare(image, matte)
    if layers is None:
        return
    picture = layers.compose(scale, defocus)
    assert picture.shape == image.shape
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    if channels == 4:
        assert (picture[..., :3] <= picture[..., 3:]).all()


def test_a_small_subject_s_ground_blurs_less():
    """Where the subject takes 2 percent of the picture, the strongest defocus is a tenth of a large one's."""
    small = prepare(*scene(box=(60, 75, 50, 65)))
    assert 0.05 < small.shallow < 0.15
    assert prepare(*scene(box=(20, 80, 30, 90))).shallow == 1
    assert small.compose(1.1, 1).tobytes() == small.compose(1.1, small.shallow).tobytes()


def test_what_is_cut_above_sinks_a_little_only():
    """A subject cut by the upper border stays at it and grows by a tenth at most."""
    layers = prepare(*scene(box=(0, 50, 40, 80)))
    top, bottom, *_ = extent(layers.compose(1.18, 0))
    assert top == 0
    assert bottom <= 56


def test_composing_changes_no_layer():
    """Two pictures of the same numbers are the same bytes, whatever was made between them."""
    layers = prepare(*scene())
    first = layers.compose(1.08, 0.5)
    layers.compose(1.15, 0)
    assert first.tobytes() == layers.compose(1.08, 0.5).tobytes()


@pytest.mark.parametrize("strength", [0, 0.5, 1])
def test_draws_stay_in_their_range(strength):
    """The subject grows by 4 to 18 percent, more of it at a higher strength, and some grounds stay sharp."""
    draws = [draw_layers(np.random.default_rng([5, number]), strength) for number in range(200)]
    scales, defocus = np.array(draws).T
    assert scales.min() >= 1.04
    assert scales.max() <= 1.04 + 0.14 * (0.3 + 0.7 * strength) + 1e-9
    assert 0.3 < (defocus == 0).mean() < 0.5
    assert defocus.max() <= 1
