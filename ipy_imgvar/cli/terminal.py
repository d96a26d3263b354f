"""The parts that the commands share: exit codes, the reader of words, the client, and an engine's help."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import streams
from ipy_imgvar.errors import ConfigurationError, InvalidRequestError, shown
from ipy_imgvar.line.help import engine_help
from ipy_imgvar.line.options import Option, Token
from ipy_imgvar.line.parser import parse
from ipy_imgvar.line.sweeps import axes_of
from ipy_imgvar.settings import Secret, connection, keys_in
from ipy_imgvar.storage.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipy_imgvar.client import Client
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.line.arguments import Arguments

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "USAGE",
    "TerminalReader",
    "client_of",
    "help_of_engine",
    "sorted_words",
    "write_json",
]

#: Exit codes. 2 is what argparse uses for a wrong line, 130 what shells report after SIGINT (128 + 2).
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
#: Options by which the help of an engine depends on the line, by `dest`.
_HELPED: Final = ("engine", "api_base", "model")


def sorted_words(words: Iterable[str], options: Sequence[Option]) -> dict[str, list[Token]]:
    """Return the words of a command, sorted by option as `parser.parse` does."""
    return parse([Token(word, parts=(word,)) for word in words], options)


def write_json(described: Mapping[str, Any]) -> None:
    """Print an object as JSON."""
    text = json.dumps(described, ensure_ascii=False, indent=1)
    # With escapes only if standard output can't encode the text, or a terminal would obey part of it.
    streams.write(text if streams.takes(text) else json.dumps(described, indent=1))


def help_of_engine(tokens: Mapping[str, list[Token]]) -> str:
    """Return the help of the line's engine, or "" if a setting can't work: a run reports that."""
    engine, base, model = (tokens[dest][-1].text if tokens.get(dest) else None for dest in _HELPED)
    with contextlib.suppress(ConfigurationError):
        return engine_help(engine, connection(api_base=base), model)
    return ""


def client_of(arguments: Arguments) -> Client:
    """Return a client with the line's engine and the key of its key file."""
    from ipy_imgvar.client import Client

    connection = dict(arguments.connection)
    if "api_key_file" in connection:
        connection["api_key"] = _key_in(connection.pop("api_key_file"))
    return Client(arguments.engine, **connection)


def _key_in(path: str) -> Secret:
    """Return the one key that a file holds."""
    key, *others = keys_in(path, "write the key alone into it, or set OPENAI_API_KEY")
    if others:
        raise ConfigurationError(
            f"the key file {path} has {len(others) + 1} keys; a server is asked with one"
        )
    return key


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
        if is_address(text):
            from ipy_imgvar.storage.objects import matching

            return load_sources(matching(text))  # A shell expands the patterns of paths only.
        return load_sources(text)

    def many(self, token: Token) -> str:
        """Return the folder or the pattern unchanged."""
        return token.text

    def axes(self, token: Token) -> dict[str, list[Any]]:
        """Return the axis of a sweep; its values are texts, and whole numbers of a range."""
        return axes_of(token)
