"""The words of `--sweep NAME=VALUES`: texts, ranges of whole numbers, and a notebook's objects.

It reads the values and checks none of them but their number: `Client.sweep` does, for every interface.

In a magic's line the grammar has read the quotes, and each piece of a word says whether they protect it. A terminal's
word has only the quotes that the shell left, and so has a magic's word that stands in quotes as a whole. These are read
here as in a CSV file (RFC 4180): they enclose a value, and a doubled one stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.line.options import Expression, Token
from ipy_imgvar.request import STRENGTHS
from ipy_imgvar.sweep.axes import ordered, read_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ipy_imgvar.line.options import Piece

__all__ = ["Variables", "axes_of", "merged"]

#: Axes that a line may have: its table has rows and columns.
_MAX_AXES: Final = 2
_QUOTES: Final = ("'", '"')
#: A range of whole numbers. A seed has at most 19 digits; `int` raises its own error for a text of thousands.
_RANGE: Final = re.compile(r"(-?\d{1,20})\.\.(-?\d{1,20})")
#: A text that was meant as a range: digits, points and signs alone, with two points in a row.
_LIKE_A_RANGE: Final = re.compile(r"(?=.*\d)[-+.\d]*\.\.[-+.\d]*")
_VARIABLE: Final = re.compile(r"\$([^\W\d]\w*)")
#: Axes whose values are numbers or a few fixed words, so that any other bare word was meant as a variable.
_NUMERIC: Final = ("strength", "seed", "size")
_NOT_HERE: Final = "braces and $ are for a notebook; here, write the values"
_EXAMPLES: Final = "NAME=VALUES, such as strength=.2,.5,.85 or seed=1..4"


class Variables(Protocol):
    """The variables of a notebook."""

    def __contains__(self, name: object) -> bool:
        """Return whether there is a variable of this name."""

    def __getitem__(self, name: str) -> Any:
        """Return the value of a variable."""

    def evaluate(self, expression: Expression) -> Any:
        """Return the value of an expression."""


def axes_of(token: Token, names: Variables | None = None) -> dict[str, list[Any]]:
    """Return the axes that one word names, each with its values.

    Parameters
    ----------
    token
        The word after `--sweep`.
    names
        The variables that `{expr}` and `$name` can use; None in a terminal, which has none.

    Returns
    -------
    dict
        One axis, or those of a dictionary. A value is text, a whole number of a range, or any object of an expression.

    Raises
    ------
    InvalidRequestError
        If the word has no name, no value or an empty one, or can't be read.
    """
    pieces: Sequence[Piece] = token.pieces or [(char, False) for char in token.text]
    equals = next((at for at, (piece, _) in enumerate(pieces) if piece == "="), None)
    if equals is None:
        return _axes_of_dictionary(pieces, token, names)
    name, values = pieces[:equals], pieces[equals + 1 :]
    if not token.pieces or pieces[equals][1]:
        values = _unquoted(values, token)
    reader = _Values(_text(name, names).strip(), token, names)
    if not reader.name:
        raise _refusal(token, "")
    return {reader.name: reader.read(values)}


def merged(axes: Iterable[Mapping[str, list[Any]]], written: str) -> dict[str, list[Any]]:
    """Return the axes of all words of a line.

    Parameters
    ----------
    axes
        The axes of each word, as `axes_of` returns them.
    written
        The option as the user typed it.

    Raises
    ------
    InvalidRequestError
        If an axis is there twice, or there are more than two.
    """
    found: dict[str, list[Any]] = {}
    for several in axes:
        for name, values in several.items():
            if name in found:
                raise InvalidRequestError(
                    f"{written} {name} is given twice; allowed: once, such as {name}=A,B", field="sweep"
                )
            found[name] = values
    if len(found) > _MAX_AXES:
        raise InvalidRequestError(
            f"{written} names {len(found)} axes ({shown(', '.join(found))}); allowed: two in a line, "
            "more in Python: client.sweep(image, over={...})",
            field="sweep",
        )
    return found


def _refusal(token: Token, why: str) -> InvalidRequestError:
    """Return the error for a word that can't be read; `why` is "" where an example says enough."""
    return InvalidRequestError(
        f"{token.option} is {shown(token.text)}; {why or f'allowed: {_EXAMPLES}'}", field="sweep"
    )


def _axes_of_dictionary(
    pieces: Sequence[Piece], token: Token, names: Variables | None
) -> dict[str, list[Any]]:
    """Return the axes of a word without `=`: an expression or variable that is a dictionary, or a text with one."""
    if names is None:
        raise _refusal(token, _NOT_HERE if token.text[:1] in ("{", "$") else "")
    is_object, value = _object_in(pieces, token, names)
    if not is_object and not token.quoted and token.text in names:
        is_object, value = True, names[token.text]
    if not is_object:
        raise _refusal(token, "")
    if isinstance(value, str):  # a word that a program wrote
        return axes_of(Token(value, option=token.option))
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name.strip() for name in value):
        raise _refusal(token, "it has no =, so it must be a dictionary such as {axes}")
    if not value:
        raise _refusal(token, "the dictionary names no axis")
    return {name.strip(): read_values(name.strip(), _spread(values, token)) for name, values in value.items()}


class _Values:
    """Reader of the values of one axis."""

    def __init__(self, name: str, token: Token, names: Variables | None) -> None:
        self.name = name
        self._token = token
        self._names = names

    def read(self, pieces: Sequence[Piece]) -> list[Any]:
        """Return the values, of which commas outside of quotes separate one from the next."""
        written = list(_split(pieces))
        if written == [[]]:
            raise _refusal(self._token, f"{shown(self.name)} has no values; write them after the =")
        return read_values(self.name, chain.from_iterable(map(self._values, written)))

    def _values(self, pieces: list[Piece]) -> Iterable[Any]:
        """Return the values of one element: those of an object or a range, or its text."""
        if self._names is not None:
            is_object, value = _object_in(pieces, self._token, self._names)
            if is_object:
                return _spread(value, self._token)
        text = _text(pieces, self._names)
        if not text.strip():
            raise _refusal(
                self._token,
                "a value is empty; write A,B, without a space outside of quotes",
            )
        return [text] if any(protected for _, protected in pieces) else self._plain(text, pieces)

    def _plain(self, text: str, pieces: list[Piece]) -> Iterable[Any]:
        """Return the values of a text without quotes."""
        if self._names is None and (text[0] == "{" or _VARIABLE.fullmatch(text)):
            raise _refusal(self._token, _NOT_HERE)
        if self._is_variable(text):
            raise _refusal(self._token, f"{text} is a variable: write {self.name}={{{text}}}")
        if any(isinstance(piece, Expression) for piece, _ in pieces):
            return [text]
        return self._range(text) if ".." in text else [text]

    def _is_variable(self, text: str) -> bool:
        """Return whether a bare word can only be meant as a variable: its axis takes numbers."""
        return (
            self.name in _NUMERIC
            and text.isidentifier()
            and text.lower() not in STRENGTHS
            and self._names is not None
            and text in self._names
        )

    def _range(self, text: str) -> Iterable[Any]:
        match = _RANGE.fullmatch(text)
        if match is None:
            if _LIKE_A_RANGE.fullmatch(text):
                raise _refusal(
                    self._token, f"{shown(text)} is no range; allowed: two whole numbers, as in 1..4"
                )
            return [text]
        first, final = int(match[1]), int(match[2])
        if first > final:
            raise _refusal(self._token, f"{text} runs backwards; write {final}..{first}")
        return range(first, final + 1)


def _split(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces between commas, without the space around them; quotes protect both."""
    element: list[Piece] = []
    for piece, protected in (*pieces, (",", False)):
        if piece == "," and not protected:
            while element and _is_space(element[-1]):
                element.pop()
            yield element
            element = []
        elif element or not _is_space((piece, protected)):
            element.append((piece, protected))


def _is_space(piece: Piece) -> bool:
    return not piece[1] and isinstance(piece[0], str) and piece[0].isspace()


def _unquoted(pieces: Sequence[Piece], token: Token) -> list[Piece]:
    """Return pieces without the quotes around values, whose content is protected."""
    read: list[Piece] = []
    quote, at_start, after_quote = "", True, False
    pending = iter(range(len(pieces)))
    for at in pending:
        piece = pieces[at][0]
        if quote:
            doubled = piece == quote and at + 1 < len(pieces) and pieces[at + 1][0] == quote
            if doubled:
                next(pending)
            if piece == quote and not doubled:
                quote, after_quote = "", True
            else:
                read.append((piece, True))
        elif piece == ",":
            read.append((",", False))
            at_start, after_quote = True, False
        elif at_start and piece in _QUOTES and isinstance(piece, str):
            quote, at_start = piece, False
        elif after_quote and not (isinstance(piece, str) and piece.isspace()):
            raise _refusal(token, "a comma or the end follows a closing quote")
        else:
            read.append((piece, False))
            at_start = at_start and isinstance(piece, str) and piece.isspace()
    if quote:
        raise _refusal(token, f"the quote {quote} is never closed; close it")
    return read


def _object_in(pieces: Sequence[Piece], token: Token, names: Variables) -> tuple[bool, Any]:
    """Return whether the pieces are `{expr}` or `$name` alone, and the object."""
    if len(pieces) == 1 and isinstance(pieces[0][0], Expression):
        return True, names.evaluate(pieces[0][0])
    plain = all(isinstance(piece, str) and not protected for piece, protected in pieces)
    match = _VARIABLE.fullmatch(_text(pieces, names)) if plain else None
    if match is None:
        return False, None
    if match[1] not in names:
        raise _refusal(
            token, f"there is no variable {match[1]}; define it first, or write '${match[1]}' in quotes"
        )
    return True, names[match[1]]


def _text(pieces: Sequence[Piece], names: Variables | None) -> str:
    """Return pieces as one text, with the values of its expressions."""
    return "".join(
        piece if isinstance(piece, str) else str(piece if names is None else names.evaluate(piece))
        for piece, _ in pieces
    )


def _spread(value: Any, token: Token) -> Iterator[Any]:
    """Yield the values of an object: its elements, or the object itself if it has none."""
    if isinstance(value, Mapping):
        raise _refusal(token, "a dictionary stands alone: {axes}")
    if isinstance(value, (set, frozenset)):
        value = ordered(value)
    try:
        elements = iter([value] if isinstance(value, (str, bytes)) else value)
    except TypeError:
        elements = iter([value])
    yield from elements
