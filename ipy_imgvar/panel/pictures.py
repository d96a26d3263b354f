"""The panel's actions on finished pictures: select, star, sort, remove, bind, save, insert and repeat; no widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.line.options import bindable
from ipy_imgvar.panel import recipe
from ipy_imgvar.results.forms import converted, form_of
from ipy_imgvar.results.variations import Variations

if TYPE_CHECKING:
    from ipy_imgvar.panel.state import PanelState

__all__ = ["ORDERS", "PictureActions"]

#: The orders of the cards in a group.
ORDERS: Final = ("made", "similarity")
#: What a variable holds, by the form of its pictures: one, and several.
_WORDS: Final = {
    "image": ("one image", "images"),
    "array": ("one array", "arrays"),
    "byte": ("the bytes of one picture", "pictures as bytes"),
    "base64": ("one picture in base64", "pictures in base64"),
    "url": ("one URL", "URLs"),
}


class PictureActions:
    """The actions of the buttons on and below the pictures.

    Parameters
    ----------
    state
        The state that they change.
    namespace
        The notebook's variables.
    """

    def __init__(self, state: PanelState, namespace: dict[str, Any]) -> None:
        self.state = state
        self._namespace = namespace
        #: The variable that the next `bind` may replace: the panel has bound it, or has warned that it is in use.
        self._replaceable = ""
        state.observe(self._recite, ["groups", "selected", "nodes"])

    def select(self, name: str, *, on: bool) -> None:
        """Add a picture to the selection, or remove it."""
        self.state.card(name)
        others = tuple(each for each in self.state.selected if each != name)
        self.state.selected = (*others, name) if on else others

    def select_all(self, *, on: bool) -> None:
        """Select all pictures, or none."""
        self.state.selected = tuple(card.id for card in self.state.cards) if on else ()

    def star(self, name: str, *, on: bool) -> None:
        """Give a picture a star, or take it away; a starred picture stays on the page."""
        self.state.card(name)
        others = tuple(each for each in self.state.starred if each != name)
        self.state.starred = (*others, name) if on else others

    def remove(self, name: str) -> None:
        """Take a picture off the page; its file stays in the store, and its run in the history."""
        self.state.remove(name)

    def sort(self, order: str) -> None:
        """Choose the order of the cards in each group."""
        if order not in ORDERS:
            raise InvalidRequestError(f"the order is {shown(order)}; allowed: {', '.join(ORDERS)}")
        self.state.order = order

    def bind(self, name: str, form: str) -> None:
        """Bind the selected pictures, or all, to a variable; a second call replaces a name that is in use."""
        if not self.state.can_bind:
            raise InvalidRequestError(
                "no variable can be set here, since IPython does not run this notebook; save the pictures, or take the "
                "newest run's in Python: ipy_imgvar.last()"
            )
        name = name.strip()
        chosen = self._chosen()
        form = form_of(form)
        bindable(name, "the variable")
        if name in self._namespace and name != self._replaceable:
            self._replaceable = name
            kind = type(self._namespace[name]).__name__
            raise InvalidRequestError(f"{name} is a variable already ({kind}); bind again to replace it")
        single = len(chosen) == 1
        self._namespace[name] = converted(chosen, form, single=single)
        self._replaceable = name
        one, several = _WORDS[form]
        self._done(f"{name} is {one if single else f'a list of {len(chosen)} {several}'}")

    def save(self, where: str) -> None:
        """Save the selected pictures, or all, in a folder or under a pattern."""
        if not where.strip():
            raise InvalidRequestError(
                "there is no place to save to; type a folder, or a name such as out/{stem}-{i}.png"
            )
        paths = self._chosen().save(where.strip())
        self._done("saved " + ", ".join(map(str, paths)))

    def insert(self) -> None:
        """Add the selected pictures, or all, to the plain output below the panel."""
        chosen = self._chosen()
        if not self.state.can_insert:
            raise InvalidRequestError(
                "this panel has no output of its own; show it as the last line of a cell, or bind the pictures"
            )
        earlier = list(self.state.inserted)
        new = [each for each in chosen if each not in earlier]
        self.state.inserted = (*earlier, *new)
        self._done(f"{len(self.state.inserted)} below the panel, as an output that stays in the notebook")

    def inserted_bundle(self) -> dict[str, Any]:
        """Return the plain output below the panel, by MIME type."""
        pictures = Variations(self.state.inserted)
        if not pictures:
            return {"text/html": "", "text/plain": ""}
        from ipy_imgvar.results.gallery import contact_sheet, html, text

        return {"text/html": html(pictures), "text/plain": text(pictures), **contact_sheet(pictures)}

    def _recite(self, _: Any = None) -> None:
        state = self.state
        lines, calls, notes = [], [], []
        for run, origin in self._told():
            code = recipe.recipe(run, origin, [node.run for node in state.nodes])
            lines.append(code.line)
            calls.append(code.call)
            notes += [each for each in code.notes if each not in notes]
        state.line, state.call, state.code_notes = "\n".join(lines), "\n".join(calls), tuple(notes)

    def _told(self) -> list[tuple[Variations, str]]:
        """Return what the code repeats, with each source's origin: the selected pictures, or the newest run."""
        state = self.state
        told = []
        for group in state.groups:
            run = group.run
            if run is None or run.request is None or not run:
                continue
            chosen = [card.picture for card in state.of_group(group.id) if card.id in state.selected]
            if chosen:
                told.append((run.with_pictures(chosen), group.origin))
            elif not state.selected and group is state.groups[0]:
                told.append((run, group.origin))
        return told

    def dismiss(self) -> None:
        """Remove the lines that say what went wrong, or what was done."""
        self.state.error = self.state.notice = ""

    def _chosen(self) -> Variations:
        chosen = self.state.chosen
        if not chosen:
            raise InvalidRequestError("there are no pictures yet; choose a source and press Run")
        return chosen

    def _done(self, words: str) -> None:
        self.state.error = ""
        self.state.notice = words
