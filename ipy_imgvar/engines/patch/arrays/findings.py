"""What was found out about one source, so that the runs of it that follow need not find it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Findings"]

T = TypeVar("T")


class Findings:
    """Values that depend on a source alone: not on strength, seed or number.

    Notes
    -----
    No value may be changed by those who get it. Two threads may find the same value at the same time: it is the same.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def once(self, name: Hashable, find: Callable[[], T]) -> T:
        """Return the value of a name, which `find` returns at the first call.

        Parameters
        ----------
        name : hashable
            It names the function and its arguments beside the source.
        find : callable
        """
        if name not in self._known:
            self._known[name] = find()
        known: T = self._known[name]
        return known
