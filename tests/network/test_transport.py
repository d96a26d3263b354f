"""The transport: what of httpcore it stands on, how errors are said, which way a request goes."""

import importlib.util
import shutil
import time

import httpcore
import httpx
import pytest
from loopback import PICTURES, Api, response
from secure import TunnelProxy, make_certificate, over_tls

from ipy_imgvar.errors import ConnectionFailedError
from ipy_imgvar.images import fetch
from ipy_imgvar.network import transport
from ipy_imgvar.network.client import make_client

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make a certificate"
)

#: What we use of httpcore, and where; `name.method` for what we override or call.
USED = {
    "ConnectionPool.handle_request": "transport.py, Transport.handle_request",
    "ConnectionPool.close": "transport.py, Transport.close",
    "HTTPProxy": "transport.py, _proxy_pool",
    "SOCKSProxy": "transport.py, _proxy_pool",
    "Request": "transport.py, Transport.handle_request",
    "URL": "transport.py, Transport.handle_request and _proxy_pool",
    "Response.iter_stream": "transport.py, _Body.__iter__",
    "Response.close": "transport.py, _Body.close",
    "SyncBackend.connect_tcp": "sockets.py, class Backend",
    "NetworkStream.read": "sockets.py, classes _Stream and _StreamInTLS",
    "NetworkStream.write": "sockets.py, classes _Stream and _StreamInTLS",
    "NetworkStream.close": "sockets.py, classes _Stream and _StreamInTLS",
    "NetworkStream.start_tls": "sockets.py, class _Stream",
    "NetworkStream.get_extra_info": "sockets.py, classes _Stream and _StreamInTLS",
    "SOCKET_OPTION": "sockets.py, Backend.connect_tcp",
}
#: What httpcore raises within a pool only.
INTERNAL = {"ConnectionNotAvailable"}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("all_proxy", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("name", USED)
def test_names_of_httpcore(name):
    """Each name of httpcore that we use is public and still there; the message says what to mend."""
    first, _, method = name.partition(".")
    mend = f"httpcore {httpcore.__version__} has no public {name}: mend {USED[name]}"
    assert first in httpcore.__all__, mend
    assert not method or hasattr(getattr(httpcore, first), method), mend


@pytest.mark.parametrize("name", ["ssl_context", "network_backend", "keepalive_expiry"])
@pytest.mark.parametrize("pool", ["ConnectionPool", "HTTPProxy", "SOCKSProxy"])
def test_settings_of_pools(pool, name):
    """Each kind of pool takes the settings that we give it."""
    init = getattr(httpcore, pool).__init__
    if pool == "SOCKSProxy" and importlib.util.find_spec("socksio") is None:
        pytest.skip("httpcore has a stand-in where socksio is not installed")
    mend = f"httpcore {httpcore.__version__}: {pool} takes no {name}: mend transport.py, Transport.__init__"
    assert name in init.__code__.co_varnames, mend


def test_every_error_is_said_in_httpx_words():
    """Every exception class of httpcore has httpx's class of the same name, and subclasses come first."""
    classes = [getattr(httpcore, name) for name in httpcore.__all__]
    errors = {
        each
        for each in classes
        if isinstance(each, type) and issubclass(each, Exception) and each.__name__ not in INTERNAL
    }
    assert errors == set(transport.ERRORS), "mend transport.py, ERRORS"
    assert all(theirs.__name__ == ours.__name__ for theirs, ours in transport.ERRORS.items())
    seen = []
    for each in transport.ERRORS:
        assert not [earlier for earlier in seen if issubclass(each, earlier)]
        seen.append(each)


@pytest.fixture
def web():
    """Give a server of pictures."""
    server = Api()
    yield server
    server.close()


ROUTES = {
    "no entry": ("", "http://pictures.example/0.png", True),
    "all": ("*", "http://pictures.example/0.png", False),
    "the name": ("pictures.example", "http://pictures.example/0.png", False),
    "a name above": ("example", "http://pictures.example/0.png", False),
    "a part of a name": ("tures.example", "http://pictures.example/0.png", True),
    "hosts below only": (".pictures.example", "http://pictures.example/0.png", True),
    "an address": ("127.0.0.9", "http://127.0.0.9/0.png", False),
    "an address among others": ("other.example, 127.0.0.9", "http://127.0.0.9/0.png", False),
    "another address": ("127.0.0.8", "http://127.0.0.9/0.png", True),
    "IPv6": ("::1", "http://[::1]:9/0.png", False),
    "the local host": ("localhost", "http://localhost:9/0.png", False),
    "below the local host": ("localhost", "http://pictures.localhost:9/0.png", True),
    "a scheme": ("https://pictures.example", "http://pictures.example/0.png", True),
    "this scheme": ("http://pictures.example", "http://pictures.example/0.png", False),
}


@pytest.mark.parametrize("name", ROUTES)
def test_no_proxy(web, monkeypatch, name):
    """NO_PROXY decides which requests go to the server itself."""
    value, url, is_proxied = ROUTES[name]
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{web.port}")
    monkeypatch.setenv("no_proxy", value)
    if is_proxied:
        assert fetch.get(url, name="x") == PICTURES[0]
    else:
        with pytest.raises(ConnectionFailedError):
            fetch.get(url, name="x", timeout_s=1)
    assert [each.target for each in web.gets] == [url] * is_proxied


def test_ipv6_through_a_proxy(web, monkeypatch):
    """A proxy is told an IPv6 address in brackets, as RFC 3986 has it."""
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{web.port}")
    with make_client() as client:
        assert client.get("http://[2001:db8::1]:81/0.png").content == PICTURES[0]
    assert web.gets[0].target == "http://[2001:db8::1]:81/0.png"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "https"])
def tunnel(request, certificate, monkeypatch):
    """Give a proxy that tunnels, named by HTTPS_PROXY, and trust its certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    proxy = TunnelProxy(certificate if request.param == "https" else None)
    monkeypatch.setenv("https_proxy", proxy.address)
    yield proxy
    proxy.close()


@pytest.fixture
def secure(api, certificate, monkeypatch):
    """Give the loopback images API, over TLS."""
    over_tls(type(api), certificate, monkeypatch)
    return api


@needs_openssl
def test_a_tunnel(secure, tunnel):
    """Through a proxy, HTTPS stays between us and the server: the proxy is told the host, and no path or query."""
    assert fetch.get(f"https://127.0.0.1:{secure.port}/1.png?signature=s", name="x") == PICTURES[1]
    assert [each.target for each in secure.gets] == ["/1.png?signature=s"]
    [head] = tunnel.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1\r\n")
    assert "signature" not in head


@needs_openssl
def test_large_bodies_through_a_tunnel(secure, tunnel):
    """Bodies of megabytes go both ways through a tunnel, over one connection."""
    body = bytes(range(256)) * 12_000
    secure.script([response(200, body)])
    url = f"https://127.0.0.1:{secure.port}/v1/images/edits"
    with make_client() as client:
        for _ in range(2):
            assert (
                client.post(url, content=body, extensions={"target": b"/v1/images/edits?k=v"}).content == body
            )
    assert len(tunnel.heads) == 1
    assert [(each.target, each.body) for each in secure.posts] == [("/v1/images/edits?k=v", body)] * 2


@needs_openssl
def test_a_wait_in_a_tunnel_is_cut_short(secure, tunnel):  # noqa: ARG001
    """A server that is silent behind a tunnel is waited for no longer than the check allows."""
    until = time.monotonic() + 0.4

    def check():
        if time.monotonic() > until:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.get(f"https://127.0.0.1:{secure.port}/stall", name="x", check=check)
    assert time.monotonic() < until + 60


@needs_openssl
def test_an_unknown_certificate_behind_a_tunnel(api, tunnel, tmp_path, monkeypatch):  # noqa: ARG001
    """The server's certificate is checked behind a tunnel, too."""
    over_tls(type(api), make_certificate(tmp_path), monkeypatch)
    with pytest.raises(ConnectionFailedError, match=r"ConnectError.*CERTIFICATE_VERIFY_FAILED"):
        fetch.get(f"https://127.0.0.1:{api.port}/1.png", name="x")
    assert api.requests == []


def test_httpx_and_its_own_transport_agree(web, monkeypatch):
    """What arrives is, to the byte, what httpx's own transport sends."""
    heads = []
    receive = Api._receive

    def tapped(self, connection):
        request = receive(self, connection)
        heads.append(
            request and (request.method, request.target, list(request.headers.items()), request.body)
        )
        return request

    monkeypatch.setattr(Api, "_receive", tapped)
    for make in (make_client, httpx.Client):
        with make() as client:
            client.post(f"http://127.0.0.1:{web.port}/v1/x?a=b%20c", content=b"abc", headers={"X-Y": "z"})
    first, second = [each for each in heads if each]
    assert first == second
