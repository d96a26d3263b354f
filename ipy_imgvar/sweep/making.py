"""A prepared sweep is planned, or confirmed, announced and made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from ipy_imgvar.engine import Job
from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.planning.planner import plan_run
from ipy_imgvar.results.axes import same
from ipy_imgvar.run import collect, fetch_images
from ipy_imgvar.sweep.earlier import digest, find_earlier, take_over
from ipy_imgvar.sweep.preparation import prepare

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from ipy_imgvar.client import Client
    from ipy_imgvar.engine import Listener
    from ipy_imgvar.planning.plan import Plan
    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.variation import Variation
    from ipy_imgvar.run import Part
    from ipy_imgvar.sweep.earlier import Taken
    from ipy_imgvar.sweep.preparation import Prepared

__all__ = ["make", "plan"]

#: Pictures that a sweep makes without being confirmed.
_UNASKED: Final = 64


def plan(
    client: Client,
    image: Any,
    over: Mapping[str, Iterable[Any]],
    arguments: Mapping[str, Any],
    *,
    out_file: str | Path | None = None,
    save_into: str | Path | None = None,
    resume: bool = True,
) -> Plan:
    """Check a sweep and return its plan; see `Client.plan`."""
    with prepare(client, image, over, arguments) as prepared:
        # The digest needs the bytes of every image and mask, which a plan does not fetch.
        at_hand = all(part.request.is_at_hand for part in prepared.parts)
        taken = _taken(prepared, _key(prepared)) if resume and at_hand else None
        parts = prepared.parts if taken is None else taken.parts
        rest = [part for at, part in enumerate(parts) if taken is None or at not in taken.pictures]
        facts = [] if taken is None else [taken.note]
        if resume and not at_hand:
            facts.append("an address is not fetched here, so it can't be compared with an interrupted run")
        if sum(part.request.n for part in rest) > _UNASKED:
            facts.append(f"above {_UNASKED} pictures a sweep needs confirm=True (--yes on a line)")
        return plan_run(
            parts,
            drawn=prepared.drawn and taken is None,
            axes=prepared.record.axes,
            out_file=out_file,
            save_into=save_into,
            rest=rest,
            facts=facts,
        )


def _key(prepared: Prepared) -> str:
    return digest(prepared.parts, prepared.record.axes, drawn=prepared.drawn)


def _taken(prepared: Prepared, key: str) -> Taken | None:
    """Return what the newest run of the same sweep has made, if it stopped before its end."""
    earlier = find_earlier(key)
    return None if earlier is None else take_over(earlier, prepared.parts, drawn=prepared.drawn)


@dataclass(frozen=True, slots=True)
class _Work:
    """The parts of a sweep in the order in which they run, and the pictures that an earlier run has made of them."""

    parts: list[Part]
    finished: dict[int, list[Variation]]

    @property
    def rest(self) -> list[Part]:
        """The parts that are still to be made."""
        return [part for number, part in enumerate(self.parts) if number not in self.finished]


def make(
    prepared: Prepared,
    listener: Listener,
    cancel: threading.Event | None,
    *,
    confirm: bool | Callable[[Plan], bool] | None,
    resume: bool,
) -> Sweep:
    """Run a prepared sweep, and close it; see `Client.sweep`."""
    with prepared:
        if not (confirm is None or isinstance(confirm, bool) or callable(confirm)):
            raise InvalidRequestError(
                f"confirm is {shown(confirm)}; allowed: True, or a function of the plan", field="confirm"
            )
        fetch_images([part.request for part in prepared.parts], Job(cancel=cancel))
        record = replace(prepared.record, key=_key(prepared))
        taken = _taken(prepared, record.key) if resume else None
        work = _in_order(prepared.parts, {}) if taken is None else _in_order(taken.parts, taken.pictures)
        job = Job(max(1, len(work.rest)), listener, cancel)
        if taken is not None:
            job.warn(taken.note)
        _ask(work.rest, replace(prepared, drawn=prepared.drawn and taken is None), job, confirm)
        return cast("Sweep", collect(work.parts, job, record, work.finished))


def _in_order(parts: Sequence[Part], made: Mapping[int, list[Variation]]) -> _Work:
    """Return the parts by engine, model, options, size and fit, so that each model is loaded once."""
    ranks: list[dict[Any, int]] = [{} for _ in range(5)]

    def order(number: int) -> list[int]:
        request = parts[number].request
        settings = (
            id(parts[number].engine),
            request.model,
            same(dict(request.options)),
            request.size,
            request.fit,
        )
        # A setting ranks by where it first comes up.
        return [ranks[at].setdefault(value, len(ranks[at])) for at, value in enumerate(settings)]

    numbers = sorted(range(len(parts)), key=order)
    return _Work(
        [parts[number] for number in numbers],
        {at: made[number] for at, number in enumerate(numbers) if number in made},
    )


def _ask(
    parts: Sequence[Part],
    prepared: Prepared,
    job: Job,
    confirm: bool | Callable[[Plan], bool] | None,  # noqa: FBT001 - as the caller gave it
) -> None:
    """Say what will be made if it is much or is sent away, and stop where it is much and not confirmed."""
    pictures = sum(part.request.n for part in parts)
    hosted = any(part.engine.capabilities(part.request.model).hosted for part in parts)
    if pictures <= _UNASKED and not hosted:
        return
    found = plan_run(parts, drawn=prepared.drawn, axes=prepared.record.axes)
    if pictures > _UNASKED and not (confirm(found) if callable(confirm) else confirm):
        raise InvalidRequestError(
            f"this sweep makes {pictures:,} pictures; above {_UNASKED} it needs confirm=True (--yes on a line); "
            "plan(...), or --dry-run, says all that it would do",
            field="confirm",
        )
    # The files that a caller saves to afterwards are not known here.
    for line in found.lines(files=False):
        job.announce(line)
