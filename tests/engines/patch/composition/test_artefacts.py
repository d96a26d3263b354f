import numpy as np
import pytest

from ipy_imgvar.engines.patch.composition.artefacts import ArtefactJudge

#: A camera moved by a few per cent.
_MARGIN = 10


def _moved(image):
    return image[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _torn(image):
    """Return a picture whose left and right halves are exchanged and set off against each other."""
    half = image.shape[1] // 2
    return np.concatenate([np.roll(image[:, half:], image.shape[0] // 6, axis=0), image[:, :half]], axis=1)


@pytest.mark.parametrize("name", ["gravel", "grass", "hubble_deep_field"])
def test_textures_and_star_fields_bear_a_new_arrangement(photograph, name):
    """What recurs all over a picture can be put together anew."""
    assert ArtefactJudge(photograph(name, 256)).bears() > 0.8


@pytest.mark.parametrize("name", ["astronaut", "coffee", "retina", "camera"])
def test_people_and_things_do_not_bear_a_new_arrangement(photograph, name):
    """A person, a cup and an eye are refused before a candidate is made."""
    assert ArtefactJudge(photograph(name, 256)).bears() < 0.2


@pytest.mark.parametrize("name", ["coffee", "astronaut", "rocket"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_second_shot_scores_better_than_a_torn_picture(photograph, name, mirrored):
    """A camera move, mirrored or not, leaves every window whole; a torn picture does not."""
    source = photograph(name, 256)
    moved = _moved(source)
    judge = ArtefactJudge(source)
    assert judge.score(moved[:, ::-1] if mirrored else moved) < judge.score(_torn(source)) - 0.01


def test_a_texture_is_judged_more_leniently_than_a_thing(photograph):
    """The same tear that ruins a cup is not seen in gravel."""
    gravel, cup = photograph("gravel", 256), photograph("coffee", 256)
    assert ArtefactJudge(gravel).score(_torn(gravel)) < 0.3
    assert ArtefactJudge(cup).score(_torn(cup)) > 0.9


def test_the_size_of_the_picture_hardly_changes_its_score(photograph):
    """A candidate of 64 px and the finished picture are judged alike."""
    judge = ArtefactJudge(photograph("chelsea", 256))
    small, large = (judge.score(_torn(photograph("chelsea", side))) for side in (64, 256))
    assert abs(small - large) < 0.1


def test_a_grey_picture_counts_as_three_equal_channels(photograph):
    """One channel gives the score that the same picture has in three."""
    source = photograph("camera", 128)
    grey = source[..., :1]
    assert ArtefactJudge(grey).score(_torn(grey)) == pytest.approx(
        ArtefactJudge(source).score(_torn(source)), abs=0.01
    )


def test_alpha_does_not_count(photograph):
    """A fourth channel changes no score."""
    source = photograph("coffee", 128)
    clear = np.dstack([source, np.linspace(0, 1, 128, dtype=np.float32) * np.ones((128, 1), np.float32)])
    assert ArtefactJudge(clear).score(_torn(clear)) == ArtefactJudge(source).score(_torn(source))


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 200, 3), (35, 35, 1)])
def test_a_source_too_small_to_judge_is_refused(shape):
    """Where too few windows are left, nothing is trusted."""
    judge = ArtefactJudge(np.zeros(shape, np.float32))
    assert judge.bears() == 0
    assert judge.score(np.zeros((64, 64, shape[2]), np.float32)) == 1


@pytest.mark.parametrize("shape", [(36, 36, 1), (64, 64, 3), (40, 300, 4), (500, 90, 3)])
def test_any_shape_and_a_flat_colour_give_a_score_between_0_and_1(shape):
    """A flat picture divides by nothing, and long strips are judged too."""
    source = np.full(shape, 0.5, np.float32)
    judge = ArtefactJudge(source)
    assert 0 <= judge.bears() <= 1
    assert 0 <= judge.score(source) <= 1


def test_a_score_is_the_same_bytes_each_time(photograph):
    """Two judges of one source give one picture exactly the same score."""
    source = photograph("coffee", 256)
    assert ArtefactJudge(source).score(_torn(source)) == ArtefactJudge(source).score(_torn(source))
