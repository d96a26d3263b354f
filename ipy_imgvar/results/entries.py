"""A run as its record in the store says it, in both directions; a record of another version is read in part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.entry import picture_of
from ipy_imgvar.results.records import Fields
from ipy_imgvar.results.sweep import Sweep, SweepRecord
from ipy_imgvar.results.variations import Variations

if TYPE_CHECKING:
    from ipy_imgvar.results.variation import Variation

__all__ = ["restore", "result_of"]


def result_of(pictures: list[Variation], sweep: SweepRecord | None, **run: Any) -> Variations:
    """Return a run's pictures as the `Variations` or the `Sweep` that they are."""
    if sweep is None:
        return Variations(pictures, **run)
    return Sweep.in_order(pictures, sweep, **run)


def restore(folder: Path, record: dict[str, Any], *, is_living: bool) -> Variations:
    """Return a run from its record; parts in another version's form are left out, and a warning names them."""
    fields = Fields(record)
    try:
        request = VariationRequest.from_arguments(**(fields.mapping("request") or {}))
    except (InvalidRequestError, TypeError):
        request = None
        fields.misfits.append("request")
    mask_path = fields.text("mask_path")
    if request is not None and mask_path is not None:
        request = replace(request, mask=Source(Path(mask_path).name, path=Path(mask_path)))
    pictures = [picture_of(folder, entry) for entry in fields.records("pictures")]
    if None in pictures:
        fields.misfits.append("pictures")
    status = fields.text("status") or "done"
    if status == "running" and not is_living:
        status = "interrupted"  # Its process was killed.
    restored = result_of(
        [picture for picture in pictures if picture is not None],
        _sweep(fields),
        engine=fields.text("engine"),
        model=fields.text("model"),
        request=request,
        elapsed=fields.number("elapsed") or 0.0,
        usage=fields.mapping("usage"),
        warnings=fields.texts("warnings"),
        status=status,
        started=fields.moment("started"),
    )
    if fields.misfits:
        names = ", ".join(sorted(set(fields.misfits)))
        restored.warnings.append(f"parts of its record can't be read and are left out: {names}")
    return restored


def _sweep(fields: Fields) -> SweepRecord | None:
    """Return what a sweep's record says of it; None for a run that is none, or of whose axes none can be read."""
    sweep = fields.mapping("sweep")
    if sweep is None:
        return None
    part = Fields(sweep)
    given = part.mapping("axes") or {}
    axes = {name: values for name, values in given.items() if isinstance(values, list) and values}
    record = SweepRecord(axes, part.text("key") or "")
    if part.misfits or not axes or len(axes) < len(given):
        fields.misfits.append("sweep")
    return record if axes else None
