"""The pictures of one run: seeds, batches, progress, memory that is full, and the record of each picture."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.device.machine import empty_cache
from ipy_imgvar.engines.diffusers.device.placement import is_out_of_memory
from ipy_imgvar.engines.diffusers.pipelines.packages import quiet
from ipy_imgvar.errors import EngineError, ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.results.variations import Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ipy_imgvar.engine import Job
    from ipy_imgvar.engines.diffusers.pipelines.calls import Call, Made
    from ipy_imgvar.engines.diffusers.pipelines.frame import Frame
    from ipy_imgvar.engines.diffusers.pipelines.loading import Loaded
    from ipy_imgvar.request import VariationRequest

__all__ = ["Run"]

#: The number of seeds: the largest seed of a request is 2**63 - 1, and the next picture's starts again at 0.
_SEEDS: Final = 2**63
#: Seconds of a picture on a CPU, and of the rest of a run, from which the user is told.
_SLOW_S: Final = 5.0


@dataclass(slots=True)
class Run:
    """One request on a loaded model.

    Parameters
    ----------
    loaded, call, frame, request
        The model, the call, the source, and the request.
    job, check
        Get the progress, and say whether to stop.
    parameters
        The record that all pictures share.
    batch
        Pictures at once, at most.
    preview
        Encodes the unfinished picture of a step's latents, or None.
    """

    loaded: Loaded
    call: Call
    frame: Frame
    request: VariationRequest
    job: Job
    check: Callable[[], None]
    parameters: dict[str, Any]
    batch: int = 1
    preview: Callable[[Any], bytes | None] | None = None
    _finished: int = 0
    _step_began: float = field(default_factory=time.monotonic)
    _warned: bool = False
    _text: str = ""

    def pictures(self) -> Iterator[Variation]:
        """Yield each picture as soon as it is ready.

        Raises
        ------
        EngineError
            If the pipeline fails, or the memory is full with one picture at a time.
        """
        request = self.request
        pending = [request.index] if request.index is not None else list(range(1, request.n + 1))
        count, yielded, batch = len(pending), 0, min(self.batch, len(pending))
        while pending:
            numbers = pending[:batch]
            made = self._made(numbers, count)
            if made is None:
                if batch == 1:
                    raise EngineError(self._full())
                batch //= 2
                self.job.warn(f"the memory of {self.loaded.recipe.machine.name} was full: {batch} at a time")
                continue
            pending = pending[batch:]
            self._finished += len(numbers)
            for number, each in zip(numbers, made, strict=True):
                if each.flagged:
                    self.job.warn(
                        f"picture {number} is left out: the model's safety checker blackened it; another seed may pass"
                    )
                    continue
                yielded += 1
                yield self._variation(number, each)
        if not yielded:
            raise EngineError("the model's safety checker blackened every picture; try another seed or image")

    def _made(self, numbers: Sequence[int], count: int) -> list[Made] | None:
        """Return the pictures of one call; None if the memory is full."""
        seeds = [self._seed(number) for number in numbers]
        self.loaded.watch.attend(self.check, lambda step, steps: self._step(numbers, count, step, steps))
        more = {} if self.preview is None else {"callback_on_step_end": self._show}
        try:
            with quiet():
                return self.call.run(seeds, **more)
        except ImageVariationError:
            raise
        except (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError) as exc:
            if not is_out_of_memory(exc):
                raise self._failure(exc) from exc
        except (AssertionError, ImportError, TypeError, ValueError) as exc:
            raise self._failure(exc) from exc
        finally:
            self.loaded.rest()
        empty_cache(self.loaded.recipe.machine.kind)
        return None

    def _failure(self, exc: Exception) -> EngineError:
        name = type(self.call.pipe).__name__
        return EngineError(
            f"{name} failed on {self.loaded.recipe.machine.name} ({type(exc).__name__}: {exc}); try another size, "
            "strength or model"
        )

    def _full(self) -> str:
        machine, (width, height) = self.loaded.recipe.machine, self.frame.made
        less = {"none": "model", "model": "group"}.get(self.loaded.offload)
        more = f", --option offload={less}" if less and machine.kind == "cuda" else ""
        side = max(64, min(width, height) // 2)
        return (
            f"the memory of {machine.name} is too small for one picture of {width}x{height}; try --option side={side}"
            f"{more} or a smaller model, and end other programs that use it"
        )

    def _seed(self, number: int) -> int:
        assert self.request.seed is not None  # noqa: S101 - the engine has refused it
        return (self.request.seed + number - 1) % _SEEDS

    def _step(self, numbers: Sequence[int], count: int, step: int, steps: int) -> None:
        now = time.monotonic()
        took, self._step_began = now - self._step_began, now
        share = (self._finished + len(numbers) * step / max(1, steps)) / count
        which = f"picture {numbers[0]}" if len(numbers) == 1 else f"pictures {numbers[0]} to {numbers[-1]}"
        of_all = f" of {count}" if self.request.index is None else ""
        if step == 1 and self.loaded.recipe.machine.kind == "cpu":
            self._tell_slowness(took * steps)
        left = took * steps * (1 - share) * count / len(numbers) if step else 0.0
        self._text = f"{which}{of_all}: step {step} of {steps}{_left(left)}"
        self.job.progress(share, self._text)

    def _tell_slowness(self, seconds: float) -> None:
        if seconds > _SLOW_S and not self._warned:
            self._warned = True
            self.job.announce(
                f"about {_duration(seconds)} a picture on this CPU, by its first step; --engine patch makes one in "
                "about a second"
            )

    def _show(self, _pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self.preview is not None and (data := self.preview(tensors["latents"])) is not None:
            self.job.progress(0, self._text, data)
        return tensors

    def _variation(self, number: int, made: Made) -> Variation:
        request = self.request
        assert request.image is not None  # noqa: S101 - the engine has refused it
        parameters = self.parameters | {"index": number, "picture_seed": self._seed(number)}
        return Variation(
            codec.encode_png(self.frame.finished(made.image), parameters),
            source=request.image,
            mime_type="image/png",
            size=request.size,
            index=number,
            seed=request.seed,
            parameters=parameters,
        )


def _left(seconds: float) -> str:
    return f", about {_duration(seconds)} left" if seconds > _SLOW_S else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"  # noqa: PLR2004
