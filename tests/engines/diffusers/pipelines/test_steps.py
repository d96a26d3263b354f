"""Progress and cancel inside a pipeline's call."""

from types import SimpleNamespace

import pytest

from ipy_imgvar.engines.diffusers.pipelines.steps import Watch, watch_blocks
from ipy_imgvar.errors import CancelledError


def test_a_bar_counts_in_both_ways_that_pipelines_use():
    """Iterated over, and updated by hand in a context; anything else of tqdm's is taken and does nothing."""
    watch, steps = Watch(), []
    watch.attend(lambda: None, lambda step, of: steps.append((step, of)))
    assert list(watch.bar([5, 6])) == [5, 6]
    with watch.bar(total=2) as bar:
        bar.set_postfix(loss=1)
        bar.update()
        bar.update(1)
    assert steps == [(0, 2), (1, 2), (2, 2)] * 2


def test_a_bar_over_a_tensor_is_iterated(torch):
    """Some pipelines pass their timesteps as a tensor, whose truth value is an error."""
    assert len(list(Watch().bar(torch.arange(3)))) == 3


def test_a_cancel_ends_a_call_between_two_steps_and_between_two_blocks(torch):
    """The run's check is asked in each step, and by a hook before each block of a model."""
    watch = Watch()

    model = torch.nn.Sequential(torch.nn.ModuleList([torch.nn.Identity(), None]))
    pipe = SimpleNamespace(components={"model": model, "other": None})
    watch_blocks(pipe, watch)
    watch_blocks(pipe, watch)
    block = pipe.components["model"][0][0]
    assert len(block._forward_pre_hooks) == 1

    def cancelled():
        raise CancelledError("cancelled")

    watch.attend(cancelled, lambda *_: None)
    with pytest.raises(CancelledError):
        block(1)
    with pytest.raises(CancelledError):
        list(pipe.progress_bar([1, 2]))
    watch.release()
    assert block(1) == 1
