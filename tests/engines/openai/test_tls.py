"""HTTPS with a certificate of our own: the handshake, the check of the certificate, and large bodies both ways."""

import shutil
import ssl
import subprocess
import threading

import pytest
from loopback import PICTURES, answer_of, png, response

from ipy_imgvar import Client
from ipy_imgvar.errors import ConnectionFailedError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [
            shutil.which("openssl"),
            *command.split(),
            "-keyout",
            folder / "key.pem",
            "-out",
            folder / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def secure(api, certificate, monkeypatch):
    """Make the API answer over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    serve = type(api)._serve
    # `with connection` of the wrapped socket closes both.
    monkeypatch.setattr(
        type(api),
        "_serve",
        lambda self, connection: _wrapped(context, connection, lambda each: serve(self, each)),
    )
    return api


def _wrapped(context, connection, serve):
    try:
        secure = context.wrap_socket(connection, server_side=True)
    except (ssl.SSLError, OSError):
        connection.close()
        return
    serve(secure)


@pytest.mark.slow
def test_a_certificate_from_the_environment(secure, certificate, photo, monkeypatch):
    """A certificate that SSL_CERT_FILE names is trusted; bodies of megabytes go both ways, over one connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    big = png("red", (1500, 1500), "BMP")
    secure.script([response(200, answer_of(*PICTURES[:3]), X=1)])
    with Client("openai", api_base=f"https://127.0.0.1:{secure.port}/v1") as client:
        for _ in range(3):
            assert (
                client.variations(photo, n=3, prompt="x", extra_body={"pad": "x" * len(big)}).bytes
                == PICTURES[:3]
            )
    assert secure.connections == 1
    assert {len(post.fields["pad"]) for post in secure.posts} == {len(big)}


def test_an_unknown_certificate(secure, photo):
    """A certificate that nobody vouches for is an error, and nothing was sent."""
    with (
        Client("openai", api_base=f"https://127.0.0.1:{secure.port}/v1") as client,
        pytest.raises(ConnectionFailedError, match=r"can't be reached.*CERTIFICATE_VERIFY_FAILED"),
    ):
        client.variations(photo)
    assert secure.requests == []


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
