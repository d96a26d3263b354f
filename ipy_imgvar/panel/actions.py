"""The actions of the panel's buttons: all decisions, no widgets.

An action returns at once. Slow work (reading a source, a run) is a `BackgroundTask`; it changes the state through
`BackgroundTask.tell`, so that an abandoned task changes nothing.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.client import Client
from ipy_imgvar.engine import LoadsWeights
from ipy_imgvar.engines import default_engine, engine_names
from ipy_imgvar.errors import CancelledError, ImageVariationError, InvalidImageError, InvalidRequestError
from ipy_imgvar.images.kinds import looks_like_image
from ipy_imgvar.images.similarity import THUMBNAIL_PX, sample
from ipy_imgvar.panel import engines
from ipy_imgvar.panel.cards import card_of
from ipy_imgvar.panel.job import BackgroundTask, Worker
from ipy_imgvar.panel.sources import SourceActions, message
from ipy_imgvar.panel.state import Card, PanelState, Status
from ipy_imgvar.panel.tree import grow
from ipy_imgvar.plain import plain
from ipy_imgvar.request import STRENGTHS, VariationRequest
from ipy_imgvar.results.gallery import preview_html
from ipy_imgvar.results.history import history, keep_source, made_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.engine import Engine
    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import Fit
    from ipy_imgvar.results.variations import Variation, Variations

__all__ = ["PanelActions"]

#: Seconds between two changes of the progress bar: each is a message to the browser.
_REFRESH_S: Final = 0.1


class PanelActions(SourceActions):
    """The actions of the panel's buttons.

    Parameters
    ----------
    state
        The state that they change.
    namespace
        The notebook's variables.
    client
        The client of all runs; None makes one with the chosen engine for each run, or for all runs of an engine that
        loads weights.
    worker, loader
        Threads for runs, and for reading sources and earlier runs.
    """

    def __init__(
        self,
        state: PanelState,
        namespace: dict[str, Any],
        client: Client | None = None,
        worker: Worker | None = None,
        loader: Worker | None = None,
    ) -> None:
        super().__init__(state, namespace, loader or Worker())
        self._client = client
        #: The clients of engines that load weights, by engine and connection: a new one would load them for each run.
        self._loading: dict[Any, Client] = {}
        self._worker = worker or Worker()
        self._seen: Variations | None = None
        self.engines = [client.engine.name] if client is not None else engine_names()
        connection = engines.usable_connection(namespace, state.key_name)
        state.engine = default_engine(connection) if client is None else self.engines[0]
        state.observe(self._engine_changed, "engine")
        self._engine_changed()
        self.look_around()
        self.grow()

    def close(self) -> None:
        """End the tasks; safe to call twice."""
        self._worker.close()
        self._loader.close()
        while self._loading:
            self._loading.popitem()[1].close()
        if self.state.busy:
            self.state.finish(Status.CANCELLED)

    def _engine_changed(self, _: Any = None) -> None:
        if self._client is not None:
            engine: Engine | None = self._client.engine
        else:
            connection = engines.usable_connection(self._namespace, self.state.key_name)
            engine = engines.known_engine(self.state.engine, connection)
        engines.describe(engine, self.state)

    def choose_strength(self, word: str) -> None:
        """Set the strength to one of the three words."""
        self.state.strength = STRENGTHS[word]

    def type_seed(self, written: str) -> None:
        """Set the seed to a typed text and lock it; an empty text unlocks it, so that each run draws a seed."""
        if written != self.state.seed:
            self.state.seed, self.state.seed_locked = written, bool(written.strip())

    def name_key(self, written: str) -> None:
        """Set the name of the key's variable; refuse, and don't show, a text that names none: it may be a key."""
        name = written.strip()
        if name == self.state.key_name:
            return
        if name and name != engines.DEFAULT_KEY and name not in self._namespace:
            raise InvalidRequestError(
                "there is no variable of that name; assign the key to one, as in my_key = getpass(), and type its "
                "name here, never the key (what was typed is not kept)"
            )
        self.state.key_name = name or engines.DEFAULT_KEY
        engines.key_in(self._namespace, self.state.key_name)
        self.look_around()

    def look_around(self, _: Any = None) -> None:
        """Update the list of variables with images, the source of the key, and the history."""
        state = self.state
        variables = dict(self._namespace)
        state.variables = tuple(
            sorted(name for name, value in variables.items() if name[:1] != "_" and looks_like_image(value))
        )
        connection = engines.usable_connection(variables, state.key_name)
        state.key_origin = engines.key_origin(connection, state.key_name)
        # A run of the magic or of Python code, since the panel's own run updates the history at its end.
        if made_here() is not self._seen and not state.busy:
            self.grow()

    def run(self) -> None:
        """Start a run; do nothing during another one."""
        state = self.state
        if state.busy:
            return
        if state.source is None:
            raise InvalidImageError(
                "there is no source yet; upload a picture, type its path, or pick a variable"
            )
        sample, source = state.sample, state.source
        with ExitStack() as stack:
            client = self._client or self._client_in(stack)
            (request,) = client.request(source, **state.arguments())
            if not state.begin():
                return
            # The thread closes the client that this method made; `stack` does it if anything above raises.
            ending = stack.pop_all()
        if not self._worker.submit(lambda task: self._work(task, client, request, sample, ending)):
            ending.close()
            state.finish(Status.FAILED, error="another run is going on; wait for it, or cancel it")

    def cancel(self) -> None:
        """Stop the run; abandon one that does not stop in time: its pictures still go to the store."""
        if self.state.cancel():
            self._worker.cancel(self._left_behind)

    def _left_behind(self) -> None:
        if not self.state.busy:  # It has ended meanwhile.
            return
        self.state.finish(Status.CANCELLED)
        self.state.notice = "cancelled; what the request may still bring will be in the history"

    def _client_in(self, stack: ExitStack) -> Client:
        """Return a client with the chosen engine, which ends with the run unless the engine loads weights."""
        key = engines.key_in(self._namespace, self.state.key_name)
        setting = (self.state.engine, engines.usable_connection(self._namespace, self.state.key_name))
        if setting in self._loading:
            return self._loading[setting]
        client = Client(self.state.engine, api_key=key, namespace=self._namespace)
        if isinstance(client.engine, LoadsWeights):
            self._loading[setting] = client
            return client
        return stack.enter_context(client)

    def _work(
        self,
        task: BackgroundTask,
        client: Client,
        request: VariationRequest,
        sample: Sample,
        ending: ExitStack,
    ) -> Callable[[], None]:
        """Run on the worker's thread, close the client in `ending`, and return the function that ends the run."""
        refreshed = 0.0

        def progress(fraction: float, text: str) -> None:
            nonlocal refreshed
            now = time.monotonic()
            if now - refreshed >= _REFRESH_S:
                refreshed = now
                task.tell(self.state.advance, fraction, text)

        def preview(data: bytes) -> None:
            if look := preview_html(data, THUMBNAIL_PX):
                task.tell(self.state.show_look, look)

        def picture(variation: Variation) -> None:
            if not task.abandoned:  # The card takes time, and an abandoned task shows none.
                task.tell(self.state.add, card_of(variation, sample, request.fit, client.engine.name))

        status, result, error = Status.FAILED, None, ""
        try:
            with ending:
                stored = None if request.image is None else keep_source(request.image)
                result = client.run(
                    [replace(request, image=stored)],
                    on_progress=progress,
                    on_picture=picture,
                    on_preview=preview,
                    on_notice=partial(task.tell, self._noted),
                    cancel=task.stop,
                )
            status = Status.DONE
        except CancelledError as exc:
            status, result = Status.CANCELLED, exc.partial
        except ImageVariationError as exc:
            result, error = exc.partial, str(exc)
        except Exception as exc:  # noqa: BLE001 - a thread's exception is shown nowhere
            error = message(exc)
        return partial(self._ended, status, result, error)

    def _noted(self, text: str) -> None:
        self.state.notice = text

    def _ended(self, status: Status, result: Variations | None, error: str) -> None:
        self.grow()
        self.state.finish(status, result, error)

    def bind(self, name: str, form: str) -> None:
        """Bind pictures, as `PictureActions.bind` does, and list the new variable."""
        super().bind(name, form)
        self.look_around()

    def grow(self) -> None:
        """Read the history of all runs again, of the panel and of others."""
        self._seen = made_here()
        self.state.nodes = grow(history())

    def go_back(self, index: int) -> None:
        """Show an earlier run again, with its settings, and with its source if that can still be read."""
        if self.state.busy:
            raise InvalidRequestError("a run is going on; wait for it, or cancel it, then go back")
        run = self.state.nodes[index].run

        def work(task: BackgroundTask) -> None:
            source = run[0].source
            try:
                reduced = sample(source)
            except ImageVariationError:
                reduced = None
            fit: Fit = run.request.fit if run.request is not None else "crop"
            try:
                cards = tuple(card_of(each, reduced, fit, run.engine or "") for each in run)
            except Exception as exc:  # noqa: BLE001 - a thread's exception is shown nowhere
                task.tell(self._loaded, message(exc))
                return
            task.tell(self._went_back, run, cards, source if reduced else None, reduced)

        self.state.loading = True
        self._loader.submit(work, replace=True)

    def _went_back(
        self, run: Variations, cards: tuple[Card, ...], source: Source | None, reduced: Sample | None
    ) -> None:
        state = self.state
        if state.busy:  # A run began while the earlier one was read.
            self._loaded()
            return
        state.enlarged, state.selected = "", ()
        state.result_origin = ""
        state.result, state.cards = run, cards
        if run.request is not None:
            self._restore({**run.request.settings(), "engine": run.engine})
        if source is not None:
            state.origin = state.typed = ""
            state.source = source
            state.sample = reduced
        self._loaded()
        state.status = Status.DONE
        state.notice = (
            ""
            if source is not None
            else f"{plain(run[0].source.name)} can't be read any more; the source is unchanged"
        )
