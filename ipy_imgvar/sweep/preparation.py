"""The check of a sweep: every combination becomes requests of its engine, before anything is made."""

from __future__ import annotations

import itertools
import math
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.images.source import load_sources
from ipy_imgvar.results.sweep import SweepRecord
from ipy_imgvar.run import Part
from ipy_imgvar.sweep.axes import FIELDS, check_count, check_distinct, check_names, normal_option, read_axes
from ipy_imgvar.sweep.effects import check_effects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipy_imgvar.client import Client
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import VariationRequest

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sweep that is checked and not yet made; close it.

    Parameters
    ----------
    parts
        In the order of the result.
    record
        The axes; the digest is "" until `making` has read the sources.
    drawn
        Whether the seed of the requests was drawn, since the caller gave none.
    owned
        Closes the engines that were made for this sweep.
    """

    parts: list[Part]
    record: SweepRecord
    drawn: bool
    owned: ExitStack

    def close(self) -> None:
        """Close the engines that were made for this sweep."""
        self.owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def prepare(
    client: Client, image: Any, over: Mapping[str, Iterable[Any]], arguments: Mapping[str, Any]
) -> Prepared:
    """Check a sweep and return its parts; see `Client.sweep`."""
    axes = read_axes(over, arguments)
    check_count(math.prod(map(len, axes.values())))
    with ExitStack() as stack:
        clients = _clients(client, axes, stack)
        check_names(axes, _options(clients.values(), axes, arguments))
        sources = load_sources(image)
        shared = dict(arguments)
        if shared.get("mask") is not None:
            shared["mask"] = load_sources(shared["mask"], field="mask")
        seed = None
        if "seed" not in axes and shared.get("seed") is None:
            seed = secrets.randbelow(2**31)  # As many bits as `Client.request` draws.
        parts, normal = _parts(clients, sources, axes, shared, seed)
        check_effects(axes, parts)
        # Until here any error closes the engines; from here on the caller does.
        return Prepared(parts, SweepRecord(normal), seed is not None, stack.pop_all())


def _clients(client: Client, axes: Mapping[str, Sequence[Any]], stack: ExitStack) -> dict[str | None, Client]:
    """Return a client for each engine, by its name; None is the caller's own."""
    clients: dict[str | None, Client] = {None: client}
    for name in axes.get("engine", ()):
        if not isinstance(name, str):
            raise InvalidRequestError(
                f"engine is {shown(name)}; allowed: the names of engines, such as patch", field="engine"
            )
        if name == client.engine.name:
            clients[name] = client
        elif name not in clients:
            clients[name] = client.using(name)
            stack.callback(clients[name].close)
    return clients


def _options(
    clients: Iterable[Client], axes: Mapping[str, Sequence[Any]], arguments: Mapping[str, Any]
) -> list[str]:
    """Return the options that the engines of a sweep declare for its models."""
    models: list[str | None] = [
        each for each in axes.get("model", [arguments.get("model")]) if isinstance(each, str)
    ]
    return [
        option.name
        for each in clients
        for model in models or [None]
        for option in each.engine.capabilities(model).options
    ]


def _parts(
    clients: Mapping[str | None, Client],
    sources: list[Source],
    axes: Mapping[str, Sequence[Any]],
    shared: Mapping[str, Any],
    seed: int | None,
) -> tuple[list[Part], dict[str, list[Any]]]:
    """Return the parts, source by source, and the axes in normal form."""
    count = math.prod(map(len, axes.values())) * len(sources)
    normal: dict[str, list[Any]] = {name: [None] * len(values) for name, values in axes.items()}
    parts: list[Part] = []
    for places in itertools.product(*(range(len(values)) for values in axes.values())):
        varied = {name: axes[name][place] for name, place in zip(axes, places, strict=True)}
        chosen = clients[varied.get("engine")]
        requests = chosen.request(sources, **_arguments(shared, varied))
        if not parts:
            check_count(count * requests[0].n)
        if seed is not None:
            # All combinations share one seed; an engine that takes none has got none.
            requests = [each if each.seed is None else replace(each, seed=seed) for each in requests]
        combination = _combination(varied, requests[0])
        for name, place in zip(axes, places, strict=True):
            normal[name][place] = combination[name]
        parts += [Part(chosen.engine, each, combination, number) for number, each in enumerate(requests)]
    for name, values in axes.items():
        check_distinct(name, values, normal[name])
    return [part for first in range(len(sources)) for part in parts[first :: len(sources)]], normal


def _arguments(shared: Mapping[str, Any], varied: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of one combination's request."""
    fields = {name: value for name, value in varied.items() if name in FIELDS and name != "engine"}
    options = {name: value for name, value in varied.items() if name not in FIELDS}
    asked = {**shared, **fields}
    if options:
        asked["options"] = {**(shared.get("options") or {}), **options}
    return asked


def _combination(varied: Mapping[str, Any], request: VariationRequest) -> dict[str, Any]:
    """Return the values of a combination in normal form, as `Sweep.axes` has them."""
    settings = request.settings()
    return {
        name: value
        if name == "engine"
        else settings[name]
        if name in FIELDS
        else normal_option(request.options[name])
        for name, value in varied.items()
    }
