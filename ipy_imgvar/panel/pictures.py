"""The panel's actions on finished pictures: select, enlarge, bind, save, insert and repeat; no widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.line.options import bindable
from ipy_imgvar.panel import recipe
from ipy_imgvar.results.forms import converted, form_of
from ipy_imgvar.results.gallery import contact_sheet, html, image_html, text
from ipy_imgvar.results.markup import figure
from ipy_imgvar.results.variations import Variations

if TYPE_CHECKING:
    from ipy_imgvar.panel.state import PanelState

__all__ = ["ENLARGED_PX", "PictureActions"]

#: The longer side of an enlarged picture, in pixels of the page.
ENLARGED_PX: Final = 512


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
        state.observe(self._recite, ["result", "selected"])

    def select(self, index: int, *, on: bool) -> None:
        """Add a picture to the selection, or remove it."""
        self.state.selected = tuple(
            sorted({*self.state.selected, index} if on else {*self.state.selected} - {index})
        )

    def select_all(self, *, on: bool) -> None:
        """Select all pictures, or none."""
        self.state.selected = tuple(range(len(self.state.cards))) if on else ()

    def enlarge(self, index: int) -> None:
        """Show one picture larger."""
        card = self.state.cards[index]
        alt = f"Enlarged: {card.caption}"
        self.state.enlarged = figure(image_html(card.picture.original, alt, ENLARGED_PX), card.caption)

    def reduce(self) -> None:
        """Hide the enlarged picture."""
        self.state.enlarged = ""

    def bind(self, name: str, form: str) -> None:
        """Bind the selected pictures, or all, to a variable; a second call replaces a name that is in use."""
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
        what = f"one {form}" if single else f"a list of {len(chosen)} {form}s"
        self._done(f"{name} is {what}")

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
        return {"text/html": html(pictures), "text/plain": text(pictures), **contact_sheet(pictures)}

    def _recite(self, _: Any = None) -> None:
        run = self.state.chosen if self.state.selected else self.state.result
        if run is None or len(run) == 0 or run.request is None:
            self.state.line = self.state.call = ""
        else:
            self.state.line = recipe.line(run, self.state.result_origin)
            self.state.call = recipe.call(run, self.state.result_origin)

    def _chosen(self) -> Variations:
        chosen = self.state.chosen
        if not chosen:
            raise InvalidRequestError("there are no pictures yet; choose a source and press Run")
        return chosen

    def _done(self, words: str) -> None:
        self.state.error = ""
        self.state.notice = words
