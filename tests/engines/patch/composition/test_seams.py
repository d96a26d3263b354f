import itertools

import numpy as np

from ipy_imgvar.engines.patch.composition.seams import atlas_columns, features, find_seams


def seams_of(image, toll=None, *, mirrored=True):
    """Return the seams of an image, which nothing cancels."""
    if toll is None:
        toll = np.zeros(image.shape[:2], np.float32)
    return find_seams(image, toll, mirrored=mirrored, check=lambda: None).all


def periodic(period=10, repeats=3, height=24):
    """Return an image whose columns recur after a period."""
    part = np.random.default_rng(0).random((height, period, 3), np.float32)
    return np.tile(part, (1, repeats, 1))


def test_what_recurs_is_joined_for_nothing():
    """The cheapest seam of a periodic picture goes on a whole number of periods away."""
    best = seams_of(periodic(), mirrored=False)[0]
    assert best.cost < 1e-5
    assert abs(best.step) % 10 == 0


def test_seams_come_cheapest_first(photograph):
    """The order is that of the costs."""
    costs = [seam.cost for seam in seams_of(photograph("grass", 32))]
    assert costs == sorted(costs)


def test_no_path_is_cheaper_than_the_one_found():
    """Dynamic programming finds what trying every path of a few rows finds."""
    image = np.random.default_rng(1).random((5, 9, 1), np.float32)
    values = features(image)
    best = {}
    for left, right in itertools.product(range(1, 9), repeat=2):
        if abs(left - right) < 0.2 * 9:
            continue
        for moves in itertools.product((-1, 0, 1), repeat=4):
            columns = left + np.concatenate([[0], np.cumsum(moves)])
            others = columns + right - left
            if min(columns.min(), others.min()) < 1 or max(columns.max(), others.max()) > 8:
                continue
            apart = values[np.arange(5), columns] - values[np.arange(5), others]
            key = (int(columns[-1]), right - left)
            best[key] = min(best.get(key, np.inf), float((apart**2).sum()))
    for seam in seams_of(image, mirrored=False):
        along = values[np.arange(5), seam.columns] - values[np.arange(5), seam.columns + seam.step]
        np.testing.assert_allclose((along**2).sum(), best[int(seam.columns[-1]), seam.step], rtol=1e-4)


def test_the_sides_of_a_seam_show_different_places(photograph):
    """No seam is a fold, at which the picture is mirrored about itself."""
    width = 32
    for seam in seams_of(photograph("coffee", width)):
        left, right = (
            np.where(columns < width, columns, 2 * width - 1 - columns)
            for columns in (seam.columns, seam.columns + seam.step)
        )
        assert (np.abs(left - right) >= 0.2 * width).all()


def test_no_seam_goes_where_it_may_not(photograph):
    """An infinite toll is never paid, on either side."""
    toll = np.zeros((32, 32), np.float32)
    toll[8:20, 10:16] = np.inf
    closed = atlas_columns(toll[..., None], mirrored=True)[..., 0]
    rows = np.arange(32)
    seams = seams_of(photograph("coffee", 32), toll)
    assert seams
    for seam in seams:
        assert np.isfinite(closed[rows, seam.columns]).all()
        assert np.isfinite(closed[rows, seam.columns + seam.step]).all()
