"""The progress of batches: a bar over the lines that are under way, and the caller's own listener."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from ipy_imgvar.bulk.run import bar_file
from ipy_imgvar.engine import Job

if TYPE_CHECKING:
    from ipy_imgvar.batches import Batch
    from ipy_imgvar.bulk.batches.state import State
    from ipy_imgvar.engine import Listener

__all__ = ["Progress"]

#: Seconds between two refreshes of the bar while nothing changes, so that its clock moves on.
_REFRESH_S: Final = 1.0


class Progress:
    """Shows how many lines are answered, by the server's own counts.

    Parameters
    ----------
    state
        The chunks.
    listener
        Gets the finished share, 0..1, and the counts in words; and the lines of `say`.
    bar
        See `Client.map`'s `progress`.
    """

    def __init__(self, state: State, listener: Listener, bar: bool | None) -> None:  # noqa: FBT001
        self._state, self._listener = state, listener
        self._batches: dict[int, Batch] = {}
        self._shown: tuple[float, str] = (-1.0, "")
        self._refreshed = 0.0
        self._bar: Any = None
        if (file := bar_file(bar)) is not None:
            from tqdm.std import tqdm

            self._bar = tqdm(total=0, unit="image", file=file, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def note(self, number: int, batch: Batch) -> None:
        """Take the server's counts of a chunk's batch."""
        self._batches[number] = batch

    def say(self, text: str) -> None:
        """Say a line to a person that stays, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        Job(listener=self._listener).announce(text)
        if self._bar is not None:
            self._bar.refresh()

    def show(self, doing: str = "") -> None:
        """Show the counts, and what is done or waited for now."""
        chunks = [
            each for each in self._state.chunks.values() if each.number in self._batches or each.is_open
        ]
        total = sum(each.lines for each in chunks)
        ended = sum(each.completed + each.failed for each in self._batches.values())
        failed = sum(each.failed for each in self._batches.values())
        under_way = sum(each.step in ("uploaded", "asking", "created") for each in chunks)
        text = f"{ended:,} of {total:,} answered" if total else ""
        if failed:
            text += f", {failed:,} without pictures"
        if under_way:
            text += f"; {under_way} batch{'es' if under_way > 1 else ''} under way"
        text = "; ".join(filter(None, [text, doing]))
        share = min(1.0, ended / total) if total else 0.0
        now = time.monotonic()
        if self._bar is not None and (text != self._shown[1] or now - self._refreshed > _REFRESH_S):
            self._refreshed = now
            self._bar.total = total
            self._bar.n = min(ended, total)
            self._bar.set_postfix_str(text)
        if self._listener.on_progress is not None and (share, text) != self._shown:
            self._listener.on_progress(share, text)
        self._shown = (share, text)
