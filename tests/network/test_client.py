"""Connections: each address is looked at before it is used, and an environment that can't work is said to be that."""

import socket
import sys

import pytest
from loopback import PICTURES, Api, response

from ipy_imgvar import Client
from ipy_imgvar.errors import ConfigurationError, ConnectionFailedError, InvalidImageError
from ipy_imgvar.images import fetch
from ipy_imgvar.network.client import make_client

VARIABLES = (
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def web():
    """Give a server that has pictures, and `/moved`, which leads to another name."""

    class Web(Api):
        def _steps(self, request):
            if request.path == "/moved":
                return [response(302, b"", None, Location=f"http://inner.example:{self.port}/1.png")]
            return self._picture(request)

    server = Web()
    yield server
    server.close()


@pytest.fixture
def resolver(monkeypatch):
    """Answer names from a table, each list in turn; a name that is not in it has no address."""
    table, asked = {}, []

    def resolve(host, port, *_, **__):
        asked.append(host)
        if not table.get(host):
            raise socket.gaierror(-2, "Name or service not known")
        answers = table[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    resolve.table, resolve.asked = table, asked
    return resolve


class Judge:
    """Refuses some addresses, and notes all it was asked about."""

    def __init__(self, *refused):
        self.refused = refused
        self.seen = []

    def __call__(self, host, address, *, is_proxied):
        self.seen.append((host, address, is_proxied))
        if address in self.refused:
            raise InvalidImageError(f"not to {address}")


def test_a_resolver_that_changes_its_mind(web, resolver):
    """The resolver is asked once, and the connection goes to the address that was judged."""
    resolver.table["pictures.example"] = [["127.0.0.2"], ["127.0.0.1"]]
    judge = Judge("127.0.0.1")
    with make_client() as client, pytest.raises(ConnectionFailedError, match="ConnectError"):
        fetch.get(f"http://pictures.example:{web.port}/0.png", name="x", client=client, guard=judge)
    assert resolver.asked == ["pictures.example"]
    assert judge.seen == [("pictures.example", "127.0.0.2", False)]
    assert web.connections == 0


def test_every_address_is_judged_first(web, resolver):
    """A host of which one address is refused is not connected to at any other."""
    resolver.table["pictures.example"] = [["127.0.0.1", "10.0.0.1"]]
    with pytest.raises(InvalidImageError, match=r"not to 10\.0\.0\.1"):
        fetch.get(f"http://pictures.example:{web.port}/0.png", name="x", guard=Judge("10.0.0.1"))
    assert web.connections == 0


def test_redirects_are_judged(web, resolver):
    """Where a redirect leads is judged as the first address is."""
    resolver.table |= {"pictures.example": [["127.0.0.1"]], "inner.example": [["10.0.0.1"]]}
    judge = Judge("10.0.0.1")
    with pytest.raises(InvalidImageError, match=r"not to 10\.0\.0\.1"):
        fetch.get(f"http://pictures.example:{web.port}/moved", name="x", guard=judge)
    assert [host for host, *_ in judge.seen] == ["pictures.example", "inner.example"]
    assert len(web.gets) == 1


def test_behind_a_proxy(web, resolver, monkeypatch):
    """Behind a proxy a host is judged by our own resolver, the proxy is not; what only it can resolve is passed on."""
    monkeypatch.setenv("HTTP_PROXY", f"http://proxy.example:{web.port}")
    resolver.table |= {"proxy.example": [["127.0.0.1"]], "inner.example": [["10.0.0.1"]]}
    judge = Judge("10.0.0.1", "127.0.0.1")
    with pytest.raises(InvalidImageError, match=r"not to 10\.0\.0\.1"):
        fetch.get("http://inner.example/0.png", name="x", guard=judge)
    assert web.connections == 0
    assert fetch.get("http://only-the-proxy-knows.example/1.png", name="x", guard=judge) == PICTURES[1]
    assert judge.seen == [("inner.example", "10.0.0.1", True)]
    assert web.gets[0].target == "http://only-the-proxy-knows.example/1.png"


def test_a_proxy_is_told_the_host(api, photo, monkeypatch):
    """Through a proxy that forwards, the whole address is asked for, with the query that the caller adds."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{api.port}")
    with Client("openai", api_base="http://images.example/v1", api_key="none") as client:
        client.variations(photo, prompt="x")
        client.variations(photo, prompt="x", extra_query={"k": "v"})
    plain = "http://images.example/v1/images/edits"
    assert [each.target for each in api.posts] == [plain, f"{plain}?k=v"]


ENVIRONMENTS = {
    "an unknown scheme": ("ALL_PROXY", "socks://me:hunter2@127.0.0.1:1080/", "socks5://host:port"),
    "no SOCKS package": ("all_proxy", "socks5://127.0.0.1:1080/", "socksio"),
    "no port": ("HTTPS_PROXY", "http://127.0.0.1:port", "http://host:port"),
    "no address": ("http_proxy", "[::1", "http://host:port"),
    "no certificates": ("SSL_CERT_FILE", "/nowhere.pem", "PEM"),
    "no key log": ("SSLKEYLOGFILE", "/nowhere/keys", "unset it"),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("door", ["engine", "image"])
def test_environment(photo, monkeypatch, name, door):
    """A proxy or certificates that can't be used are one line that names the variable, and not its password."""
    variable, value, said = ENVIRONMENTS[name]
    monkeypatch.setenv(variable, value)
    if name == "no SOCKS package":
        monkeypatch.setitem(sys.modules, "socksio", None)
    client = Client("openai", api_base="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigurationError) as caught:
        client.variations(photo if door == "engine" else "http://127.0.0.1:9/x.png")
    message = str(caught.value)
    assert message.startswith(variable)
    assert said in message
    assert "hunter2" not in message
    assert len(message.splitlines()) == 1


def test_no_proxy(monkeypatch):
    """An entry of NO_PROXY that is no host is named."""
    monkeypatch.setenv("HTTP_PROXY", "127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "http://host:port")
    with pytest.raises(ConfigurationError, match="NO_PROXY"):
        make_client()
