"""`imgvar serve` in a terminal: what it prints, what it refuses, and how it ends."""

import socket
import sys

import httpx
import pytest

from ipy_imgvar import Client
from ipy_imgvar.results import history
from ipy_imgvar.server import serve
from ipy_imgvar.server.guard import is_loopback

ALL = "0.0.0.0"  # noqa: S104 - what is tested is that it is not bound without more ado


@pytest.mark.parametrize(
    "arguments", [["--port", "x"], ["--port", "65536"], ["--runs", "0"], ["--nothing"], ["--po", "1"]]
)
def test_a_wrong_argument_is_one_line(arguments, capsys):
    """A wrong argument ends with 2, one line on standard error that names it, and nothing on standard output."""
    assert serve(arguments) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert arguments[0] in shown.err
    assert shown.err.endswith("; see imgvar serve --help\n")
    assert shown.err.count("\n") == 1


def test_help(capsys):
    """Help shows examples and ends with 0."""
    assert serve(["--help"]) == 0
    assert "curl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", ALL], "--insecure"),
        (["--host", "::"], "--insecure"),
        (["--engine", "nothing"], "allowed: patch"),
        (["--api-key-file", "/nowhere"], "can't be read"),
        (["--api-key-file", "/dev/null"], "has no key"),
    ],
)
def test_wrong_settings(arguments, said, capsys):
    """A setting that can't work, or is not safe, is refused in one line before anything listens."""
    assert serve(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_port_in_use(capsys):
    """A port that is taken ends it with 1 and says where it was."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert serve(["--port", port]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "environment"), [(["--insecure"], {}), ([], {"IMGVAR_API_KEYS": "other, key-one"})]
)
def test_other_addresses(launch, options, environment):
    """All addresses are served with keys, or where that was said to be wanted; strange names stay refused."""
    process = launch("--host", ALL, "--allow-host", "My.Name", *options, **environment)
    port = process.base.removesuffix("/v1").rpartition(":")[2]
    headers = {"authorization": "Bearer key-one"}
    for host, status in (("127.0.0.1", 200), ("my.name", 200), ("evil.example", 421)):
        url = f"http://127.0.0.1:{port}/v1/models"
        assert httpx.get(url, headers={**headers, "host": host}).status_code == status
    assert httpx.get(url, headers={"host": "my.name"}).status_code == (200 if options else 401)
    assert process.stop() == 0


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        (ALL, False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_loopback(host, expected):
    """What reaches this machine only is told from what others can reach."""
    assert is_loopback(host) is expected


def test_without_the_extra(monkeypatch, capsys):
    """Without the packages of the extra it says which command installs them."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert serve([]) == 2
    assert "pip install 'ipy-imgvar[server]'" in capsys.readouterr().err


def test_a_server_remembers_nothing(png):
    """In a process that keeps nothing, as a server's, runs leave no trace in history or memory."""
    history.keep_nothing()
    with Client("patch") as client:
        assert len(client.variations(png, size="64x64")) == 1
    assert not history.history()
    assert history.last() is None
    assert not history._history.session
