"""The lower half of the panel: the pictures, their buttons, the history and the code. Widgets only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ipywidgets as widgets

from ipy_imgvar.panel.controls import note, row
from ipy_imgvar.panel.tree import details
from ipy_imgvar.results.gallery import rows_of_like_length
from ipy_imgvar.results.markup import escaped

if TYPE_CHECKING:
    from ipy_imgvar.panel.actions import PanelActions
    from ipy_imgvar.panel.controls import Guard
    from ipy_imgvar.panel.state import Card, PanelState

__all__ = ["GalleryBox", "RecordBox", "TakeBox"]

#: CSS pixels of a card's width: a picture of 240 px, and 3 px of padding on each side (`.imgvar-card` in `style`).
_CARD_PX: Final = 246
#: The forms that "Bind" offers: label, and response format.
_FORMS: Final = [
    ("PIL images", "image"), ("arrays", "array"), ("bytes", "byte"), ("base64", "base64"), ("url", "url"),
]  # fmt: skip


def show(widget: Any, *, on: bool) -> None:
    """Show or hide a widget."""
    widget.layout.display = None if on else "none"


class _CardBox(widgets.VBox):
    """A picture with its buttons; the next run uses the widget again, since making one costs a message per part."""

    def __init__(self, index: int, actions: PanelActions, guard: Guard) -> None:
        number = index + 1
        self.picture = widgets.HTML()
        self.selected = widgets.Checkbox(description=f"Select {number}", indent=False)
        self.larger = widgets.Button(description="Enlarge", tooltip=f"Enlarge variation {number}")
        self.vary = widgets.Button(description="Vary", tooltip=f"Make variation {number} the next source")
        self.selected.observe(guard(lambda change: actions.select(index, on=change["new"])), "value")
        self.larger.on_click(guard(lambda _: actions.enlarge(index)))
        self.vary.on_click(guard(lambda _: actions.vary(index)))
        super().__init__([self.picture, row(self.selected, self.larger, self.vary)])
        self.add_class("imgvar-card")

    def put(self, card: Card) -> None:
        """Show a card."""
        self.picture.value = card.html


class GalleryBox(widgets.VBox):
    """The cards, then an unfinished picture, then one enlarged picture."""

    def __init__(self, state: PanelState, actions: PanelActions, guard: Guard) -> None:
        self._state, self._actions, self._guard = state, actions, guard
        self._pool: list[_CardBox] = []
        self.cards = widgets.HBox(layout=widgets.Layout(display="grid", grid_gap="8px"))
        self.cards.add_class("imgvar-cards")
        self.look = note("imgvar-look")
        self.enlarged = note("imgvar-wide")
        self.close_enlarged = widgets.Button(description="Close", tooltip="Close the enlarged picture")
        self.close_enlarged.add_class("imgvar-short")
        self.close_enlarged.on_click(guard(lambda _: actions.reduce()))
        state.observe(self._cards_changed, "cards")
        state.observe(self._look_changed, "look")
        state.observe(self._selection_changed, "selected")
        state.observe(self._enlarged_changed, "enlarged")
        super().__init__([self.cards, self.look, self.enlarged, self.close_enlarged])
        self._cards_changed()
        self._enlarged_changed()

    def _cards_changed(self, change: Any = None) -> None:
        cards = self._state.cards
        while len(self._pool) < len(cards):
            self._pool.append(_CardBox(len(self._pool), self._actions, self._guard))
        before = change["old"] if change else ()
        for index, card in enumerate(cards):
            if index >= len(before) or before[index] is not card:
                self._pool[index].put(card)
        for box in self._pool[len(cards) :]:
            box.picture.value = ""
        self.cards.children = tuple(self._pool[: len(cards)])
        columns, width = rows_of_like_length(max(len(cards), self._expected), _CARD_PX)
        self.cards.layout.grid_template_columns, self.cards.layout.max_width = columns, width

    @property
    def _expected(self) -> int:
        return self._state.n if self._state.busy else 0

    def _look_changed(self, _: Any = None) -> None:
        self.look.value = self._state.look

    def _selection_changed(self, _: Any = None) -> None:
        for index, box in enumerate(self._pool):
            box.selected.value = index in self._state.selected

    def _enlarged_changed(self, _: Any = None) -> None:
        self.enlarged.value = self._state.enlarged
        show(self.close_enlarged, on=bool(self._state.enlarged))

    @property
    def spare(self) -> list[Any]:
        """The cards that no picture of this run uses."""
        return self._pool[len(self._state.cards) :]


class TakeBox(widgets.VBox):
    """The buttons that bind, save and insert pictures."""

    def __init__(self, state: PanelState, actions: PanelActions, guard: Guard) -> None:
        self._state = state
        auto = widgets.Layout(width="auto")
        label = {"description_width": "initial"}
        self.all = widgets.Checkbox(description="Select all", indent=False, layout=auto)
        self.name = widgets.Text(
            "pictures", description="Variable name", style=label, layout=widgets.Layout(width="220px")
        )
        self.form = widgets.Dropdown(
            description="as", options=_FORMS, style=label, layout=widgets.Layout(width="140px")
        )
        self.bind = widgets.Button(tooltip="Bind the pictures to the variable", layout=auto)
        self.where = widgets.Text(
            description="Folder or file", placeholder="out, or out/{stem}-{i}.jpg", style=label,
            layout=widgets.Layout(width="300px", max_width="100%"),
        )  # fmt: skip
        self.save = widgets.Button(tooltip="Save the pictures to files", layout=auto)
        self.insert = widgets.Button(
            tooltip="Show the pictures below, as an output that is saved with the notebook", layout=auto
        )
        self.all.observe(guard(lambda change: actions.select_all(on=change["new"])), "value")
        self.bind.on_click(guard(lambda _: actions.bind(self.name.value, self.form.value)))
        self.save.on_click(guard(lambda _: actions.save(self.where.value)))
        self.insert.on_click(guard(lambda _: actions.insert()))
        state.observe(self._changed, ["cards", "selected"])
        super().__init__(
            [row(self.all, self.insert), row(self.name, self.form, self.bind), row(self.where, self.save)]
        )
        self._changed()

    def _changed(self, _: Any = None) -> None:
        words = self._state.chosen_words
        self.bind.description = f"Bind {words}"
        self.save.description = f"Save {words}"
        self.insert.description = f"Insert {words} below"
        show(self, on=bool(self._state.cards))
        if not self._state.selected:
            self.all.value = False


class RecordBox(widgets.VBox):
    """The history as a tree, and the code that repeats the shown run, or the selected picture."""

    def __init__(self, state: PanelState, actions: PanelActions, guard: Guard) -> None:
        self._state = state
        self.history = widgets.ToggleButton(description="History", tooltip="What was made so far")
        self.code = widgets.ToggleButton(
            description="Copy as code",
            tooltip="Code that repeats the shown run, or the one picture that is selected",
        )
        wide = widgets.Layout(width="100%", max_width="640px")
        self.tree = widgets.Select(
            description="Runs", rows=8, layout=wide, style={"description_width": "initial"}
        )
        self.details = widgets.HTML()
        self.back = widgets.Button(
            description="Go back to this run", tooltip="Show its pictures, settings and source again",
        )  # fmt: skip
        self.back.add_class("imgvar-short")
        self.past = widgets.VBox([self.tree, self.details, self.back])
        self.recipe = widgets.HTML()
        self.history.observe(self._opened, "value")
        self.code.observe(self._opened, "value")
        self.tree.observe(self._node_chosen, "value")
        self.back.on_click(guard(self._go_back(actions)))
        state.observe(self._grown, "nodes")
        state.observe(self._recited, ["line", "call"])
        super().__init__([row(self.history, self.code), self.past, self.recipe])
        self._grown()
        self._recited()
        self._opened()

    def _go_back(self, actions: PanelActions) -> Any:
        def go(_: Any) -> None:
            if self.tree.value is not None:
                actions.go_back(self.tree.value)

        return go

    def _opened(self, _: Any = None) -> None:
        show(self.past, on=self.history.value)
        show(self.recipe, on=self.code.value)

    def _grown(self, _: Any = None) -> None:
        nodes = self._state.nodes
        self.tree.options = [(node.label, index) for index, node in enumerate(nodes)]
        self.tree.value = 0 if nodes else None
        self.history.description = f"History ({len(nodes)})"
        self.back.disabled = not nodes
        self._node_chosen()

    def _node_chosen(self, _: Any = None) -> None:
        index = self.tree.value
        if index is None or index >= len(self._state.nodes):
            self.details.value = ""
            return
        facts = "".join(
            f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>"
            for name, value in details(self._state.nodes[index].run)
        )
        self.details.value = f"<dl>{facts}</dl>"

    def _recited(self, _: Any = None) -> None:
        if not self._state.line:
            self.recipe.value = '<div class="imgvar-hint">Nothing to repeat yet: run something.</div>'
            return
        pieces = (("In a cell:", self._state.line), ("In Python:", self._state.call))
        self.recipe.value = "".join(
            f'<div class="imgvar-hint">{title} (a click selects all of it)</div>'
            f'<pre tabindex="0">{_lines_html(code)}</pre>'
            for title, code in pieces
        )


def _lines_html(code: str) -> str:
    return "\n".join(map(escaped, code.split("\n")))
