"""Values of tokens in a notebook: results of expressions, variables, and images from files and addresses.

For a word with two meanings it guesses none: the message names a spelling for each.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
from collections import ChainMap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines import engine_names
from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.images.formats import SEARCHED
from ipy_imgvar.images.kinds import looks_like_image
from ipy_imgvar.images.source import (
    IMAGE_KINDS,
    Source,
    load_sources,
    missing_file,
)
from ipy_imgvar.line.options import Expression, Option, Token
from ipy_imgvar.line.parser import spelling
from ipy_imgvar.line.sweeps import axes_of
from ipy_imgvar.results.files import FIELDS
from ipy_imgvar.results.history import history, last
from ipy_imgvar.settings import Secret
from ipy_imgvar.storage.addresses import is_address, local_path

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Names", "NotebookReader", "anything_of", "images_of", "value_of"]

#: A `$name` alone.
_VARIABLE: Final = re.compile(r"\$([^\W\d]\w*)")
#: A name with an attribute, an index or a call after it: an expression without its braces.
_INDEXED: Final = re.compile(r"(\$?)([^\W\d]\w*)([.\[(])")
#: Hyphens, dashes and the minus sign, which word processors and web pages put in place of "-".
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2212"
_DASHES_AT_START: Final = re.compile(f"[{_DASHES}-]+")
#: Typographic quotes, which they put in place of straight ones.
_CURLY: Final = "\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"
#: Variables that a message lists; more would not fit its one line.
_MAX_NAMED: Final = 6
_URL: Final = re.compile(r"(?i)(https?|data):")


class Names:
    """The variables that a line can use: those of the calling function, then the notebook's.

    An expression can call `last` and `history` without an import.
    """

    def __init__(self, user_ns: dict[str, Any], local_ns: Mapping[str, Any] | None = None) -> None:
        self._globals = user_ns
        self._variables = ChainMap[str, Any](dict(local_ns or {}), user_ns)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def __getitem__(self, name: str) -> Any:
        return self._variables[name]

    def mapping(self) -> Mapping[str, Any]:
        """Return all variables, without a copy."""
        return self._variables

    def holding_images(self) -> list[str]:
        """Return the names of the variables that hold images, without evaluating anything."""
        return sorted(
            name for name, value in self._copy().items() if name[:1] != "_" and looks_like_image(value)
        )

    def _copy(self) -> dict[str, Any]:
        # `|=` copies a dictionary in one step, while a loop would fail if another thread bound a name.
        merged: dict[str, Any] = {}
        for variables in reversed(self._variables.maps):
            merged |= variables
        return merged

    def evaluate(self, expression: Expression, *, private: bool = False) -> Any:
        """Return the value of an expression, as a cell would evaluate it.

        Parameters
        ----------
        expression
            The expression in the braces.
        private
            Leave the expression and the text of its exception out of the message: both may quote a key.

        Raises
        ------
        InvalidRequestError
            If the expression raises an exception.
        """
        try:
            visible = self._variables.new_child()
            visible.maps.append({"history": history, "last": last})
            value = eval(expression.code, self._globals, visible)  # noqa: S307 - the user's own code
            return format(value, expression.spec) if expression.spec else value
        except Exception as exc:  # An exception of the user's expression is a mistake in the line.
            if private:
                raise InvalidRequestError(
                    f"the expression can't be evaluated ({type(exc).__name__})"
                ) from None
            raise InvalidRequestError(
                f"{{{expression.code}}} can't be evaluated ({type(exc).__name__}: {exc})"
            ) from exc


class NotebookReader:
    """Reader of a line's words with the notebook's variables; see `arguments.Reader`."""

    returns = "returns a value"

    def __init__(self, names: Names) -> None:
        self._names = names

    def value(self, token: Token, option: Option) -> Any:
        """Return an object, or text."""
        return value_of(token, option, self._names)

    def images(self, token: Token) -> list[Source]:
        """Return the images of an object, or of one or more paths or URLs."""
        return images_of(token, self._names)

    def many(self, token: Token) -> Any:
        """Return an object, a folder or a pattern."""
        return anything_of(token, self._names)

    def axes(self, token: Token) -> dict[str, list[Any]]:
        """Return the axes of a sweep; a value is text, a whole number of a range, or an object."""
        return axes_of(token, self._names)


def value_of(token: Token, option: Option, names: Names) -> Any:
    """Return the value of an option: an object, or text.

    Raises
    ------
    InvalidRequestError
        If a variable is missing or an expression fails.
    """
    if option.kind == "key":
        return _key_of(token, names)
    reserved = (*FIELDS, *option.choices) if option.kind == "path" else ()
    is_object, value = _object_of(token, names, reserved, private=option.kind == "mapping")
    if is_object:
        return value
    if option.kind == "name":
        return _formatted(token, names)
    if not token.quoted and token.text in names and not _is_choice(token.text, option):
        return names[token.text]
    return _formatted(token, names, reserved)


def _is_choice(text: str, option: Option) -> bool:
    """Return whether a word is one of an option's choices, which win over a variable of that name."""
    # Called only for the name of a variable: the search for installed engines takes as long as loading the extension.
    return text.lower() in option.choices or (option.dest == "engine" and text in engine_names())


def _key_of(token: Token, names: Names) -> str | Secret:
    """Return the key from a variable, an expression or a prompt; refuse text, which the notebook saves."""
    is_object, value = _object_of(token, names, private=True)
    if not is_object and not token.quoted and token.text in names:
        is_object, value = True, names[token.text]
    if not is_object and token.text == "ask":
        return Secret(_typed_key("API key: "))
    if not is_object:
        raise InvalidRequestError(
            f"{token.option} was given as text, which is saved with the notebook: rotate that key; "
            "allowed: a variable that holds it, {expression}, or ask",
            field="api_key",
        )
    if not isinstance(value, (str, Secret)):
        raise InvalidRequestError(
            f"{token.option} leads to a {type(value).__name__}; allowed: a str or Secret", field="api_key"
        )
    return Secret(value)


def _typed_key(prompt: str) -> str:
    """Return the text that a person types without an echo."""
    try:
        return getpass.getpass(prompt)
    except Exception as exc:  # A front end without input raises its own kind of error.
        raise InvalidRequestError(f"the key can't be asked for here ({exc}); put it into a variable") from exc


def _object_of(
    token: Token, names: Names, reserved: tuple[str, ...] = (), *, private: bool = False
) -> tuple[bool, Any]:
    """Return whether the token is `{expr}` or `$name` alone, and the object; `reserved` names are no expressions."""
    if len(token.parts) != 1:
        return False, None
    part = token.parts[0]
    if isinstance(part, Expression):
        return (False, None) if part.code in reserved else (True, names.evaluate(part, private=private))
    match = _VARIABLE.fullmatch(part)
    if match is None:
        return False, None
    if match[1] not in names:
        if private:
            raise InvalidRequestError("there is no variable of the name after the $; define it first")
        raise InvalidRequestError(
            f"there is no variable {match[1]}; define it first, or write ./{part} for a file"
        )
    return True, names[match[1]]


def _formatted(token: Token, names: Names, reserved: tuple[str, ...] = ()) -> str:
    """Return a token as text, with the values of its expressions; `reserved` ones stay as they are."""
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
    """Return the images of a token: those of an object, or of one or more paths or URLs.

    Raises
    ------
    InvalidRequestError
        If the word is both a variable and a file, or neither, or holds no image.
    """
    is_object, value = _object_of(token, names)
    if is_object:
        return _images_in(value, token.text.strip("${} ") or "{}", names)
    text = _formatted(token, names)
    if not token.quoted and text.isidentifier() and text in names:
        if Path(text).exists():
            raise InvalidRequestError(
                f"{text} is a variable and a file; write {{{text}}} for the variable, ./{text} for the file"
            )
        return _images_in(names[text], text, names)
    return load_sources(_paths_of(text, names))


def anything_of(token: Token, names: Names) -> Any:
    """Return the source of a bulk run's images: an object, or a path or pattern that the run expands later.

    Raises
    ------
    InvalidRequestError
        If the word is both a variable and a file.
    """
    is_object, value = _object_of(token, names)
    if is_object:
        return value
    text = _formatted(token, names)
    if token.quoted or not text.isidentifier() or text not in names:
        return text
    if Path(text).exists():
        raise InvalidRequestError(
            f"{text} is a variable and a file; write {{{text}}} for the variable, ./{text} for the file"
        )
    return names[text]


def _images_in(value: Any, name: str, names: Names) -> list[Source]:
    """Return the images of a variable or expression; if it holds none, the message lists the variables that do."""
    try:
        return load_sources(value, name=name)
    except InvalidImageError as exc:
        near = names.holding_images()
        if not str(exc).endswith(IMAGE_KINDS) or not near:
            raise
        holds = f"{name} is {shown(value)} ({type(value).__name__}), which is no image"
        raise InvalidImageError(f"{holds}; variables that hold one: {', '.join(near[:_MAX_NAMED])}") from exc


def _paths_of(text: str, names: Names) -> list[str]:
    """Return the URL, the existing path, or the sorted matches of a pattern that a text names."""
    if _URL.match(text):
        return [text]
    if is_address(text):
        from ipy_imgvar.storage.objects import matching

        return matching(text)
    text = local_path(text)
    expanded = os.path.expanduser(text)  # noqa: PTH111 - Path would drop a leading "./"
    try:
        if Path(expanded).exists():
            return [expanded]
        matches = sorted(glob.glob(expanded, recursive=True)) if glob.has_magic(expanded) else []  # noqa: PTH207
    except (OSError, ValueError, re.error) as exc:  # A name that is too long, or with a null byte.
        reason = getattr(exc, "strerror", None) or exc  # The text of an OSError would repeat the name.
        raise InvalidImageError(f"{shown(text)} can't be a file name ({reason})") from exc
    if matches:
        return matches
    raise _nothing_found(text, names)


def _nothing_found(text: str, names: Names) -> ImageVariationError:
    """Return the error for a word that names no file, with the spelling that the user may have meant."""
    indexed = _INDEXED.match(text)
    if indexed and (indexed[2] in names or indexed[2] in ("last", "history")):
        if not text.lower().endswith(SEARCHED):
            return InvalidImageError(
                f"there is no file {text}; for the Python expression write {{{text.removeprefix('$')}}}"
            )
        if indexed[1]:
            rest = text[indexed.end(2) :]
            return InvalidImageError(
                f"there is no file {text}; for the variable's text in a longer name write {{{indexed[2]}}}{rest}"
            )
    if hint := _misspelt(text):
        return InvalidImageError(f"there is no file {text}; {hint}")
    if glob.has_magic(text):
        return InvalidImageError(f"no file matches {text}; looked in {Path.cwd()}")
    if text.isidentifier():
        return InvalidImageError(
            f"there is no variable and no file {text}; define it first, or give the file's name with its extension"
        )
    return missing_file(Path(text))


def _misspelt(text: str) -> str:
    """Return advice on the right spelling of a word, or "" for a word that fits no known mistake."""
    hint = ""
    if text[:1] == "[":
        hint = "for a Python list write it in braces: {[first, second]}"
    elif text[:1] in _DASHES:
        name = _DASHES_AT_START.sub("", text)
        hint = f"an option begins with a plain - or --: {'-' if len(name) == 1 else '--'}{name}"
    elif text[:1] in _CURLY or text[-1:] in _CURLY:
        hint = f"curly quotes don't group; write it in plain ones: '{text.strip(_CURLY)}'"
    elif text[:1] == "-" and spelling(re.split(r"[\s=]", text)[0]) is not None:
        hint = "options stand in the first line, and outside of quotes"
    elif text == "?":
        hint = "for the options write --help"
    else:
        name, _, value = text.partition("=")
        if (option := spelling(name)) is not None:
            hint = f"for the option write {option.flags[-1]} {value}".strip()
    return hint
