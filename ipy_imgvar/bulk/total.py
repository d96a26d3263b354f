"""How many images a run has: counted beside the run, since a large bucket or disk is not listed in a moment."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from ipy_imgvar.bulk.items import Items

__all__ = ["Total"]

_log = logging.getLogger("ipy_imgvar")
#: Seconds that the first picture waits for the number: a local folder of some ten thousand images is counted in it.
_WAIT_S: Final = 0.2


class Total:
    """The number of a run's images, as soon as it is known.

    Parameters
    ----------
    items
        The images; those that another thread may not touch are counted at once.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._stop = threading.Event()
        #: The number, or None as long as it is not known.
        self.value: int | None = None
        if items.is_once:
            return
        if in_browser() or not items.is_plain:
            self.value = items.count()
            return
        thread = threading.Thread(target=self._count, name="imgvar-count", daemon=True)
        thread.start()
        thread.join(_WAIT_S)

    def _count(self) -> None:
        try:
            self.value = self._items.count(self._stop)
        except Exception as exc:  # noqa: BLE001 - the run lists the same and says what is wrong
            _log.debug("the images can't be counted (%s)", type(exc).__name__)

    def close(self) -> None:
        """Give the count up."""
        self._stop.set()
