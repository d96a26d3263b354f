"""What Tab offers in a magic's line and body: options, their values, variables that hold images, file names.

Nothing is evaluated: variables are judged by their type, and what stands in braces is left to IPython.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipy_imgvar.engine import Capabilities
from ipy_imgvar.engines import capabilities_of, default_engine, engine_names
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.images.formats import SEARCHED
from ipy_imgvar.line.grammar import split
from ipy_imgvar.line.options import MAGIC_OPTIONS, Option
from ipy_imgvar.line.parser import parse, spelling
from ipy_imgvar.magic.values import Names
from ipy_imgvar.settings import Connection, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Completion", "candidates"]

_MAGIC: Final = re.compile(r"(?:^|=)\s*(%%?)imagevariation(?=\s)")
_QUOTES: Final = ("'", '"')
#: A folder with more entries than this is not read to the end, so that Tab answers at once.
_MAX_ENTRIES: Final = 2000
#: The sizes that the images API had, which every engine takes.
_SIZES: Final = ("256", "512", "1024")


class Completion:
    """The matcher that is registered with a shell's completer.

    Parameters
    ----------
    shell
        Where it is registered, and whose variables it offers.
    engine
        Returns the name of the engine that is configured, or "".
    """

    def __init__(self, shell: InteractiveShell, engine: Callable[[], str] = str) -> None:
        from IPython.core.completer import context_matcher

        self._shell = shell
        self._engine = engine

        # The decorator sets attributes, which a bound method does not take.
        @context_matcher(identifier="ipy_imgvar")  # type: ignore[untyped-decorator]
        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        self._matcher = matcher
        if shell.Completer is not None:
            shell.Completer.custom_matchers.append(self._matcher)

    def close(self) -> None:
        """Remove the matcher."""
        if self._shell.Completer is not None and self._matcher in self._shell.Completer.custom_matchers:
            self._shell.Completer.custom_matchers.remove(self._matcher)

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        from IPython.core.completer import SimpleCompletion

        names = Names(self._shell.user_ns)
        before = _before_cursor(context)
        found = None
        if before is not None:
            found = candidates(before[0], names, in_body=before[1], engine=self._engine())
        if found is None:
            return {"completions": [], "suppress": False}
        word, texts = found
        return {
            "completions": [SimpleCompletion(text, type=_kind(text, names)) for text in texts],
            "matched_fragment": word,
            # IPython would add every name and file that begins alike.
            "suppress": True,
            "do_not_suppress": set(),
        }


def _kind(text: str, names: Names) -> str:
    """Return what a front end writes beside an offer."""
    if text[:1] == "-":
        return "option"
    if text.removeprefix("$") in names:
        return "instance"
    return "path" if "." in text or "/" in text else "value"


def _before_cursor(context: CompletionContext) -> tuple[str, bool] | None:
    """Return what stands before the cursor, and whether it is a line of a cell's body."""
    text = context.full_text.lstrip("\n")  # IPython drops empty lines before a cell magic
    skipped = context.full_text[: len(context.full_text) - len(text)].count("\n")
    lines = text.split("\n")[: context.cursor_line - skipped + 1]
    if not lines or context.cursor_line < skipped:
        return None
    line = lines[-1][: context.cursor_position]
    in_cell = len(lines) > 1 and lines[0].lstrip().startswith("%%")
    if not in_cell and (match := _MAGIC.search(line)):
        return line[match.end() :], False
    if in_cell and (match := _MAGIC.match(lines[0])) and match[1] == "%%":
        # Beside an image in the line, the body is a prompt, of which nothing is known.
        return None if _names_image(lines[0][match.end() :]) else (line, True)
    return None


def _names_image(line: str) -> bool:
    try:
        return bool(parse(split(line))["image"])
    except InvalidRequestError:
        return False


def candidates(
    before: str, names: Names, *, in_body: bool = False, engine: str = ""
) -> tuple[str, list[str]] | None:
    """Return the word that is being written, and what it may become.

    Parameters
    ----------
    before
        The magic's line up to the cursor, or that part of a line of its body.
    names
        The variables that can be seen.
    in_body
        A whole line is one image there, unquoted.
    engine
        The engine that answers a line that names none; "" for what the settings call for.

    Returns
    -------
    tuple of str and list of str, or None
        None leaves it to IPython, as in an expression.
    """
    if in_body:
        word = before.lstrip()
        in_braces = word.rfind("{") > word.rfind("}")
        return None if in_braces or word[:1] == "#" else (word, list(_images(word, names, whole_line=True)))
    words = _words(before)
    word = words.pop()
    commented = any(each[:1] == "#" for each in (*words, word))
    if commented or (word[:1] not in _QUOTES and word.rfind("{") > word.rfind("}")):
        return (word, []) if commented else None
    option = spelling(words[-1]) if words and words[-1][:1] == "-" else None
    if word[:1] == "-" and "=" in word and (option is None or option.kind == "flag"):
        written, _, word = word.partition("=")
        option = spelling(written)
        return (word, _values(option, word, names, _Line(words, names, engine))) if option else None
    if option is not None and option.kind != "flag":
        found = _values(option, word, names, _Line(words, names, engine))
    elif word[:1] == "-":
        found = _flags(word, words)
    else:
        found = list(_images(word, names))
    return word, found


def _words(before: str) -> list[str]:
    """Split as the grammar does, but keep quotes and backslashes; the last word is the one before the cursor."""
    words, quote, escaped, depth = [""], "", False, 0
    for char in before:
        if char.isspace() and not quote and not escaped and not depth:
            if words[-1]:
                words.append("")
            continue
        words[-1] += char
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = not quote
        elif char in _QUOTES and quote in ("", char):
            quote = "" if quote else char
        elif char in "{}" and not quote:
            depth = max(0, depth + (1 if char == "{" else -1))
    return words


def _flags(word: str, words: list[str]) -> list[str]:
    """Return the options that begin so and are not there yet."""
    used = {option.dest for each in words if each.startswith("-") and (option := spelling(each))}
    free = [option for option in MAGIC_OPTIONS if option.repeatable or option.dest not in used]
    return [flag for option in free for flag in option.flags if flag.startswith(word)]


class _Line:
    """What the words before the cursor say of the engine; nothing is looked up before it is asked for."""

    def __init__(self, words: list[str], names: Names, engine: str) -> None:
        self._words = words
        self._names = names
        self._configured = engine

    def given(self, dest: str) -> str:
        """Return the text of an option's value, or ""."""
        for word, after in zip(self._words, [*self._words[1:], ""], strict=True):
            written, equals, value = word.partition("=")
            option = spelling(written) if word[:1] == "-" else None
            if option is not None and option.dest == dest:
                return (value if equals else after).strip("'\"")
        return ""

    def capabilities(self) -> Capabilities:
        """Return what the engine of the line takes; nothing of one that can't be described."""
        found = Connection()
        with suppress(ConfigurationError):
            found = connection(api_base=self.given("api_base") or None, namespace=self._names.mapping())
        if self.given("api_key"):
            found = replace(found, chosen=True)
        engine = self.given("engine") or self._configured or default_engine(found)
        with suppress(ImageVariationError):
            return capabilities_of(engine, found, self.given("model") or None)
        return Capabilities()


def _values(option: Option, word: str, names: Names, line: _Line) -> list[str]:
    if option.kind == "image":
        return list(_images(word, names))
    if option.kind == "path":
        return list(_files(word, suffixes=()))
    choices: Iterable[str] = option.choices
    if option.dest == "size":
        choices = _SIZES
    elif option.dest == "engine":
        choices = engine_names()
    elif option.dest == "model":
        choices = line.capabilities().models
    elif option.dest == "options":
        choices = _option_values(word, line.capabilities())
    return [choice for choice in choices if choice.startswith(word)]


def _option_values(word: str, found: Capabilities) -> Iterator[str]:
    """Yield NAME= for each of the engine's options; once a name is written, NAME=VALUE for its choices."""
    for option in found.options:
        if "=" not in word:
            yield f"{option.name}="
        elif word.startswith(f"{option.name}="):
            values = ("true", "false") if option.type is bool else option.choices
            yield from (f"{option.name}={value}" for value in values)


def _images(word: str, names: Names, *, whole_line: bool = False) -> Iterator[str]:
    """Yield variables that hold images, then folders and image files, as they must be written."""
    if word.startswith("$"):
        yield from (f"${name}" for name in names.holding_images() if name.startswith(word[1:]))
        return
    if word[:1] not in _QUOTES:
        yield from (name for name in names.holding_images() if name.startswith(word))
    yield from _files(word, suffixes=SEARCHED, whole_line=whole_line)


def _files(word: str, *, suffixes: tuple[str, ...], whole_line: bool = False) -> Iterator[str]:
    quote = "" if whole_line else word[:1] if word[:1] in _QUOTES else ""
    plain = word[len(quote) :] if quote or whole_line else re.sub(r"\\([\s'\"])", r"\1", word)
    head, tail = os.path.split(plain)
    try:
        with os.scandir(Path(head or ".").expanduser()) as entries:
            found = sorted(
                (entry.name, entry.is_dir())
                for entry in islice(entries, _MAX_ENTRIES)
                if entry.name.startswith(tail)
            )
    except (OSError, ValueError, RuntimeError):  # RuntimeError: "~nobody" has no home.
        return
    for name, is_folder in found:
        if (name.startswith(".") and not tail) or not (is_folder or name.lower().endswith(suffixes or "")):
            continue
        text = f"{plain[: len(plain) - len(tail)]}{name}" + ("/" if is_folder else "")
        yield text if whole_line else _as_written(text, quote)


def _as_written(text: str, quote: str) -> str:
    """Write a path so that the grammar reads it back."""
    text = text.replace("{", "{{").replace("}", "}}")
    if quote:
        return quote + text.replace(quote, "\\" + quote)
    escaped = re.sub(r"([\s'\"])", r"\\\1", text)
    # A word that begins so would be an option, a variable or a comment.
    return f"./{escaped}" if escaped[:1] in ("-", "$", "#") else escaped
