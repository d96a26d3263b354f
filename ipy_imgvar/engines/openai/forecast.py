"""What requests would send to a server, for a plan: the messages are made and measured, and not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipy_imgvar.engine import Forecast
from ipy_imgvar.engines.openai.message import choose_route, encoded, make_message, unused_fields
from ipy_imgvar.engines.openai.models import farewell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["forecast"]


def forecast(requests: Sequence[VariationRequest], connection: Connection) -> Forecast:
    """Say what requests would send; see `engine.Forecasts`."""
    length: int | None = 0
    routes: list[str] = []
    notes: list[str] = []
    for request in requests:
        routes.append(f"images/{choose_route(request, is_openai=connection.is_openai)}")
        if not request.is_at_hand:
            length = None
            continue
        message = make_message(request, is_openai=connection.is_openai)
        notes += message.notes
        model = message.body.get("model")
        if line := farewell(model if isinstance(model, str) else None):
            notes.append(line)
        size = len(encoded(message).data)
        length = None if length is None else length + size
    return Forecast(
        requests=len(requests),
        bytes_to_send=length,
        route=", ".join(dict.fromkeys(routes)),
        unused=unused_fields(requests[0], is_openai=connection.is_openai),
        notes=tuple(dict.fromkeys(notes)),
    )
