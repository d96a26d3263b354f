"""The panel's state: a state machine of traits, without widgets, threads or a kernel.

The actions set traits, also from a worker's thread through its task; the widgets observe them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from traitlets import Any as AnyTrait
from traitlets import Bool, Dict, Float, HasTraits, Int, Tuple, Unicode, UseEnum

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.request import STRENGTHS, VariationRequest
from ipy_imgvar.results.variations import Variation, Variations

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RESTORABLE", "Card", "PanelState", "Status"]

#: Controls that the settings of a request, a PNG of this package or a magic's line can set; the seed is apart.
RESTORABLE: Final = ("engine", "model", "n", "size", "fit", "strength", "prompt", "options")


class Status(Enum):
    """The phases of a run."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Card:
    """A picture of the gallery: the variation, its thumbnail as HTML, and its caption as text."""

    picture: Variation
    html: str
    caption: str


class PanelState(HasTraits):
    """The data that the panel shows; only `begin`, `cancel` and `finish` change the status."""

    status = UseEnum(Status, default_value=Status.IDLE)
    progress = Float(0.0, help="Share of the run that is done, 0..1.")
    doing = Unicode("", help="What the run, or the loading of a source, is at.")
    error = Unicode("", help="One line: what went wrong, and the next step.")
    notice = Unicode("", help="One line: what was done.")

    source = AnyTrait(None, allow_none=True, help="The `Source` of the next run.")
    origin = Unicode("", help="A Python expression that gives the source again, where it is no file.")
    typed = Unicode("", help="The path or URL that was typed for it, if it was.")
    sample = AnyTrait(None, allow_none=True, help="A reduced copy of the source, for previews and distances.")
    preview = Unicode("", help="HTML of what will be sent.")
    loading = Bool(False, help="A source or an earlier run is being read.")  # noqa: FBT003
    variables = Tuple(help="Names of the notebook's variables that hold images.")

    engine = Unicode("")
    model = Unicode("")
    n = Int(4)
    size = Unicode("1024x1024")
    fit = Unicode("crop")
    strength = Float(STRENGTHS["medium"])
    seed = Unicode("")
    seed_locked = Bool(False)  # noqa: FBT003
    prompt = Unicode("")
    options = Dict()
    refused = Dict(help="By field, why the engine does not take it.")
    models = Tuple(help="Names of models that the engine knows.")
    model_notes = Dict(help="By model, one line on it.")
    other_models = Bool(False, help="The engine takes other models than these.")  # noqa: FBT003
    engine_options = Tuple(help="The engine's own options, each an `EngineOption`.")
    default_model = Unicode("", help="What answers when no model is named.")
    key_name = Unicode("OPENAI_API_KEY", help="The name of the variable that holds a key; never a key.")
    key_origin = Unicode("", help="Where the key comes from, for a person.")

    result = AnyTrait(None, allow_none=True, help="The run that is shown, a `Variations`.")
    result_origin = Unicode("", help="The `origin` of the shown run's source.")
    cards = Tuple()
    look = Unicode("", help="HTML of the newest unfinished picture; empty for none.")
    selected = Tuple(help="Indices of the cards that are selected.")
    enlarged = Unicode("", help="HTML of one picture, larger; empty for none.")
    inserted = Tuple(help="Pictures that stand below the panel as a plain output.")
    can_insert = Bool(False, help="The panel has an output of its own below it.")  # noqa: FBT003

    nodes = Tuple(help="The history as a tree, in the order it is listed.")
    line = Unicode("", help="The magic's line that repeats the shown run, or the selected picture.")
    call = Unicode("", help="The Python call that repeats it.")

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self.status in (Status.RUNNING, Status.CANCELLING)

    @property
    def can_run(self) -> bool:
        """Whether there is a source, no run goes on, and no source is being read."""
        return self.source is not None and not self.busy and not self.loading

    @property
    def can_cancel(self) -> bool:
        """Whether a run is going on that is not stopping yet."""
        return self.status is Status.RUNNING

    @property
    def strength_word(self) -> str | None:
        """The word for the strength, or None for a value between the words."""
        # 1e-9 allows for the slider's rounding; its steps are 0.01.
        return next((word for word, value in STRENGTHS.items() if abs(value - self.strength) < 1e-9), None)  # noqa: PLR2004

    @property
    def chosen(self) -> Variations:
        """The selected pictures, or all if none is selected."""
        indices = self.selected or range(len(self.cards))
        pictures = [self.cards[index].picture for index in indices]
        shown = self.result
        if not isinstance(shown, Variations) or len(shown) == 0:
            return Variations(pictures)
        return Variations(
            pictures,
            engine=shown.engine,
            model=shown.model,
            request=shown.request,
            elapsed=shown.elapsed,
            usage=shown.usage,
            warnings=shown.warnings,
        )

    @property
    def chosen_words(self) -> str:
        """The pictures that a button takes, in words for its label."""
        if self.selected:
            return f"{len(self.selected)} selected"
        return f"all {len(self.cards)}" if len(self.cards) > 1 else "it"

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the next run, without those that the engine refuses.

        Raises
        ------
        InvalidRequestError
            If the seed is locked and empty; `Client.request` checks the rest.
        """
        if self.seed_locked and not self.seed.strip():
            raise InvalidRequestError("the seed is kept but empty; type a whole number, or untick Keep seed")
        given = {
            "n": self.n,
            "size": self.size,
            "fit": self.fit,
            "strength": self.strength,
            "seed": self.seed if self.seed_locked else None,
            "model": self.model.strip() or None,
            "prompt": self.prompt.strip() or None,
            "options": self.options or None,
        }
        return {
            name: value for name, value in given.items() if value is not None and name not in self.refused
        }

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Set the controls from a request's `settings()` or a picture's `parameters`, and lock the seed.

        The panel has no control for an index, so it makes at least as many pictures as the index says.

        Raises
        ------
        InvalidRequestError
            If no request can have these settings; the state stays as it is.
        """
        known = {name: settings[name] for name in RESTORABLE if settings.get(name) is not None}
        engine = known.pop("engine", self.engine)
        seed = settings.get("seed")
        request = VariationRequest.from_arguments(**known, seed=seed)
        alone = VariationRequest.from_arguments(
            seed=seed, index=None if seed is None else settings.get("index")
        )
        self.engine = engine
        for name, value in request.settings().items():
            if name in known:
                setattr(self, name, value)
        if seed is not None:
            self.seed, self.seed_locked = str(request.seed), True
            self.n = max(self.n, alone.index or 1)

    def begin(self) -> bool:
        """Go to RUNNING and return True; return False if no run can start."""
        if not self.can_run:
            return False
        self.error = self.notice = self.enlarged = self.line = self.call = ""
        self.progress, self.doing = 0.0, "starting"
        self.cards = self.selected = ()
        self.look = ""
        self.result, self.result_origin = None, self.origin
        self.status = Status.RUNNING
        return True

    def advance(self, fraction: float, text: str) -> None:
        """Show progress; the bar never goes back."""
        self.progress, self.doing = max(self.progress, fraction), text

    def show_look(self, html: str) -> None:
        """Show an unfinished picture, until its next state comes."""
        self.look = html

    def add(self, card: Card) -> None:
        """Show a finished picture in place of its unfinished state."""
        self.look = ""
        self.cards = (*self.cards, card)

    def cancel(self) -> bool:
        """Go from RUNNING to CANCELLING and return True; return False if no run goes on."""
        if not self.can_cancel:
            return False
        self.status = Status.CANCELLING
        return True

    def finish(self, status: Status, result: Variations | None = None, error: str = "") -> None:
        """End the run; its finished pictures stay, also after an error."""
        self.result = result or Variations([card.picture for card in self.cards])
        request = self.result.request
        if request is not None and request.seed is not None:
            self.seed = str(request.seed)
        self.progress, self.doing = (1.0 if status is Status.DONE else self.progress), ""
        self.error, self.look = error, ""
        warnings = list(self.result.warnings)
        if status is Status.CANCELLED:
            count = len(self.cards)
            after = f" after {count} picture{'' if count == 1 else 's'}" if count else ""
            warnings.insert(0, f"cancelled{after}")
        self.notice = "; ".join(warnings)
        # Last, since an observer of the status may start the next run at once.
        self.status = status
