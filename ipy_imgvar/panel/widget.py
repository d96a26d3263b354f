"""`VariationPanel`: one widget that sends the state to the page as JSON and receives the page's messages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anywidget
from IPython.core.getipython import get_ipython
from traitlets import Dict, Unicode

from ipy_imgvar.panel import front, view
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.messages import Inbox
from ipy_imgvar.panel.shown import FALLBACK, Place
from ipy_imgvar.panel.state import PanelState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from ipy_imgvar.client import Client
    from ipy_imgvar.panel.job import Worker

__all__ = ["VariationPanel"]


class VariationPanel(anywidget.AnyWidget):
    """Variations by hand: choose a picture, run, look, take what you like.

    Show it like any other widget; `close()` ends its tasks and removes it from the page.

    Parameters
    ----------
    image
        The first source: any kind of image that `Client.variations` takes, or None.
    client
        The client of all runs; None makes a client with the engine that the panel's control names.
    basic
        Make the basic view, of core widgets only, for a notebook whose server lacks the package anywidget.
    shell
        The shell whose variables the panel lists and binds; None takes the running IPython.
    worker, loader
        Threads for runs, and for reading sources and earlier runs; None makes new ones.
    **settings
        The first values of the controls: engine, model, n, size, fit, strength, seed, prompt, options.

    Raises
    ------
    InvalidRequestError
        For a setting that no request can have.
    """

    _esm = front.module()
    _css = front.style()
    source = Dict().tag(sync=True)
    settings = Dict().tag(sync=True)
    run = Dict().tag(sync=True)
    gallery = Dict().tag(sync=True)
    code = Dict().tag(sync=True)
    ident = Unicode(help="The model's id, by which the page finds out whether its kernel is there.").tag(
        sync=True
    )
    thumbnails = Dict(help="Thumbnails that the notebook saves, by id.").tag(sync=True)

    _closed = True  # until `__init__` ends, so that a failure there leaves nothing to close

    def __new__(cls, *arguments: Any, basic: bool = False, **named: Any) -> Any:
        """Return a panel, or the basic view, which shares its state and actions but none of its widget."""
        if basic:
            from ipy_imgvar.panel.basic import BasicPanel

            return BasicPanel(*arguments, **named)
        return super().__new__(cls)

    def __init__(
        self,
        image: Any = None,
        client: Client | None = None,
        *,
        basic: bool = False,  # noqa: ARG002 - `__new__` reads it
        shell: InteractiveShell | None = None,
        worker: Worker | None = None,
        loader: Worker | None = None,
        **settings: Any,
    ) -> None:
        shell = shell or get_ipython()
        self.state = PanelState(can_bind=shell is not None)
        self.actions = PanelActions(
            self.state, shell.user_ns if shell is not None else {}, client, worker, loader
        )
        self.state.restore(settings)
        self._inbox = Inbox(self.actions, self._tell, self._drawn)
        # Sections are drawn by the run's thread too; the newer state must not be overwritten by the older.
        self._lock = threading.RLock()
        self._sent: dict[str, Any] = {}
        super().__init__(**{name: self._made(name) for name in view.SAVED})
        self._closed = False
        self.ident = self.model_id
        self.on_msg(self._heard)
        # First, since a person may save the notebook as soon as the page says that the run has ended.
        self.state.observe(self._save, ["status", "groups", "cards"])
        for name, section in view.SECTIONS.items():
            self.state.observe(lambda _, name=name: self._draw(name), list(section.reads))
        self.state.observe(self._show, ["cards", "preview", "mask_preview", "look"])
        self._place = Place(self, shell, self.actions, needs_answer=True)
        if image is not None:
            self.actions.use(image)

    def _made(self, name: str) -> dict[str, Any]:
        return view.SECTIONS[name].make(self.state, self.actions)

    def _draw(self, name: str) -> None:
        with self._lock:
            if name in view.SAVED:
                setattr(self, name, self._made(name))
            else:
                self._tell({"type": "section", "name": name, "value": self._made(name)})

    def _show(self, _: Any = None) -> None:
        """Send the pictures that the front end does not have yet."""
        with self._lock:
            named = {each.id: each for each in view.pictures(self.state)}
            new = [each for name, each in named.items() if self._sent.get(name) is not each]
            self._sent = named
            for each in new:
                self._tell({"type": "picture", "id": each.id, "mime": each.mime_type}, [each.data])

    def _save(self, _: Any = None) -> None:
        if not self.state.busy:
            with self._lock:
                self.thumbnails = view.saved_thumbnails(self.state)

    def _drawn(self) -> None:
        self._place.drawn()
        self._sent = {}
        self._show()
        for name in view.SECTIONS.keys() - set(view.SAVED):
            self._draw(name)

    def _heard(self, _: Any, content: Any, buffers: Sequence[Any]) -> None:
        self._inbox.receive(content, buffers)

    def _tell(self, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        if self.comm is not None:  # A closed panel tells nothing.
            self.send(content, list(buffers))

    def __repr__(self) -> str:
        return f"<VariationPanel: {'closed' if self._closed else self.state.status.value}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**kwargs) or {}
        # Colab finds the address of its widget manager in the metadata, which anywidget writes.
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/plain": FALLBACK}, metadata

    def _ipython_display_(self) -> None:
        self._place.show(*self._repr_mimebundle_())

    def close(self) -> None:
        """End the tasks, free the widget and remove the panel from the page; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.actions.close()
        self.state.unobserve_all()
        self._inbox.close()
        self._place.close()
        if self.layout is not None:
            self.layout.close()
        super().close()
