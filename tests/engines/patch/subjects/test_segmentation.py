import numpy as np

from ipy_imgvar.engines.patch.subjects.segmentation import find_subjects, fine_detail


def segment(source, cover=0.4):
    """Return a picture's subjects."""
    return find_subjects(source, fine_detail(source), cover)


def test_a_tower_is_an_object_on_the_ground(photograph):
    """The rocket is marked on its pad, without the sky."""
    tower = segment(photograph("rocket", 256))
    union = np.maximum.reduce(tower.masks)
    height, width = union.shape
    assert tower.on_ground
    assert union[int(0.5 * height) : int(0.9 * height), int(0.5 * width)].all()
    assert union.mean() < 0.4


def test_thin_legs_belong_to_what_stands_on_them(photograph):
    """The camera's tripod, thinner than a pixel of the small copy, is one subject with the man."""
    largest = segment(photograph("camera", 256)).masks[0]
    height, width = largest.shape
    for row, col in ((0.3, 0.4), (0.7, 0.58), (0.9, 0.53)):
        assert largest[int(row * height), int(col * width)]


def test_coins_are_subjects_one_by_one(photograph):
    """Separate objects are separate subjects, none larger than a coin or a few that touch."""
    coins = segment(photograph("coins", 256))
    assert coins.on_ground
    assert len(coins.masks) >= 12
    assert max(mask.mean() for mask in coins.masks) < 0.1


def test_the_head_belongs_to_the_subject(photograph):
    """The astronaut's face is inside one subject."""
    masks = segment(photograph("astronaut", 256), 0.42).masks
    height, width = masks[0].shape
    face = slice(int(0.12 * height), int(0.28 * height)), slice(int(0.36 * width), int(0.5 * width))
    assert max(one[face].mean() for one in masks) > 0.95


def test_a_texture_has_small_subjects(photograph):
    """Where everything recurs, little more than a quarter is a subject."""
    assert sum(one.mean() for one in segment(photograph("brick", 200), 0.45).masks) < 0.3


def test_one_colour_has_no_subject():
    """A flat picture has nothing salient."""
    assert segment(np.full((64, 64, 3), 0.4, np.float32)).masks == ()
