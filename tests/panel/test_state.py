"""The state machine by itself: which status follows which, and what a run is asked to do."""

import pytest

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images.source import Source
from ipy_imgvar.panel.state import PanelState, Status


@pytest.fixture
def state():
    """Return a state with a source."""
    return PanelState(source=Source("a.png", data=b"x"))


def test_nothing_runs_without_a_source():
    """A panel without a source stays idle."""
    state = PanelState()
    assert not state.begin()
    assert state.status is Status.IDLE


def test_a_run_that_goes_on_is_not_begun_twice(state):
    """The second of two clicks changes nothing."""
    assert state.begin()
    assert not state.begin()
    assert state.status is Status.RUNNING


def test_nothing_runs_while_a_source_is_read(state):
    """A source that is still being read can't be varied."""
    state.loading = True
    assert not state.can_run


def test_cancel_needs_a_run(state):
    """Cancel does nothing before a run and after its first click."""
    assert not state.cancel()
    state.begin()
    assert state.cancel()
    assert not state.cancel()
    assert state.status is Status.CANCELLING
    assert state.busy


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELLED])
def test_every_end_allows_the_next_run(state, status):
    """After any end the panel can run again."""
    state.begin()
    state.finish(status, error="broken" if status is Status.FAILED else "")
    assert state.status is status
    assert state.can_run


def test_an_unlocked_seed_is_not_sent(state):
    """The seed of the last run stands in its field and is sent only when it is kept."""
    state.seed = "7"
    assert "seed" not in state.arguments()
    state.seed_locked = True
    assert state.arguments()["seed"] == "7"


def test_a_kept_seed_must_be_there(state):
    """An empty seed that is kept is refused with the next step."""
    state.seed_locked = True
    with pytest.raises(InvalidRequestError, match="untick Keep seed"):
        state.arguments()


def test_what_the_engine_refuses_is_not_sent(state):
    """A prompt that was typed before stays in its field and is not sent to an engine that takes none."""
    state.prompt = "a cat"
    state.refused = {"prompt": "no"}
    assert "prompt" not in state.arguments()
    assert state.prompt == "a cat"


def test_settings_are_restored_with_their_seed(state):
    """Restored settings set the controls and keep the seed."""
    state.restore({"n": 2, "size": (512, 256), "strength": "subtle", "seed": 9, "fit": "pad"})
    assert (state.n, state.size, state.strength, state.fit) == (2, "512x256", 0.2, "pad")
    assert (state.seed, state.seed_locked) == ("9", True)


def test_wrong_settings_change_nothing(state):
    """Settings that no request could have leave every control as it was."""
    before = state.trait_values()
    with pytest.raises(InvalidRequestError):
        state.restore({"n": 2, "fit": "sideways"})
    assert state.trait_values() == before
