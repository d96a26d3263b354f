"""What httpx and httpcore log of our requests: no header of an answer and no address, since a server may repeat a key.

Other users of these libraries in the same process are not touched.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hide"]

#: httpcore logs with these, at DEBUG; its records end with where it connects to, what came back or went wrong.
_TRACES: Final = tuple(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks"))
_ENDINGS: Final = (" return_value=", " exception=", " host=", " server_hostname=")


def hide(is_ours: Callable[[], bool]) -> None:
    """Cut what may be private from the records of these libraries while `is_ours` says that a request is our own."""

    def cut(record: logging.LogRecord) -> bool:
        if is_ours():
            for ending in _ENDINGS:
                message, found, _ = record.getMessage().partition(ending)
                if found:
                    record.msg, record.args = f"{message}{ending}(not shown)", ()
        return True

    for name in _TRACES:
        logging.getLogger(name).addFilter(cut)
    # It logs one line for each request, with the address.
    logging.getLogger("httpx").addFilter(lambda _: not is_ours())
