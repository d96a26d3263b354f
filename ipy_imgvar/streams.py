"""Standard output and standard error of a command: writing to them can't break it.

Characters that the output can't encode are escaped. A reader that is gone, or a stream that was closed, ends the
output and not the command.
"""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ipy_imgvar.errors import ImageVariationError, InvalidImageError
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "announce",
    "encodable",
    "flush",
    "open_closed",
    "progress",
    "read_input",
    "say",
    "takes",
    "wipe",
    "write",
    "write_bytes",
]


def open_closed() -> None:
    """Put the null device where a shell has closed a stream (`>&-`), which Python has as None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end


def write(text: str) -> None:
    """Write lines to standard output.

    Raises
    ------
    ImageVariationError
        If the disk that the output goes to is full.
    """
    _write(sys.stdout, text + "\n")


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output; see `write`."""
    with _guarded(sys.stdout):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def say(text: str, program: str = "imgvar") -> None:
    """Write one line to standard error, where a person reads it."""
    announce(f"{program}: {text}")


def announce(text: str) -> None:
    """Write one line to standard error as it is, for a program that waits for it."""
    _write(sys.stderr, f"{plain(text)}\n")


def encodable(text: str, stream: TextIO | None = None) -> str:
    """Return a text with escapes for the characters that a stream, by default standard output, can't encode."""
    encoding = _encoding(stream or sys.stdout)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def takes(text: str) -> bool:
    """Return whether standard output shows a text as it is: it can encode it, and a terminal obeys nothing in it."""
    try:
        text.encode(_encoding(sys.stdout))
    except UnicodeEncodeError:
        return False
    return all(plain(line) == line for line in text.split("\n"))


def progress(*, quiet: bool) -> Callable[[float, str], None] | None:
    """Return a function that shows the progress of a run, or None where standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        return None
    return lambda fraction, text: _write(sys.stderr, f"\r\x1b[K{fraction:4.0%} {plain(text)}")


def wipe(*, quiet: bool) -> None:
    """Remove the progress."""
    if not quiet and sys.stderr.isatty():
        _write(sys.stderr, "\r\x1b[K")


def flush() -> None:
    """Write out the streams' buffers: an error at the end of the process could not be handled any more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ImageVariationError), _guarded(stream):
            stream.flush()


def read_input() -> bytes:
    """Return all of standard input.

    Raises
    ------
    InvalidImageError
        If it is closed or can't be read.
    """
    reason = "it is closed"
    if sys.stdin is not None:
        try:
            return sys.stdin.buffer.read()
        except OSError as exc:
            reason = exc.strerror or str(exc)
    raise InvalidImageError(f"standard input can't be read ({reason}); send the image there, or give a path")


def _write(stream: TextIO, text: str) -> None:
    with _guarded(stream):
        stream.write(encodable(text, stream))
        stream.flush()


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


@contextmanager
def _guarded(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # The reader wants no more, as `head -1` does.
        _silence(stream)
    except OSError as exc:
        _silence(stream)
        if stream is sys.stdout:
            raise ImageVariationError(
                f"standard output can't be written ({exc.strerror or exc}); send it to another place"
            ) from exc


def _silence(stream: TextIO) -> None:
    """Send the rest of a stream nowhere: writing its buffer would fail again at the end of the process."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
