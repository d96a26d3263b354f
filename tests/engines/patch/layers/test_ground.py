import numpy as np

from ipy_imgvar.engines.patch.layers.ground import ground_of


def meadow(side=96):
    """Return grain below a smooth sky, shape (side, side, 3), and a disc's matte in its middle."""
    rng = np.random.default_rng(3)
    image = np.full((side, side, 3), (0.5, 0.7, 0.9), np.float32)
    image[side // 2 :] = (0.3, 0.5, 0.2)
    image[side // 2 :] += rng.uniform(-0.05, 0.05, (side - side // 2, side, 1)).astype(np.float32)
    row, col = np.mgrid[:side, :side] - side // 2
    matte = np.clip(side / 6 - np.hypot(row, col) + 0.5, 0, 1).astype(np.float32)
    image += matte[..., None] * (np.float32([1, 0, 0]) - image)
    return image, matte


def test_nothing_of_the_subject_is_left():
    """No pixel of the ground is red, neither where a red disc was nor at its soft edge."""
    ground = ground_of(*meadow()).at(0)
    assert (ground[..., 0] - ground[..., 1]).max() < 0.05


def test_the_filling_has_the_grain_of_its_row():
    """The hole is as grainy as the meadow beside it, and as smooth as the sky."""
    image, matte = meadow()
    ground = ground_of(image, matte).at(0)
    hole = matte > 0.9
    grain = np.abs(np.diff(ground[..., 1], axis=1, prepend=0))
    below, above = hole.copy(), hole.copy()
    below[:56], above[40:] = False, False
    beside = grain[60:, 2:20].mean()
    assert grain[below].mean() > 0.4 * beside
    assert grain[above].mean() < 0.1 * beside


def test_blur_grows_with_defocus_and_with_the_distance():
    """Grain far from the subject fades with defocus, and less of it fades near the subject."""
    image, matte = meadow(160)
    ground = ground_of(image, matte)

    def grain(picture, part):
        return float(np.abs(np.diff(picture[part][..., 1], axis=1)).mean())

    far, near = (slice(90, 158), slice(0, 20)), (slice(82, 90), slice(110, 120))
    at = [[grain(ground.at(defocus), part) for defocus in (0, 0.3, 1)] for part in (far, near)]
    assert at[0][0] > at[0][1] > at[0][2]
    assert at[0][2] / at[0][0] < at[1][2] / at[1][0]


def test_without_defocus_the_ground_elsewhere_is_the_source():
    """Away from the subject no pixel changes."""
    image, matte = meadow()
    ground = ground_of(image, matte).at(0)
    np.testing.assert_array_equal(ground[:, :20], image[:, :20])
