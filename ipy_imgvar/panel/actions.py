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
from ipy_imgvar.errors import (
    CancelledError,
    ImageVariationError,
    InvalidImageError,
    InvalidRequestError,
    shown,
)
from ipy_imgvar.images.kinds import looks_like_image
from ipy_imgvar.panel import engines
from ipy_imgvar.panel.controls import SettingsActions
from ipy_imgvar.panel.job import BackgroundTask, Worker
from ipy_imgvar.panel.sources import message
from ipy_imgvar.panel.state import Card, Group, PanelState, Status
from ipy_imgvar.panel.tree import NEWEST, grow
from ipy_imgvar.plain import plain
from ipy_imgvar.request import STRENGTHS
from ipy_imgvar.results.history import keep_source, made_here, newest_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.engine import Engine
    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import Fit, VariationRequest
    from ipy_imgvar.results.variations import Variation, Variations
    from ipy_imgvar.settings import Connection

__all__ = ["PanelActions"]

#: Seconds between two changes of the progress bar: each is a message to the browser.
_REFRESH_S: Final = 0.1


class PanelActions(SettingsActions):
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
        #: The client is the caller's, so the panel offers no other engine, server or key.
        self.is_fixed = client is not None
        self.engines = [client.engine.name] if client is not None else engine_names()
        state.engine = default_engine(self._connection()) if client is None else self.engines[0]
        state.observe(self._engine_changed, ["engine", "api_base"])
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

    def _connection(self) -> Connection:
        return engines.usable_connection(self._namespace, self.state.key_name, self.state.api_base)

    def _engine_changed(self, _: Any = None) -> None:
        if self._client is not None:
            engine: Engine | engines.Declared | None = self._client.engine
        else:
            engine = engines.known_engine(self.state.engine, self._connection())
        engines.describe(engine, self.state)
        if "mask" in self.state.refused:
            self.clear_mask()

    def look_around(self, _: Any = None) -> None:
        """Update the list of variables with images, the source of the key, and the history."""
        state = self.state
        variables = dict(self._namespace)
        state.variables = tuple(
            sorted(name for name, value in variables.items() if name[:1] != "_" and looks_like_image(value))
        )
        connection = self._connection()
        state.key_origin = engines.key_origin(connection, state.key_name)
        # A run of the magic or of Python code, since the panel's own run updates the history at its end.
        if made_here() is not self._seen and not state.busy:
            self.grow()

    def run(self) -> None:
        """Start a run; do nothing during another one."""
        state = self.state
        if state.busy:
            return
        if state.loading:
            raise InvalidImageError("the picture is still being read; run again once it is shown")
        if state.source is None:
            raise InvalidImageError(
                "there is no source yet; upload a picture, type its path, or pick a variable"
            )
        sample, source = state.sample, state.source
        with ExitStack() as stack:
            client = self._client or self._client_in(stack)
            (request,) = client.request(source, **state.arguments())
            if not state.begin(request.n, label_of(source, client.engine.name, request)):
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
        self.state.notice += "; what the request may still bring will be in the history"

    def _client_in(self, stack: ExitStack) -> Client:
        """Return a client with the chosen engine, which ends with the run unless the engine loads weights."""
        key = engines.key_in(self._namespace, self.state.key_name)
        setting = (self.state.engine, self._connection())
        if setting in self._loading:
            return self._loading[setting]
        base = self.state.api_base or None
        client = Client(self.state.engine, api_key=key, api_base=base, namespace=self._namespace)
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
        from ipy_imgvar.panel.cards import card_of, look_of

        refreshed = 0.0

        def progress(fraction: float, text: str) -> None:
            nonlocal refreshed
            now = time.monotonic()
            if now - refreshed >= _REFRESH_S:
                refreshed = now
                task.tell(self.state.advance, fraction, text)

        def preview(data: bytes) -> None:
            if look := look_of(data):
                task.tell(self.state.show_look, *look)

        def picture(variation: Variation) -> None:
            if not task.abandoned:  # The card takes time, and an abandoned task shows none.
                task.tell(self.state.add, card_of(variation, sample, request.fit))

        status, result, error = Status.FAILED, None, ""
        try:
            with ending:
                result = client.run(
                    [_stored(request)],
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
        try:
            self.grow()
        except Exception as exc:  # noqa: BLE001 - the panel must not stay busy
            error = error or message(exc)
        self.state.finish(status, result, error)

    def vary_at(self, card: str, word: str) -> None:
        """Take a picture of the gallery as the source, set the strength to a word, and run."""
        if self.state.busy:
            raise InvalidRequestError("a run is going on; wait for it, or cancel it, then vary")
        if word not in STRENGTHS:
            raise InvalidRequestError(f"the strength is {shown(word)}; allowed: {', '.join(STRENGTHS)}")

        def go() -> None:
            self.state.strength = STRENGTHS[word]
            self.run()

        self.vary(card, go)

    def bind(self, name: str, form: str) -> None:
        """Bind pictures, as `PictureActions.bind` does, and list the new variable."""
        super().bind(name, form)
        self.look_around()

    def grow(self) -> None:
        """Read the history of all runs again, of the panel and of others."""
        self._seen = made_here()
        self.state.nodes = grow(newest_runs(NEWEST))

    def go_back(self, index: int) -> None:
        """Show an earlier run again, with its settings, and with its source if that can still be read."""
        if self.state.busy:
            raise InvalidRequestError("a run is going on; wait for it, or cancel it, then go back")
        run = self._node(index)

        def work(task: BackgroundTask) -> None:
            from ipy_imgvar.images.similarity import sample
            from ipy_imgvar.panel.cards import card_of

            source = run[0].source
            try:
                reduced = sample(source)
            except ImageVariationError:
                reduced = None
            fit: Fit = run.request.fit if run.request is not None else "crop"
            try:
                cards = tuple(card_of(each, reduced, fit) for each in run)
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
        self._show_again(run, cards)
        if run.request is not None:
            self._restore({**run.request.settings(), "engine": run.engine})
        if source is not None:
            self.clear_mask()
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

    def _show_again(self, run: Variations, cards: tuple[Card, ...]) -> None:
        """Show a run in a group at the top, in place of a group that shows it already."""
        state = self.state
        for group in state.groups:
            if group.run and group.run[0].path is not None and group.run[0].path == run[0].path:
                state.close_group(group.id)
        label = "" if run.request is None else label_of(run[0].source, run.engine or "", run.request)
        number = state.next_group
        state.open_group(Group(number, label, "", run, len(run)))
        state.cards = (*state.cards, *(replace(card, group=number) for card in cards))

    def remix(self, index: int) -> None:
        """Set the controls to the settings of an earlier run; its pictures and source stay where they are."""
        run = self._node(index)
        if run.request is None:
            raise InvalidRequestError("the history has no settings of this run; choose another")
        self._restore({**run.request.settings(), "engine": run.engine})
        self.state.error, self.state.notice = "", "the settings of that run are set again"

    def _node(self, index: int) -> Variations:
        if not 0 <= index < len(self.state.nodes):
            raise InvalidRequestError("this run is no longer in the history; choose another")
        run: Variations = self.state.nodes[index].run
        return run


def _stored(request: VariationRequest) -> VariationRequest:
    """Return the request with files for its source and mask, which the history and the code can name."""
    return replace(
        request,
        image=None if request.image is None else keep_source(request.image),
        mask=None if request.mask is None else keep_source(request.mask),
    )


def label_of(source: Source, engine: str, request: VariationRequest) -> str:
    """Return the label of a run's pictures: source, engine, strength and seed."""
    words = {value: word for word, value in STRENGTHS.items()}
    seed = "" if request.seed is None else f" · seed {request.seed}"
    strength = words.get(request.strength, f"strength {request.strength:g}")
    return f"{plain(source.name)} · {plain(engine)} · {strength}{seed}"
