"""How much of a test belongs to each day, and how much to CI, which runs the slow tests and all cases."""

import os

import hypothesis
import pytest

#: CI sets this where it runs the slow tests and, once more, the property tests.
ALL = os.environ.get("TEST_CASES") == "all"


def cases(most, few, **named):
    """Return hypothesis's settings for so many cases: `most` in CI, `few` each day."""
    return hypothesis.settings(max_examples=most if ALL else few, deadline=None, **named)


def slow(*values):
    """Return one of `parametrize`'s sets of values, for CI alone."""
    return pytest.param(*values, marks=pytest.mark.slow)
