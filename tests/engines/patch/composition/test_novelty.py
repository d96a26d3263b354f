import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.novelty import new_share, rank_candidates
from ipy_imgvar.engines.patch.strength import tune


def test_a_moved_or_mirrored_copy_is_not_new(photograph):
    """Shifting by a few pixels, mirroring and zooming out leave next to nothing new."""
    source = photograph("coffee", 40)
    assert new_share(source, source) < 0.01
    assert new_share(np.roll(source, 3, axis=1), source) < 0.03
    assert new_share(source[:, ::-1], source) < 0.01
    smaller = np.pad(resize(source, (36, 36)), ((2, 2), (2, 2), (0, 0)), mode="edge")
    assert new_share(smaller, source) < 0.08


def test_another_picture_is_new(photograph):
    """Two pictures of different subjects share little."""
    assert new_share(photograph("coffee", 40), photograph("astronaut", 40)) > 0.4


def test_flat_pictures_do_not_divide_by_zero():
    """A picture of one colour correlates with nothing."""
    flat = np.zeros((20, 20, 3), np.float32)
    assert new_share(flat, flat) == 1


def test_a_moved_copy_is_not_taken_for_being_cheap(photograph):
    """At medium the new arrangement wins although the moved copy costs nothing; at subtle it need not."""
    source = photograph("coffee", 36)
    other = photograph("chelsea", 36)
    images = [np.roll(source, 2, axis=1), other]
    assert rank_candidates(images, [0.1, 1], source, [], tune(0.5))[0] == 1
    assert rank_candidates(images, [0.1, 1], source, [], tune(0.1))[0] == 0


def test_a_copy_of_a_sibling_is_not_taken(photograph):
    """Of two that cost the same, the one that no sibling shows yet is carried on."""
    source, shown, other = (photograph(name, 36) for name in ("coffee", "chelsea", "astronaut"))
    assert rank_candidates([shown, other], [1, 1], source, [shown], tune(0.5))[0] == 1
    assert rank_candidates([shown, other], [1, 1], source, [other], tune(0.5))[0] == 0


def test_a_smaller_copy_is_not_new(photograph):
    """The source shown at three quarters is a moved copy too."""
    source = photograph("astronaut", 40)
    smaller = np.pad(resize(source, (30, 30)), ((5, 5), (5, 5), (0, 0)), mode="edge")
    assert new_share(smaller, source) < 0.15
