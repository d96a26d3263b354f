"""HTTPS with a certificate of our own: the handshake, the check of the certificate, and large bodies both ways."""

import shutil
import threading

import pytest
from loopback import PICTURES, response
from secure import make_certificate, over_tls

from ipy_imgvar import Client
from ipy_imgvar.errors import ConnectionFailedError
from ipy_imgvar.network.client import make_client

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(api, certificate, monkeypatch):
    """Make the API answer over TLS."""
    over_tls(type(api), certificate, monkeypatch)
    return api


def test_a_certificate_that_the_environment_names(secure, certificate, photo, monkeypatch):
    """A certificate that SSL_CERT_FILE names is trusted, and one connection serves several requests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with Client("openai", api_base=f"https://127.0.0.1:{secure.port}/v1") as client:
        for _ in range(3):
            assert client.variations(photo, n=3, prompt="x").bytes == PICTURES[:3]
    assert secure.connections == 1


def test_large_bodies(secure, certificate, monkeypatch):
    """Bodies of megabytes go both ways over TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    body = bytes(range(256)) * 26_000
    secure.script([response(200, body)])
    with make_client() as client:
        for _ in range(3):
            assert client.post(f"https://127.0.0.1:{secure.port}/v1/x", content=body).content == body
    assert [each.body for each in secure.posts] == [body] * 3
    assert secure.connections == 1


def test_an_unknown_certificate(secure, photo):
    """A certificate that nobody vouches for is an error, and nothing was sent."""
    with (
        Client("openai", api_base=f"https://127.0.0.1:{secure.port}/v1") as client,
        pytest.raises(ConnectionFailedError, match=r"can't be reached.*CERTIFICATE_VERIFY_FAILED"),
    ):
        client.variations(photo)
    assert secure.requests == []


@pytest.mark.slow
def test_no_tls(api, photo):
    """A server that speaks no TLS is an error, and no thread is left."""
    threads = threading.active_count()
    with (
        Client("openai", api_base=f"https://127.0.0.1:{api.port}/v1", timeout=5) as client,
        pytest.raises(ConnectionFailedError),
    ):
        client.variations(photo)
    assert api.posts == []
    assert threading.active_count() <= threads + 1
