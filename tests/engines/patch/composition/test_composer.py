import numpy as np
import pytest

from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.composition.composer import Composer
from ipy_imgvar.engines.patch.subjects.segmentation import Subjects


def compose(source, numbers=1, strength=0.5, **options):
    """Return the compositions of the first pictures."""
    composer = Composer(source, shape=source.shape[:2], strength=strength, keep=None, flip=True, **options)
    return [
        composer.compose(np.random.default_rng([3, number]), number, Workers(1, None))
        for number in range(numbers)
    ]


def test_the_judge_chooses_among_settled_candidates(photograph):
    """The candidate that the judge finds least bad is taken, and its verdict is told."""
    seen = []

    def judge(image):
        seen.append(image)
        return float(image[:, : image.shape[1] // 2].mean())

    (composition,) = compose(photograph("grass", 128), judge=judge)
    assert len(seen) > 1
    assert composition.artefacts == min(judge(image) for image in list(seen))


def test_without_a_judge_nothing_is_judged(photograph):
    """What has not been judged has no number, and an image all the same."""
    (composition,) = compose(photograph("grass", 128))
    assert np.isnan(composition.artefacts)
    assert composition.image.shape[2] == 3
    assert 40 < min(composition.image.shape[:2]) < 70


@pytest.mark.parametrize("side_px", [40, 128])
def test_subjects_from_outside_are_taken(photograph, side_px):
    """Masks that a caller brings replace those that the engine finds."""
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 25:45] = 1
    (composition,) = compose(photograph("grass", side_px), subjects=Subjects((mask,), on_ground=True))
    assert len(composition.layout.placements) <= 1
