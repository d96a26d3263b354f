"""Finds out what a run would do, from the engines, the folders and the ledger; makes, sends and writes nothing."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ipy_imgvar.engine import Forecast, Forecasts
from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.plain import size_text
from ipy_imgvar.planning.batches import in_batches
from ipy_imgvar.planning.plan import Plan, PlannedFile, PlannedFolder, PlannedPart
from ipy_imgvar.results.files import checked_files
from ipy_imgvar.results.history import store
from ipy_imgvar.storage.disk import checked_folder
from ipy_imgvar.storage.folder import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipy_imgvar.bulk.counts import Counts
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.run import Part

__all__ = ["OWN_FILES", "plan_bulk", "plan_run"]

T = TypeVar("T")


#: Why some arguments have no use beside `out_dir`.
OWN_FILES: Final = "a bulk run names its own files and has no axes"
#: What a hosted engine without a forecast leaves open, and a local one.
_UNSAID: Final = {
    True: "the engine {} does not say how many requests and bytes it sends: one for each image is counted here",
    False: "the engine {} does not say what it downloads and loads",
}


def plan_run(
    parts: Sequence[Part],
    *,
    drawn: bool,
    axes: Mapping[str, Sequence[Any]] | None = None,
    out_file: str | Path | None = None,
    save_into: str | Path | None = None,
    rest: Sequence[Part] | None = None,
    facts: Sequence[str] = (),
) -> Plan:
    """Return the plan of a run.

    Parameters
    ----------
    parts
        What the result would hold, checked.
    drawn
        The caller gave no seed, so that the one of the requests was drawn.
    axes
        The axes of a sweep, in normal form; None without one.
    out_file
        The path or pattern that the caller would save to, or None.
    save_into
        The folder that would get the pictures under default names, where there is no `out_file`; None for no files.
    rest
        The parts that an earlier run has not made; None for all.
    facts
        Lines that the caller adds to the notes.

    Raises
    ------
    ImageVariationError
        As the run does before it makes anything, such as for a file that can't be written.
    """
    rest = parts if rest is None else rest
    requests = [each.request for each in rest]
    _check_masks(requests)
    files, notes = _files(parts, out_file, save_into)
    asked = _by_model(rest)
    forecasts = [_forecast(engine, own) for engine, own in asked]
    disk = store()
    return Plan(
        parts=tuple(_part(*own, forecast) for own, forecast in zip(asked, forecasts, strict=True)),
        images=len({id(each.request.image) for each in parts}),
        sizes=_sizes([each.request for each in parts]),
        seeds=() if drawn else _seeds(requests),
        seed_source="none" if not _seeds(requests) else "drawn" if drawn else "given",
        files=tuple(files),
        store=None if disk is None else disk.root,
        reads=_hosts(requests),
        loads=_all(each.loads for each in forecasts),
        downloads=_all(each.downloads for each in forecasts),
        axes={name: tuple(values) for name, values in (axes or {}).items()},
        notes=_all([_fetches(requests), *(each.notes for each in forecasts), _retries(asked), facts, notes]),
    )


def plan_bulk(
    engine: Engine,
    request: VariationRequest,
    images: Any,
    out_dir: str | Path,
    *,
    max_workers: int | None = None,
    resume: bool = True,
    batch: bool = False,
) -> Plan:
    """Return the plan of a bulk run; it decodes no image, so it has no note on one and no number of bytes.

    Parameters
    ----------
    engine, request
        The engine, and the checked request that all images share.
    images, out_dir, max_workers, resume, batch
        See `Client.map`.

    Raises
    ------
    ImageVariationError
        As the run does before it makes anything.
    """
    # Here, since the magic loads this module, and the workers load Pillow.
    from ipy_imgvar.bulk.comparison import settings_of
    from ipy_imgvar.bulk.counts import count_images
    from ipy_imgvar.bulk.workers import count_workers

    folder = open_folder(out_dir)  # `count_images` checks it.
    _check_masks([request])
    capabilities = engine.capabilities(request.model)
    workers = count_workers(capabilities, None, max_workers)
    settings = None if _has_far_mask(request) else settings_of(engine, request)
    counts = count_images(images, out_dir, settings=settings, resume=resume)
    forecast = _forecast(engine, [request])
    part = replace(_part(engine, [request], forecast), pictures=counts.to_do * request.n)
    facts: list[str] = []
    if batch:
        part, facts = in_batches(engine, request, folder, counts, part)
    elif capabilities.hosted:
        part, facts = _one_by_one(part, counts)
    return Plan(
        parts=(part,),
        images=counts.found,
        sizes=_sizes([request]),
        seeds=() if request.seed is None else (request.seed,),
        seed_source="content" if "seed" in capabilities.features else "none",
        out_dir=PlannedFolder(folder.where(""), counts, 0 if batch else max(1, min(workers, counts.to_do))),
        reads=_once([*counts.hosts, *_hosts([request])]),
        loads=forecast.loads,
        downloads=forecast.downloads,
        notes=_once([*_fetches([request]), *forecast.notes, *_retries([(engine, [request])]), *facts]),
    )


def _has_far_mask(request: VariationRequest) -> bool:
    """Return whether the mask, whose digest is one of the settings, would have to be fetched first."""
    return request.mask is not None and request.mask.host is not None


def _one_by_one(part: PlannedPart, counts: Counts) -> tuple[PlannedPart, list[str]]:
    """Return the part of a bulk run that asks a server for each image, and notes on it."""
    size = "" if counts.bytes_to_do is None else f"; the files to do have {size_text(counts.bytes_to_do)}"
    return replace(part, requests=counts.to_do, bytes_to_send=None if counts.to_do else 0), [
        f"the bytes to send are not counted, since each image would be decoded for it{size}"
    ]


def _by_model(parts: Sequence[Part]) -> list[tuple[Engine, list[VariationRequest]]]:
    """Return the requests of each engine and model together, in the order in which these come first."""
    groups: dict[tuple[int, str | None], tuple[Engine, list[VariationRequest]]] = {}
    for part in parts:
        # By identity, since an engine may have no hash.
        groups.setdefault((id(part.engine), part.request.model), (part.engine, []))[1].append(part.request)
    return list(groups.values())


def _forecast(engine: Engine, requests: Sequence[VariationRequest]) -> Forecast:
    """Return what the engine says of requests with one model, or what its description says in its place."""
    if isinstance(engine, Forecasts):
        return engine.forecast(requests)
    hosted = engine.capabilities(requests[0].model).hosted
    notes = (_UNSAID[hosted].format(engine.name),)
    return (
        Forecast(requests=len(requests), bytes_to_send=None, notes=notes) if hosted else Forecast(notes=notes)
    )


def _part(engine: Engine, requests: Sequence[VariationRequest], forecast: Forecast) -> PlannedPart:
    capabilities = engine.capabilities(requests[0].model)
    return PlannedPart(
        engine=engine.name,
        model=forecast.model or engine.model(requests[0]),
        destination=(capabilities.destination or "a server") if capabilities.hosted else None,
        route=forecast.route,
        pictures=sum(each.n for each in requests),
        requests=forecast.requests,
        bytes_to_send=forecast.bytes_to_send,
    )


def _files(
    parts: Sequence[Part], out_file: str | Path | None, save_into: str | Path | None
) -> tuple[list[PlannedFile], list[str]]:
    """Return the files that would be written, source by source as the results are, and notes on them."""
    sources: dict[int, list[Part]] = {}
    for part in parts:
        sources.setdefault(id(part.request.image), []).append(part)
    pictures = [
        (part.request.image.stem, index, part.combination)
        for own in sources.values()
        for part in own
        if part.request.image is not None
        for index in (
            [part.request.index] if part.request.index is not None else range(1, part.request.n + 1)
        )
    ]
    if out_file is not None:
        stems, _, combinations = zip(*pictures, strict=True)
        paths = checked_files(out_file, stems, combinations)
        return [PlannedFile(path, os.path.lexists(path)) for path in paths], []
    if save_into is None:
        return [], []
    checked_folder(save_into, field="out_file")
    taken: dict[Path, None] = {}
    for stem, index, _ in pictures:
        names = (Path(save_into) / f"{stem}-{number}.png" for number in itertools.count(index))
        taken[next(each for each in names if each not in taken and not os.path.lexists(each))] = None
    hosted = any(each.engine.capabilities(each.request.model).hosted for each in parts)
    notes = ["the files' extension follows the format that the server sends"] if hosted else []
    return [PlannedFile(path, replaces=False) for path in taken], notes


def _check_masks(requests: Sequence[VariationRequest]) -> None:
    """Decode each mask on this machine, once, as a run does first; an error of one names the argument."""
    masks = {
        id(each.mask): each.mask for each in requests if each.mask is not None and each.mask.host is None
    }
    try:
        for mask in masks.values():
            mask.open()
    except InvalidImageError as exc:
        exc.field = "mask"
        raise


def _fetches(requests: Sequence[VariationRequest]) -> list[str]:
    """Return a line for each image or mask that a run would fetch from its address first."""
    sources = [each for request in requests for each in (request.image, request.mask) if each is not None]
    return [f"{each.name} is fetched from {each.host} first" for each in sources if each.host is not None]


def _hosts(requests: Sequence[VariationRequest]) -> tuple[str, ...]:
    """Return the buckets and servers of the images and masks that `_fetches` names."""
    sources = [each for request in requests for each in (request.image, request.mask) if each is not None]
    return _once(each.host for each in sources if each.host is not None)


def _retries(asked: Sequence[tuple[Engine, Sequence[VariationRequest]]]) -> list[str]:
    """Return a line where requests to a server may be sent again."""
    tries = max(
        (
            request.max_retry_count
            for engine, requests in asked
            for request in requests
            if engine.capabilities(request.model).hosted
        ),
        default=0,
    )
    times = "once more" if tries == 1 else f"up to {tries} more times"
    return [f"each request is sent {times} after a 429 or 5xx"] if tries else []


def _sizes(requests: Sequence[VariationRequest]) -> tuple[str, ...]:
    return _once(f"{each.size[0]}x{each.size[1]}" for each in requests)


def _seeds(requests: Sequence[VariationRequest]) -> tuple[int, ...]:
    return _once(each.seed for each in requests if each.seed is not None)


def _all(groups: Iterable[Iterable[T]]) -> tuple[T, ...]:
    return _once(itertools.chain.from_iterable(groups))


def _once(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
