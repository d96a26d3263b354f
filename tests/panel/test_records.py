"""The tree of runs, and what a person is told of one."""

from runs import at, run_of

from ipy_imgvar.panel.tree import details, grow
from ipy_imgvar.results.variations import Variations


def test_a_run_hangs_below_what_made_its_source():
    """Children stand below their parent, oldest first, and the newest family comes first."""
    runs = [
        run_of(at("a.png"), "/s/1", "/s/2", seed=1),
        run_of(at("b.png"), "/s/3", seed=2),
        run_of(at("/s/2"), "/s/4", seed=3),
        run_of(at("/s/4"), "/s/5", seed=4),
        run_of(at("/s/1"), "/s/6", seed=5),
    ]
    assert [(node.run.request.seed, node.depth) for node in grow(runs)] == [
        (2, 0),
        (1, 0),
        (3, 1),
        (4, 2),
        (5, 1),
    ]


def test_runs_without_pictures_are_left_out():
    """A run that made nothing is no node."""
    assert grow([Variations()]) == ()


def test_details_name_all_that_repeats_it():
    """The details of a node have its parameters."""
    found = dict(details(run_of(at("a.png"), "/s/1", seed=3, strength="subtle", size="64x64")))
    assert found["seed"] == "3"
    assert found["strength"] == "0.2"
    assert found["size"] == "64x64"
