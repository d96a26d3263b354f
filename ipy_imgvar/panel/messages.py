"""The messages of the front end: each names an action, and a table says which method it calls. No widgets.

A page may send anything, so every value is checked here, and what is wrong is answered in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.panel.job import on_thread
from ipy_imgvar.panel.sources import message
from ipy_imgvar.panel.uploads import Uploads
from ipy_imgvar.request import STRENGTHS

if TYPE_CHECKING:
    from ipy_imgvar.panel.actions import PanelActions

    #: Sends an object and binary buffers to the front end.
    Send = Callable[[dict[str, Any], Sequence[bytes]], None]

__all__ = ["Inbox"]

#: Longest side of the source in the editor of the mask, in pixels.
_EDITOR_PX: Final = 1024


class _Content:
    """A message's content, read with checks."""

    def __init__(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        self._content = content
        self.buffers = buffers

    def text(self, name: str) -> str:
        return str(self._read(name, str))

    def whole(self, name: str) -> int:
        return int(self._read(name, int))

    def flag(self, name: str) -> bool:
        return bool(self._read(name, bool))

    def any(self, name: str) -> Any:
        return self._content.get(name)

    def _read(self, name: str, kind: type) -> Any:
        value = self._content.get(name)
        # A bool is an int to Python, but no number to a person.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidRequestError(f"the page sent {name} as {shown(value)}; reload the page")
        return value


class Inbox:
    """Receives the messages of one panel's front ends.

    Parameters
    ----------
    actions
        The panel's actions.
    send
        Sends an answer to the front end.
    ready
        Called when a front end has drawn the panel: it needs all pictures.
    """

    def __init__(self, actions: PanelActions, send: Send, ready: Callable[[], None]) -> None:
        self._actions = actions
        self._send = send
        self._ready = ready
        self._uploads = Uploads()

    def receive(self, content: Any, buffers: Sequence[Any] = ()) -> None:
        """Do what a message asks for; its answer says whether that was refused."""
        count = content.get("count") if isinstance(content, Mapping) else None
        error = False
        try:
            self._do(content, buffers)
        except Exception as exc:  # noqa: BLE001 - a notebook hides a handler's exception
            self._actions.state.error = message(exc)
            error = True
        self._send({"type": "heard", "count": count if isinstance(count, int) else None, "error": error}, ())

    def _do(self, content: Any, buffers: Sequence[Any]) -> None:
        named = content.get("action") if isinstance(content, Mapping) else content
        if not isinstance(named, str) or named not in _ACTIONS or named is content:
            raise InvalidRequestError(
                f"the page asked for {shown(named)}, which the panel can't do; reload the page"
            )
        _ACTIONS[named](self, self._actions, _Content(content, buffers))

    def close(self) -> None:
        """Free what an unfinished upload holds."""
        self._uploads.close()

    def begin_upload(self, given: _Content) -> None:
        """Begin an upload; the answer says that its first piece may come."""
        name = given.text("upload")
        with self._answered(name):
            self._uploads.begin(name, given.text("name"), given.whole("size"), given.text("purpose"))
            self._answer(name, 0)

    def add_piece(self, given: _Content) -> None:
        """Take the next piece of an upload, and use the file after the last one."""
        name = given.text("upload")
        with self._answered(name):
            if not given.buffers:
                raise InvalidRequestError(
                    "the page sent a piece of a file without its bytes; choose the file again"
                )
            received = self._uploads.add(name, given.whole("offset"), given.buffers[0])
            finished = self._uploads.finished(name)
            if finished is not None:
                self._use(*finished)
            self._answer(name, received, done=finished is not None)

    def cancel_upload(self, given: _Content) -> None:
        """Forget an upload."""
        self._uploads.cancel(given.text("upload"))

    def _use(self, name: str, data: bytes, purpose: str) -> None:
        if purpose == "mask":
            self._actions.use_mask(data)
        else:
            self._actions.upload(name, data)

    @contextmanager
    def _answered(self, upload: str) -> Generator[None]:
        """Answer a failed upload too, beside the line in the panel, so that its bar ends."""
        try:
            yield
        except ImageVariationError as exc:
            self._answer(upload, 0, error=message(exc))
            raise

    def _answer(self, upload: str, received: int, *, done: bool = False, error: str = "") -> None:
        self._send(
            {"type": "upload", "upload": upload, "received": received, "done": done, "error": error}, ()
        )

    def fetch(self, given: _Content) -> None:
        """Send a card's original, or a source reduced for the editor of the mask; read on a thread.

        The source is the one that the card was made from, and the panel's for any other id.
        """
        name, purpose = given.text("id"), given.text("purpose")
        original = {"type": "original", "id": name, "purpose": purpose, "mime": "", "name": "", "error": ""}
        state = self._actions.state
        source = next((card.picture.source for card in state.cards if card.id == name), state.source)
        picture = None if purpose == "source" else state.card(name).picture

        def work() -> None:
            from ipy_imgvar.images.thumbnails import encoded

            try:
                if picture is not None:
                    data, mime_type, title = picture.original, picture.mime_type, picture.name
                elif source is not None:
                    # A source of a picture in memory gives the picture itself, which must keep its size.
                    image = source.open(at_least_px=_EDITOR_PX).copy()
                    image.thumbnail((_EDITOR_PX, _EDITOR_PX))
                    (data, mime_type), title = encoded(image), source.name
                else:
                    raise InvalidRequestError("there is no source yet; choose a picture first")  # noqa: TRY301
            except Exception as exc:  # noqa: BLE001 - a thread's exception is shown nowhere
                self._send({**original, "error": message(exc)}, ())
                return
            self._send({**original, "mime": mime_type, "name": title}, [data])

        on_thread(work)

    def drawn(self) -> None:
        """Tell the panel that a front end has drawn it."""
        self._ready()


def _vary(actions: PanelActions, given: _Content) -> None:
    how = given.text("how")
    if how in STRENGTHS:
        actions.vary_at(given.text("card"), how)
    else:
        actions.vary(given.text("card"))


#: What each action does.
_ACTIONS: Final[dict[str, Callable[[Inbox, PanelActions, _Content], Any]]] = {
    "ready": lambda inbox, _, __: inbox.drawn(),
    "fetch": lambda inbox, _, given: inbox.fetch(given),
    "upload_begin": lambda inbox, _, given: inbox.begin_upload(given),
    "upload_piece": lambda inbox, _, given: inbox.add_piece(given),
    "upload_cancel": lambda inbox, _, given: inbox.cancel_upload(given),
    "set": lambda _, actions, given: actions.set_field(given.text("name"), given.any("value")),
    "type_source": lambda _, actions, given: actions.type_source(given.text("text")),
    "pick_variable": lambda _, actions, given: actions.pick_variable(given.text("name")),
    "use_last": lambda _, actions, __: actions.use_last(),
    "clear_mask": lambda _, actions, __: actions.clear_mask(),
    "run": lambda _, actions, __: actions.run(),
    "cancel": lambda _, actions, __: actions.cancel(),
    "vary": lambda _, actions, given: _vary(actions, given),
    "select": lambda _, actions, given: actions.select(given.text("card"), on=given.flag("on")),
    "select_all": lambda _, actions, given: actions.select_all(on=given.flag("on")),
    "star": lambda _, actions, given: actions.star(given.text("card"), on=given.flag("on")),
    "remove": lambda _, actions, given: actions.remove(given.text("card")),
    "sort": lambda _, actions, given: actions.sort(given.text("by")),
    "bind": lambda _, actions, given: actions.bind(given.text("name"), given.text("form")),
    "save": lambda _, actions, given: actions.save(given.text("where")),
    "insert": lambda _, actions, __: actions.insert(),
    "go_back": lambda _, actions, given: actions.go_back(given.whole("node")),
    "remix": lambda _, actions, given: actions.remix(given.whole("node")),
    "dismiss": lambda _, actions, __: actions.dismiss(),
}
