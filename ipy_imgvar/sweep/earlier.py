"""The earlier run of a sweep that was interrupted or failed: which one it is, and what it has made.

A digest of all that affects the pictures tells whether two sweeps are the same. A seed that was drawn is no part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.comparison import comparable, settings_of
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.results.axes import same
from ipy_imgvar.results.history import newest_runs
from ipy_imgvar.results.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipy_imgvar.results.variation import Variation
    from ipy_imgvar.run import Part

__all__ = ["Taken", "digest", "find_earlier", "take_over"]

#: Newest runs of the history that are looked through; reading all of a full store takes seconds.
_LOOKED_THROUGH: Final = 50
#: The ends of a run after which a sweep goes on, in words.
_ENDS: Final = {"interrupted": "was interrupted", "failed": "failed in part"}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a sweep takes over from its earlier run.

    Parameters
    ----------
    parts
        All parts, with the earlier run's seed if one was drawn.
    pictures
        By the number of a part, all of its pictures.
    note
        A line that says so.
    """

    parts: list[Part]
    pictures: Mapping[int, list[Variation]]
    note: str


def digest(parts: Sequence[Part], axes: Mapping[str, Sequence[Any]], *, drawn: bool) -> str:
    """Return what tells a sweep from others: sources, masks, settings, axes, engines and models; no path, no key.

    Parameters
    ----------
    parts
        In the order of the result.
    axes
        In normal form.
    drawn
        The requests' seed was drawn, so it is left out.
    """
    # By the number of the image: two may be the same file, with two masks.
    images = {part.image_number: (part.request.image, part.request.mask) for part in parts}
    sources = [[each and each.sha256 for each in pair] for pair in images.values()]
    left_out = {*axes, "seed"} if drawn else set(axes)
    settings: dict[str, None] = {}
    for part in parts:
        own = settings_of(part.engine, part.request)
        own["options"] = {name: value for name, value in own["options"].items() if name not in axes}
        settings.setdefault(comparable({name: own[name] for name in own if name not in left_out}))
    # Engines and models are among the settings, unless they are axes.
    models = list(dict.fromkeys(part.engine.model(part.request) for part in parts))
    text = json.dumps([sources, list(settings), models, [[name, list(each)] for name, each in axes.items()]])
    return hashlib.sha256(text.encode()).hexdigest()


def find_earlier(key: str) -> Sweep | None:
    """Return the newest run of a sweep if it stopped before its end, else None."""
    for run in reversed(newest_runs(_LOOKED_THROUGH)):
        if isinstance(run, Sweep) and run.key == key:
            return run if run.status in _ENDS else None
    return None


def take_over(earlier: Sweep, parts: Sequence[Part], *, drawn: bool) -> Taken | None:
    """Return the finished combinations of an earlier run, with the bytes of their pictures; None if it has none.

    Parameters
    ----------
    earlier
        A run of the same sweep.
    parts, drawn
        See `digest`.
    """
    parts = list(parts)
    seed = _seed_of(earlier) if drawn else None
    if seed is not None:
        parts = [
            part if part.request.seed is None else replace(part, request=replace(part.request, seed=seed))
            for part in parts
        ]
    made = _by_combination(earlier)
    found: dict[int, list[Variation]] = {}
    for number, part in enumerate(parts):
        pictures = _pictures_of(part, made[part.image_number, same(part.combination)])
        if pictures:
            found[number] = pictures
    if not found:
        return None
    count, total = sum(map(len, found.values())), sum(part.request.n for part in parts)
    when = "" if earlier.started is None else f" of {earlier.started.astimezone():%Y-%m-%d %H:%M}"
    note = (
        f"{count} of {total} pictures come from the run{when}, which {_ENDS[earlier.status]}; "
        "resume=False (--again on a line) makes them anew"
    )
    return Taken(parts, found, note)


def _seed_of(earlier: Sweep) -> int | None:
    """Return the seed that a run drew, which all of its requests with a seed share."""
    if earlier.request is not None and earlier.request.seed is not None:
        return earlier.request.seed
    return next((each.seed for each in earlier if each.seed is not None), None)


def _by_combination(earlier: Sweep) -> defaultdict[tuple[int | None, str], dict[int, Variation]]:
    """Return a run's pictures by the number of their image and their combination, then by index."""
    made: defaultdict[tuple[int | None, str], dict[int, Variation]] = defaultdict(dict)
    for each in earlier:
        made[each.image_number, same(each.combination)][each.index] = each
    return made


def _pictures_of(part: Part, made: Mapping[int, Variation]) -> list[Variation] | None:
    """Return all pictures of a part; None where one is missing."""
    request = part.request
    assert request.image is not None  # noqa: S101 - every part has one
    wanted = [request.index] if request.index is not None else list(range(1, request.n + 1))
    if not all(index in made for index in wanted):
        return None
    try:
        # Their bytes, since the next run keeps files of its own, and this call's source.
        return [made[index].bound_to(request.image, data=made[index].original) for index in wanted]
    except ImageVariationError:  # The store no longer has the file.
        return None
