"""The models in memory: one at a time, shared by every client of this process, and one run at a time on them."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.device.machine import empty_cache
from ipy_imgvar.engines.diffusers.pipelines.background import POLL_S, Background
from ipy_imgvar.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from ipy_imgvar.engines.diffusers.pipelines.loading import Loaded

__all__ = ["MODELS", "Models"]


class Models:
    """Holds the loaded models of this process, the least recently used first.

    Attributes
    ----------
    background
        Runs the imports and loads.
    """

    def __init__(self) -> None:
        self.background = Background()
        self._turn = threading.Lock()
        self._held: OrderedDict[Hashable, Loaded] = OrderedDict()
        #: By id, what frees the models if a user is dropped without having left.
        self._users: dict[int, weakref.finalize[Any, Any]] = {}
        self._capacity = 1
        #: Counts the times that the models were freed, by which a load learns that its model is wanted no more.
        self._freed = 0
        self._thread: int | None = None

    @contextmanager
    def turn(self, user: object, check: Callable[[], None], on_wait: Callable[[], None]) -> Iterator[None]:
        """Wait for the runs before this one, and let no other begin meanwhile.

        Parameters
        ----------
        user
            The engine; the models are held until every engine that used them has left.
        check
            Raises to stop waiting.
        on_wait
            Called once if another run is at work.

        Raises
        ------
        EngineError
            If this thread's own run is at work, which would wait for itself.
        """
        if not self._turn.acquire(blocking=False):
            if self._thread == threading.get_ident():
                raise EngineError(
                    "a run on this device can't start another before it has ended; run it afterwards"
                )
            on_wait()
            while not self._turn.acquire(timeout=POLL_S):
                check()
        freed = self._freed
        try:
            self._thread = threading.get_ident()
            self._enter(user)
            yield
        finally:
            self._thread = None
            self._turn.release()
            if freed != self._freed:  # The run had the last reference to its model.
                _collect()

    def find(self, key: Hashable) -> Loaded | None:
        """Return the model of this key, or None if it is not held."""
        if (held := self._held.get(key)) is not None:
            self._held.move_to_end(key)
        return held

    def add(self, key: Hashable, load: Callable[[], Loaded]) -> Loaded:
        """Load a model and hold it; before that, the least recently used one is freed where there is room for one."""
        while len(self._held) >= self._capacity:
            self._held.popitem(last=False)
            _collect()
        freed = self._freed
        loaded = load()
        if freed == self._freed:
            self._held[key] = loaded
        return loaded

    def hold(self, count: int) -> None:
        """Hold up to this many models at once, for a server that was started with several."""
        self._capacity = max(1, count)

    def _enter(self, user: object) -> None:
        if id(user) not in self._users:
            self._users[id(user)] = dropped = weakref.finalize(user, self._left, id(user))
            dropped.atexit = False

    def leave(self, user: object) -> None:
        """Free the models if no other engine uses them; the same happens if an engine is dropped."""
        if (dropped := self._users.get(id(user))) is not None:
            dropped()

    def _left(self, user_id: int) -> None:
        self._users.pop(user_id, None)
        if not self._users:
            self._capacity = 1
            self.free()

    def free(self) -> list[str]:
        """Free the models, and return their names; a run at work, or a load, keeps its own until it ends."""
        self._freed += 1
        names = [each.name for each in self._held.values()]
        self._held.clear()
        _collect()
        return names


def _collect() -> None:
    """Return freed weights to the device."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None:
        kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        for kind in (kind for kind, has in kinds.items() if has):
            empty_cache(kind)


#: The models of this process: magic, panel and server make clients of their own, and the device has room for one.
MODELS: Final = Models()
