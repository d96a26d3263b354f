"""The grammar of a magic's line: quotes group words, braces hold Python; it splits and evaluates nothing.

Existing splitters don't fit: shlex drops the backslashes of Windows paths, IPython's `arg_split` keeps the quotes, and
both split `{table["a b"]}` in two.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.line.options import Expression, Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipy_imgvar.line.options import Piece

__all__ = ["split", "whole_line"]

_QUOTES: Final = "\"'"
#: A message does not quote a line that has one of these words, since it may hold a key.
_PRIVATE: Final = re.compile(r"(?i)key|secret|token|password|authorization|headers|query|body")


def split(line: str) -> list[Token]:
    r"""Split a line into tokens.

    Parameters
    ----------
    line
        The text after the magic's name. A backslash escapes a space or a quote and stands for itself otherwise; `{{`
        and `}}` are literal braces; a token that begins with `#` ends the line.

    Raises
    ------
    InvalidRequestError
        For a quote or a brace without its end, or braces that hold no Python expression.

    Examples
    --------
    >>> [token.text for token in split(r"'my cat.png' C:\data\a.png -n 4  # four")]
    ['my cat.png', 'C:\\data\\a.png', '-n', '4']
    """
    tokens = []
    reader = _Reader(line)
    while (token := reader.next_token()) is not None:
        tokens.append(token)
    return tokens


class _Reader:
    """Reads the tokens of a line one by one; `_at` is the index of the next character."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._at = 0

    def next_token(self) -> Token | None:
        line = self._line
        while self._at < len(line) and line[self._at].isspace():
            self._at += 1
        if self._at == len(line) or line[self._at] == "#":
            return None
        start, quote, quoted = self._at, "", False
        # The length of the part before the first quote or brace, such as `--user=`; None as long as there is neither.
        bare: int | None = None
        bare_end = False
        pieces: list[Piece] = []
        while self._at < len(line) and (quote or not line[self._at].isspace()):
            char, following = line[self._at], line[self._at + 1 : self._at + 2]
            if bare is None and char in "\"'{}":
                bare = self._at - start
            bare_end = False
            if char == "\\" and following and (following in _QUOTES or (following.isspace() and not quote)):
                pieces.append((following, True))
                self._at += 2
            elif char in _QUOTES and quote in ("", char):
                quote, quoted = ("" if quote else char), True
                self._at += 1
            elif char in "{}" and char == following:
                pieces.append((char, bool(quote)))
                self._at += 2
            elif char == "{":
                pieces.append((self._expression(), bool(quote)))
            else:
                pieces.append((char, bool(quote)))
                self._at += 1
                bare_end = not quote
        if quote:
            raise InvalidRequestError(
                f"the quote {quote} in {self._shown_from(start)} is never closed; close it, "
                f"or write \\{quote} for a literal one"
            )
        parts = [piece for piece, _ in pieces]
        head = line[start:][:bare] if quoted else ""
        text = "".join(map(_written, parts))
        return Token(text, quoted, tuple(_joined(parts)), head, bare_end, pieces=tuple(pieces))

    def _shown_from(self, start: int) -> str:
        """Return the rest of the line for a message, or words in its place if it may hold a key."""
        return "a value that may be a key" if _PRIVATE.search(self._line) else shown(self._line[start:])

    def _expression(self) -> Expression:
        """Read up to the first closing brace that completes a Python expression."""
        line, start = self._line, self._at
        end = line.find("}", start)
        while end >= 0:
            expression = _as_expression(line[start + 1 : end])
            if expression is not None:
                self._at = end + 1
                return expression
            end = line.find("}", end + 1)
        problem = "holds no Python expression" if "}" in line[start:] else "has no closing }"
        raise InvalidRequestError(f"{self._shown_from(start)} {problem}; write {{{{ for a literal brace")


def _as_expression(text: str) -> Expression | None:
    """Return the expression in the braces, with a format after its colon; None if it is no Python."""
    if _compiles(text):
        return Expression(text.strip())
    if _is_dictionary("{" + text + "}"):
        return Expression("{" + text + "}")
    code, colon, spec = text.rpartition(":")
    return Expression(code.strip(), spec) if colon and _compiles(code) else None


def _compiles(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Evaluating it gives the SyntaxWarning again, then for the user.
            compile(code.strip(), "<imagevariation>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def _is_dictionary(code: str) -> bool:
    """Return whether the braces are those of a dictionary, whose keys are written out: `{x:3}` is a format of `x`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code.strip(), "<imagevariation>", "eval")
            compile(tree, "<imagevariation>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return isinstance(tree.body, ast.Dict) and all(isinstance(key, ast.Constant) for key in tree.body.keys)


def _written(piece: str | Expression) -> str:
    """Return a piece as it stood in the line."""
    if isinstance(piece, str):
        return piece
    return "{" + piece.code + (f":{piece.spec}" if piece.spec else "") + "}"


def _joined(pieces: Sequence[str | Expression]) -> list[str | Expression]:
    """Join neighbouring characters into texts; expressions stay apart."""
    joined: list[str | Expression] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def whole_line(line: str) -> Token:
    """Return the token of a line of a cell's body: its text, or an expression if braces enclose all of it."""
    if line[:1] == "{" and line[-1:] == "}" and (expression := _as_expression(line[1:-1])):
        return Token(line, parts=(expression,))
    return Token(line, parts=(line,))
