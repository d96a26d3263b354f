"""The headers of a request to the server: ours, the account's and the caller's own; no traceback shows them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ConfigurationError
from ipy_imgvar.network import payload
from ipy_imgvar.network.client import AGENT

if TYPE_CHECKING:
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["headers_of"]

#: A header's name: a token (RFC 9110, section 5.6.2).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class _Sealed(dict[str, Any]):
    """Headers whose repr shows the names only, so that no traceback with variables shows the key."""

    def __repr__(self) -> str:
        return f"<headers: {', '.join(self)}>"


def headers_of(connection: Connection, request: VariationRequest, content_type: str) -> dict[str, str]:
    """Return the headers; the caller's own replace ours, whether their names are upper or lower case.

    Parameters
    ----------
    connection, request
        The account, and the caller's `extra_headers`.
    content_type
        The type of the body; "" for a request without one.

    Raises
    ------
    ConfigurationError
        If a header can't be sent.
    """
    ours = _Sealed(
        {
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": payload.ACCEPTED,
            "User-Agent": AGENT,
            "Content-Type": content_type,
            "Authorization": connection.authorization,
            "OpenAI-Organization": connection.organization,
            "OpenAI-Project": connection.project,
        }
    )
    added = {name.lower() for name in request.extra_headers}
    sent = _Sealed((name, value) for name, value in ours.items() if value and name.lower() not in added)
    sent.update(request.extra_headers)
    if bad := [name for name in sent if not _HEADER_NAME.fullmatch(name)]:
        raise ConfigurationError(
            f"{len(bad)} header has a name that can't be sent; allowed: letters, digits and hyphens"
        )
    if bad := [name for name in sent if not _can_be_sent(sent[name])]:
        raise ConfigurationError(
            f"the header {bad[0]} holds what a header can't carry; allowed: plain text of ASCII characters"
        )
    return _Sealed((name, value.strip()) for name, value in sent.items())


def _can_be_sent(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()
