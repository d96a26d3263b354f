"""Progress of huggingface_hub's downloads without its output: a class in the place of tqdm, and silent log handlers."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Meter", "StoppedError", "quiet"]


class StoppedError(Exception):
    """Ends the library's threads after a cancel; no caller of this package sees it."""


class Meter:
    """Counts the bytes of one download from the library's threads, and stops them.

    `bar_class` is what the library takes as `tqdm_class=`. Its bars print nothing.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._bars: list[Any] = []

    @property
    def bytes(self) -> int:
        """Bytes that were fetched so far."""
        # The library has one bar for the bytes from the network and one for those of finished files; both count the
        # same files, and the network's may count fewer.
        with self._lock:
            return max((int(bar.n) for bar in self._bars), default=0)

    @property
    def bar_class(self) -> type:
        """A class in the place of `tqdm.auto.tqdm`, whose bars belong to this meter."""
        meter = self

        class Bar(_Bar):
            def __init__(self, iterable: Iterable[Any] | None = None, **options: Any) -> None:
                super().__init__(iterable, **options)
                if options.get("unit") == "B":
                    with meter._lock:
                        meter._bars.append(self)

            def check(self) -> None:
                if meter.stopped.is_set():
                    raise StoppedError

        return Bar


class _Bar:
    """The part of tqdm's interface that huggingface_hub uses (1.3 to 2.4); any other method does nothing."""

    _lock = threading.RLock()

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any) -> None:
        self.iterable = iterable
        self.total = options.get("total")
        self.n = options.get("initial") or 0
        self.format_dict: dict[str, Any] = {}
        self._counting = threading.Lock()
        self.check()

    def check(self) -> None:
        """Raise `StoppedError` after a cancel."""

    def update(self, n: float | None = 1) -> None:
        with self._counting:
            self.n += n or 0
        self.check()

    def refresh(self, *_: Any, **__: Any) -> None:
        self.check()

    def __iter__(self) -> Iterator[Any]:
        for each in self.iterable or ():
            yield each
            self.update()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @classmethod
    def get_lock(cls) -> Any:
        return cls._lock

    @classmethod
    def set_lock(cls, lock: Any) -> None:
        cls._lock = lock

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Drop the log lines below ERROR that these loggers would print, until the end of the block.

    Filters are added and removed, and no level is changed, so that blocks in several threads may overlap.
    """

    def no_chatter(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    handlers = [handler for name in loggers for handler in logging.getLogger(name).handlers]
    for handler in handlers:
        handler.addFilter(no_chatter)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(no_chatter)
