"""Callbacks that the connections of one thread obey: a check between the slices of a wait, a guard over addresses.

They are context variables, because httpx and httpcore hand nothing of ours down to the socket. This module holds
them; `sockets` and `transport` call them.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from ipy_imgvar.network import httplog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Guard", "also_watched", "begin_reading", "check", "current_guard", "guarded", "watched"]


class Guard(Protocol):
    """Raises where an address must not be connected to."""

    def __call__(self, host: str, address: str, *, is_proxied: bool) -> None:
        """Judge one address of a host; `is_proxied` where a proxy will connect to that host instead of us."""


def _unwatched() -> None:
    """Check nothing."""


_check: ContextVar[Callable[[], None]] = ContextVar("ipy_imgvar_check", default=_unwatched)
_idle: ContextVar[Callable[[], None] | None] = ContextVar("ipy_imgvar_idle", default=None)
_guard: ContextVar[Guard | None] = ContextVar("ipy_imgvar_guard", default=None)
httplog.hide(lambda: _check.get() is not _unwatched)


@contextmanager
def watched(check: Callable[[], None], idle: Callable[[], None] | None = None) -> Iterator[None]:
    """Call `check` between the slices of every wait of this thread, until the block ends.

    Parameters
    ----------
    check
        Raises to break off; the connection is then closed.
    idle
        Called once, at the first wait for an answer. The server works meanwhile, so what it does costs no time.
    """
    tokens = _check.set(check), _idle.set(idle)
    try:
        yield
    finally:
        _check.reset(tokens[0])
        _idle.reset(tokens[1])


@contextmanager
def also_watched(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` after the check that this thread's waits call already, until the block ends."""
    outer = _check.get()

    def both() -> None:
        outer()
        check()

    token = _check.set(both)
    try:
        yield
    finally:
        _check.reset(token)


@contextmanager
def guarded(guard: Guard | None) -> Iterator[None]:
    """Call `guard` with the name and each address of a host before this thread connects to any of them; it may raise.

    The resolver is asked once, and the connection goes to an address that was judged, so a resolver that answers
    otherwise the next time gains nothing. A connection that is already open is not judged again. A proxy's own address
    is not judged; the host that the proxy is asked for is, by our resolver (see `transport`).
    """
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


def check() -> None:
    """Call the check of this thread; it may raise."""
    _check.get()()


def begin_reading() -> None:
    """Call what `watched` was given for the first wait, unless it was called already."""
    if (idle := _idle.get()) is not None:
        _idle.set(None)
        idle()


def current_guard() -> Guard | None:
    """Return the guard of this thread."""
    return _guard.get()
