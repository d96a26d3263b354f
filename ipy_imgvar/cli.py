"""`imgvar`: the magic's job in a terminal, many images at once, and the way to start the server.

Standard output has nothing but the result; what is said beside it goes to standard error. Exit codes: 0, 1 when a
picture could not be made, 2 for a wrong line, 130 when interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import streams
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.line.arguments import arguments_of
from ipy_imgvar.line.help import engine_help, help_text, usage
from ipy_imgvar.line.options import OPTIONS, Option, Token
from ipy_imgvar.line.parser import parse
from ipy_imgvar.plain import plain
from ipy_imgvar.settings import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipy_imgvar.client import Client
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.line.arguments import Arguments
    from ipy_imgvar.results.variations import Variations

__all__ = ["main"]

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130
_EXAMPLES: Final = (
    "imgvar create cat.png -n 4                            cat-1.png ... cat-4.png, offline",
    "imgvar create photos/*.jpg --out-file out/{stem}-{i}.png",
    "imgvar create cat.png -f base64 | base64 -d > new.png",
    "cat cat.png | imgvar create - --seed 7 --json         an image from standard input",
    "imgvar create cat.png --api-base http://localhost:8000/v1 --model my-model",
)
_HELP: Final = f"""imgvar makes variations of images.

Commands:
  create IMAGE... [options]           make variations and save them
  bulk DIR|PATTERN... --out-dir OUT   the same of many images; run it again to go on where it stopped
  serve [options]                     answer OpenAI's images API on this machine

Examples:
{chr(10).join(f"  {line}" for line in _EXAMPLES)}
  imgvar serve --port 8765                              then http://127.0.0.1:8765/v1 is a base for any client

`imgvar create --help`, `imgvar bulk --help` and `imgvar serve --help` list the options."""
_BULK_USAGE: Final = "imgvar bulk DIR|PATTERN... --out-dir OUT [options]"
_BULK_EXAMPLES: Final = (
    "imgvar bulk photos --out-dir out -n 4                 each image right in a folder, offline",
    "imgvar bulk 'photos/**/*.jpg' --out-dir out --dry-run how many there are, and how many are done",
    "imgvar bulk photos --out-dir out --scheduler tcp://host:8786",
)
#: What only a bulk run has; what only one picture at a time has.
_BULK_OPTIONS: Final = (
    Option("dry_run", ("--dry-run",), "flag", "", "What you get", "count the images, make nothing"),
    Option("again", ("--again",), "flag", "", "What you get", "make again what is done"),
    Option("scheduler", ("--scheduler",), "value", "URL", "What you get", "work on this Dask cluster"),
)
_NOT_IN_BULK: Final = ("response_format", "out_file", "json", "stream")

#: What only a notebook has, and what to use here.
_NOTEBOOK_ONLY: Final[Mapping[str, str]] = {
    "out": "there is no variable to bind here; --out-file saves, -f prints",
    "api_key": "a command line is seen by others; use OPENAI_API_KEY or --api-key-file",
}
_TEXT_FORMS: Final = ("url", "base64")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv
        The words after `imgvar`; None takes the process's.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    streams.open_closed()
    try:
        return _command(words)
    except (InvalidRequestError, ConfigurationError) as exc:
        streams.say(str(exc))
        return _USAGE
    except ImageVariationError as exc:
        streams.say(str(exc))
        return _FAILED
    except KeyboardInterrupt as exc:
        streams.say(str(exc) or _interrupted())
        return _INTERRUPTED
    finally:
        streams.flush()


def _interrupted() -> str:
    from ipy_imgvar.results.history import made_here

    if made_here() is None:
        return "interrupted; nothing was finished"
    return "interrupted; what was finished is in the store: python -c 'import ipy_imgvar; print(ipy_imgvar.last())'"


def _command(words: list[str]) -> int:
    command, *rest = words or ["--help"]
    if command in ("-h", "--help", "help"):
        streams.write(_HELP)
        return _OK
    if command == "create":
        return _create(rest)
    if command == "bulk":
        return _bulk(rest)
    if command == "serve":
        from ipy_imgvar.server import serve

        return serve(rest)
    raise InvalidRequestError(
        f"there is no command {shown(command)}; allowed: create, bulk, serve; see imgvar --help"
    )


def _options() -> list[Option]:
    return [option for option in OPTIONS if "cli" in option.places]


def _create(words: list[str]) -> int:
    found = parse([Token(word, parts=(word,)) for word in words], [*_options(), *_refused()])
    if "help" in found:
        streams.write(help_text("imgvar create", _EXAMPLES, _options()) + _engine_help(found))
        return _OK
    for dest, advice in _NOTEBOOK_ONLY.items():
        if dest in found:
            raise InvalidRequestError(advice, field=dest)
    arguments = arguments_of(found, TerminalReader())
    if not arguments.images:
        raise InvalidRequestError(
            "no image was given; usage: imgvar create IMAGE... [options]", field="image"
        )
    if "verbose" in found:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("ipy_imgvar").setLevel(logging.DEBUG)
    return _run(arguments, quiet="quiet" in found, as_json="json" in found)


def _engine_help(found: Mapping[str, list[Token]]) -> str:
    named, base = found.get("engine"), found.get("api_base")
    with contextlib.suppress(ConfigurationError):
        asked = connection(api_base=base[-1].text if base else None)
        return engine_help(named[-1].text if named else None, asked)
    return ""


def _bulk(words: list[str]) -> int:
    options = [
        option
        for option in OPTIONS
        if "bulk" in option.places or ("cli" in option.places and option.dest not in _NOT_IN_BULK)
    ]
    options += _BULK_OPTIONS
    found = parse([Token(word, parts=(word,)) for word in words], options)
    if "help" in found:
        text = help_text("imgvar bulk", _BULK_EXAMPLES, options)
        streams.write(text.replace(usage("imgvar bulk"), _BULK_USAGE) + _engine_help(found))
        return _OK
    if not found["image"] or "out_dir" not in found:
        raise InvalidRequestError(
            f"usage: {_BULK_USAGE}",
            field="out_dir" if found["image"] else "image",
        )
    scheduler = found.pop("scheduler")[-1].text if "scheduler" in found else None
    arguments = arguments_of(found, TerminalReader())
    chosen: Any = arguments.images[0] if len(arguments.images) == 1 else arguments.images
    if "dry_run" in found:
        return _dry_run(chosen, arguments.bulk["out_dir"])
    arguments.bulk["resume"] = "again" not in found
    return _run_bulk(chosen, arguments, scheduler, quiet="quiet" in found)


def _dry_run(images: Any, out_dir: str) -> int:
    from ipy_imgvar.bulk.run import plan

    found = plan(images, out_dir)
    streams.write(f"{found.found:,} images, {found.done:,} done, {found.found - found.done:,} to do")
    return _OK


def _run_bulk(images: Any, arguments: Arguments, scheduler: str | None, *, quiet: bool) -> int:
    from ipy_imgvar.bulk.cluster import dask_executor

    with ExitStack() as stack:
        client = stack.enter_context(_client(arguments))
        executor = None if scheduler is None else stack.enter_context(dask_executor(scheduler))
        result = client.map(
            images,
            executor=executor,
            progress=False if quiet else None,
            on_notice=None if quiet else streams.say,
            **arguments.bulk,
            **arguments.request,
        )
    for each in result.failed:
        streams.say(f"{shown(each.source)}: {each.error}")
    streams.write(plain(f"{result.summary()}; {result.out_dir / 'index.html'}"))
    return _FAILED if result.failed else _OK


def _client(arguments: Arguments) -> Client:
    """Return a client of the engine that a line names, with the key of its key file."""
    from ipy_imgvar.client import Client

    connection = dict(arguments.connection)
    if "api_key_file" in connection:
        connection["api_key"] = _key_in(connection.pop("api_key_file"))
    return Client(arguments.engine, **connection)


def _refused() -> list[Option]:
    """Options of the notebook that get an answer of their own, rather than "there is no such option"."""
    return [option for option in OPTIONS if option.dest in _NOTEBOOK_ONLY]


class TerminalReader:
    """Reads a line's words as text; see `arguments.Reader`."""

    returns = "prints"

    def value(self, token: Token, option: Option) -> Any:
        """Return the text, or the object of a JSON text."""
        if option.kind != "mapping":
            return token.text
        try:
            return json.loads(token.text)
        except ValueError:
            # The text is not shown: headers and bodies may hold keys.
            raise InvalidRequestError(
                f'{token.option} is no JSON object; allowed: {{"name": "value"}}'
            ) from None

    def images(self, token: Token) -> list[Source]:
        """Return the images of a path, a pattern or a URL; "-" is standard input."""
        from ipy_imgvar.images.source import Source, load_sources

        text = token.text
        if text == "-":
            return [Source("stdin", data=streams.read_input())]
        if text[:1] in ("{", "$") and not Path(text).exists():
            raise InvalidRequestError(
                f"{shown(text)} is an expression of a notebook; here, give a path or a URL", field="image"
            )
        return load_sources(text)

    def many(self, token: Token) -> str:
        """Return the folder or pattern as it is."""
        return token.text


def _run(arguments: Arguments, *, quiet: bool, as_json: bool) -> int:
    form, pattern = arguments.form, arguments.out_file
    _check_result(form, as_json=as_json)
    failure = None
    with _client(arguments) as client:
        requests = client.request(
            arguments.images,
            **arguments.request,
            response_format=form if form in ("url", "base64", "byte") else None,
        )
        n = requests[0].n
        if form == "byte" and len(requests) * n > 1:
            raise InvalidRequestError(
                "-f byte writes one picture; ask for one, or use -f base64", field="response_format"
            )
        targets = None if form is not None else _targets(pattern, arguments.images, n)
        try:
            pictures = client.run(
                requests,
                on_progress=streams.progress(quiet=quiet),
                on_notice=None if quiet else streams.say,
            )
        except ImageVariationError as exc:
            if exc.partial is None:
                raise
            failure, pictures = exc, exc.partial
    streams.wipe(quiet=quiet)
    for line in pictures.warnings:
        streams.say(line)
    _deliver(pictures, form, targets if failure is None else None, pattern, as_json=as_json)
    if failure is None:
        return _OK
    streams.say(str(failure))
    return _FAILED


def _check_result(form: str | None, *, as_json: bool) -> None:
    if form is not None and as_json:
        raise InvalidRequestError("--json and -f both print; give one of them", field="response_format")
    if form in ("image", "array"):
        raise InvalidRequestError(
            f"response_format {form} is for a notebook; allowed here: url, base64, byte",
            field="response_format",
        )


def _targets(pattern: str | None, images: list[Source], n: int) -> list[Path] | None:
    """Return the files to write, or None for default names in this folder; whether they can be written is known now."""
    from ipy_imgvar.results.files import checked_files, refuse_unwritable

    if pattern is not None:
        return checked_files(pattern, [source.stem for source in images for _ in range(n)])
    refuse_unwritable(Path("variation.png"), name=".")
    return None


def _key_in(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"the key file {path} can't be read ({exc})") from exc


def _deliver(
    pictures: Variations, form: str | None, targets: list[Path] | None, pattern: str | None, *, as_json: bool
) -> None:
    """Print the pictures, or save them and print where."""
    from ipy_imgvar.results.forms import converted

    if form == "byte":
        streams.write_bytes(pictures[0].bytes)
        return
    if form in _TEXT_FORMS:
        streams.write("\n".join(converted(pictures, form, single=False)))
        return
    if targets is not None and len(targets) == len(pictures):
        paths = pictures.save_as(targets)
    elif pattern is not None:
        paths = pictures.save(pattern)
    else:
        paths = pictures.save_into(Path(), [each.index for each in pictures])
    if as_json:
        described = _described(pictures, paths)
        text = json.dumps(described, ensure_ascii=False, indent=1)
        streams.write(text if streams.takes(text) else json.dumps(described, indent=1))
    else:
        streams.write("\n".join(plain(str(path)) for path in paths))


def _described(pictures: Variations, paths: list[Path]) -> dict[str, Any]:
    return {
        "engine": pictures.engine,
        "model": pictures.model,
        "elapsed": round(pictures.elapsed, 3),
        "usage": pictures.usage,
        "warnings": pictures.warnings,
        "pictures": [
            {
                "path": str(path),
                "source": each.source.name,
                "size": list(each.size),
                "mime_type": each.mime_type,
                "seed": each.seed,
                "parameters": each.parameters,
            }
            for each, path in zip(pictures, paths, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
