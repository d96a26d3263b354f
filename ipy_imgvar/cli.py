"""`imgvar`: the magic's options in a terminal, bulk runs over many images, and the command that starts the server.

Standard output carries the result alone; notices, progress and errors go to standard error. Exit codes: 0 for success,
1 if a picture could not be made, 2 for a wrong line, 130 after an interrupt.
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

#: Exit codes. 2 is what argparse uses for a wrong line, 130 what shells report after SIGINT (128 + 2).
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
#: Options that only `bulk` has, beside those of the table.
_BULK_OPTIONS: Final = (
    Option("dry_run", ("--dry-run",), "flag", "", "What you get", "count the images, make nothing"),
    Option("again", ("--again",), "flag", "", "What you get", "make again what is done"),
    Option("scheduler", ("--scheduler",), "value", "URL", "What you get", "work on this Dask cluster"),
)
#: The `dest` of options that only `create` has: a bulk run writes its pictures to `--out-dir`.
_NOT_IN_BULK: Final = ("response_format", "out_file", "json", "stream")

#: Options of the magic that the command line refuses, by `dest`, with the message that says what to use instead.
_NOTEBOOK_ONLY: Final[Mapping[str, str]] = {
    "out": "there is no variable to bind here; --out-file saves, -f prints",
    "api_key": "a command line is seen by others; use OPENAI_API_KEY or --api-key-file",
}
#: Options by which the help of an engine depends on the line, by `dest`.
_HELPED: Final = ("engine", "api_base", "model")
#: Response formats that standard output gets as lines of text; `byte` goes there as it is.
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
    """Return the line that follows an interrupt: whether this process has stored pictures."""
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
    tokens = parse([Token(word, parts=(word,)) for word in words], [*_options(), *_refused()])
    if "help" in tokens:
        streams.write(help_text("imgvar create", _EXAMPLES, _options()) + _engine_help(tokens))
        return _OK
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


def _engine_help(tokens: Mapping[str, list[Token]]) -> str:
    """Return the help of the line's engine, or "" if a setting can't work: a run reports that."""
    engine, base, model = (tokens[dest][-1].text if tokens.get(dest) else None for dest in _HELPED)
    with contextlib.suppress(ConfigurationError):
        return engine_help(engine, connection(api_base=base), model)
    return ""


def _bulk(words: list[str]) -> int:
    options = [
        option
        for option in OPTIONS
        if "bulk" in option.places or ("cli" in option.places and option.dest not in _NOT_IN_BULK)
    ]
    options += _BULK_OPTIONS
    tokens = parse([Token(word, parts=(word,)) for word in words], options)
    if "help" in tokens:
        text = help_text("imgvar bulk", _BULK_EXAMPLES, options)
        streams.write(text.replace(usage("imgvar bulk"), _BULK_USAGE) + _engine_help(tokens))
        return _OK
    if not tokens["image"] or "out_dir" not in tokens:
        raise InvalidRequestError(
            f"usage: {_BULK_USAGE}",
            field="out_dir" if tokens["image"] else "image",
        )
    scheduler = tokens.pop("scheduler")[-1].text if "scheduler" in tokens else None
    arguments = arguments_of(tokens, TerminalReader())
    # A folder or a pattern that stands alone goes to `map` as it is, not in a list: `map` expands it.
    images: Any = arguments.images[0] if len(arguments.images) == 1 else arguments.images
    if "dry_run" in tokens:
        return _dry_run(images, arguments.bulk["out_dir"])
    arguments.bulk["resume"] = "again" not in tokens
    return _run_bulk(images, arguments, scheduler, quiet="quiet" in tokens)


def _dry_run(images: Any, out_dir: str) -> int:
    from ipy_imgvar.bulk.run import plan

    counts = plan(images, out_dir)
    streams.write(f"{counts.found:,} images, {counts.done:,} done, {counts.found - counts.done:,} to do")
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
    """Return a client with the line's engine and the key of its key file."""
    from ipy_imgvar.client import Client

    connection = dict(arguments.connection)
    if "api_key_file" in connection:
        connection["api_key"] = _key_in(connection.pop("api_key_file"))
    return Client(arguments.engine, **connection)


def _refused() -> list[Option]:
    """Return the magic's options for which `_NOTEBOOK_ONLY` has a message, so that the parser knows them."""
    return [option for option in OPTIONS if option.dest in _NOTEBOOK_ONLY]


class TerminalReader:
    """Reader of a line's words as text; see `arguments.Reader`."""

    returns = "prints"

    def value(self, token: Token, option: Option) -> Any:
        """Return the text; of a mapping, the object that its JSON describes."""
        if option.kind != "mapping":
            return token.text
        try:
            return json.loads(token.text)
        except ValueError:
            # The message leaves the text out: headers and bodies may hold keys.
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
        """Return the folder or the pattern unchanged."""
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
    """Return the files to write, or None for default names in this folder.

    Refuses a file that can't be written before the run, since its pictures may cost money.
    """
    from ipy_imgvar.results.files import checked_files, refuse_unwritable

    if pattern is not None:
        return checked_files(pattern, [source.stem for source in images for _ in range(n)])
    refuse_unwritable(Path("variation.png"), name=".")
    return None


def _key_in(path: str) -> str:
    """Return the key that a file holds, without the line break at its end."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"the key file {path} can't be read ({exc})") from exc


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
        paths = pictures.save_into(Path(), [each.index for each in pictures])
    if as_json:
        described = _described(pictures, paths)
        text = json.dumps(described, ensure_ascii=False, indent=1)
        # With escapes only if standard output can't encode the text, or a terminal would obey part of it.
        streams.write(text if streams.takes(text) else json.dumps(described, indent=1))
    else:
        streams.write("\n".join(plain(str(path)) for path in paths))


def _described(pictures: Variations, paths: list[Path]) -> dict[str, Any]:
    """Return the object that `--json` prints."""
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
