"""`%imagevariation` and `%%imagevariation`: read the line, run the client, show and return the result."""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Bool, Float, Int, TraitError, Unicode, Union, default, observe, validate

from ipy_imgvar import settings
from ipy_imgvar.engines import engine_names, unload
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.line.help import engine_help, help_text
from ipy_imgvar.magic.call import Call, read_call
from ipy_imgvar.magic.completion import Completion
from ipy_imgvar.magic.display import Echo, RunDisplay, show_history, spoken_log
from ipy_imgvar.magic.values import Names
from ipy_imgvar.plain import plain
from ipy_imgvar.request import RESPONSE_FORMATS, VariationRequest, whole_number
from ipy_imgvar.results.forms import converted, form_of
from ipy_imgvar.results.history import history, move_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from ipy_imgvar.client import Client
    from ipy_imgvar.line.arguments import Arguments
    from ipy_imgvar.planning.plan import Plan

__all__ = ["EXAMPLES", "ImageVariationMagics"]

EXAMPLES: Final = (
    "%imagevariation cat.png -n 4 --strength subtle      four, close to the source",
    "%imagevariation photos/*.png -s 512                 one of each file",
    "x = %imagevariation {array} --seed 7                of an array, repeatable, as a value",
    "%imagevariation cat.png -f byte -o data             bytes, bound to a variable",
    "%imagevariation cat.png -n 4 --out-file out/{stem}-{i}.png",
    "%imagevariation cat.png --sweep strength=.2,.5,.85 --sweep seed=1..4",
)
#: A key of 6 characters or more that a line gives as text, with or without quotes; such a line is refused.
_KEY_IN_LINE: Final = re.compile(r"(?i)-api-?_?key(?:\s+|=)[\"']?([^\s\"'{}$]{6,})")
#: Files that a result names one by one at most.
_MOST_SAVED_LINES: Final = 8
#: Traits that are fields of a request; `VariationRequest` checks their values.
_REQUEST_TRAITS: Final = ("n", "size", "strength", "fit", "timeout", "max_retry_count")
#: Traits that are texts, where "" stands for no default.
_TEXT_TRAITS: Final = ("user", "model", "response_format")
#: Arguments of a line with --panel that the panel has controls for.
PANEL_SETTINGS: Final = ("n", "size", "strength", "fit", "seed", "prompt", "model", "options")


@magics_class
class ImageVariationMagics(Magics):
    """Variations of any image. Defaults: `%config ImageVariationMagics.size = "512x512"`."""

    n = Int(1, help="Pictures for each image, 1 to 10.").tag(config=True)
    size = Union(
        [Unicode(), Int()], default_value="1024x1024", help="256, 512, 1024 or WIDTHxHEIGHT in pixels."
    ).tag(config=True)
    strength = Union(
        [Float(), Unicode()],
        default_value="medium",
        help="How far from the source: subtle, medium, strong or 0 to 1.",
    ).tag(config=True)
    fit = Unicode("crop", help="When the shape differs from the size: crop, pad, stretch or retarget.").tag(
        config=True
    )
    engine = Unicode("", help="The engine's name; empty for what the settings call for.").tag(config=True)
    model = Unicode("", help="The engine's model; empty for its default.").tag(config=True)
    user = Unicode("", help="An id of the end user; empty sends none.").tag(config=True)
    timeout = Float(0.0, help="Seconds for one request; 0 is no limit.").tag(config=True)
    max_retry_count = Int(0, help="Tries again after a 429 or 5xx, 0 to 100.").tag(config=True)
    response_format = Unicode("", help="url, base64, byte, image or array; empty for the Variations.").tag(
        config=True
    )
    columns = Int(0, help="Pictures in a row; 0 for as many as fit.").tag(config=True)
    quiet = Bool(False, help="Show nothing; the value stays.").tag(config=True)  # noqa: FBT003
    store = Unicode(help="The folder that keeps what is made, or off.").tag(config=True)
    store_bytes = Int(help="The bound of the store in bytes; the oldest runs go first.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell)
        self._shell = shell
        self._echo = Echo(shell)
        self._completion = Completion(shell, lambda: self.engine)
        # Read now, so that a refused value leaves this default; traitlets restores 0 or "" for a trait never read.
        with suppress(ConfigurationError):
            _ = (self.store, self.store_bytes)
        self._moved = False
        self._clients: dict[Any, Client] = {}

    def close(self) -> None:
        """Undo the registrations with the shell and the configuration of the store, and close the clients."""
        self._echo.close()
        self._completion.close()
        for client in self._clients.values():
            client.close()
        if self._moved:
            move_store(settings.store_root(), settings.store_max_bytes())

    @default("store")
    def _default_store(self) -> str:
        return str(settings.store_root() or settings.STORE_OFF)

    @default("store_bytes")
    def _default_store_bytes(self) -> int:
        return settings.store_max_bytes()

    @validate(*_REQUEST_TRAITS, *_TEXT_TRAITS, "engine", "columns", "store", "store_bytes")
    def _allowed(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        try:
            _check_default(name, value)
        except ImageVariationError as exc:
            raise TraitError(f"{exc}; the earlier value stays") from exc
        return value

    @observe("store", "store_bytes")
    def _move_store(self, _: Any) -> None:
        off = self.store.lower() == settings.STORE_OFF
        self._moved = True
        move_store(None if off else Path(self.store).expanduser().absolute(), self.store_bytes)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def imagevariation(
        self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None
    ) -> Any:
        """Make variations of images."""
        names = Names(self._shell.user_ns, local_ns)
        try:
            value = self._do(read_call(line, cell, names, self._defaults()))
        except (InvalidRequestError, ConfigurationError) as exc:
            if exc.partial:  # The run has finished some pictures, so this is no usage error.
                _show_as_one_line(exc)
                raise
            # A subclass of UsageError would be shown with its traceback: IPython compares the type by identity.
            raise UsageError(_without_key(str(exc), line)) from None
        except (ImageVariationError, KeyboardInterrupt) as exc:
            _show_as_one_line(exc)
            raise
        self._echo.swallow(value)
        return value

    imagevariation.__doc__ = help_text("%imagevariation", EXAMPLES)

    def _defaults(self) -> dict[str, Any]:
        names = (*_REQUEST_TRAITS, *_TEXT_TRAITS, "engine", "columns", "quiet")
        return {
            name: getattr(self, name) if name in _REQUEST_TRAITS else getattr(self, name) or None
            for name in names
        }

    def _do(self, call: Call) -> Any:
        if call.action == "help":
            print(help_text("%imagevariation", EXAMPLES) + self._engine_help(call))  # noqa: T201 - help is printed text
            return None
        if call.action == "history":
            runs = history()
            show_history(self._shell, runs, quiet=call.display.quiet)
            return runs
        if call.action == "unload":
            freed = unload()
            if not call.display.quiet:
                text = (
                    f"freed: {', '.join(freed)}"
                    if freed
                    else "no model was loaded, so there was nothing to free"
                )
                print(plain(text))  # noqa: T201 - as help is
            return freed
        if call.action == "panel":
            return self._open_panel(call)
        with spoken_log() if call.display.verbose else nullcontext():
            return self._run_bulk(call) if call.arguments.bulk else self._run(call)

    def _engine_help(self, call: Call) -> str:
        with suppress(ConfigurationError):
            return engine_help(
                call.arguments.engine,
                settings.connection(**call.arguments.connection, namespace=self._shell.user_ns),
                call.arguments.request.get("model"),
            )
        return ""

    def _open_panel(self, call: Call) -> Any:
        from IPython.display import display

        from ipy_imgvar.panel.widget import VariationPanel

        arguments = call.arguments
        settings = {name: value for name, value in arguments.request.items() if name in PANEL_SETTINGS}
        # If the line has a connection, or an engine object, the panel gets this client and offers no other engine.
        fixed = arguments.connection or not isinstance(arguments.engine, str | None)
        client = self._client(arguments) if fixed else None
        settings["engine"] = None if fixed else arguments.engine
        panel = VariationPanel(
            arguments.images or None, client, basic=call.basic, shell=self._shell, **settings
        )
        if not call.display.quiet:
            display(panel)  # type: ignore[no-untyped-call]
        return self._bound(call, panel)

    def _run(self, call: Call) -> Any:
        arguments, form = call.arguments, call.arguments.form
        client = self._client(arguments)
        settings = {**arguments.request, "response_format": form if form in RESPONSE_FORMATS else None}
        if arguments.dry_run:
            plan = client.plan(
                arguments.images,
                over=arguments.sweep.get("over"),
                resume=arguments.sweep.get("resume", True),
                out_file=arguments.out_file,
                **settings,
            )
            return self._planned(call, plan)
        parts = arguments.parts(client, settings)
        expected = sum(part.request.n for part in parts)
        targets = arguments.targets(parts)
        with RunDisplay(self._shell, call.display, expected) as display:
            try:
                pictures = (
                    client.sweep(arguments.images, **arguments.sweep, **settings, **display.listeners())
                    if arguments.sweep
                    else client.run([part.request for part in parts], **display.listeners())
                )
                if targets:
                    pictures.save_as(targets)
            except (ImageVariationError, KeyboardInterrupt) as exc:
                if not display.stopped() and isinstance(exc, KeyboardInterrupt):
                    exc.args = exc.args or ("stopped; nothing was finished",)
                raise
            display.result(pictures, _saved(targets))
        # A sweep's pictures are a list, also where it has one combination.
        single = expected == 1 and not arguments.sweep
        return self._bound(call, pictures if form is None else converted(pictures, form, single=single))

    def _planned(self, call: Call, plan: Plan) -> Any:
        """Show what a run would do, and return it."""
        if not call.display.quiet:
            from IPython.display import display

            display(plan)  # type: ignore[no-untyped-call]
        return self._bound(call, plan)

    def _bound(self, call: Call, value: Any) -> Any:
        """Bind a value to the variable that the line names, if any, and return it."""
        if call.arguments.out is not None:
            self._shell.user_ns[call.arguments.out] = value
        return value

    def _run_bulk(self, call: Call) -> Any:
        arguments = call.arguments
        if not arguments.request.get(
            "max_retry_count"
        ):  # The configured 0 would give up at a server's first 429.
            arguments.request.pop("max_retry_count", None)
        images = arguments.images[0] if len(arguments.images) == 1 else arguments.images
        if arguments.dry_run:
            plan = self._client(arguments).plan(images, **arguments.bulk, **arguments.request)
            return self._planned(call, plan)
        with RunDisplay(self._shell, call.display, 0) as display:
            result = self._client(arguments).map(
                images,
                on_progress=display.progress,
                on_notice=display.notice,
                progress=False,
                **arguments.bulk,
                **arguments.request,
            )
            display.bulk(result)
        return self._bound(call, result)

    def _client(self, arguments: Arguments) -> Client:
        """Return a client for the settings that a line names, the same one for the same settings."""
        from ipy_imgvar.client import Client
        from ipy_imgvar.settings import connection

        engine = arguments.engine
        if not isinstance(engine, str | None):
            return Client(engine)
        setting = (engine, connection(**arguments.connection, namespace=self._shell.user_ns))
        if setting not in self._clients:
            self._clients[setting] = Client(engine, **arguments.connection, namespace=self._shell.user_ns)
        return self._clients[setting]


def _check_default(name: str, value: Any) -> None:
    """Raise `InvalidRequestError` for a default that no run can use; an empty text is no default."""
    if name in _REQUEST_TRAITS or (name in ("user", "model") and value):
        VariationRequest.from_arguments(**{name: value})
    elif name == "response_format" and value:
        form_of(value)
    elif name == "engine" and value and value not in engine_names():
        raise InvalidRequestError(f"engine is {value!r}; allowed: {', '.join(engine_names())}", field=name)
    elif name == "columns":
        whole_number(name, value, 0, 10)
    elif name == "store_bytes":
        whole_number(name, value, 0, 2**63)
    elif name == "store":
        _check_store(value)


def _check_store(value: str) -> None:
    """Raise `InvalidRequestError` for a folder that can't be named, as that of a user who is not there."""
    reason = "" if value.strip() else " empty"
    try:
        Path(value).expanduser()
    except RuntimeError as exc:
        reason = f" {value!r}: {exc}"
    if reason:
        raise InvalidRequestError(
            f"store is{reason}; allowed: a folder, or {settings.STORE_OFF}", field="store"
        )


def _saved(paths: Sequence[Path]) -> list[str]:
    """Return a line for each file that was written, or one line for many."""
    if len(paths) > _MOST_SAVED_LINES:
        return [f"saved {len(paths)} files: {paths[0]} ... {paths[-1]}"]
    return [f"saved {path}" for path in paths]


def _without_key(message: str, line: str) -> str:
    """Mask the keys of a line in a message, which may quote the line."""
    for match in _KEY_IN_LINE.finditer(line):
        message = message.replace(match[1], "********")
    return message


def _show_as_one_line(exc: BaseException) -> None:
    """Make IPython show the message alone; Python callers still get the exception with its traceback."""
    text = f"{type(exc).__name__}: {exc}" if str(exc) else f"{type(exc).__name__}: stopped"
    if getattr(exc, "partial", None) or (isinstance(exc, KeyboardInterrupt) and not str(exc)):
        text += "; what was finished is in ipy_imgvar.last()"
    exc._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]
