"""`imgvar serve`: its options, its address and the keys that clients must send."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ipy_imgvar import streams
from ipy_imgvar.engines import OFFLINE
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.line.options import named_values
from ipy_imgvar.server.guard import Policy, is_loopback
from ipy_imgvar.server.limits import Limits
from ipy_imgvar.server.preparation import StoppedError, prepare, say
from ipy_imgvar.settings import keys_in, server_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["serve"]

#: The end of `imgvar serve --help`.
_EXAMPLES: Final = """\
examples:
  imgvar serve                                  on this machine, without a key
  imgvar serve --port 0 --engine patch          at any free port; the address is printed on stderr
  imgvar serve --engine diffusers --model klein --model sdxl    these two models and no other, loaded at the start
  IMGVAR_API_KEYS=k1,k2 imgvar serve --host 0.0.0.0
  curl http://127.0.0.1:8765/v1/images/variations -F image=@cat.png -F n=4 -F size=512x512
"""
#: Exit codes: 2 is for wrong arguments, as argparse has it, 130 a shell's for SIGINT (128 + 2).
_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser that refuses a wrong line in one line, as the other commands do; argparse prints the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise InvalidRequestError(f"{message}; see imgvar serve --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="imgvar serve",
        description="Answer OpenAI's images API: POST /v1/images/variations and /v1/images/edits, with any engine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where to listen (default: %(default)s, this machine only)")
    add("--port", type=_number(0, 65_535), default=8765, help="0: any free one (default: %(default)s)")
    add("--engine", default=OFFLINE, help="what makes the pictures (default: %(default)s)")
    add(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="a model to answer for, and no other; the first is the default (several: --model A --model B)",
    )
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the engine's own option, for requests that don't set it; imgvar create --help --engine NAME lists them",
    )
    add("--api-base", help="where a hosted engine asks; its key is read from OPENAI_API_KEY")
    add("--api-key-file", type=Path, help="the keys that clients must send, a line each; see IMGVAR_API_KEYS")
    add("--insecure", action="store_true", help="serve other machines without a key")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a name the server is asked by")
    _add_limits(parser)
    add("--quiet", action="store_true", help="log failures only, not every request")
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits, add = Limits(), parser.add_argument
    add(
        "--runs",
        type=_number(1, 256),
        default=limits.runs,
        help="runs at a time (default: one for each core)",
    )
    add(
        "--queue",
        type=_number(0, 10_000),
        default=limits.queue,
        help="requests that wait (default: %(default)s)",
    )
    add(
        "--max-upload",
        type=_number(1, 1000),
        default=64,
        metavar="MB",
        help="one request (default: %(default)s)",
    )
    add(
        "--timeout",
        type=_number(0, 86_400),
        default=int(limits.run_timeout_s),
        metavar="SECONDS",
        help="one run; 0: no limit (default: %(default)s)",
    )


def _number(low: int, high: int) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return number


def serve(arguments: Sequence[str] | None = None) -> int:
    """Run the server until a signal stops it.

    Parameters
    ----------
    arguments
        The words after `imgvar serve`; None takes the process's own.

    Returns
    -------
    int
        The exit code: 0 after SIGTERM, 1 if it can't start, 2 for wrong arguments or a missing package, 130 after an
        interrupt; also if a signal comes while the engine loads its models.
    """
    streams.open_closed()
    try:
        options = _parser().parse_args(arguments)
    except SystemExit:  # after the help
        streams.flush()
        return 0
    except InvalidRequestError as exc:
        say(str(exc))
        return _USAGE
    try:
        return _run(options)
    except (ImageVariationError, StoppedError, KeyboardInterrupt, ImportError, OSError) as exc:
        text, code = _ending(exc, f"{options.host}:{options.port}")
        say(text)
        return code


def _ending(exc: BaseException, address: str) -> tuple[str, int]:
    """Return the line and the exit code of a start that failed."""
    if isinstance(exc, StoppedError):
        return str(exc), _INTERRUPTED if exc.number == signal.SIGINT else 0
    if isinstance(exc, KeyboardInterrupt):
        return "interrupted before it was ready", _INTERRUPTED
    if isinstance(exc, ImportError):
        return f"{exc}; install the server's packages: pip install 'ipy-imgvar[server]'", _USAGE
    if isinstance(exc, OSError):
        return (
            f"can't listen at {address} ({exc.strerror or exc}); choose another --host or --port",
            _FAILED,
        )
    return str(exc), _USAGE if isinstance(exc, (ConfigurationError, InvalidRequestError)) else _FAILED


def _run(options: argparse.Namespace) -> int:
    # These imports are slow, and `--help` needs none of them.
    import uvicorn

    from ipy_imgvar.client import Client
    from ipy_imgvar.results import history
    from ipy_imgvar.server.app import Service, create_app
    from ipy_imgvar.server.connection import StoppingServer, connections_within
    from ipy_imgvar.server.offer import Offer

    limits = Limits(
        runs=options.runs,
        queue=options.queue,
        upload_bytes=options.max_upload * 1_000_000,
        run_timeout_s=float(options.timeout),
    )
    policy = _policy(options)
    # A server's pictures belong to its clients, so they go neither to the store nor to the history.
    history.keep_nothing()
    with ExitStack() as stack:
        default = next(iter(options.model), None)
        client = stack.enter_context(Client(options.engine, model=default, api_base=options.api_base))
        offer = Offer(client, options.model, named_values(options.option))
        # With a socket of ours, a port in use is an OSError here, which `serve` reports, before a model is loaded. It
        # does not listen yet.
        listening = stack.enter_context(_listen(options.host, options.port))
        _start_log(quiet=options.quiet)
        prepare(client.engine, list(dict.fromkeys(options.model)), offer.options, quiet=options.quiet)
        offer.check_options()
        service = Service(offer, limits, policy)
        config = uvicorn.Config(
            create_app(service),
            http=connections_within(limits),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=limits.idle_timeout_s,  # type: ignore[arg-type]  # it is handed to `call_later`
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        base = f"http://{_authority(listening)}/v1"
        server = StoppingServer(config, service.queue, lambda: streams.announce(base))
        server.run(sockets=[listening])
        return _INTERRUPTED if server.interrupted else 0


def _policy(options: argparse.Namespace) -> Policy:
    keys = [
        *server_keys(),
        *(keys_in(options.api_key_file, "write a key a line") if options.api_key_file else []),
    ]
    if not keys and not options.insecure and not is_loopback(options.host):
        raise ConfigurationError(
            f"host is {options.host}, which other machines can reach: give keys in --api-key-file or IMGVAR_API_KEYS, "
            "or say --insecure"
        )
    names = {options.host, *options.allow_host}
    if not is_loopback(options.host):
        # Other machines may call the server by this machine's name.
        names |= {socket.gethostname(), socket.getfqdn()}
    return Policy(tuple(keys), frozenset(name.lower().rstrip(".") for name in names))


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        # A restart must not wait for the old connections' TIME_WAIT.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening


def _authority(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _start_log(*, quiet: bool) -> None:
    """Log this package's own lines only; the lines of libraries may quote a client's request."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("ipy_imgvar.server")
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    for name in ("uvicorn.error", "python_multipart", "python_multipart.multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
