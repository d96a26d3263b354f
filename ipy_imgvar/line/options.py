"""The table of options, from which parser, help, completion and the table of docs/magic.md are made.

The magic and the command line share it. `VariationRequest` checks the values; this module has only the rules for
`NAME=VALUE` texts and for the names of variables.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "MAGIC_OPTIONS",
    "OPTIONS",
    "Expression",
    "Option",
    "Piece",
    "Token",
    "bindable",
    "named_values",
    "quote",
    "table",
]

#: The ways to read a value; see `Option.kind`.
Kind = Literal["flag", "value", "choice", "name", "image", "path", "key", "mapping", "axes"]


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a line.

    Parameters
    ----------
    text
        The word without its quotes.
    quoted
        Part of the word is in quotes or escaped, so it is text and never a variable's name.
    parts
        The pieces of the word: literal text, and the expressions in braces.
    bare
        The part of a quoted token before its first quote or brace: `--user=` of `--user="A B"`.
    bare_end
        The last character of a quoted token stands outside of quotes.
    option
        For an option's value, the option as the user typed it.
    pieces
        The characters of the word without its quotes, and its expressions, each with whether quotes or a backslash
        protect it; empty for a word whose quotes nothing has read, as a shell passes it.
    """

    text: str
    quoted: bool = False
    parts: tuple[str | Expression, ...] = ()
    bare: str = ""
    bare_end: bool = False
    option: str = ""
    pieces: tuple[Piece, ...] = ()

    @property
    def head(self) -> str:
        """The part before any quote, which may be an option's name."""
        return self.bare if self.quoted else self.text


@dataclass(frozen=True, slots=True)
class Expression:
    """A Python expression in braces, and the format after its colon, or ""."""

    code: str
    spec: str = ""


#: A character or an expression of a word, and whether quotes or a backslash protect it.
Piece = tuple[str | Expression, bool]


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Parameters
    ----------
    dest
        The name of the value, as `Client.variations` spells it where it takes it.
    flags
        Its spellings, the usual one first. The parser ignores dashes, underscores and case.
    kind
        The way to read its value: a flag has none, a name is never looked up, a choice wins over a variable of that
        name, an image is any kind of image, a path may have fields, a key is never text, a mapping is a dictionary,
        axes are names with values.
    metavar
        The placeholder of the value in the help.
    group
        The heading under which the help lists it.
    help
        Its effect, in one line.
    peer
        The parameter of PSOpenAI's `Request-ImageVariation` with the same effect, or "".
    choices
        The words that a choice allows; for a path, fields beside those of every path.
    repeatable
        A line may have it more than once.
    places
        The interfaces that have the option: "magic", "cli" (`imgvar create`), "bulk" (`imgvar bulk`).
    helps
        The effect as the help of such an interface puts it, where `help` speaks of what it does not have.
    """

    dest: str
    flags: tuple[str, ...]
    kind: Kind
    metavar: str
    group: str
    help: str
    peer: str = ""
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    places: tuple[str, ...] = ("magic", "cli")
    helps: Mapping[str, str] = field(default_factory=dict, hash=False)


#: Values of `Option.places`, and the headings of the help.
_NOTEBOOK, _TERMINAL = ("magic",), ("cli",)
_MAKE, _GET, _SHOW, _ASK = "What is made", "What you get", "What is shown", "Where it is asked for"

OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        "n", ("-n", "--number-of-images"), "value", "N", _MAKE,
        "pictures for each image, 1 to 10", "-NumberOfImages",
    ),
    Option("size", ("-s", "--size"), "value", "SIZE", _MAKE, "256, 512, 1024 or WIDTHxHEIGHT in pixels", "-Size"),
    Option(
        "strength", ("--strength",), "choice", "HOW", _MAKE,
        "how far from the source: subtle, medium, strong or 0 to 1", choices=("subtle", "medium", "strong"),
    ),
    Option("seed", ("--seed",), "value", "SEED", _MAKE, "a whole number; the same one makes the same pictures again"),
    Option("index", ("--index",), "value", "N", _MAKE, "with --seed: picture N of that run alone, 1 to 10"),
    Option(
        "fit", ("--fit",), "choice", "FIT", _MAKE,
        "for another shape: crop, pad, stretch, or retarget (patch)",
        choices=("crop", "pad", "stretch", "retarget"),
    ),
    Option(
        "mask", ("--mask",), "image", "IMAGE", _MAKE, "what stays in place: white or opaque, in the image's shape",
    ),
    Option(
        "prompt", ("--prompt",), "value", "TEXT", _MAKE, "what to make of it, for an engine that takes one",
    ),
    Option(
        "engine", ("--engine",), "choice", "NAME", _MAKE,
        "patch, openai or diffusers; left out: openai if a key or base is set",
    ),
    Option("model", ("--model",), "value", "NAME", _MAKE, "the engine's model; left out: its default"),
    Option(
        "options", ("--option",), "value", "NAME=VALUE", _MAKE,
        "what only one engine knows: flip=false, quality=high, steps=8", repeatable=True,
    ),
    Option(
        "sweep", ("--sweep",), "axes", "NAME=VALUES", _MAKE,
        "each of the values; twice for a table: strength=.2,.5,.85 seed=1..4", repeatable=True,
    ),
    Option("yes", ("--yes",), "flag", "", _MAKE, "with --sweep: go on also above 64 pictures"),
    Option("user", ("--user",), "value", "ID", _ASK, "an id of the end user, for servers that take one", "-User"),
    Option(
        "timeout", ("--timeout", "--timeout-sec"), "value", "SECONDS", _ASK,
        "for one request, or one run on this machine; 0 is no limit", "-TimeoutSec",
    ),
    Option(
        "api_base", ("--api-base",), "value", "URL", _ASK,
        "the server, such as http://localhost:8000/v1; default OpenAI", "-ApiBase",
    ),
    Option(
        "api_key", ("--api-key",), "key", "KEY", _ASK,
        "{expr}, $name or a variable that holds it, or ask; never the key", "-ApiKey", places=_NOTEBOOK,
    ),
    Option(
        "api_key_file", ("--api-key-file",), "value", "PATH", _ASK,
        "a file that holds the key", "-ApiKey", places=_TERMINAL,
    ),
    Option(
        "organization", ("--organization", "--org-id"), "value", "ID", _ASK,
        "sent as OpenAI-Organization", "-Organization",
    ),
    Option("project", ("--project",), "value", "ID", _ASK, "sent as OpenAI-Project"),
    Option(
        "route", ("--route",), "choice", "ROUTE", _ASK, "variations or edits; left out: the one that fits",
        choices=("variations", "edits"),
    ),
    Option("stream", ("--stream",), "flag", "", _ASK, "show first looks while it is made (edits)"),
    Option(
        "max_retry_count", ("--max-retry-count", "--retries"), "value", "N", _ASK,
        "try again up to N times after a 429 or 5xx; default 0", "-MaxRetryCount",
    ),
    Option(
        "extra_headers", ("--extra-headers", "--additional-headers"), "mapping", "DICT", _ASK,
        "further headers; they win over ours", "-AdditionalHeaders",
    ),
    Option(
        "extra_query", ("--extra-query", "--additional-query"), "mapping", "DICT", _ASK,
        "further query parameters", "-AdditionalQuery",
    ),
    Option(
        "extra_body", ("--extra-body", "--additional-body"), "mapping", "DICT", _ASK,
        "further fields; they win over ours", "-AdditionalBody",
    ),
    Option(
        "response_format", ("-f", "--response-format", "--format"), "choice", "FORM", _GET,
        "return url, base64, byte, image or array, not the Variations", "-ResponseFormat",
        choices=("url", "base64", "b64_json", "byte", "bytes", "image", "array"),
    ),
    Option(
        "out", ("-o", "--out"), "name", "NAME", _GET,
        "bind what is returned to this variable", "assignment", places=_NOTEBOOK,
    ),
    Option(
        "out_file", ("--out-file",), "path", "PATH", _GET,
        "save as png, jpg or webp; {i} numbers several, {stem} names the image", "-OutFile",
    ),
    Option(
        "out_dir", ("--out-dir",), "value", "DIR", _GET,
        "many images: pictures, a ledger and index.html; the same line again goes on",
        places=("magic", "bulk"),
        helps={
            "bulk": "a folder, or an address such as s3://bucket/out: pictures, a ledger and index.html; the same "
            "line again goes on"
        },
    ),
    Option(
        "max_workers", ("--workers",), "value", "N", _GET,
        "with --out-dir: images at a time; left out: what suits the engine", places=("magic", "bulk"),
        helps={"bulk": "images at a time; left out: what suits the engine"},
    ),
    Option(
        "scheduler", ("--scheduler",), "value", "URL", _GET, "with --out-dir: work on this Dask cluster",
        places=("bulk",), helps={"bulk": "work on this Dask cluster"},
    ),
    Option(
        "batch", ("--batch",), "flag", "", _GET,
        "with --out-dir: in batches, at half price within a day; the same line again goes on", places=("bulk",),
        helps={"bulk": "in a server's batches, within a day; OpenAI asks half its price; the same line again goes on"},
    ),
    Option(
        "status", ("--status",), "flag", "", _GET, "with --batch: how far the batches are; begins none",
        places=("bulk",),
    ),
    Option(
        "cancel", ("--cancel",), "flag", "", _GET,
        "with --batch: end the batches; the next --batch fetches what they finished", places=("bulk",),
    ),
    Option(
        "again", ("--again",), "flag", "", _GET, "with --sweep or --out-dir: make again what an earlier run finished",
        helps={
            "cli": "with --sweep: make again what an earlier run finished",
            "bulk": "make again what an earlier run finished",
        },
    ),
    Option(
        "dry_run", ("--dry-run",), "flag", "", _GET,
        "show what would be made, sent, written and downloaded; do nothing",
    ),
    Option(
        "columns", ("--columns",), "value", "N", _SHOW, "pictures in a row; left out: as many as fit", places=_NOTEBOOK,
    ),
    Option("verbose", ("--verbose",), "flag", "", _SHOW, "say what is asked and what comes back", "-Verbose"),
    Option("history", ("--history",), "flag", "", _SHOW, "what was made so far, as a table", places=_NOTEBOOK),
    Option(
        "unload", ("--unload",), "flag", "", _SHOW,
        "free the memory of the models that were loaded, and say which", places=_NOTEBOOK,
    ),
    Option(
        "panel", ("--panel",), "flag", "", _SHOW, "open the panel, with this image and these settings",
        places=_NOTEBOOK,
    ),
    Option(
        "basic", ("--basic",), "flag", "", _SHOW,
        "with --panel: fewer controls, for a server without anywidget", places=_NOTEBOOK,
    ),
    Option(
        "json", ("--json",), "flag", "", _SHOW, "print a JSON object that describes the pictures", places=_TERMINAL,
        helps={"bulk": "with --dry-run, --status or --cancel: print a JSON object"},
    ),
    Option(
        "quiet", ("--quiet",), "flag", "", _SHOW, "show nothing, as a ; at the end does; the value stays",
        helps={"cli": "no progress, and nothing said before the run"},
    ),
    Option("help", ("-h", "--help"), "flag", "", _SHOW, "show this", "Get-Help"),
)  # fmt: skip

#: Variables that IPython sets in a notebook and reads again; binding one would break it.
_IPYTHON: Final = ("In", "Out", "get_ipython")
#: The options of the magic.
MAGIC_OPTIONS: Final = tuple(option for option in OPTIONS if "magic" in option.places)


def table(options: Sequence[Option] = OPTIONS) -> str:
    """Return the documentation's table of the options, in Markdown."""
    rows = [("option", "meaning", "Request-ImageVariation"), ("---", "---", "---")]
    rows.append(
        ("`IMAGE...`", "path, pattern, URL, variable, `$name` or `{expression}`", "`-Image`, alias `File`")
    )
    for option in options:
        flags = ", ".join(f"`{flag}`" for flag in option.flags) + (
            f" `{option.metavar}`" if option.metavar else ""
        )
        peer = f"`{option.peer}`" if option.peer.startswith(("-", "Get-")) else option.peer or "none"
        rows.append((flags, option.help, peer))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def quote(text: str) -> str:
    """Return a text as a word that the magic's grammar reads back unchanged.

    Examples
    --------
    >>> quote("my cat.png")
    "'my cat.png'"
    """
    if not text.isprintable() or text[:1] == "$" or any(char in text for char in "{}\\\"'"):
        # A Python literal in braces can hold every character, braces and both kinds of quotes included.
        return "{" + repr(text) + "}"
    return f"'{text}'"


def named_values(values: Iterable[Any], written: str = "--option") -> dict[str, Any]:
    """Merge `NAME=VALUE` texts and dictionaries; `written` is the option as the user typed it.

    Raises
    ------
    InvalidRequestError
        For a text without a name and an equals sign.
    """
    named: dict[str, Any] = {}
    for value in values:
        if isinstance(value, Mapping):
            named |= value
            continue
        name, equals, text = value.partition("=") if isinstance(value, str) else ("", "", "")
        if not equals or not name.strip():
            raise InvalidRequestError(
                f"{written} is {shown(value)}; allowed: NAME=VALUE, such as flip=false", field="options"
            )
        named[name.strip()] = text.strip()
    return named


def bindable(name: Any, what: str) -> str:
    """Return the name of a variable that an option or the panel may bind.

    Refuses Python's built-in names: a cell with `list = ...` replaces the name on purpose, but `-o list` hardly does,
    and later cells would fail far from the cause.

    Parameters
    ----------
    name
        The value given as the name; of any type.
    what
        Its name in a message: the option as the user typed it, or "the variable".

    Raises
    ------
    InvalidRequestError
        If it is no name, or a name of Python or IPython.
    """
    # A name of underscores alone is IPython's last output: binding it would freeze it.
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or not name.strip("_"):
        raise InvalidRequestError(
            f"{what} is {shown(name)}; allowed: the name of a variable, such as pictures", field="out"
        )
    if hasattr(builtins, name) or name in _IPYTHON:
        raise InvalidRequestError(
            f"{what} is {name}, a name of Python's own; choose another, such as pictures", field="out"
        )
    return name
