"""Tab completion in a magic's line and body: options, their values, variables that hold images, and file names.

It evaluates nothing: it judges variables by their type, and leaves expressions in braces to IPython.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engine import Capabilities
from ipy_imgvar.engines import capabilities_of, default_engine, engine_names
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.images.formats import SEARCHED
from ipy_imgvar.line.grammar import split
from ipy_imgvar.line.options import MAGIC_OPTIONS, Option
from ipy_imgvar.line.parser import parse, spelling
from ipy_imgvar.magic.values import Names
from ipy_imgvar.settings import Connection, connection
from ipy_imgvar.sweep.axes import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Completion", "candidates"]

#: The magic's name at the start of a line or after an assignment's `=`, and the blank that ends it.
_MAGIC: Final = re.compile(r"(?:^|=)\s*(%%?)imagevariation(?=\s)")
_QUOTES: Final = ("'", '"')
#: Entries of a folder that Tab reads at most, so that it answers at once.
_MAX_ENTRIES: Final = 2000
#: The sizes of the images API for variations, in pixels (https://platform.openai.com/docs/api-reference/images).
_SIZES: Final = ("256", "512", "1024")


class Completion:
    """A matcher in a shell's completer.

    Parameters
    ----------
    shell
        The shell whose completer gets the matcher, and whose variables it offers.
    engine
        Returns the configured engine's name, or "".
    """

    def __init__(self, shell: InteractiveShell, engine: Callable[[], str] = str) -> None:
        self._shell = shell
        self._engine = engine
        #: The completer's list of matchers with ours in it; an own list for a shell without completion.
        self._matchers: list[Any] = []
        completer = shell.Completer
        try:
            from IPython.core.completer import context_matcher
        except ImportError:  # IPython 7, which Colab has
            self._matcher: Any = self._match_line
            self._matchers = completer.magic_arg_matchers if completer is not None else []
        else:
            # A function of its own, since the decorator sets attributes, which a bound method refuses.
            @context_matcher(identifier="ipy_imgvar")  # type: ignore[untyped-decorator]
            def matcher(context: CompletionContext) -> SimpleMatcherResult:
                return self._match(context)

            self._matcher = matcher
            self._matchers = completer.custom_matchers if completer is not None else []
        self._matchers.append(self._matcher)

    def close(self) -> None:
        """Remove the matcher."""
        if self._matcher in self._matchers:
            self._matchers.remove(self._matcher)

    def _match_line(self, line: str) -> list[str]:
        """Return what IPython 7 puts in place of its token before the cursor; nothing in a cell's body."""
        completer: Any = self._shell.Completer
        before: str = completer.text_until_cursor
        match = _MAGIC.search(before)
        offers = (
            candidates(before[match.end() :], Names(self._shell.user_ns), engine=self._engine())
            if match
            else None
        )
        if offers is None:
            return []
        word, texts = offers
        # Its token begins after the last quote, blank, "$", "=" and the like; the word may begin earlier.
        token = completer.splitter.split_line(line, len(before))
        head = word.removesuffix(token) if token else word
        return [text[len(head) :] for text in texts if text.startswith(head)]

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        from IPython.core.completer import SimpleCompletion

        names = Names(self._shell.user_ns)
        before = _before_cursor(context)
        offers = None
        if before is not None:
            offers = candidates(before[0], names, in_body=before[1], engine=self._engine())
        if offers is None:
            return {"completions": [], "suppress": False}
        word, texts = offers
        return {
            "completions": [SimpleCompletion(text, type=_kind(text, names)) for text in texts],
            "matched_fragment": word,
            # Else IPython adds every name and file with the same start.
            "suppress": True,
            "do_not_suppress": set(),
        }


def _kind(text: str, names: Names) -> str:
    """Return the kind of an offer, which a front end shows beside it."""
    if text[:1] == "-":
        return "option"
    if text.removeprefix("$") in names:
        return "instance"
    return "path" if "." in text or "/" in text else "value"


def _before_cursor(context: CompletionContext) -> tuple[str, bool] | None:
    """Return the text before the cursor, and whether it is in a cell's body; None outside of the magic."""
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
        # If the line has an image, the body is a prompt, for which there is nothing to offer.
        return None if _names_image(lines[0][match.end() :]) else (line, True)
    return None


def _names_image(line: str) -> bool:
    """Return whether a line has an image; False if it can't be read."""
    try:
        return bool(parse(split(line))["image"])
    except InvalidRequestError:
        return False


def candidates(
    before: str, names: Names, *, in_body: bool = False, engine: str = ""
) -> tuple[str, list[str]] | None:
    """Return the word before the cursor, and the words that may replace it.

    Parameters
    ----------
    before
        The magic's line up to the cursor, or a line of its body up to the cursor.
    names
        The variables that the line can use.
    in_body
        The text is from the body, where a whole line is one image without quotes.
    engine
        The engine of a line that names none; "" for the one that the settings choose.

    Returns
    -------
    tuple of str and list of str, or None
        None leaves the completion to IPython, as in an expression.
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
        offers = _values(option, word, names, _Line(words, names, engine))
    elif word[:1] == "-":
        offers = _flags(word, words)
    else:
        offers = list(_images(word, names))
    return word, offers


def _words(before: str) -> list[str]:
    """Split like the grammar, but keep quotes and backslashes; the last word is the one before the cursor."""
    # The grammar itself refuses an open quote or brace, which a line has while a person types.
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
    """Return the options that begin with `word` and that the line may still take."""
    used = {option.dest for each in words if each.startswith("-") and (option := spelling(each))}
    free = [option for option in MAGIC_OPTIONS if option.repeatable or option.dest not in used]
    return [flag for option in free for flag in option.flags if flag.startswith(word)]


class _Line:
    """The engine of a line, from the words before the cursor; it looks up settings only on demand."""

    def __init__(self, words: list[str], names: Names, engine: str) -> None:
        self._words = words
        self._names = names
        self._configured = engine

    def given(self, dest: str) -> str:
        """Return the text of an option's value, or ""."""
        for word, after in zip(self._words, [*self._words, ""][1:], strict=True):
            written, equals, value = word.partition("=")
            option = spelling(written) if word[:1] == "-" else None
            if option is not None and option.dest == dest:
                return (value if equals else after).strip("'\"")
        return ""

    def capabilities(self) -> Capabilities:
        """Return the capabilities of the line's engine; empty ones if the engine can't be loaded."""
        settings = Connection()
        with suppress(ConfigurationError):
            settings = connection(api_base=self.given("api_base") or None, namespace=self._names.mapping())
        if self.given("api_key"):
            settings = replace(settings, chosen=True)
        engine = self.given("engine") or self._configured or default_engine(settings)
        with suppress(ImageVariationError):
            return capabilities_of(engine, settings, self.given("model") or None)
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
    elif option.dest == "sweep":
        choices = _sweep_values(word, names, line)
    return [choice for choice in choices if choice.startswith(word)]


def _option_values(word: str, capabilities: Capabilities) -> Iterator[str]:
    """Yield NAME= for each of the engine's options; after a whole NAME=, NAME=VALUE for its choices."""
    for option in capabilities.options:
        if "=" not in word:
            yield f"{option.name}="
        elif word.startswith(f"{option.name}="):
            values = ("true", "false") if option.type is bool else option.choices
            yield from (f"{option.name}={value}" for value in values)


def _sweep_values(word: str, names: Names, line: _Line) -> Iterator[str]:
    """Yield NAME= for each axis; after a whole NAME=, and after each comma, the values of the option of that name."""
    axis, equals, written = word.partition("=")
    if not equals:
        yield from (f"{name}=" for name in (*FIELDS, *(each.name for each in line.capabilities().options)))
        return
    earlier, comma, last_value = written.rpartition(",")
    if axis in FIELDS:
        option = next(each for each in MAGIC_OPTIONS if each.dest == axis)
        values = _values(option, last_value, names, line)
    else:
        values = [each.partition("=")[2] for each in _option_values(f"{axis}=", line.capabilities())]
    taken = earlier.split(",")
    yield from (f"{axis}={earlier}{comma}{value}" for value in values if value not in taken)


def _images(word: str, names: Names, *, whole_line: bool = False) -> Iterator[str]:
    """Yield variables that hold images, then folders and image files, in the spelling that the grammar reads."""
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
            matches = sorted(
                (entry.name, entry.is_dir())
                for entry in islice(entries, _MAX_ENTRIES)
                if entry.name.startswith(tail)
            )
    except (OSError, ValueError, RuntimeError):  # RuntimeError: the user after a "~" has no home.
        return
    for name, is_folder in matches:
        if (name.startswith(".") and not tail) or not (is_folder or name.lower().endswith(suffixes or "")):
            continue
        text = f"{plain[: len(plain) - len(tail)]}{name}" + ("/" if is_folder else "")
        yield text if whole_line else _as_written(text, quote)


def _as_written(text: str, quote: str) -> str:
    """Return a path in the spelling that the grammar reads back."""
    text = text.replace("{", "{{").replace("}", "}}")
    if quote:
        return quote + text.replace(quote, "\\" + quote)
    escaped = re.sub(r"([\s'\"])", r"\\\1", text)
    # With one of these at its start, the word would be an option, a variable or a comment.
    return f"./{escaped}" if escaped[:1] in ("-", "$", "#") else escaped
