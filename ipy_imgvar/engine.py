"""The protocol between the client and the engines: the engine's methods, its `Capabilities`, and the `Job` it gets.

This module imports no engine and no interface.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ipy_imgvar.errors import CancelledError
from ipy_imgvar.plain import plain
from ipy_imgvar.results.usage import add_usage

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ipy_imgvar.request import Size, VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = [
    "Capabilities",
    "Download",
    "Engine",
    "EngineOption",
    "Feature",
    "Forecast",
    "Forecasts",
    "Job",
    "Listener",
    "LoadsWeights",
    "Sizes",
]

_log = logging.getLogger("ipy_imgvar")

#: The names that `Capabilities.features` may hold.
Feature = Literal["mask", "prompt", "negative_prompt", "seed", "strength", "stream", "preview"]


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One of an engine's own options, as `--option NAME=VALUE`, completion, help and panel read it.

    Parameters
    ----------
    name
        The name in `VariationRequest.options`.
    type
        `bool`, `int`, `float` or `str`. The client converts a text to this type before the engine sees it. `object`
        takes any value, and a text of digits becomes a number.
    default
        The value of an option that the request leaves out; None leaves it to the engine or its server.
    help
        The effect, in one line.
    choices
        The allowed texts, in lower case; an empty tuple allows any.
    range
        The least and the greatest allowed number; None sets no bound.
    trusted
        Only the machine's owner may set it: a server leaves it out of its clients' requests, with a warning. For
        options that choose files, weights, or the use of the device.
    """

    name: str
    type: type = str
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    trusted: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values, in words for a message."""
        if self.type is bool:
            return "true or false"
        if self.choices:
            return ", ".join(self.choices)
        kind = {int: "a whole number", float: "a number", str: "text"}.get(self.type, "any value")
        return kind if self.range is None else f"{kind} from {self.range[0]:g} to {self.range[1]:g}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of pictures that an engine makes, as rules for width and height in pixels.

    Parameters
    ----------
    least, most
        Bounds of a side; None sets no upper one.
    multiple
        The number that divides each side.
    ratio
        The greatest ratio of the longer side to the shorter one; None allows any shape.
    pixels
        The greatest number of pixels, width times height; None sets no bound.
    fixed
        The only sizes, if the engine has a fixed set; then no other rule applies.
    also
        Allowed sizes beside those of the rules.
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
    """An engine's features, models, options, sizes and way of working, as data.

    The client checks requests against it, and every interface shows it.

    Parameters
    ----------
    features
        The fields of a request that the engine honours: mask, prompt, negative_prompt, seed, strength. The client
        refuses the others by name, so that the engine ignores none in silence. "stream" says that the engine yields
        each picture before the next one is ready, "preview" that it reports unfinished pictures.
    models
        The names of models that the engine knows; an empty tuple means that it takes any.
    other_models
        The engine takes other names too; `models` lists only those that the interfaces offer.
    model_notes
        One line on each of `models`, by name, which the interfaces show beside it; a model may have none.
    options
        The engine's own options.
    sizes
        The sizes of its pictures.
    parallel
        The way to run many images: "processes" for work of the CPU alone, which must be safe in threads of one process
        too; "one" image at a time for a device with room for one; "threads" for requests to a server.
    hosted
        The engine sends the image to another machine. Only such an engine has a connection, a key and costs.
    destination
        The name and port of the server that gets the image, without path, user and password; None for an engine that
        sends no image.
    """

    features: frozenset[Feature] = frozenset()
    models: tuple[str, ...] = ()
    other_models: bool = False
    # Left out of the hash, since a mapping has none.
    model_notes: Mapping[str, str] = field(default_factory=dict, hash=False)
    options: tuple[EngineOption, ...] = ()
    sizes: Sizes = Sizes()
    parallel: Literal["processes", "one", "threads"] = "one"
    hosted: bool = False
    destination: str | None = None

    def takes_model(self, name: str | None) -> bool:
        """Return whether the engine takes a model's name; None, the engine's own choice, is always allowed."""
        return name is None or self.other_models or not self.models or name in self.models

    def defaults(self) -> dict[str, Any]:
        """Return the default of each option by name."""
        return {option.name: option.default for option in self.options}


@dataclass(frozen=True, slots=True)
class Listener:
    """The caller's functions that a run calls; None for those that the caller left out. See `Client.run`."""

    on_progress: Callable[[float, str], None] | None = None
    on_picture: Callable[[Variation], None] | None = None
    on_preview: Callable[[bytes], None] | None = None
    on_notice: Callable[[str], None] | None = None


class Job:
    """The client's side of one run: an engine reports to it, and asks it whether to stop.

    Parameters
    ----------
    images
        The number of images of the run.
    listener
        The functions that get progress, pictures and notices.
    cancel
        Stops the run once it is set, from any thread.
    threads
        The number of threads that an engine may use for one picture: 1 if there is a process for each core; None
        leaves it to the engine.
    """

    def __init__(
        self,
        images: int = 1,
        listener: Listener | None = None,
        cancel: threading.Event | None = None,
        threads: int | None = None,
    ) -> None:
        self.threads = threads
        self._images = images
        self._cancel = cancel
        self.listener = listener or Listener()
        #: The number of images that are finished.
        self.current = 0
        self._furthest = 0.0
        #: The model that answered, once an engine that learns it only during the run has set it; else None.
        self.model: str | None = None
        self.warnings: list[str] = []
        self.usage: dict[str, Any] = {}
        #: What an engine counts over all images and combinations of the run, by a name of its own.
        self.notes: dict[str, Any] = {}

    def progress(self, fraction: float, text: str, preview: bytes | None = None) -> None:
        """Report the progress of one image; raises `CancelledError` as `check` does.

        Parameters
        ----------
        fraction
            The finished share of the image's work, 0..1.
        text
            The current step, in words for a person.
        preview
            An encoded picture of the current state, if the engine has one.
        """
        # Never back: an engine that waits for a server knows no fraction, and reports 0 again after a preview.
        self._furthest = max(self._furthest, min(1.0, (self.current + fraction) / self._images))
        if self.listener.on_progress is not None:
            self.listener.on_progress(self._furthest, plain(text))
        if preview is not None and self.listener.on_preview is not None:
            self.listener.on_preview(preview)
        self.check()

    def announce(self, text: str) -> None:
        """Say a line to a person before the fact: where a picture is sent, or which weights are downloaded."""
        # Not both: --verbose shows the log beside what the listener shows.
        (self.listener.on_notice or _log.info)(plain(text))

    def count(self, usage: Mapping[str, Any]) -> None:
        """Add the counts that a server reports for one request to the result's `usage`."""
        _log.info("usage: %s", dict(usage))
        add_usage(self.usage, usage)

    def warn(self, text: str) -> None:
        """Add a line to the result's `warnings`, once: a difference from the request, or a field without effect."""
        if (line := plain(text)) not in self.warnings:
            self.warnings.append(line)

    def check(self) -> None:
        """Raise `CancelledError` if the run should stop; an engine calls this about every 0.1 s."""
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("the run was cancelled")


@runtime_checkable
class Engine(Protocol):
    """Makes variations of one image.

    Attributes
    ----------
    name
        The name that `engine=` and `--engine` take.
    """

    name: str

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return the capabilities with a model, or with the engine's own choice; uses no network, loads no weights."""

    def check(self, request: VariationRequest) -> None:
        """Raise `InvalidRequestError` by rules that `Capabilities` can't express; uses no network, makes nothing.

        The client has checked the request against `capabilities` before, and has converted its options.
        """

    def model(self, request: VariationRequest) -> str:
        """Return the name of the model that answers `request`."""

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Yield each picture as soon as it is ready.

        An engine that takes a seed also takes `request.index`: None asks for the pictures 1 to `n` of the run of this
        seed, a number for that picture alone, with the same bytes as in the run and this number as its `index`. An
        engine without the feature "seed" never gets an index.

        If the caller closes the generator, or an exception passes through it, the engine ends its threads and
        connections for this request.
        """

    def close(self) -> None:
        """Release the connections, threads and weights that the engine holds between runs; safe to call twice."""


@runtime_checkable
class LoadsWeights(Protocol):
    """The further methods of an `Engine` that loads a model's weights into the memory of this machine.

    An interface that runs for long, such as the server, loads them before the first request and frees them on demand.
    """

    def prepare(self, models: Sequence[str], job: Job, options: Mapping[str, Any] | None = None) -> None:
        """Download and load models, so that a request finds them ready; afterwards the engine serves only these.

        Parameters
        ----------
        models
            Their names, the default first; empty for the engine's own choice.
        job
            Gets the progress and the announcements, and says whether to stop.
        options
            The options that later requests will have, checked as theirs are: a device or a precision decides how the
            weights are loaded. None for no option.

        Raises
        ------
        InvalidRequestError
            If there is no such model.
        CancelledError
            If the job was cancelled; no weights stay loaded.
        ImageVariationError
            If a model can't be loaded.
        """

    def unload(self) -> list[str]:
        """Free the weights and return the names of the models that had been loaded; a later run loads them again."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file or repository that a run would fetch before it makes anything.

    Parameters
    ----------
    name
        The name of what is fetched.
    bytes
        The size in bytes, as far as it is missing on this disk; None where only the server could tell.
    why
        What needs it, from where it comes and its licence, in one line.
    """

    name: str
    bytes: int | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What some requests would do, as far as an engine knows without doing it.

    Parameters
    ----------
    model
        The model that would answer, where the engine knows it better than `Engine.model` says; else None.
    requests
        The requests that would be sent to the engine's server, without those after a failure.
    bytes_to_send
        The length of their bodies in bytes; None where it isn't known.
    route
        The part of the server's address that gets them; "" if nothing is sent.
    loads
        The weights that would be loaded, and the device, one line each.
    downloads
        What would be fetched first.
    unused
        Fields of the first request that have no effect on its pictures, so that a sweep of them varies nothing.
    notes
        A line for each further fact: a setting without effect, a reduced picture, a failure that is certain.
    """

    model: str | None = None
    requests: int = 0
    bytes_to_send: int | None = 0
    route: str = ""
    loads: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@runtime_checkable
class Forecasts(Protocol):
    """The further method of an `Engine` that says what a run would do; without it, `Capabilities` has to do."""

    def forecast(self, requests: Sequence[VariationRequest]) -> Forecast:
        """Say what requests would do; sends, loads and writes nothing, and fetches no address.

        Parameters
        ----------
        requests
            Requests that the client has checked, at least one, all with one model. Only those that are `is_at_hand`
            may be read: one without an image stands for many, and the others would be fetched.

        Raises
        ------
        ImageVariationError
            As `generate` does before it makes anything, in the same words: a damaged image, a missing package.
        """
