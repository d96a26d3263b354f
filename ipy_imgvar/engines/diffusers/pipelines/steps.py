"""Progress and cancel inside a pipeline's call.

Every pipeline makes its bar through its own `progress_bar`, so a bar of ours there sees each step, and an exception
from it ends the call. Between steps, a hook before every block asks the run's check: on a CPU a step takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Watch", "watch_blocks"]

#: Seconds between two calls of the run's check; a hook is called some thousand times a second on a small model.
_CHECK_EVERY_S: Final = 0.05


class Watch:
    """Receives the steps and blocks of the pipelines of one model, and passes them to the run at work.

    Attributes
    ----------
    check
        The run's check, which raises to end the call.
    on_step
        Called with the number of finished steps and that of all: with 0 before the first, then after each.
    """

    def __init__(self) -> None:
        self._checked = 0.0
        self.check: Callable[[], None] = _nothing
        self.on_step: Callable[[int, int], None] = _nothing

    def attend(self, check: Callable[[], None], on_step: Callable[[int, int], None]) -> None:
        """Pass what follows to a run."""
        self.check, self.on_step = check, on_step

    def release(self) -> None:
        """Pass nothing on."""
        self.check = self.on_step = _nothing

    def block(self, *_: Any) -> None:
        """Ask the run's check, at most every 50 ms; a hook before a block's `forward`."""
        now = time.monotonic()
        if now - self._checked >= _CHECK_EVERY_S:
            self._checked = now
            self.check()

    def bar(self, iterable: Iterable[Any] | None = None, total: int | None = None) -> _Bar:
        """Return a bar as `DiffusionPipeline.progress_bar` does."""
        return _Bar(self, iterable, total)


def _nothing(*_: object) -> None:
    """Stand for the run's functions between two runs."""


class _Bar:
    """What the pipelines use of a tqdm bar: iteration, `update`, a context; anything else does nothing."""

    def __init__(self, watch: Watch, iterable: Iterable[Any] | None, total: int | None) -> None:
        self._watch, self._iterable, self._step = watch, iterable, 0
        if total is None:
            total = len(iterable) if isinstance(iterable, Sized) else 0
        self._total = total
        watch.on_step(0, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        # A tensor of timesteps, whose truth value is an error.
        for each in () if self._iterable is None else self._iterable:
            yield each
            self.update()

    def update(self, n: float | None = 1) -> None:
        """Count a step, and ask the run's check."""
        self._step += int(n or 0)
        self._watch.on_step(self._step, max(self._total, self._step))
        self._watch.check()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def watch_blocks(pipe: Any, watch: Watch) -> None:
    """Let a pipeline's bars and the blocks of its models report to `watch`."""
    import torch

    pipe.progress_bar = watch.bar
    for component in pipe.components.values():
        if not isinstance(component, torch.nn.Module):
            continue
        lists = [each for each in component.modules() if isinstance(each, torch.nn.ModuleList)]
        for block in {
            block for each in lists for block in each if block is not None
        }:  # klein has empty entries
            if not getattr(block, "imgvar_watched", False):
                block.register_forward_pre_hook(watch.block)
                block.imgvar_watched = True
