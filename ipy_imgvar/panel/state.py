"""The panel's state: a state machine of traits, without widgets, threads or a kernel.

The actions set traits, also from a worker's thread through its task; the widgets observe them. Pictures stand in
groups, one for each run, the newest first: an earlier run's pictures stay while the next one runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from traitlets import Any as AnyTrait
from traitlets import Bool, Dict, Float, HasTraits, Int, Tuple, Unicode, UseEnum

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.request import STRENGTHS, VariationRequest
from ipy_imgvar.results.variations import Variation, Variations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.request import Fit

__all__ = ["RESTORABLE", "Card", "Group", "PanelState", "Status", "Thumbnail"]

#: Controls that the settings of a request, a PNG of this package or a magic's line can set; the seed is apart.
RESTORABLE: Final = ("engine", "model", "n", "size", "fit", "strength", "prompt", "options")
#: Runs whose pictures the panel shows; the history has the earlier ones.
_GROUPS: Final = 8


class Status(Enum):
    """The phases of a run."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small encoded picture for the page; `id` names it in the messages to the browser."""

    id: str
    data: bytes
    mime_type: str


@dataclass(frozen=True, slots=True)
class Card:
    """A picture of the gallery.

    Parameters
    ----------
    picture
        The variation.
    thumbnail
        At most 256 px a side.
    words
        Its caption, as text.
    similar
        Its similarity to its source, 0..1; None where the source can't be read.
    group
        The id of its run's group.
    fit
        How its source was brought to its shape.
    """

    picture: Variation
    thumbnail: Thumbnail
    words: str
    similar: float | None = None
    group: int = 0
    fit: Fit = "crop"

    @property
    def id(self) -> str:
        """Its name in the messages to the browser."""
        return self.thumbnail.id


@dataclass(frozen=True, slots=True)
class Group:
    """The pictures of one run.

    Parameters
    ----------
    id
        Counts the groups of this panel.
    label
        Source, engine and settings, in words.
    origin
        The `origin` of its source; see `PanelState`.
    run
        Its result; None while it is made.
    expected
        The number of pictures that it will have.
    """

    id: int
    label: str = ""
    origin: str = ""
    run: Variations | None = None
    expected: int = 0


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
    preview = AnyTrait(None, allow_none=True, help="What will be sent, a `Thumbnail`.")
    preview_words = Unicode("", help="Its name and sizes.")
    mask = AnyTrait(None, allow_none=True, help="What stays in place, a `Source` of the source's shape.")
    mask_share = Float(0.0, help="Share of the source's pixels that the mask keeps, 0..1.")
    mask_preview = AnyTrait(None, allow_none=True, help="The mask, a `Thumbnail`.")
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
    api_base = Unicode("", help="The address of the server; empty for the configured one.")
    max_retry_count = Int(0)
    timeout = Float(0.0, help="Seconds for one request; 0 sets no limit.")
    refused = Dict(help="By field, why the engine does not take it.")
    models = Tuple(help="Names of models that the engine knows.")
    model_notes = Dict(help="By model, one line on it.")
    other_models = Bool(False, help="The engine takes other models than these.")  # noqa: FBT003
    engine_options = Tuple(help="The engine's own options, each an `EngineOption`.")
    sizes = Tuple(help="Sizes that the engine makes, as the fields offer them.")
    hosted = Bool(False, help="The engine sends the picture to a server.")  # noqa: FBT003
    destination = Unicode("", help="The name and port of that server.")
    default_model = Unicode("", help="What answers when no model is named.")
    key_name = Unicode("OPENAI_API_KEY", help="The name of the variable that holds a key; never a key.")
    key_origin = Unicode("", help="Where the key comes from, for a person.")

    groups = Tuple(help="The runs that are shown, the newest first, each a `Group`.")
    cards = Tuple(help="The pictures of all groups, in the order they were made.")
    look = AnyTrait(None, allow_none=True, help="The unfinished state of the next picture, a `Thumbnail`.")
    selected = Tuple(help="Ids of the cards that are selected.")
    starred = Tuple(help="Ids of the cards that have a star.")
    order = Unicode("made", help="The order of the cards in a group: made, or similarity.")
    inserted = Tuple(help="Pictures that stand below the panel as a plain output.")
    can_bind = Bool(True, help="There is an IPython whose variables the panel can set.")  # noqa: FBT003
    can_insert = Bool(False, help="The panel has an output of its own below it.")  # noqa: FBT003

    nodes = Tuple(help="The history as a tree, in the order it is listed.")
    line = Unicode("", help="The magic's lines that repeat the newest run, or the selected pictures.")
    call = Unicode("", help="The Python code that repeats them.")
    code_notes = Tuple(help="What a reader of the code has to know, a line each.")

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
    def newest(self) -> Group | None:
        """The group at the top; None without pictures."""
        groups: tuple[Group, ...] = self.groups
        return groups[0] if groups else None

    @property
    def result(self) -> Variations | None:
        """The newest run; None while it is made, and before the first."""
        return self.newest.run if self.newest else None

    def of_group(self, group: int) -> list[Card]:
        """Return the cards of a group, in the order they were made."""
        return [card for card in self.cards if card.group == group]

    def card(self, name: str) -> Card:
        """Return the card with an id.

        Raises
        ------
        InvalidRequestError
            If the panel no longer shows it.
        """
        found: Card | None = next((card for card in self.cards if card.id == name), None)
        if found is None:
            raise InvalidRequestError("this picture is no longer in the panel; the history still has its run")
        return found

    @property
    def chosen(self) -> Variations:
        """The selected pictures, or those of the newest run if none is selected."""
        group = self.newest
        if group is None:
            return Variations()
        cards = [card for card in self.cards if card.id in self.selected] or self.of_group(group.id)
        runs = {each.id: each.run for each in self.groups}
        made = {card.group for card in cards}
        run = runs.get(cards[0].group) if len(made) == 1 else None
        return (run if run is not None else Variations()).with_pictures(card.picture for card in cards)

    @property
    def chosen_words(self) -> str:
        """The pictures that a button takes, in words for its label."""
        if self.selected:
            return f"{len(self.selected)} selected"
        count = len(self.chosen)
        if count == len(self.cards):
            return f"all {count}" if count > 1 else "it"
        return f"the newest {count}" if count > 1 else "the newest"

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
            "mask": self.mask,
            "timeout": self.timeout or None,
            "max_retry_count": self.max_retry_count or None,
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

    def begin(self, expected: int = 1, label: str = "") -> bool:
        """Open a group at the top, go to RUNNING and return True; return False if no run can start."""
        if not self.can_run:
            return False
        self.error = self.notice = ""
        self.progress, self.doing = 0.0, "starting"
        self.look = None
        self.open_group(Group(self.next_group, label, self.origin, None, expected))
        self.status = Status.RUNNING
        return True

    @property
    def next_group(self) -> int:
        """The id of the next group."""
        return 1 + max((each.id for each in self.groups), default=0)

    def open_group(self, group: Group) -> None:
        """Put a group at the top; the oldest groups leave the page, except those with a star."""
        starred = {card.group for card in self.cards if card.id in self.starred}
        groups = [group, *self.groups]
        kept = [each for number, each in enumerate(groups) if number < _GROUPS or each.id in starred]
        self.selected = ()
        self.cards = tuple(card for card in self.cards if card.group in {each.id for each in kept})
        self.groups = tuple(kept)

    def close_group(self, group: int) -> None:
        """Take a group with its cards out of the page."""
        gone = {card.id for card in self.of_group(group)}
        self.selected = tuple(each for each in self.selected if each not in gone)
        self.starred = tuple(each for each in self.starred if each not in gone)
        self.cards = tuple(card for card in self.cards if card.group != group)
        self.groups = tuple(each for each in self.groups if each.id != group)

    def remove(self, name: str) -> None:
        """Take a card out of the page, and its group after its last card."""
        card = self.card(name)
        self.selected = tuple(each for each in self.selected if each != name)
        self.starred = tuple(each for each in self.starred if each != name)
        self.cards = tuple(each for each in self.cards if each is not card)
        is_running = self.busy and self.newest is not None and self.newest.id == card.group
        if is_running:
            # Else the page would wait for it again.
            first = self.groups[0]
            self.groups = (replace(first, expected=first.expected - 1), *self.groups[1:])
        elif not self.of_group(card.group):
            self.close_group(card.group)

    def advance(self, fraction: float, text: str) -> None:
        """Show progress; the bar never goes back."""
        self.progress, self.doing = max(self.progress, fraction), text

    def show_look(self, data: bytes, mime_type: str) -> None:
        """Show an unfinished picture in the next card, until its next state comes."""
        if self.newest is not None:
            name = f"look:{self.newest.id}:{len(self.of_group(self.newest.id))}"
            self.look = Thumbnail(name, data, mime_type)

    def add(self, card: Card) -> None:
        """Show a finished picture in place of its unfinished state."""
        group = self.newest.id if self.newest else 0
        self.look = None
        self.cards = (*self.cards, replace(card, group=group))

    def cancel(self) -> bool:
        """Go from RUNNING to CANCELLING and return True; return False if no run goes on."""
        if not self.can_cancel:
            return False
        self.status = Status.CANCELLING
        return True

    def finish(self, status: Status, result: Variations | None = None, error: str = "") -> None:
        """End the run; its finished pictures stay, also after an error."""
        try:
            self._close_run(status, result, error)
        finally:  # An observer may fail, and the next run must be possible. One of the status may start it at once.
            self.status = status

    def _close_run(self, status: Status, result: Variations | None, error: str) -> None:
        group = self.newest
        made = self.of_group(group.id) if group else []
        result = result or Variations([card.picture for card in made])
        if group is not None:
            self.groups = (replace(group, run=result, expected=len(made)), *self.groups[1:])
            if not made:
                self.close_group(group.id)
        request = result.request
        if request is not None and request.seed is not None:
            self.seed = str(request.seed)
        self.progress, self.doing = (1.0 if status is Status.DONE else self.progress), ""
        self.error, self.look = error, None
        warnings = list(result.warnings)
        if status is Status.CANCELLED:
            warnings.insert(0, self._cancelled(len(made)))
        self.notice = "; ".join(warnings)

    def _cancelled(self, count: int) -> str:
        after = f" after {count} picture{'' if count == 1 else 's'}" if count else ""
        cost = "; the server may charge for the request that was on its way" if self.hosted else ""
        return f"cancelled{after}{cost}"
