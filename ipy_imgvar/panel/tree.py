"""The history as a tree: a run whose source is a picture of an earlier run is a child of that run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ipy_imgvar.results.variations import Variations

__all__ = ["NEWEST", "Node", "details", "grow"]

#: Runs that the tree shows: a person looks for recent ones, and each takes a line of the list.
NEWEST: Final = 40


@dataclass(frozen=True, slots=True)
class Node:
    """A run, and its depth in the tree.

    Parameters
    ----------
    run
        The run's pictures.
    depth
        The number of its ancestors; 0 for a source that no shown run has made.
    """

    run: Variations
    depth: int = 0

    @property
    def label(self) -> str:
        """The run in one line: source, count, engine, seed, time and a status other than done."""
        when = f"{self.run.started.astimezone():%d %b %H:%M:%S}" if self.run.started else ""
        source = plain(self.run[0].source.name) if self.run else "nothing made"
        seed = _seed(self.run)
        state = "" if self.run.status == "done" else f" · {plain(self.run.status)}"
        count = f"{len(self.run)} picture{'' if len(self.run) == 1 else 's'}"
        return f"{source} · {count} · {plain(self.run.engine or 'unknown')}{seed} · {when}{state}"


def _seed(run: Variations) -> str:
    if run.request is None or run.request.seed is None:
        return ""
    index = "" if run.request.index is None else f" · --index {run.request.index}"
    return f" · seed {run.request.seed}{index}"


def grow(runs: Sequence[Variations]) -> tuple[Node, ...]:
    """Return the newest runs as a tree in depth-first order: the newest root first, children oldest first."""
    runs = [run for run in runs if run][-NEWEST:]
    # The run, by its number, that has made each file; and the children of each run.
    maker: dict[Path, int] = {}
    children: dict[int | None, list[int]] = {}
    for number, run in enumerate(runs):
        path = run[0].source.path
        children.setdefault(None if path is None else maker.get(path), []).append(number)
        maker |= {each.path: number for each in run if each.path is not None}

    def family(number: int, depth: int) -> Iterator[Node]:
        yield Node(runs[number], depth)
        for child in children.get(number, []):
            yield from family(child, depth + 1)

    return tuple(node for root in reversed(children.get(None, [])) for node in family(root, 0))


def details(run: Variations) -> list[tuple[str, str]]:
    """Return a run's parameters as names and values for a person."""
    rows = [("engine", run.engine or "unknown"), ("model", run.model or "default")]
    if run.request is not None:
        settings = run.request.settings()
        rows += [
            (name, str(value))
            for name, value in settings.items()
            if name not in ("model", "response_format", "timeout", "max_retry_count")
            and value not in (None, {})
        ]
    rows += [("took", f"{run.elapsed:.1f} s"), ("ended", run.status)]
    return [(name, plain(value)) for name, value in rows]
