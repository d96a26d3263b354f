"""The command `imgvar`: its subcommands, its exit codes, and the one line for each error.

Standard output carries the result alone; notices, progress and errors go to standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from ipy_imgvar import streams
from ipy_imgvar.cli.bulk import bulk
from ipy_imgvar.cli.create import EXAMPLES, create
from ipy_imgvar.cli.terminal import FAILED, INTERRUPTED, OK, USAGE
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_HELP: Final = f"""imgvar makes variations of images. `python -m ipy_imgvar` is the same command.

Commands:
  create IMAGE... [options]           make variations and save them
  bulk DIR|PATTERN... --out-dir OUT   the same of many images; run it again to go on where it stopped
  serve [options]                     answer OpenAI's images API on this machine
  --version                           print the version

Examples:
{chr(10).join(f"  {line}" for line in EXAMPLES)}
  imgvar serve --port 8765                              then http://127.0.0.1:8765/v1 is a base for any client

`imgvar create --help`, `imgvar bulk --help` and `imgvar serve --help` list the options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv
        The words after `imgvar`; None takes the process's.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    streams.open_closed()
    try:
        return _command(words)
    except (InvalidRequestError, ConfigurationError) as exc:
        streams.say(str(exc))
        return USAGE
    except ImageVariationError as exc:
        streams.say(str(exc))
        return FAILED
    except KeyboardInterrupt as exc:
        streams.say(str(exc) or _interrupted())
        return INTERRUPTED
    finally:
        streams.flush()


def _interrupted() -> str:
    """Return the line that follows an interrupt: whether this process has stored pictures."""
    from ipy_imgvar.results.history import made_here

    if made_here() is None:
        return "interrupted; nothing was finished"
    return "interrupted; what was finished is in the store: python -c 'import ipy_imgvar; print(ipy_imgvar.last())'"


def _command(words: list[str]) -> int:
    command, *rest = words or ["--help"]
    if command in ("-h", "--help", "help"):
        streams.write(_HELP)
        return OK
    if command in ("-V", "--version"):
        from importlib.metadata import version

        streams.write(f"imgvar {version('ipy-imgvar')}")
        return OK
    if command == "create":
        return create(rest)
    if command == "bulk":
        return bulk(rest)
    if command == "serve":
        from ipy_imgvar.server import serve

        return serve(rest)
    raise InvalidRequestError(
        f"there is no command {shown(command)}; allowed: create, bulk, serve; see imgvar --help"
    )
