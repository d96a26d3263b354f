"""What Tab offers in a magic's line and body: options, their values, variables that hold images, file names.

Nothing is evaluated: variables are judged by their type, and what stands in braces is left to IPython.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipy_imgvar.magic.values import Names
from ipy_imgvar.options import MAGIC_OPTIONS, Option, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Completion", "candidates"]

_MAGIC: Final = re.compile(r"(?:^|=)\s*(%%?)imagevariation(?=\s)")
#: The word before the cursor: a quote opens one that may hold spaces.
_WORD: Final = re.compile(r"""(?:"[^"]*|'[^']*|\\.|[^\s"'])*$""")
_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
#: A folder with more entries than this is not read to the end, so that Tab answers at once.
_MAX_ENTRIES: Final = 2000
_SIZES: Final = ("256", "512", "1024")


class Completion:
    """The matcher that is registered with a shell's completer."""

    def __init__(self, shell: InteractiveShell) -> None:
        from IPython.core.completer import context_matcher

        self._shell = shell

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

        before = _before_cursor(context)
        found = None if before is None else candidates(before, Names(self._shell.user_ns))
        if found is None:
            return {"completions": [], "suppress": False}
        word, texts = found
        return {
            "completions": [SimpleCompletion(text) for text in texts],
            "matched_fragment": word,
            # IPython would add every name and file that begins alike.
            "suppress": True,
            "do_not_suppress": set(),
        }


def _before_cursor(context: CompletionContext) -> str | None:
    """Return what stands between the magic's name and the cursor; of a cell's body, the line's part before it."""
    lines = context.full_text.split("\n")[: context.cursor_line + 1]
    line = lines[-1][: context.cursor_position]
    if match := _MAGIC.search(line):
        return line[match.end() :]
    if len(lines) > 1 and lines[0].lstrip().startswith("%%imagevariation"):
        return " " + line
    return None


def candidates(before: str, names: Names) -> tuple[str, list[str]] | None:
    """Return the word that is being written, and what it may become.

    Parameters
    ----------
    before
        The magic's line up to the cursor.
    names
        The variables that can be seen.

    Returns
    -------
    tuple of str and list of str, or None
        None leaves it to IPython, as in an expression.
    """
    match = _WORD.search(before)
    word = match[0] if match else ""
    words = before[: len(before) - len(word)].split()
    if before.rfind("{") > before.rfind("}"):
        return None
    option = spelling(words[-1]) if words and words[-1].startswith("-") else None
    if option is not None and option.kind != "flag":
        return word, list(_values(option, word, names))
    if word.startswith("-") and "=" in word:
        written, _, rest = word.partition("=")
        option = spelling(written)
        return (rest, list(_values(option, rest, names))) if option else None
    if word.startswith("-"):
        return word, _flags(word, words)
    return word, list(_images(word, names))


def _flags(word: str, words: list[str]) -> list[str]:
    """Return the options that begin so and are not there yet."""
    used = {option.dest for each in words if each.startswith("-") and (option := spelling(each))}
    free = [option for option in MAGIC_OPTIONS if option.repeatable or option.dest not in used]
    return [flag for option in free for flag in option.flags if flag.startswith(word)]


def _values(option: Option, word: str, names: Names) -> Iterator[str]:
    if option.choices:
        yield from (choice for choice in option.choices if choice.startswith(word))
    elif option.dest == "size":
        yield from (size for size in _SIZES if size.startswith(word))
    elif option.kind == "image":
        yield from _images(word, names)
    elif option.kind == "path":
        yield from _files(word, suffixes=())


def _images(word: str, names: Names) -> Iterator[str]:
    """Yield variables that hold images, then folders and image files, as they must be written."""
    if word.startswith("$"):
        yield from (f"${name}" for name in names.holding_images() if name.startswith(word[1:]))
        return
    if word[:1] not in ("'", '"'):
        yield from (name for name in names.holding_images() if name.startswith(word))
    yield from _files(word, suffixes=_SUFFIXES)


def _files(word: str, *, suffixes: tuple[str, ...]) -> Iterator[str]:
    quote = word[:1] if word[:1] in ("'", '"') else ""
    plain = word[len(quote) :] if quote else re.sub(r"\\([\s'\"])", r"\1", word)
    head, tail = os.path.split(plain)
    folder = Path(head or ".").expanduser()
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.name, entry.is_dir())
                for entry in islice(entries, _MAX_ENTRIES)
                if entry.name.startswith(tail)
            )
    except (OSError, ValueError):
        return
    for name, is_folder in found:
        if (name.startswith(".") and not tail) or not (is_folder or name.lower().endswith(suffixes or "")):
            continue
        text = f"{plain[: len(plain) - len(tail)]}{name}" + ("/" if is_folder else "")
        yield quote + text if quote else re.sub(r"([\s'\"])", r"\\\1", text)
