"""Addresses that a server gives: none leads into this network unless the server is in it, whatever it is called."""

import json
import socket

import httpx
import pytest
from loopback import PICTURES, Api, answer_of, response

from ipy_imgvar import Client
from ipy_imgvar.engines.openai.engine import OpenAIEngine
from ipy_imgvar.errors import BadResponseError, EngineError
from ipy_imgvar.network.client import make_client
from ipy_imgvar.settings import connection

PUBLIC = "93.184.216.34"


class Peer:
    """What a network stream says of the other side."""

    def __init__(self, address):
        self.address = address

    def get_extra_info(self, _name):
        return (self.address, 443)


class Remote(httpx.BaseTransport):
    """A server of the internet: its answer comes from a public address, and pictures are fetched for real."""

    def __init__(self, *urls):
        self.body = json.dumps({"data": [{"url": url} for url in urls]}).encode()
        self.client = make_client()

    def handle_request(self, request):
        if request.method == "POST":
            extensions = {"network_stream": Peer(PUBLIC)}
            return httpx.Response(200, content=iter([self.body]), extensions=extensions)
        return self.client._transport.handle_request(request)

    def close(self):
        self.client.close()


@pytest.fixture
def resolver(monkeypatch):
    """Answer names from a table, each list in turn and its last entry for ever; numbers are read as ever."""
    numeric = socket.getaddrinfo
    table, asked = {}, []

    def resolve(host, port, *_, **__):
        name = host.decode() if isinstance(host, bytes) else host
        asked.append(name)
        if name in table:
            answers = table[name]
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        else:
            addresses = [
                entry[4][0]
                for entry in numeric(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            ]
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("all_proxy", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    resolve.table, resolve.asked = table, asked
    return resolve


@pytest.fixture
def nas():
    """Give a server of this machine that has pictures nobody outside should see."""
    server = Api()
    yield server
    server.close()


def refused(photo, url):
    """Return the one line that refuses a public server's address of a picture."""
    engine = OpenAIEngine(
        connection(api_base="https://images.example.com/v1", api_key="none"), transport=Remote(url)
    )
    with Client(engine) as client, pytest.raises(EngineError) as caught:
        client.variations(photo, prompt="x")
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "0",
    "0x0", "127.0.0.1.", "127.1.", "localhost", "LOCALHOST", "localhost.", "a.localhost", "printer.local",
    "metadata.google.internal", "metadata.google.internal.", "169.254.169.254", "169.254.169.254.", "2852039166",
    "0xa9fea9fe", "10.1", "192.168.257", "100.64.0.1", "224.0.0.1",
    "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "127\uff0e0.0.1",
    "127.0.0.1%2e", "127%2e0%2e0%2e1", "loc%61lhost",
    "[::1]", "[::]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]", "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fe80::1]", "[fd00::1]",
    "user@127.0.0.1", "images.example.com@127.1",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_spellings(photo, resolver, nas, host):
    """Loopback, private, link-local and wrapped addresses are refused in every spelling, and not connected to."""
    resolver.table["localhost"] = resolver.table["localhost."] = [["127.0.0.1"]]
    if host not in ("0", "[::]"):
        assert "inside this network" in str(refused(photo, f"http://{host}:{nas.port}/0.png"))
    else:
        refused(photo, f"http://{host}:{nas.port}/0.png")
    assert nas.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["fe80::1"],
        [PUBLIC, "127.0.0.1"],
    ],
)
@pytest.mark.parametrize("host", ["pictures.example.net", "images.example.com"])
def test_public_names_of_private_addresses(photo, resolver, nas, host, addresses):
    """A public name that leads inside is refused, the server's own too, also with a public address beside."""
    resolver.table[host] = [addresses]
    error = refused(photo, f"http://{host}:{nas.port}/0.png")
    assert isinstance(error, BadResponseError)
    assert f"inside this network as a picture's ({host})" in str(error)
    assert resolver.asked == [host]
    assert nas.connections == 0


def test_a_server_of_this_network_may(api, photo, resolver, nas):
    """A server that answers from inside may name itself by its public name, and others inside."""
    resolver.table["nas.example.com"] = [["127.0.0.1"]]
    urls = [f"http://nas.example.com:{nas.port}/0.png", f"http://127.1:{nas.port}/1.png", "/pictures/2.png"]
    api.script([response(200, {"data": [{"url": url} for url in urls]})])
    with Client("openai", api_base=f"http://nas.example.com:{api.port}/v1", api_key="none") as client:
        assert client.variations(photo, n=3, prompt="x").bytes == PICTURES[:3]
    assert len(api.posts) == 1


def test_the_answer_counts_not_the_name(api, photo, resolver):
    """Where the server is seen from its answer's address: a name that leads elsewhere by now changes nothing."""
    resolver.table["nas.example.com"] = [["127.0.0.1"], [PUBLIC]]
    api.script(
        [response(200, {"data": [{"url": "/pictures/2.png"}]})], [response(200, answer_of(PICTURES[0]))]
    )
    with Client("openai", api_base=f"http://nas.example.com:{api.port}/v1", api_key="none") as client:
        assert client.variations(photo, prompt="x").bytes == [PICTURES[2]]
    assert resolver.asked == ["nas.example.com"]
