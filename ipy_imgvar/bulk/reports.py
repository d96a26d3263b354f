"""The reports of an engine that works on one image at a time, on their way from its thread to the caller's.

Such an engine may download and load a model before its first picture, which takes minutes; the caller has to know.
"""

from __future__ import annotations

from collections import deque

from ipy_imgvar.engine import Listener

__all__ = ["Reports"]


class Reports:
    """Takes an engine's progress and announcements in any thread, and gives them to the thread that shows them."""

    def __init__(self) -> None:
        #: The engine's current step in words, or "".
        self.doing = ""
        self._lines: deque[str] = deque()
        self._seen: set[str] = set()

    @property
    def listener(self) -> Listener:
        """The functions that the engine's job calls."""
        return Listener(on_progress=self._progress, on_notice=self._lines.append)

    def _progress(self, _: float, text: str) -> None:
        self.doing = text

    def notices(self) -> list[str]:
        """Return the new announcements, each once: the engine says the same before every image."""
        new = []
        while self._lines:
            line = self._lines.popleft()
            if line not in self._seen:
                self._seen.add(line)
                new.append(line)
        return new
