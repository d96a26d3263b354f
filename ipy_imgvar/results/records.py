"""Records from disk, read field by field with a check of each type: another version, or a user, may have written them.

A value of another type reads as absent. Its name is remembered, so that a caller can say which parts are missing.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from ipy_imgvar.results.usage import json_safe

__all__ = ["Fields", "is_file_name"]

#: Longest side of a picture that a record may name, in pixels; a longer one reads as absent. Chosen far above the
#: largest that an engine makes.
_MOST_SIDE_PX: Final = 1 << 20
_T = TypeVar("_T")


def is_file_name(value: object) -> bool:
    """Return whether a value is the name of a file directly in a folder: a text without separators, not "." or ".."."""
    if not isinstance(value, str) or value in ("", ".", "..") or re.search(r"[/\\\0]", value):
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # JSON can hold half a character, which no file system takes.
        return False
    return True


class Fields:
    """The fields of one record.

    Parameters
    ----------
    record
        The parsed JSON; anything but an object has no fields.
    """

    def __init__(self, record: object) -> None:
        #: The names of the fields whose values have another type.
        self.misfits: list[str] = []
        self._record: Mapping[str, Any] = {}
        if isinstance(record, Mapping):
            self._record = record
        else:
            self.misfits.append("record")

    def _read(self, name: str, value: _T | None) -> _T | None:
        if value is None and self._record.get(name) is not None:
            self.misfits.append(name)
        return value

    def text(self, name: str) -> str | None:
        """Return a text without a null character, or None."""
        value = self._record.get(name)
        return self._read(name, value if isinstance(value, str) and "\0" not in value else None)

    def file_name(self, name: str) -> str | None:
        """Return the name of a file in the record's own folder, or None."""
        value = self._record.get(name)
        return self._read(name, value if is_file_name(value) else None)

    def whole(self, name: str, low: int = 0, high: int = 2**63 - 1) -> int | None:
        """Return a whole number in a range, or None."""
        value = self._record.get(name)
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return self._read(name, value if fits else None)

    def number(self, name: str) -> float | None:
        """Return a finite number of at least 0, or None."""
        value, fits = self._record.get(name), False
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # No float is as large as some whole numbers.
                fits = math.isfinite(value) and value >= 0
        return self._read(name, float(value) if fits and value is not None else None)

    def size(self, name: str) -> tuple[int, int] | None:
        """Return a width and a height in pixels, or None."""
        value, size = self._record.get(name), None
        if isinstance(value, (list, tuple)) and len(value) == 2:  # noqa: PLR2004
            sides = Fields({"0": value[0], "1": value[1]})
            width, height = sides.whole("0", 1, _MOST_SIDE_PX), sides.whole("1", 1, _MOST_SIDE_PX)
            size = (width, height) if width is not None and height is not None else None
        return self._read(name, size)

    def texts(self, name: str) -> list[str]:
        """Return the texts of a list."""
        value = self._record.get(name)
        entries: list[Any] = self._read(name, value if isinstance(value, list) else None) or []
        texts = [each for each in entries if isinstance(each, str)]
        if len(texts) < len(entries):
            self.misfits.append(name)
        return texts

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return an object as `usage.json_safe` returns it, or None."""
        value = self._record.get(name)
        if value is None:
            return None
        fields: dict[str, Any] | None = json_safe(value) if isinstance(value, Mapping) else None
        return self._read(name, fields)

    def records(self, name: str) -> list[Fields]:
        """Return the objects of a list."""
        value = self._record.get(name)
        entries: list[Any] = self._read(name, value if isinstance(value, list) else None) or []
        return [Fields(each) for each in entries]

    def moment(self, name: str) -> datetime | None:
        """Return a date and time in UTC, or None for one without a zone or outside of what UTC can tell."""
        text, moment = self.text(name), None
        with contextlib.suppress(ValueError, OverflowError):
            given = None if text is None else datetime.fromisoformat(text)
            moment = given if given is None or given.tzinfo is None else given.astimezone(UTC)
        return self._read(name, None if moment is None or moment.tzinfo is None else moment)
