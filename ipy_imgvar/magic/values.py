"""Tokens become values: expressions are evaluated, variables looked up, files found.

Where two readings exist, none is guessed: the message names a spelling for each.
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.options import Expression, Option, Token
from ipy_imgvar.outfile import FIELDS
from ipy_imgvar.source import Source, load_sources, missing_file

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Names", "images_of", "value_of"]

_VARIABLE: Final = re.compile(r"\$([^\W\d]\w*)")
_INDEXED: Final = re.compile(r"([^\W\d]\w*)[.\[]")
_URL: Final = re.compile(r"(?i)(https?|data):")


class Names:
    """The variables a line can see: those of the calling function before the notebook's."""

    def __init__(self, user_ns: dict[str, Any], local_ns: Mapping[str, Any] | None = None) -> None:
        self._globals = user_ns
        self._locals = local_ns if local_ns is not None else user_ns

    def __contains__(self, name: str) -> bool:
        return name in self._locals or name in self._globals

    def __getitem__(self, name: str) -> Any:
        return self._locals[name] if name in self._locals else self._globals[name]

    def evaluate(self, expression: Expression, *, private: bool = False) -> Any:
        """Evaluate an expression as the cell would.

        Parameters
        ----------
        expression
            What stood in braces.
        private
            Keep the message of an exception back: it may quote a key.

        Raises
        ------
        InvalidRequestError
            If it raises anything.
        """
        try:
            value = eval(expression.code, self._globals, self._locals)  # noqa: S307 - the user's own code
            return format(value, expression.spec) if expression.spec else value
        except Exception as exc:  # Whatever the user's expression raises is a mistake in the line.
            reason = type(exc).__name__ if private else f"{type(exc).__name__}: {exc}"
            raise InvalidRequestError(f"{{{expression.code}}} can't be evaluated ({reason})") from exc


def value_of(token: Token, option: Option, names: Names) -> Any:
    """Return what an option's value means: an object, or text.

    Raises
    ------
    InvalidRequestError
        If a variable is missing or an expression fails.
    """
    if option.kind == "name":
        return token.text
    reserved = FIELDS if option.kind == "path" else ()
    found, value = _object_of(token, names, reserved)
    if found:
        return value
    if not token.quoted and token.text in names and token.text.lower() not in option.choices:
        return names[token.text]
    return _formatted(token, names, reserved)


def _object_of(token: Token, names: Names, reserved: tuple[str, ...] = ()) -> tuple[bool, Any]:
    """Return whether the token is wholly `{expr}` or `$name`, and that object."""
    if len(token.parts) != 1:
        return False, None
    part = token.parts[0]
    if isinstance(part, Expression):
        return (False, None) if part.code in reserved else (True, names.evaluate(part))
    match = _VARIABLE.fullmatch(part)
    if match is None:
        return False, None
    if match[1] not in names:
        raise InvalidRequestError(
            f"there is no variable {match[1]}; define it first, or write ./{part} for a file"
        )
    return True, names[match[1]]


def _formatted(token: Token, names: Names, reserved: tuple[str, ...] = ()) -> str:
    pieces = []
    for part in token.parts:
        if isinstance(part, str):
            pieces.append(part)
        elif part.code in reserved:
            pieces.append("{" + part.code + (f":{part.spec}" if part.spec else "") + "}")
        else:
            pieces.append(str(names.evaluate(part)))
    return "".join(pieces)


def images_of(token: Token, names: Names) -> list[Source]:
    """Return the images that one token stands for: those of an object, or of one or more paths or URLs.

    Raises
    ------
    InvalidRequestError
        If it is a variable and a file at once, or none of both, or holds no image.
    """
    found, value = _object_of(token, names)
    if found:
        return load_sources(value, name=token.text.strip("${}"))
    text = _formatted(token, names)
    if not token.quoted and text.isidentifier() and text in names:
        if Path(text).exists():
            raise InvalidRequestError(
                f"{text} is a variable and a file; write {{{text}}} for the variable, ./{text} for the file"
            )
        return load_sources(names[text], name=text)
    return load_sources(_paths_of(text, names))


def _paths_of(text: str, names: Names) -> list[str]:
    """Return the URL, the existing path, or the sorted matches of a pattern that a text names."""
    if _URL.match(text):
        return [text]
    expanded = os.path.expanduser(text)  # noqa: PTH111 - Path would drop a leading "./"
    try:
        if Path(expanded).exists():
            return [expanded]
        matches = sorted(glob.glob(expanded, recursive=True)) if glob.has_magic(expanded) else []  # noqa: PTH207
    except (OSError, ValueError, re.error) as exc:  # Too long for the file system, a null byte.
        raise InvalidImageError(f"{shown(text)} can't be a file name ({exc})") from exc
    if matches:
        return matches
    raise _nothing_found(text, names)


def _nothing_found(text: str, names: Names) -> ImageVariationError:
    indexed = _INDEXED.match(text)
    if indexed and indexed[1] in names:
        return InvalidImageError(f"there is no file {text}; for the Python expression write {{{text}}}")
    if glob.has_magic(text):
        return InvalidImageError(f"no file matches {text}; looked in {Path.cwd()}")
    if text.isidentifier():
        return InvalidImageError(
            f"there is no variable and no file {text}; define it first, or give the file's name with its extension"
        )
    return missing_file(Path(text))
