"""Filters that cut headers of answers and addresses from what httpx and httpcore log of our requests.

A server may repeat a key in either. The log of other users of these libraries in the same process stays as it is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hide"]

#: httpcore's loggers, which write at DEBUG (its page "Logging").
_TRACES: Final = tuple(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks"))
#: Where the private part of such a record begins: the address connected to, the answer, the error.
_ENDINGS: Final = (" return_value=", " exception=", " host=", " server_hostname=")


def hide(is_ours: Callable[[], bool]) -> None:
    """Cut what may be private from the records of these libraries while `is_ours` returns True, so for our requests."""

    def cut(record: logging.LogRecord) -> bool:
        if is_ours():
            for ending in _ENDINGS:
                message, found, _ = record.getMessage().partition(ending)
                if found:
                    record.msg, record.args = f"{message}{ending}(not shown)", ()
        return True

    for name in _TRACES:
        logging.getLogger(name).addFilter(cut)
    # httpx logs one line for each request, with the address.
    logging.getLogger("httpx").addFilter(lambda _: not is_ours())
