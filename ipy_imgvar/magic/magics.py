"""`%imagevariation` and `%%imagevariation`: read the line, run the client, show and return the result."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Float, Int, Unicode, Union

from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.magic.grammar import split, whole_line
from ipy_imgvar.magic.values import Names, images_of, value_of
from ipy_imgvar.options import OPTIONS, Token, help_text, parse, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from ipy_imgvar.source import Source

__all__ = ["ImageVariationMagics"]

EXAMPLES: Final = (
    "%imagevariation cat.png -n 4 --strength subtle      four, close to the source",
    "%imagevariation photos/*.jpg -s 512                 one of each file",
    "x = %imagevariation {array} --seed 7                of an array, repeatable, as a value",
    "%imagevariation cat.png -f byte -o data             bytes, bound to a variable",
    "%imagevariation cat.png -n 4 --out-file out/{stem}-{i}.png",
)


@dataclass(frozen=True, slots=True)
class Call:
    """A line that was read: what to vary, how, and what to do with the result."""

    images: list[Source]
    arguments: dict[str, Any]
    engine: str
    form: Any
    out: str | None
    out_file: Any
    quiet: bool


@magics_class
class ImageVariationMagics(Magics):
    """Variations of any image. Defaults: `%config ImageVariationMagics.size = "512x512"`."""

    n = Int(1, help="Pictures for each image, 1 to 10.").tag(config=True)
    size = Unicode("1024x1024", help="256, 512, 1024 or WIDTHxHEIGHT in pixels.").tag(config=True)
    strength = Union(
        [Float(), Unicode()], default_value="medium", help="subtle, medium, strong or 0 to 1."
    ).tag(config=True)
    fit = Unicode("crop", help="crop, pad or stretch.").tag(config=True)
    engine = Unicode("", help="The engine's name; empty for what the settings call for.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        from ipy_imgvar.magic.display import Echo

        super().__init__(shell=shell)
        self._shell = shell
        self._echo = Echo(shell)

    def close(self) -> None:
        """Undo what was registered with the shell."""
        self._echo.close()

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def imagevariation(
        self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None
    ) -> Any:
        """Make variations of images; `%imagevariation --help` lists the options."""
        names = Names(self._shell.user_ns, local_ns)
        try:
            call = self._read(line, cell, names)
            value = None if call is None else self._run(call)
        except (InvalidRequestError, ConfigurationError) as exc:
            # A subclass of UsageError would be shown with its traceback: IPython compares the type by identity.
            raise UsageError(str(exc)) from None
        except (ImageVariationError, KeyboardInterrupt) as exc:
            _show_as_one_line(exc)
            raise
        self._echo.swallow(value)
        return value

    def _read(self, line: str, cell: str | None, names: Names) -> Call | None:
        """Return what the line asks for; None when it asked for help and got it."""
        tokens, silenced = _without_semicolon(split(line))
        found = parse(tokens)
        if "help" in found:
            print(help_text("%imagevariation", EXAMPLES))  # noqa: T201 - help is printed text
            return None
        options = {option.dest: option for option in OPTIONS}
        values = {
            dest: value_of(given[-1], options[dest], names)
            for dest, given in found.items()
            if dest != "image" and options[dest].kind != "flag"
        }
        images = [source for token in found["image"] for source in images_of(token, names)]
        return self._call(values, images, cell, names, quiet=silenced or "quiet" in found)

    def _call(
        self, values: dict[str, Any], images: list[Source], cell: str | None, names: Names, *, quiet: bool
    ) -> Call:
        form, out, out_file = (values.pop(name, None) for name in ("response_format", "out", "out_file"))
        engine = values.pop("engine", None) or self.engine
        if form is not None and out_file is not None:
            raise InvalidRequestError(
                "--out-file saves and -f returns a value; give one of them", field="out_file"
            )
        if out is not None:
            _check_name(out)
        defaults = {"n": self.n, "size": self.size, "strength": self.strength, "fit": self.fit}
        arguments = defaults | values
        if cell is not None and images:
            arguments["prompt"] = cell.strip() or None
        elif cell is not None:
            images = _body_images(cell, names)
        if not images:
            raise InvalidRequestError(f"no image was given; usage: {usage('%imagevariation')}", field="image")
        return Call(images, arguments, engine, form, out, out_file, quiet)

    def _run(self, call: Call) -> Any:
        from ipy_imgvar.client import Client
        from ipy_imgvar.magic.display import RunDisplay
        from ipy_imgvar.request import RESPONSE_FORMATS, VariationRequest
        from ipy_imgvar.result import converted, form_of

        form = None if call.form is None else form_of(call.form)
        n = VariationRequest.from_arguments(**call.arguments).n
        targets = _targets(call, n)
        with Client(call.engine or None) as client, RunDisplay(self._shell, quiet=call.quiet) as display:
            try:
                pictures = client.variations(
                    call.images,
                    **call.arguments,
                    response_format=form if form in RESPONSE_FORMATS else None,
                    on_progress=display.progress,
                    on_picture=display.picture,
                )
            except (ImageVariationError, KeyboardInterrupt):
                display.stopped()
                raise
            display.result(pictures, [f"saved {path}" for path in targets])
        if targets:
            pictures.save_as(targets)
        single = len(call.images) == n == 1
        value = pictures if form is None else converted(pictures, form, single=single)
        if call.out is not None:
            self._shell.user_ns[call.out] = value
        return value


def _targets(call: Call, n: int) -> list[Path]:
    """Return the files to write, checked before anything is made."""
    if call.out_file is None:
        return []
    from ipy_imgvar.codec import EXTENSIONS
    from ipy_imgvar.outfile import expand_pattern

    if not isinstance(call.out_file, (str, Path)):
        raise InvalidRequestError(f"out-file is {shown(call.out_file)}; allowed: a path", field="out_file")
    stems = [source.stem for source in call.images for _ in range(n)]
    return expand_pattern(call.out_file, stems, tuple(EXTENSIONS))


def _without_semicolon(tokens: list[Token]) -> tuple[list[Token], bool]:
    """Drop the `;` that silences a cell: IPython leaves it in the magic's line."""
    if not tokens or tokens[-1].quoted or not tokens[-1].text.endswith(";"):
        return tokens, False
    *others, end = tokens
    text = end.text.rstrip(";")
    last_part = str(end.parts[-1]).rstrip(";")
    parts = (*end.parts[:-1], last_part) if last_part else end.parts[:-1]
    return ([*others, Token(text, parts=parts)] if text else others), True


def _body_images(cell: str, names: Names) -> list[Source]:
    """Return the images that a cell's body lists, a line each; `#` begins a comment only at the start of a line."""
    lines = [line.strip() for line in cell.splitlines()]
    tokens = [whole_line(line) for line in lines if line and not line.startswith("#")]
    return [source for token in tokens for source in images_of(token, names)]


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or not name.strip("_"):
        raise InvalidRequestError(
            f"--out is {shown(name)}; allowed: the name of a variable, such as pictures", field="out"
        )


def _show_as_one_line(exc: BaseException) -> None:
    """Have IPython show the message alone; Python callers still get the exception with its traceback."""
    text = f"{type(exc).__name__}: {exc}" if str(exc) else f"{type(exc).__name__}: stopped"
    if getattr(exc, "partial", None) or isinstance(exc, KeyboardInterrupt):
        text += "; what was finished is in ipy_imgvar.last()"
    exc._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]
