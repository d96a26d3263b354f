"""`imgvar create`: the magic's job in a terminal.

It saves the pictures and prints their paths, or prints the pictures in the form that `-f` names.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import streams
from ipy_imgvar.cli.terminal import (
    FAILED,
    OK,
    TerminalReader,
    client_of,
    help_of_engine,
    sorted_words,
    write_json,
)
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.line.arguments import arguments_of
from ipy_imgvar.line.help import help_text
from ipy_imgvar.line.options import OPTIONS
from ipy_imgvar.plain import plain
from ipy_imgvar.results.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ipy_imgvar.client import Client
    from ipy_imgvar.line.arguments import Arguments
    from ipy_imgvar.line.options import Option
    from ipy_imgvar.results.variations import Variations
    from ipy_imgvar.run import Part

__all__ = ["EXAMPLES", "create"]

EXAMPLES: Final = (
    "imgvar create cat.png -n 4                            cat-1.png ... cat-4.png, offline",
    "imgvar create photos/*.jpg --out-file out/{stem}-{i}.png",
    "imgvar create cat.png -f base64 | base64 -d > new.png",
    "imgvar create cat.png --sweep strength=.2,.5 --sweep seed=1..4",
    "cat cat.png | imgvar create - --seed 7 --json         an image from standard input",
    "imgvar create cat.png --api-base http://localhost:8000/v1 --model my-model",
)
#: Options of the magic that the command line refuses, by `dest`, with the message that says what to use instead.
_NOTEBOOK_ONLY: Final[Mapping[str, str]] = {
    "out": "there is no variable to bind here; --out-file saves, -f prints",
    "api_key": "a command line is seen by others; use OPENAI_API_KEY or --api-key-file",
}
#: Response formats that standard output gets as lines of text; `byte` goes there as it is.
_TEXT_FORMS: Final = ("url", "base64")


def create(words: list[str]) -> int:
    """Run `imgvar create` with the words after it, and return the exit code."""
    options = [option for option in OPTIONS if "cli" in option.places]
    tokens = sorted_words(words, [*options, *_refused()])
    if "help" in tokens:
        streams.write(help_text("imgvar create", EXAMPLES, options, places=("cli",)) + help_of_engine(tokens))
        return OK
    for dest, advice in _NOTEBOOK_ONLY.items():
        if dest in tokens:
            raise InvalidRequestError(advice, field=dest)
    arguments = arguments_of(tokens, TerminalReader())
    if not arguments.images:
        raise InvalidRequestError(
            "no image was given; usage: imgvar create IMAGE... [options]", field="image"
        )
    if "verbose" in tokens:
        # WARNING for other libraries, DEBUG for this package alone.
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("ipy_imgvar").setLevel(logging.DEBUG)
    return _run(arguments, quiet="quiet" in tokens, as_json="json" in tokens)


def _refused() -> list[Option]:
    """Return the magic's options for which `_NOTEBOOK_ONLY` has a message, so that the parser knows them."""
    return [option for option in OPTIONS if option.dest in _NOTEBOOK_ONLY]


def _run(arguments: Arguments, *, quiet: bool, as_json: bool) -> int:
    form = arguments.form
    _check_result(form, as_json=as_json)
    with client_of(arguments) as client:
        settings = {
            **arguments.request,
            "response_format": form if form in ("url", "base64", "byte") else None,
        }
        parts = arguments.parts(client, settings)
        if form == "byte" and sum(part.request.n for part in parts) > 1:
            raise InvalidRequestError(
                "-f byte writes one picture; ask for one, or use -f base64", field="response_format"
            )
        if arguments.dry_run:
            return _show_plan(client, arguments, settings, as_json=as_json)
        targets = None if form is not None else _targets(arguments, parts)
        listeners: dict[str, Any] = {
            "on_progress": streams.progress(quiet=quiet),
            "on_notice": None if quiet else streams.say,
        }
        run = (
            partial(client.sweep, arguments.images, **arguments.sweep, **settings)
            if arguments.sweep
            else partial(client.run, [part.request for part in parts])
        )
        pictures, failure = _finished(partial(run, **listeners))
    streams.wipe(quiet=quiet)
    for line in pictures.warnings:
        streams.say(line)
    _deliver(pictures, form, targets if failure is None else None, arguments.out_file, as_json=as_json)
    if failure is None:
        return OK
    streams.say(str(failure))
    return FAILED


def _finished(run: Callable[[], Variations]) -> tuple[Variations, ImageVariationError | None]:
    """Return the pictures of a run, with its error if it failed after some were finished."""
    try:
        return run(), None
    except ImageVariationError as exc:
        if exc.partial is None:
            raise
        return exc.partial, exc


def _show_plan(client: Client, arguments: Arguments, settings: Mapping[str, Any], *, as_json: bool) -> int:
    """Print what the run would do."""
    plan = client.plan(
        arguments.images,
        over=arguments.sweep.get("over"),
        resume=arguments.sweep.get("resume", True),
        out_file=arguments.out_file,
        # With -f the pictures are printed; else they get default names in this folder.
        save_into="." if arguments.form is None and arguments.out_file is None else None,
        **settings,
    )
    if as_json:
        write_json(plan.to_dict())
    else:
        streams.write(str(plan))
    return OK


def _check_result(form: str | None, *, as_json: bool) -> None:
    if form is not None and as_json:
        raise InvalidRequestError("--json and -f both print; give one of them", field="response_format")
    if form in ("image", "array"):
        raise InvalidRequestError(
            f"response_format {form} is for a notebook; allowed here: url, base64, byte",
            field="response_format",
        )


def _targets(arguments: Arguments, parts: Sequence[Part]) -> list[Path] | None:
    """Return the files to write, or None for default names in this folder.

    Refuses a file that can't be written before the run, since its pictures may cost money.
    """
    from ipy_imgvar.storage.disk import refuse_unwritable

    if arguments.out_file is not None:
        return arguments.targets(parts)
    refuse_unwritable(Path("variation.png"), name=".")
    return None


def _deliver(
    pictures: Variations, form: str | None, targets: list[Path] | None, pattern: str | None, *, as_json: bool
) -> None:
    """Print the pictures, or save them and print the paths."""
    from ipy_imgvar.results.forms import converted

    if form == "byte":
        streams.write_bytes(pictures[0].bytes)
        return
    if form in _TEXT_FORMS:
        streams.write("\n".join(converted(pictures, form, single=False)))
        return
    # Without targets, as after a failure, the names follow the pictures that exist.
    if targets is not None and len(targets) == len(pictures):
        paths = pictures.save_as(targets)
    elif pattern is not None:
        paths = pictures.save(pattern)
    else:
        paths = pictures.save_into(Path(), _numbers(pictures))
    if as_json:
        write_json(_described(pictures, paths))
    else:
        streams.write("\n".join(plain(str(path)) for path in paths))


def _numbers(pictures: Variations) -> list[int]:
    """Return the number of each picture among those of its image, from 1; a failure leaves out some of them."""
    if not isinstance(pictures, Sweep):
        return [each.index for each in pictures]
    n = pictures.request.n if pictures.request is not None else 1
    numbers = []
    for each in pictures:
        combination = 0
        for place, values in zip(pictures.place(each), pictures.axes.values(), strict=True):
            combination = combination * len(values) + place
        numbers.append(combination * n + each.index)
    return numbers


def _described(pictures: Variations, paths: list[Path]) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    swept = isinstance(pictures, Sweep)
    return {
        "engine": pictures.engine,
        "model": pictures.model,
        "elapsed": round(pictures.elapsed, 3),
        "usage": pictures.usage,
        "warnings": pictures.warnings,
        **({"axes": pictures.axes} if isinstance(pictures, Sweep) else {}),
        "pictures": [
            {
                "path": str(path),
                "source": each.source.name,
                "size": list(each.size),
                "mime_type": each.mime_type,
                "seed": each.seed,
                "parameters": each.parameters,
                **({"combination": each.combination} if swept else {}),
            }
            for each, path in zip(pictures, paths, strict=True)
        ],
    }
