"""A plain GET for pictures: no key, bounded, redirects vetted, every failure one of our errors."""

import httpx
import pytest
from loopback import CLOSE, PICTURES, RESET, Api, response

from ipy_imgvar import fetch
from ipy_imgvar.errors import ConnectionFailedError, InvalidImageError, RequestTimeoutError


class Files(Api):
    """Answers GETs as its script says."""

    def _steps(self, request):
        for name, steps in self.pages.items():
            if request.path == name:
                return steps
        return self._picture(request)


@pytest.fixture
def files():
    """Give a server whose pages a test sets."""
    server = Files()
    server.pages = {}
    yield server
    server.close()


def address(files, path):
    return f"http://127.0.0.1:{files.port}{path}"


def test_bytes_as_they_are(files):
    """What the server has is returned byte for byte, and neither key nor cookie is sent."""
    assert fetch.get(address(files, "/0.png?sig=1%2F2"), name="x") == PICTURES[0]
    (get,) = files.requests
    assert get.target == "/0.png?sig=1%2F2"
    assert not {"authorization", "cookie"} & set(get.headers)


def test_one_connection_for_a_client(files):
    """With a client, its connections are used again."""
    with httpx.Client() as client:
        for _ in range(3):
            fetch.get(address(files, "/0.png"), name="x", client=client)
    assert files.connections == 1


def test_redirects(files):
    """Redirects are followed, relative ones too, each after it was vetted."""
    files.pages = {
        "/a": [response(302, b"", None, Location="/b?x=1")],
        "/b": [response(307, b"", None, Location=address(files, "/1.png"))],
    }
    vetted = []
    assert fetch.get(address(files, "/a"), name="x", vet=vetted.append) == PICTURES[1]
    assert vetted == [address(files, "/b?x=1"), address(files, "/1.png")]

    def refuse(_place):
        raise InvalidImageError("not there")

    with pytest.raises(InvalidImageError, match="not there"):
        fetch.get(address(files, "/a"), name="x", vet=refuse)


def test_circles(files):
    """Redirects in a circle end with an error."""
    files.pages = {"/a": [response(302, b"", None, Location="/a")]}
    with pytest.raises(ConnectionFailedError, match="redirects"):
        fetch.get(address(files, "/a"), name="x")
    assert len(files.requests) == 11


@pytest.mark.parametrize(
    ("steps", "kind", "said"),
    [
        ([response(404, b"", None)], InvalidImageError, "404"),
        ([response(403, "<html>", "text/html")], InvalidImageError, "403"),
        ([response(302, b"", None, Location="ftp://x/y")], ConnectionFailedError, "can't be fetched"),
        ([response(302, b"", None, Location="http://[::1")], ConnectionFailedError, "can't be fetched"),
        ([RESET], ConnectionFailedError, "can't be fetched"),
        ([response(200, b"abc", Content_Length=9), CLOSE], ConnectionFailedError, "can't be fetched"),
        ([response(200, b"abc", Content_Encoding="gzip")], ConnectionFailedError, "can't be fetched"),
        (["stall"], RequestTimeoutError, "no answer within"),
        ([response(200, b"", Content_Length=99), "stall"], RequestTimeoutError, "no answer within"),
    ],
)
def test_failures(files, steps, kind, said):
    """Every failure is one of our errors, names the picture and shows no address."""
    files.pages = {"/a": steps}
    with pytest.raises(kind, match=said) as caught:
        fetch.get(address(files, "/a") + "?sig=private", name="the picture", timeout_s=0.3)
    assert str(caught.value).startswith("the picture")
    assert "private" not in str(caught.value)


def test_bound(files, monkeypatch):
    """No more than the bound is read."""
    monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 20)
    files.pages = {"/a": [response(200, b"", Content_Length=1 << 30), *[bytes(1 << 20)] * 8, CLOSE]}
    with pytest.raises(InvalidImageError, match="larger than 1 MiB"):
        fetch.get(address(files, "/a"), name="x")


def test_log_shows_no_query(files, caplog):
    """Neither the query nor a password of an address is logged, by httpx either."""
    caplog.set_level(0)
    url = f"http://joe:hunter2@127.0.0.1:{files.port}/0.png?sig=private"
    assert fetch.get(url, name="x") == PICTURES[0]
    assert files.requests[0].headers["authorization"].startswith("Basic ")
    assert "private" not in caplog.text
    assert "hunter2" not in caplog.text
