"""What a run in batches would send, from the sizes of the files alone: no image is decoded and nothing is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipy_imgvar.plain import size_text
from ipy_imgvar.planning.plan import counted

if TYPE_CHECKING:
    from ipy_imgvar.batches import BatchService
    from ipy_imgvar.bulk.counts import Counts
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.planning.plan import PlannedPart
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.storage.folder import Folder

__all__ = ["in_batches"]

#: Bytes of a line beside its image: the prompt and the settings, which have about 500.
_LINE_BYTES: Final = 600


def in_batches(
    engine: Engine, request: VariationRequest, folder: Folder, counts: Counts, part: PlannedPart
) -> tuple[PlannedPart, list[str]]:
    """Return a bulk run's part as a run in batches would do it, and notes on its files.

    Parameters
    ----------
    engine, request
        The engine, and the request that all images share.
    folder
        The output folder: what is under way from an earlier run is not asked for again.
    counts
        The images.
    part
        What the engine would do without batches.

    Raises
    ------
    InvalidRequestError
        As the run does before it sends anything.
    """
    from ipy_imgvar.bulk.batches.run import service_of
    from ipy_imgvar.bulk.batches.state import State
    from ipy_imgvar.bulk.batches.uploads import Pace
    from ipy_imgvar.bulk.counts import other_text
    from ipy_imgvar.engine import Job

    service = service_of(engine, request, Job(), Pace())
    service.check()
    limits = service.limits
    under_way = min(len(State(folder).under_way), counts.to_do)
    lines = counts.to_do - under_way
    notes = (
        [f"in batches under way, and not asked for again: {counted(under_way, 'image')}"] if under_way else []
    )
    if counts.other and not under_way:
        notes.append(other_text(counts.other))
    files, length = -(-lines // limits.lines), None if lines else 0
    if counts.bytes_to_do is not None and lines:
        # A line has its image as base64, four letters for three bytes.
        length = (counts.bytes_to_do * 4 // 3 + counts.to_do * _LINE_BYTES) * lines // counts.to_do
        files = max(files, -(-length // limits.bytes))
    notes.append(_sizes(service, lines, files, length))
    return replace(part, route=f"batches of {part.route}", requests=lines, bytes_to_send=length), notes


def _sizes(service: BatchService, lines: int, files: int, length: int | None) -> str:
    """Return the note on the files; `length` is that of all in bytes, None where it is not known."""
    limits = service.limits
    least = "" if length is not None else "at least "
    batches = f"{least}{files:,} batch{'' if files == 1 else 'es'}"
    parts = [
        f"{counted(lines, 'line')} in {batches}, of up to {limits.lines:,} lines and {size_text(limits.bytes)}",
        "the bytes to send are about right, by the sizes of the files" * bool(length),
        service.price,
        "answered within 24 hours",
    ]
    return "; ".join(filter(None, parts))
