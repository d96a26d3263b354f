import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cases import cases, slow
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from ipy_imgvar.engines.patch import synthesis
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.composer import Composer
from ipy_imgvar.engines.patch.composition.novelty import new_share
from ipy_imgvar.engines.patch.scene import Scene, Settings
from ipy_imgvar.engines.patch.synthesis import synthesise


class Stop(Exception):  # noqa: N818 - a signal, as a caller's cancel is
    """What a test's check raises."""


def make(
    source,
    *,
    n=1,
    shape=None,
    keep=None,
    detailed=None,
    subject=None,
    threads=2,
    progress=None,
    check=None,
    **how,
):
    """Return an iterator of n pictures; `how` are the settings."""
    scene = Scene(
        source=source, shape=shape or source.shape[:2], keep=keep, detailed=detailed, subject=subject
    )
    settings = Settings(**{"strength": 0.5, "seed": 7} | how)
    return synthesise(scene, settings, numbers=range(n), threads=threads, progress=progress, check=check)


def pictures(source, **options):
    return [picture.pixels for picture in make(source, **options)]


def random_source(rng, height, width, channels):
    coarse = rng.random((height // 5 + 1, width // 5 + 1, channels), np.float32)
    source = np.kron(coarse, np.ones((5, 5, 1), np.float32))[:height, :width]
    if channels == 4:
        source[..., :3] *= source[..., 3:]
    return source


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.tuples(st.integers(7, 130), st.integers(41, 130)),
    st.sampled_from([1, 3, 4]),
    st.floats(0, 1),
    st.integers(0, 2**63),
)
@cases(25, 6)
def test_any_small_picture_works(content, size, channels, strength, seed):
    """At any size, channels, strength and seed, the pictures have the source's shape and 8 bits."""
    source = random_source(np.random.default_rng(content), *size, channels)
    before = source.copy()
    results = pictures(source, n=2, strength=strength, seed=seed)
    assert len(results) == 2
    for picture in results:
        assert picture.shape == source.shape
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
    np.testing.assert_array_equal(source, before)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0, 1),
)
@cases(20, 8)
def test_any_other_shape_works(content, size, shape, strength):
    """A picture of another shape than the source's can always be made."""
    source = random_source(np.random.default_rng(content), *size, 3)
    assert pictures(source, shape=shape, strength=strength)[0].shape == (*shape, 3)


@pytest.mark.parametrize("shape", [(13, 200), (300, 7), (1024, 64), (64, 1400)])
def test_strips_work_and_are_not_slow(shape):
    """A strip costs about what a square of its area costs."""
    source = random_source(np.random.default_rng(0), *shape, 3)
    start = time.process_time()
    assert pictures(source)[0].shape == (*shape, 3)
    assert time.process_time() - start < 4


@pytest.mark.parametrize("strength", [0.2, slow(0.85)])
def test_same_seed_same_bytes_for_any_threads(small, strength):
    """The number of threads and a second run change nothing."""
    first = pictures(small, n=2, strength=strength, threads=1)
    for threads in (2, 4):
        again = pictures(small, n=2, strength=strength, threads=threads)
        np.testing.assert_array_equal(first, again)


def test_a_picture_does_not_depend_on_how_many_follow(photograph):
    """Picture 1 of 3 is picture 1 of 1."""
    source = photograph("coffee", 96)
    np.testing.assert_array_equal(pictures(source, n=1)[0], pictures(source, n=3)[0])


def test_another_seed_makes_another_picture(small):
    """Seeds matter."""
    assert not np.array_equal(pictures(small, seed=1)[0], pictures(small, seed=2)[0])


@pytest.mark.parametrize("strength", [0.2, slow(0.7)])
@pytest.mark.parametrize("channels", [slow(1), 3, slow(4)])
def test_what_the_caller_keeps_stays(small, strength, channels):
    """Pixels marked to keep are the source's, to the byte, with tone and flip allowed."""
    rng = np.random.default_rng(5)
    straight = np.concatenate([small, np.full_like(small[..., :1], 0.7)], axis=2)[..., :channels]
    source = straight.copy()
    if channels == 4:
        source[..., :3] *= source[..., 3:]
    keep = np.zeros(source.shape[:2], bool)
    keep[20:50, 11:40] = True
    keep |= rng.random(keep.shape) < 0.02
    for picture in pictures(source, n=3, strength=strength, keep=keep):
        np.testing.assert_array_equal(picture[keep], np.rint(straight[keep] * 255).astype(np.uint8))
        assert (picture[~keep] != np.rint(straight[~keep] * 255)).any()


def test_a_mask_that_keeps_nothing_is_no_mask_to_fail_on(small):
    """Nothing marked: all of it may be rearranged."""
    nothing = np.zeros(small.shape[:2], bool)
    assert pictures(small, keep=nothing)[0].shape == small.shape


@pytest.mark.parametrize("strength", [slow(0.2), slow(0.5), 0.85])
@pytest.mark.parametrize(("side_px", "dot_px"), [(72, 1), (128, 2), slow(192, 3), slow(192, 6)])
def test_a_dot_on_a_plain_ground_works(side_px, dot_px, strength):
    """One hot pixel, a star, a small logo: too small for a subject, and no reason to fail."""
    source = np.full((side_px, side_px, 3), 0.1, np.float32)
    source[side_px // 3 : side_px // 3 + dot_px, side_px // 2 : side_px // 2 + dot_px] = 1
    assert len(pictures(source, strength=strength, n=2)) == 2


def test_strong_shows_some_things_from_further_away(photograph):
    """Above 0.6, where the ground can be extended, some candidates show the source smaller."""
    source = photograph("rocket", 128)

    def zooms(strength):
        composer = Composer(source, shape=(128, 128), strength=strength, keep=None, flip=True)
        return composer._zooms()

    assert min(zooms(0.85)) < 0.8 < max(zooms(0.85)) == 1
    assert set(zooms(0.5)) == {1}


def test_keeping_everything_returns_the_source(small):
    """A mask of the whole picture leaves nothing to vary."""
    keep = np.ones(small.shape[:2], bool)
    np.testing.assert_array_equal(pictures(small, keep=keep)[0], np.rint(small * 255).astype(np.uint8))


@pytest.mark.parametrize("side_px", [1, 8, 64])
def test_flat_stays_flat(side_px):
    """One colour stays one colour, at any size and strength."""
    source = np.full((side_px, side_px, 3), (0.2, 0.5, 0.7), np.float32)
    assert Scene(source=source, shape=source.shape[:2]).is_flat
    for strength in (0.2, 1.0):
        for picture in pictures(source, n=2, strength=strength):
            assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 1


def test_a_photograph_is_not_flat(small):
    """A photograph is not taken for one colour."""
    assert not Scene(source=small, shape=small.shape[:2]).is_flat


def test_transparency_survives(small):
    """A cut-out keeps transparent ground, an opaque subject, and about as much of each."""
    alpha = np.zeros(small.shape[:2], np.float32)
    alpha[20:60, 16:56] = 1
    source = np.concatenate([small * alpha[..., None], alpha[..., None]], axis=2)
    for picture in pictures(source, n=3):
        opaque = (picture[..., 3] > 127).mean()
        assert 0.5 * alpha.mean() < opaque < 1.6 * alpha.mean()
        assert (picture[..., 3] == 0).any()


def test_white_ground_stays_white(small):
    """No tone tints a white ground."""
    source = small.copy()
    source[:, :24] = 1
    for picture in pictures(source, n=4, strength=0.3, flip=False):
        whites = picture[picture.min(axis=2) > 240]
        assert np.ptp(whites.astype(int), axis=1).mean() < 4


def test_grey_stays_grey():
    """One channel in, one channel out."""
    source = random_source(np.random.default_rng(1), 48, 60, 1)
    assert pictures(source)[0].shape == (48, 60, 1)


def test_progress_is_monotone_and_ends_at_one(small):
    """The share of the work done never falls, starts near 0 and ends at 1."""
    told = []
    pictures(small, n=3, progress=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.2
    assert fractions[-1] == 1
    assert all(text for _, text in told)


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("imgvar-patch")]


@pytest.mark.parametrize("after", [1, slow(5), 20, slow(60), slow(100)])
def test_cancel_propagates_and_leaves_no_thread(photograph, after):
    """What `check` raises comes out, at once, and every thread is gone."""
    calls = 0

    def check():
        nonlocal calls
        calls += 1
        if calls > after:
            raise Stop

    with pytest.raises(Stop):
        pictures(photograph("gravel", 256), n=3, check=check)
    assert calls == after + 1
    assert engine_threads() == []


def test_close_leaves_no_thread(photograph):
    """A generator that is closed early ends its threads."""
    generator = make(photograph("rocket", 128), n=4)
    next(generator)
    generator.close()
    assert engine_threads() == []


def test_check_is_called_often(photograph):
    """At 512 px a run looks at `check` at least ten times, and no stretch without a look is most of its work."""
    pictures(photograph("astronaut", 64))  # what is loaded at first takes its own time
    moments = [time.process_time()]
    pictures(photograph("astronaut", 512), check=lambda: moments.append(time.process_time()))
    moments.append(time.process_time())
    assert len(moments) >= 12
    assert np.diff(moments).max() < 0.7 * (moments[-1] - moments[0])


def test_an_interrupt_leaves_no_thread(photograph):
    """KeyboardInterrupt, wherever in the engine it strikes, leaves no thread and no limit on BLAS."""
    source = photograph("rocket", 256)
    folder = str(Path(synthesis.__file__).parent)
    before, tracer = threadpool_info(), sys.gettrace()  # Coverage's, where it is measured.
    for moment in range(50, 30_000, 3_001):
        moments = iter(range(moment))

        def strike(frame, _event, _argument, moments=moments):
            if not frame.f_code.co_filename.startswith(folder):
                return None
            frame.f_trace_opcodes = True
            if next(moments, None) is None:
                sys.settrace(tracer)
                raise KeyboardInterrupt
            return strike

        sys.settrace(strike)
        try:
            with pytest.raises(KeyboardInterrupt):
                pictures(source, strength=0.2, n=3)
        finally:
            sys.settrace(tracer)
        assert engine_threads() == []
        assert threadpool_info() == before


@pytest.mark.parametrize(
    ("name", "strength", "means"),
    [
        ("astronaut", 0.5, "camera"),
        ("coffee", 0.5, "camera"),
        slow("rocket", 0.5, "camera"),
        slow("chelsea", 0.5, "camera"),
        slow("gravel", 0.2, "camera"),
        ("gravel", 0.5, "arrangement"),
        slow("grass", 0.5, "arrangement"),
        slow("hubble_deep_field", 0.5, "arrangement"),
    ],
)
def test_the_means_fit_the_source(photograph, name, strength, means):
    """Faces, cups and rockets are shot again; from 0.3 on, textures and fields of stars are arranged anew."""
    source = photograph(name, 192)
    made = make(source, n=2, strength=strength)
    assert [picture.means for picture in made] == [means] * 2


def test_pixels_that_stay_in_place_are_arranged_around(photograph):
    """No shot keeps a pixel in its place."""
    source = photograph("astronaut", 64)
    keep = np.zeros(source.shape[:2], bool)
    keep[:32] = True
    assert next(make(source, strength=0.2, keep=keep)).means == "arrangement"


def test_no_shot_cuts_a_subject_that_has_grown():
    """What layers enlarge stays whole in the shot that is taken of them, the top above all."""
    source = np.full((160, 160, 3), (0.3, 0.4, 0.5), np.float32)
    source += np.random.default_rng(0).normal(0, 0.01, source.shape).astype(np.float32)
    mask = np.zeros((160, 160), np.float32)
    mask[24:150, 60:100] = 1
    source[mask > 0] = (0.9, 0.3, 0.2)
    source[24:34, 60:100] = (0.9, 0.9, 0.1)
    made = list(make(source, n=6, strength=0.85, subject=mask, tone=False))
    assert {picture.means for picture in made} == {"layers"}
    for picture in made:
        yellow = (picture.pixels[..., 1] > 180) & (picture.pixels[..., 2] < 90)
        assert yellow.any(axis=1).sum() > 9


def test_a_shot_uses_the_detail_that_the_source_has(photograph):
    """A window of a larger source is sharper than one of the source at the picture's size."""
    large = photograph("astronaut", 512)
    source = resize(large, (128, 128))
    soft, sharp = (
        pictures(source, strength=0.3, tone=False, detailed=detailed)[0]
        for detailed in (None, np.rint(resize(large, (192, 192)) * 255).astype(np.uint8))
    )
    soft_edges, sharp_edges = (np.abs(np.diff(one.astype(float), axis=1)).mean() for one in (soft, sharp))
    assert sharp_edges > 1.05 * soft_edges


@pytest.mark.slow
def test_statistics_of_an_arrangement(photograph):
    """Arrangements have the source's colours and sharpness, differ from one another, and are new."""
    source = photograph("gravel", 192)
    sharpness = np.abs(np.diff(source.mean(axis=2), axis=1)).mean()
    results = [picture / np.float32(255) for picture in pictures(source, n=3, tone=False)]
    for picture in results:
        assert 0.85 < np.abs(np.diff(picture.mean(axis=2), axis=1)).mean() / sharpness < 1.15
        quantiles = np.linspace(0.05, 0.95, 19)
        assert np.abs(np.quantile(picture, quantiles) - np.quantile(source, quantiles)).mean() < 0.08
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert min(np.abs(results[left] - results[right]).mean() for left, right in pairs) > 6 / 255
    shares = [new_share(resize(picture, (40, 40)), resize(source, (40, 40))) for picture in results]
    assert np.median(shares) > 0.12


@pytest.mark.parametrize("strength", [slow(0.2), 0.5, slow(0.85)])
@pytest.mark.parametrize("name", ["astronaut", slow("coffee"), slow("coins")])
def test_siblings_differ(photograph, name, strength):
    """No two pictures of a call are nearly the same."""
    results = [
        picture.astype(float)
        for picture in pictures(photograph(name, 128), n=3, strength=strength, tone=False)
    ]
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(results[left] - results[right]).mean() > 6


def test_retargeting_shows_the_subject_once_more_or_less(photograph):
    """A wider canvas shows the source's full height: its rows keep their mean brightness."""
    source = photograph("rocket", 96)
    wide = pictures(source, shape=(96, 160), tone=False)[0] / 255
    assert np.abs(wide.mean(axis=(1, 2)) - source.mean(axis=(1, 2))).mean() < 0.06
