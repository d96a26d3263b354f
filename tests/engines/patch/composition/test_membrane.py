import numpy as np

from ipy_imgvar.engines.patch.composition.membrane import membrane


def test_a_membrane_is_held_and_falls_off():
    """It has the given values where it is held, and less the further away."""
    values = np.full((40, 40, 2), 0.2, np.float32)
    held = np.zeros((40, 40), bool)
    held[:, 10] = True
    field = membrane(values, held)
    np.testing.assert_allclose(field[held], 0.2)
    middle = field[20, 10:, 0]
    assert (np.diff(middle) <= 1e-6).all()
    assert 0.1 < field[20, 14, 0] < 0.2
    assert field[20, 39, 0] < 0.08


def test_a_membrane_held_nowhere_is_flat():
    """Without a seam no tone changes."""
    assert not membrane(np.ones((9, 14, 3), np.float32), np.zeros((9, 14), bool)).any()
