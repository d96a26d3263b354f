"""The panel's actions that choose a source and its mask: upload, path or address, variable, result; no widgets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.panel.engines import refuse_key
from ipy_imgvar.panel.pictures import PictureActions
from ipy_imgvar.plain import plain
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.history import last
from ipy_imgvar.storage.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.panel.job import BackgroundTask, Worker
    from ipy_imgvar.panel.state import PanelState

__all__ = ["SourceActions", "message"]

#: Types of a value that may be, or name, a PNG with the settings of its run.
_ENCODED: Final = (str, Path, bytes, Source)


class SourceActions(PictureActions):
    """The actions of the controls that choose a source.

    Parameters
    ----------
    state, namespace
        See `PictureActions`.
    loader
        The thread that reads sources.
    """

    #: The names of the engines that the panel can choose.
    engines: list[str]

    def __init__(self, state: PanelState, namespace: dict[str, Any], loader: Worker) -> None:
        super().__init__(state, namespace)
        self._loader = loader
        state.observe(self._preview_changed, ["size", "fit", "sample"])

    def upload(self, name: str, data: bytes) -> None:
        """Take an uploaded picture."""
        self._choose(Source(Path(name).name or "upload", data=data))

    def use_mask(self, data: bytes) -> None:
        """Take a painted mask, an encoded picture that is white where the source stays."""
        state = self.state
        if state.sample is None:
            raise InvalidImageError(
                "there is no source yet, so a mask has nothing to keep; choose a picture first"
            )
        from ipy_imgvar.panel import cards

        mask, share = cards.mask_of(data, state.sample.size)
        if share in (0.0, 1.0):
            raise InvalidImageError(
                f"the mask keeps {'nothing' if share == 0 else 'everything'}; paint a part of the picture"
            )
        state.mask, state.mask_share = mask, share
        state.mask_preview = cards.mask_thumbnail(mask)
        state.error, state.notice = "", f"{share:.0%} of the picture stays; the rest is varied"

    def clear_mask(self) -> None:
        """Remove the mask."""
        self.state.mask = self.state.mask_preview = None
        self.state.mask_share = 0.0

    def type_source(self, written: str) -> None:
        """Take a path or a URL."""
        refuse_key(written)
        if written.strip():
            text = written.strip()
            is_remote = is_address(text) or text.lower().startswith(("http://", "https://"))
            self._choose(text, origin=repr(text) if is_remote else "", typed=written)

    def pick_variable(self, name: str) -> None:
        """Take the image that a variable holds."""
        if name and name != self.state.origin:
            if name not in self._namespace:
                raise InvalidImageError(f"there is no variable {name} any more; pick another")
            value = self._namespace[name]
            self._choose(value, origin=name, name=name, restore=isinstance(value, _ENCODED))

    def use(self, image: Any) -> None:
        """Take any image that the client takes, such as the panel's argument."""
        if isinstance(image, list) and len(image) == 1:
            image = image[0]
        name = next((name for name in self.state.variables if self._namespace.get(name) is image), None)
        if isinstance(image, Source) and image.path is None and image.name in self.state.variables:
            name = image.name
        self._choose(image, origin=name or "", name=name, restore=isinstance(image, _ENCODED))

    def use_last(self) -> None:
        """Take the newest picture of all runs, of the panel, the magic or Python code."""
        newest = last()
        if not newest:
            raise InvalidImageError("nothing was made yet; upload a picture or type its path")
        self._choose(newest[0], restore=False)

    def vary(self, card: str, then: Callable[[], None] | None = None) -> None:
        """Take a picture of the gallery as the next source, and call `then` once it is read."""
        picture = self.state.card(card).picture
        self._choose(picture, restore=False, then=then, said=f"{plain(picture.name)} is the source now")

    def _choose(
        self,
        value: Any,
        *,
        origin: str = "",
        name: str | None = None,
        typed: str = "",
        restore: bool = True,
        then: Callable[[], None] | None = None,
        said: str = "",
    ) -> None:
        """Read a source on the loader's thread; a newer choice replaces one that is still being read."""

        def work(task: BackgroundTask) -> None:
            from ipy_imgvar.images import codec
            from ipy_imgvar.images.similarity import sample

            try:
                sources = load_sources(value, name=name)
                source = sources[0]
                source.fetch(check=task.check)  # A newer choice ends the fetch from a slow server.
                reduced = sample(source)
                settings = codec.parameters_of(source.read()) if restore else None
            except Exception as exc:  # noqa: BLE001 - a thread's exception is shown nowhere
                task.tell(self._loaded, f"{message(exc)}; the source is unchanged")
                return
            notes = [said] if said else []
            if len(sources) > 1:
                notes.append(f"the first of {len(sources)} images is the source")
            choice = partial(self._take, source, reduced, settings, origin=origin, typed=typed, notes=notes)
            task.tell(choice)
            if then is not None:
                task.tell(self._then, then)

        self.state.error = self.state.notice = ""
        self.state.loading = True
        self._loader.submit(work, replace=True)

    def _then(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as exc:  # noqa: BLE001 - a thread's exception is shown nowhere
            self.state.error = message(exc)

    def _take(
        self,
        source: Source,
        reduced: Sample,
        settings: dict[str, Any] | None,
        *,
        origin: str,
        typed: str,
        notes: list[str],
    ) -> None:
        state = self.state
        self.clear_mask()  # It is of the shape of the earlier source.
        state.origin, state.typed = origin, typed
        state.source = source
        state.sample = reduced
        if settings:
            try:
                self._restore(settings)
                notes.append(f"{plain(source.name)} is a picture of ours: its settings and seed are restored")
            except InvalidRequestError as exc:
                notes.append(f"its settings can't be restored ({exc})")
        self._loaded()
        state.notice = "; ".join([*filter(None, [state.notice]), *notes])

    def _loaded(self, error: str = "") -> None:
        self.state.loading = False
        self.state.error = error

    def _restore(self, settings: dict[str, Any]) -> None:
        known = {**settings, "engine": settings.get("engine")}
        if known["engine"] not in self.engines:
            known["engine"] = None
        self.state.restore(known)
        if "model" in self.state.refused:
            self.state.model = ""

    def _preview_changed(self, _: Any = None) -> None:
        state = self.state
        if state.sample is None or state.source is None:
            return
        try:
            request = VariationRequest.from_arguments(size=state.size, fit=state.fit)
        except InvalidRequestError as exc:
            state.error = str(exc)
            return
        from ipy_imgvar.panel import cards

        state.preview, state.preview_words = cards.sent(state.sample, state.source.name, request)


def message(exc: BaseException) -> str:
    """Return an exception as the panel's one line: the message, with the type of one that is not ours."""
    if isinstance(exc, ImageVariationError):
        return str(exc)
    return " ".join(f"{type(exc).__name__}: {exc}".split())
