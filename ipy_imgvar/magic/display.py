"""The output of a run, in a notebook or a terminal: progress, pictures, result, history and log.

A front end that can update an output gets progress, then the finished pictures, then the gallery, all in one output;
a terminal gets a progress line, which is wiped, then a table.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict

from ipy_imgvar.plain import plain
from ipy_imgvar.results.markup import escaped
from ipy_imgvar.results.representations import look_of
from ipy_imgvar.results.sweep import Sweep, SweepRecord
from ipy_imgvar.results.variations import Variation, Variations
from ipy_imgvar.streams import encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from IPython.core.display_functions import DisplayHandle
    from IPython.core.interactiveshell import InteractiveShell

    from ipy_imgvar.bulk import BulkResult
    from ipy_imgvar.magic.call import Display

__all__ = ["Echo", "RunDisplay", "show_history", "spoken_log"]

#: Seconds before the first progress: in a shorter run it would only flicker. A person's train of thought stays unbroken
#: for about a second (Nielsen, Usability Engineering, 1993, chapter 5).
_PATIENCE_S: Final = 1.0
#: Seconds between two updates of the progress: each is a message to the browser, which a kernel should not flood.
_REFRESH_S: Final = 0.2
#: Finished pictures beside the progress at most, since each update sends them all again.
_SO_FAR: Final = 24
#: Characters of the bar in a terminal.
_BAR_WIDTH: Final = 24


def is_rich(shell: InteractiveShell) -> bool:
    """Return whether the front end shows HTML and updates outputs, as the front ends of kernels do."""
    return getattr(shell, "kernel", None) is not None


class Listeners(TypedDict):
    """The arguments of `Client.run` that show a run as it goes on."""

    on_progress: Callable[[float, str], None]
    on_picture: Callable[[Variation], None]
    on_preview: Callable[[bytes], None]
    on_notice: Callable[[str], None]


class RunDisplay:
    """The output of one run; use it as a context manager, so that no progress line stays behind.

    Parameters
    ----------
    shell
        The shell whose front end shows it.
    wanted
        The line's options for the output.
    expected
        The number of pictures that the run should make, so that the first ones get their final width at once.
    """

    def __init__(self, shell: InteractiveShell, wanted: Display, expected: int) -> None:
        self._expected = expected
        self._shell = shell
        self._quiet = wanted.quiet
        self._columns = wanted.columns
        self._handle: DisplayHandle | None = None
        self._started = time.monotonic()
        self._refreshed = 0.0
        self._fraction = 0.0
        self._pictures: list[Variation] = []
        #: HTML of the newest unfinished picture, "" once it is finished; and HTML of the progress.
        self._look = self._bar = ""
        self._line = ""
        #: Lines that the run said before its first picture: where that goes, and what a large sweep will make.
        self._notices: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._wipe()

    def listeners(self) -> Listeners:
        """Return the functions that show a run as it goes on, as the client takes them."""
        return {
            "on_progress": self.progress,
            "on_picture": self.picture,
            "on_preview": self.preview,
            "on_notice": self.notice,
        }

    def progress(self, fraction: float, text: str) -> None:
        """Show the progress of a run that takes longer than about a second."""
        now = time.monotonic()
        fraction = self._fraction = max(self._fraction, fraction)
        if self._quiet or now - self._started < _PATIENCE_S or now - self._refreshed < _REFRESH_S:
            return
        self._refreshed, text = now, plain(text)
        filled = round(fraction * _BAR_WIDTH)
        line = f"{'█' * filled}{'░' * (_BAR_WIDTH - filled)} {fraction:4.0%} {text}"
        if is_rich(self._shell):
            self._publish(self._progress_bundle(line, fraction, text))
        elif sys.stderr.isatty():
            self._wipe()
            self._line = line
            sys.stderr.write(f"\r{line}")
            sys.stderr.flush()

    def notice(self, text: str) -> None:
        """Show the destination of a picture, or a line of a sweep's plan, at once, before anything is sent."""
        if self._quiet:
            return
        text = plain(text)
        self._notices = [text] if self._pictures else [*self._notices, text]
        if is_rich(self._shell):
            self._bar = _lines_html(self._notices)
            self._publish({"text/plain": "\n".join(self._notices), "text/html": self._so_far()})
        else:
            self._shell_line(text)

    def preview(self, data: bytes) -> None:
        """Show an unfinished picture, if the front end shows pictures, until the next state of it comes."""
        if self._quiet or not is_rich(self._shell):
            return
        from ipy_imgvar.results import gallery

        if look := gallery.preview_html(data):
            self._look = look
            self._publish({"text/plain": "a first look", "text/html": self._so_far()})

    def picture(self, picture: Variation) -> None:
        """Add a finished picture, which the output shows with the progress, or after an interrupt."""
        self._pictures.append(picture)
        self._look = ""
        if not self._quiet and is_rich(self._shell):
            from ipy_imgvar.results import gallery

            # Thumbnails are made now, so that after an interrupt the prompt comes back at once.
            gallery.prepare(picture, self._expected)
        self._refreshed = 0.0

    def result(self, pictures: Variations, notes: Sequence[str] = ()) -> None:
        """Show the result in place of the progress, with each note in a line of its own."""
        self._show(pictures, notes, with_sheet=True)

    def bulk(self, result: BulkResult) -> None:
        """Show the counts of a bulk run and a few of its pictures, in place of the progress."""
        self._wipe()
        if not self._quiet:
            bundle = {"text/plain": f"{result.summary()}; {plain(str(result.page))} shows all"}
            self._publish(bundle | ({"text/html": result._repr_html_()} if is_rich(self._shell) else {}))

    def stopped(self) -> int:
        """Show the pictures that were finished before an error or an interrupt, and return their number."""
        count = len(self._pictures)
        if count:
            note = f"{count} picture{' was' if count == 1 else 's were'} finished"
            if self._pictures[0].combination and self._pictures[0].path is not None:
                note = f"{count} of {self._expected} pictures were finished; the same line goes on with the others"
            # Without the contact sheet, which takes longer than all else: the prompt should come back at once.
            self._show(_as_result(self._pictures), [note], with_sheet=False)
        elif self._handle is not None:
            # A bar that stays in the output would look like a run that goes on.
            self._publish({"text/plain": "\n".join(self._notices), "text/html": _lines_html(self._notices)})
        return count

    def _show(self, pictures: Variations, notes: Sequence[str], *, with_sheet: bool) -> None:
        self._wipe()
        if self._quiet:
            return
        look = look_of(pictures)
        bundle: dict[str, Any] = {"text/plain": look.text(pictures, notes=notes)}
        if is_rich(self._shell) and pictures:
            bundle["text/html"] = self._gallery(pictures, notes)
            if with_sheet:
                bundle |= look.contact_sheet(pictures)
        self._publish(bundle)

    def _gallery(self, pictures: Sequence[Variation], notes: Sequence[str] = ()) -> str:
        page: str = look_of(pictures).html(
            pictures, columns=self._columns, notes=notes, expected=self._expected
        )
        return page

    def _progress_bundle(self, line: str, fraction: float, text: str) -> dict[str, Any]:
        bar = (
            f'<progress value="{fraction:.3f}" max="1" aria-label="progress" style="width:16em"></progress> '
            f"{fraction:.0%} {escaped(text)}"
        )
        # A plan stays until the run ends, so that there is time to read it and to stop.
        said = _lines_html(self._notices) if len(self._notices) > 1 else ""
        self._bar = f"{said}<div>{bar}</div>"
        return {"text/plain": line, "text/html": self._so_far()}

    def _so_far(self) -> str:
        hidden = len(self._pictures) - _SO_FAR
        notes = [f"{hidden} earlier pictures will be shown at the end"] if hidden > 0 else []
        finished = self._gallery(self._pictures[-_SO_FAR:], notes) if self._pictures else ""
        return finished + self._look + self._bar

    def _shell_line(self, text: str) -> None:
        self._wipe()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def _publish(self, bundle: dict[str, Any]) -> None:
        from IPython.display import display

        # Escaped, since a terminal that is not UTF-8 would raise here and lose the finished pictures.
        bundle = {**bundle, "text/plain": encodable(bundle["text/plain"])}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _wipe(self) -> None:
        if self._line:
            sys.stderr.write(f"\r{' ' * len(self._line)}\r")
            sys.stderr.flush()
            self._line = ""


def _as_result(pictures: Sequence[Variation]) -> Variations:
    """Return the finished pictures of a run that stopped; those of a sweep with the values that it reached."""
    if not all(each.combination for each in pictures):
        return Variations(pictures)
    axes = {
        name: list(dict.fromkeys(each.combination[name] for each in pictures))
        for name in pictures[0].combination
    }
    return Sweep.in_order(pictures, SweepRecord(axes))


def _lines_html(texts: Sequence[str]) -> str:
    return "".join(f"<div>{escaped(text)}</div>" for text in texts)


def show_history(shell: InteractiveShell, runs: Sequence[Variations], *, quiet: bool) -> None:
    """Show a table of runs, the newest last."""
    if quiet:
        return
    from IPython.display import display

    from ipy_imgvar.results import gallery

    bundle = {"text/plain": encodable(gallery.history_text(runs))}
    if is_rich(shell) and runs:
        bundle["text/html"] = gallery.history_html(runs)
    display(bundle, raw=True)  # type: ignore[no-untyped-call]


class _PlainFormatter(logging.Formatter):
    """Writes a message as one line with escapes, since it may quote a server's text or a file's name."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return encodable(plain(super().formatMessage(record)))


@contextmanager
def spoken_log() -> Iterator[None]:
    """Print the package's log while the context is open; the engine masks keys before it logs."""
    log = logging.getLogger("ipy_imgvar")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_PlainFormatter("%(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class Echo:
    """Suppresses the second display of a value that the magic has returned and shown.

    The magic shows the pictures itself, since IPython shows only the value at the end of a cell. There, IPython would
    show the same value again, and print the bytes or base64 of a picture. This class suppresses one display: of the
    same object, as the result of the same cell. The value still becomes `_` and `Out[n]`.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._value: Any = None
        shell.events.register("post_run_cell", self._forget)

    def swallow(self, value: Any) -> None:
        """Make the display hook show nothing if `value` is the result of this cell."""
        self._value = value
        # IPython sets this hook for each cell and restores the earlier one afterwards, which also removes ours.
        if sys.displayhook is self._shell.displayhook:
            sys.displayhook = self._show

    def _show(self, value: Any) -> None:
        hook = self._shell.displayhook
        if value is None or value is not self._value:
            hook(value)
            return
        # No formatter does this: with one, a terminal would still write the prompt "Out[n]:".
        self._value = None
        hook.check_for_underscore()  # type: ignore[no-untyped-call]
        hook.update_user_ns(value)  # type: ignore[no-untyped-call]
        hook.fill_exec_result(value)  # type: ignore[no-untyped-call]

    def _forget(self, *_: Any) -> None:
        self._value = None

    def close(self) -> None:
        """Unregister from the shell's events."""
        self._forget()
        self._shell.events.unregister("post_run_cell", self._forget)
