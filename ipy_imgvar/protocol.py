"""The seam between the client and the engines: what an engine offers, and what it gets to work with.

Values only: no engine is imported here, and nothing of any interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.result import Variation

__all__ = ["Engine", "Feature", "Job"]

Feature = Literal["mask", "prompt", "seed"]


class Job(Protocol):
    """What the client hands to an engine for one run."""

    def progress(self, fraction: float, text: str, preview: bytes | None = None) -> None:
        """Report how far the run is.

        Parameters
        ----------
        fraction
            Share of the work that is done, 0..1; never less than in the call before.
        text
            What is being done, for a person.
        preview
            An encoded picture of the state so far, where the engine has one.
        """

    def announce(self, text: str) -> None:
        """Tell a person at once where the picture is about to go, before it is sent."""

    def count(self, usage: Mapping[str, Any]) -> None:
        """Add what a server counted for one request to the result's `usage`."""

    def warn(self, text: str) -> None:
        """Add a line to the result's `warnings`: what was done otherwise than asked, or is no use."""

    def check(self) -> None:
        """Raise `CancelledError` when the run should stop; call it between steps of at most about 0.1 s."""


@runtime_checkable
class Engine(Protocol):
    """Makes variations of one image.

    Attributes
    ----------
    name
        What `engine=` and `--engine` call it.
    supports
        Which of mask, prompt and seed it honours. The client refuses the others by name, so that none is dropped in
        silence.
    """

    name: str
    supports: frozenset[Feature]

    def check(self, request: VariationRequest) -> None:
        """Raise `InvalidRequestError` for what only this engine can judge; touches no network and makes nothing."""

    def model(self, request: VariationRequest) -> str:
        """Return the name of the model that will answer `request`."""

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Yield each picture the moment it is ready.

        An engine that takes a seed also takes `request.index`: None asks for pictures 1 to `n` of the run of this
        seed, a number for that picture alone, which must have the bytes that it has in the run, and this number as
        its `index`. An engine whose `supports` lacks the seed never gets one.

        Closing the generator, and any exception that passes through it, ends the engine's threads and connections.
        """

    def close(self) -> None:
        """Release what the engine holds between runs; it may be called more than once."""
