"""The seam between the client and the engines: what an engine offers, and what it gets to work with.

Values only: no engine is imported here, and nothing of any interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from ipy_imgvar.request import Size, VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = ["Capabilities", "Engine", "EngineOption", "Feature", "Job", "Sizes"]

Feature = Literal["mask", "prompt", "negative_prompt", "seed", "strength", "stream", "preview"]


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One of an engine's own options: what `--option NAME=VALUE`, completion, help and panel know of it.

    Parameters
    ----------
    name
        The name in `VariationRequest.options`.
    type
        `bool`, `int`, `float` or `str`. A text that was typed is converted to it before the engine sees it. `object`
        takes any value, and a text of digits becomes a number.
    default
        The value when the option is left out; None leaves it to the engine or its server.
    help
        The effect, in one line.
    choices
        The texts that are allowed, in lower case; none allows any.
    range
        The least and the greatest number that are allowed; None sets no bound.
    """

    name: str
    type: type = str
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    @property
    def allowed(self) -> str:
        """The values that are allowed, for a person."""
        if self.type is bool:
            return "true or false"
        if self.choices:
            return ", ".join(self.choices)
        kind = {int: "a whole number", float: "a number", str: "text"}.get(self.type, "any value")
        return kind if self.range is None else f"{kind} from {self.range[0]:g} to {self.range[1]:g}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of pictures that an engine makes; each rule holds for width and height, in pixels.

    Parameters
    ----------
    least, most
        Bounds of a side; None sets no upper one.
    multiple
        Each side is divisible by it.
    ratio
        The longer side is at most this many times the shorter one; None allows any shape.
    pixels
        The most pixels of a picture, width times height; None sets no bound.
    fixed
        The only sizes, where an engine has no others: then no other rule counts.
    also
        Sizes that are taken beside those of the rules.
    """

    least: int = 1
    most: int | None = None
    multiple: int = 1
    ratio: float | None = None
    pixels: int | None = None
    fixed: tuple[Size, ...] = ()
    also: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine takes and how it may be run, as data: the client checks it, every interface shows it.

    Parameters
    ----------
    features
        The fields of a request that the engine honours: mask, prompt, negative_prompt, seed, strength. The client
        refuses the others by name, so that none is dropped in silence. "stream" says that each picture is handed over
        before the next one is ready, "preview" that unfinished states can be shown.
    models
        The names of models that the engine knows; none means that it takes any.
    other_models
        The engine takes names beside `models` too, which are only those worth offering.
    options
        The engine's own options.
    sizes
        The sizes it makes.
    parallel
        How many images are worked on at once: in processes, for work of the CPU alone, which must be safe in threads of
        one process too; one at a time, for a device that has room for one; in threads, for a server.
    hosted
        The engine sends the image to another machine. Connection, key and what is paid for are a matter of such an
        engine only.
    destination
        The server that gets the image, with its port, without path, user and password; None for an engine that sends
        nothing.
    """

    features: frozenset[Feature] = frozenset()
    models: tuple[str, ...] = ()
    other_models: bool = False
    options: tuple[EngineOption, ...] = ()
    sizes: Sizes = Sizes()
    parallel: Literal["processes", "one", "threads"] = "one"
    hosted: bool = False
    destination: str | None = None

    def takes_model(self, name: str | None) -> bool:
        """Return whether a model may be asked for; None, the engine's own choice, always may."""
        return name is None or self.other_models or not self.models or name in self.models

    def defaults(self) -> dict[str, Any]:
        """Return what each option is when it is left out."""
        return {option.name: option.default for option in self.options}


class Job(Protocol):
    """What the client hands to an engine for one run.

    Attributes
    ----------
    threads
        How many threads the run may use: 1 where there is a process for each core. None leaves it to the engine.
    """

    threads: int | None

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
    """

    name: str

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what the engine takes with a model, or with the one it chooses; touches no network, loads nothing."""

    def check(self, request: VariationRequest) -> None:
        """Raise `InvalidRequestError` for what only this engine can judge; touches no network and makes nothing.

        The client has checked the request against `capabilities` before, and converted its options.
        """

    def model(self, request: VariationRequest) -> str:
        """Return the name of the model that will answer `request`."""

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Yield each picture the moment it is ready.

        An engine that takes a seed also takes `request.index`: None asks for pictures 1 to `n` of the run of this
        seed, a number for that picture alone, which must have the bytes that it has in the run, and this number as
        its `index`. An engine without the feature "seed" never gets one.

        Closing the generator, and any exception that passes through it, ends the engine's threads and connections.
        """

    def close(self) -> None:
        """Release what the engine holds between runs; it may be called more than once."""
