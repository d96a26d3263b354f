"""Standard input, output and error of a command, without failures of writing that would end the command.

A character that the output can't encode is escaped. If the reader is gone, or a stream is closed, the output ends and
the command goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from ipy_imgvar.errors import ImageVariationError, InvalidImageError
from ipy_imgvar.plain import plain
from ipy_imgvar.systems import on_windows

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

#: Goes to the start of a terminal's line and clears it (ECMA-48: CR, EL).
_CLEAR: Final = "\r\x1b[K"
#: Characters of a line of a terminal that does not say how wide it is, without the last: most have 80.
_USUAL_COLUMNS: Final = 79


def open_closed() -> None:
    """Replace a stream that the shell has closed (`>&-`), for which Python has None, by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end


def write(text: str) -> None:
    """Write lines to standard output.

    Raises
    ------
    ImageVariationError
        If standard output can't be written, as on a full disk.
    """
    _write(sys.stdout, text + "\n")


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output; see `write`."""
    with _guarded(sys.stdout):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def say(text: str, program: str = "imgvar") -> None:
    """Write one line for a person to standard error, after the program's name."""
    announce(f"{program}: {text}")


def announce(text: str) -> None:
    """Write one line to standard error without the program's name, for a program that waits for it.

    On a terminal it takes the place of a progress that stands there.
    """
    _write(sys.stderr, f"{_clear() if sys.stderr.isatty() else ''}{plain(text)}\n")


def encodable(text: str, stream: TextIO | None = None) -> str:
    """Return a text with escapes for the characters that a stream, by default standard output, can't encode."""
    encoding = _encoding(stream or sys.stdout)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def takes(text: str) -> bool:
    """Return whether standard output can encode a text, and a terminal obeys no character of it."""
    try:
        text.encode(_encoding(sys.stdout))
    except UnicodeEncodeError:
        return False
    return all(plain(line) == line for line in text.split("\n"))


def progress(*, quiet: bool) -> Callable[[float, str], None] | None:
    """Return a function that shows the progress of a run; None if quiet, or if standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        return None
    return lambda fraction, text: _write(
        sys.stderr, _clear() + f"{fraction:4.0%} {plain(text)}"[: _columns()]
    )


def _clear() -> str:
    """Return what goes to the start of a terminal's line and clears it; a console of Windows may obey no escapes."""
    return f"\r{' ' * _columns()}\r" if on_windows() else _CLEAR


def _columns() -> int:
    """Return how many characters of a line the terminal shows: a longer one would wrap, and could not be cleared."""
    with contextlib.suppress(OSError, ValueError):
        return max(1, os.get_terminal_size(sys.stderr.fileno()).columns - 1)
    return _USUAL_COLUMNS


def wipe(*, quiet: bool) -> None:
    """Remove the progress."""
    if not quiet and sys.stderr.isatty():
        _write(sys.stderr, _clear())


def flush() -> None:
    """Write out the streams' buffers now, since Python can't handle an error at the end of the process."""
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
    """Silence a stream that can't be written; an error of standard output becomes an `ImageVariationError`."""
    try:
        yield
    except BrokenPipeError:  # The reader has closed the pipe, as `head -1` does.
        _silence(stream)
    except OSError as exc:
        _silence(stream)
        if stream is sys.stdout:
            raise ImageVariationError(
                f"standard output can't be written ({exc.strerror or exc}); send it to another place"
            ) from exc


def _silence(stream: TextIO) -> None:
    """Send the rest of a stream to the null device, since its buffer would fail again at the end of the process."""
    # A stream without a descriptor, as in a notebook, raises here and needs no silencing.
    with contextlib.suppress(OSError, ValueError):
        null_device = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null_device, stream.fileno())
        finally:
            os.close(null_device)
