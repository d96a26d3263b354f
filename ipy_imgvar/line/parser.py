"""The parser that sorts the words of a line by option, for the magic and the command line.

Values stay `Token`s; a `Reader` of `arguments` evaluates them.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.line.options import MAGIC_OPTIONS, OPTIONS, Expression, Option, Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["is_option", "parse", "spelling"]

#: Spellings of PSOpenAI's parameter for the image, which the parser accepts and drops: images need no option here.
_IMAGE_SPELLINGS: Final = ("image", "file")
#: After this word every word is an image, as in POSIX commands (Utility Syntax Guideline 10).
_IMAGES_FOLLOW: Final = "--"
#: The start of a negative number, which is a value and no option.
_NUMBER: Final = re.compile(r"-\.?\d")
#: The interfaces of `Option.places` as a person calls them.
_COMMANDS: Final = {"magic": "%imagevariation", "cli": "imgvar create", "bulk": "imgvar bulk"}


def _key(spelling: str) -> str:
    """Return a spelling without dashes, underscores and case, so that all its variants are equal."""
    return re.sub(r"[-_]", "", spelling).lower()


def spelling(written: str, options: Sequence[Option] = MAGIC_OPTIONS) -> Option | None:
    """Return the option with this spelling, or None."""
    return next((option for option in options if _key(written) in map(_key, option.flags)), None)


def is_option(token: Token) -> bool:
    """Return whether a token looks like an option; a negative number, a quoted word and "-" do not."""
    head = token.head
    if token.quoted and "=" not in head:
        return False  # part of a name in quotes, such as -"dash.png"
    return head[:1] == "-" and len(token.text) > 1 and not _NUMBER.match(head)


def parse(tokens: Iterable[Token], options: Sequence[Option] = MAGIC_OPTIONS) -> dict[str, list[Token]]:
    """Sort the tokens of a line into images and option values.

    Parameters
    ----------
    tokens
        The words, options and images in any order; `--option=value` counts as two. All words after `--` are images.
    options
        The allowed options.

    Returns
    -------
    dict
        The tokens under each option's `dest`, an empty list for a flag; under "image", the images.

    Raises
    ------
    InvalidRequestError
        For an unknown option, an option without its value, or an option twice.
    """
    spellings = {_key(flag): option for option in options for flag in option.flags}
    by_option: dict[str, list[Token]] = {"image": []}
    words = iter(tokens)
    for token in words:
        if token.head == _IMAGES_FOLLOW and not token.quoted:
            by_option["image"] += words
        elif not is_option(token):
            by_option["image"].append(token)
        else:
            _read_option(token, words, spellings, by_option)
    return by_option


def _read_option(
    token: Token, words: Iterator[Token], spellings: dict[str, Option], by_option: dict[str, list[Token]]
) -> None:
    """Add an option, with its value from this word or the next one, to `by_option`."""
    written, equals, rest = token.text.partition("=")
    key = _key(written)
    if key in _IMAGE_SPELLINGS:
        by_option["image"] += [_after(token, len(written) + 1)] if equals else []
        return
    option = spellings.get(key)
    if option is None:
        raise _unknown(written, spellings)
    if option.dest in by_option and not option.repeatable:
        raise InvalidRequestError(f"{written} is given twice; allowed: once", field=option.dest)
    if option.kind == "flag":
        if equals:
            raise InvalidRequestError(f"{written} takes no value; received {shown(rest)}", field=option.dest)
        by_option[option.dest] = []
        return
    value = _after(token, len(written) + 1) if equals else next(words, None)
    if value is None or (not equals and is_option(value)):
        raise InvalidRequestError(f"{written} needs a value; see --help", field=option.dest)
    by_option.setdefault(option.dest, []).append(replace(value, option=written))


def _after(token: Token, start: int) -> Token:
    """Return the value of `--option=value`: the token without its first `start` characters, the unquoted name."""
    head = token.parts[0] if token.parts else token.text
    rest: tuple[str | Expression, ...] = token.parts[1:]
    if isinstance(head, str) and head[start:]:
        rest = (head[start:], *rest)
    return Token(
        token.text[start:],
        token.quoted,
        rest,
        token.bare[start:],
        token.bare_end,
        pieces=token.pieces[start:],
    )


def _unknown(written: str, spellings: dict[str, Option]) -> InvalidRequestError:
    if option := spelling(written, OPTIONS):
        commands = " and ".join(_COMMANDS[place] for place in option.places)
        return InvalidRequestError(f"{written} is an option of {commands}; here, --help lists the options")
    # 0.5, below difflib's 0.6: the spellings have no dashes here, so short ones still match after one mistake.
    near = difflib.get_close_matches(_key(written), spellings, n=1, cutoff=0.5)
    hint = f"; did you mean {_spelled(near[0], spellings[near[0]])}?" if near else ""
    if re.fullmatch(r"-[a-zA-Z]\d+(x\d+)?", written) and written[1].lower() in spellings:
        hint = f"; write {written[:2]} {written[2:]}"
    return InvalidRequestError(
        f"there is no option {written}{hint}; --help lists them, and -- before it makes it a file name"
    )


def _spelled(key: str, option: Option) -> str:
    """Return the option's spelling that has this key, with its dashes."""
    return next(flag for flag in option.flags if _key(flag) == key)
