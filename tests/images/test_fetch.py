"""A plain GET for pictures: no key, bounded, redirects vetted, every failure one of our errors."""

import threading

import httpx
import pytest
from loopback import CLOSE, PICTURES, RESET, STALL, Api, response

from ipy_imgvar import Client, cli, last
from ipy_imgvar.errors import CancelledError, ConnectionFailedError, InvalidImageError, RequestTimeoutError
from ipy_imgvar.images import fetch
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.job import Worker
from ipy_imgvar.panel.state import PanelState

pytestmark = pytest.mark.usefixtures("quick_patch")


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


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206])
def test_any_success(files, status):
    """A picture that comes with any status of success is read."""
    files.pages = {"/a": [response(status, PICTURES[2], "image/png")]}
    assert fetch.get(address(files, "/a"), name="x") == PICTURES[2]


def test_success_without_a_picture(files):
    """A success that by its meaning has no body is refused with its status."""
    files.pages = {"/a": [response(204, b"", None, Content_Length=None)]}
    with pytest.raises(InvalidImageError, match=r"answered 204 .*pass its path"):
        fetch.get(address(files, "/a"), name="x")


def test_who_asks(api, files, photo):
    """Pictures are asked for under the name that the API sees, and packed only as we can unpack."""
    fetch.get(address(files, "/0.png"), name="x")
    with Client("openai", api_base=api.base, api_key="none") as client:
        client.variations(photo, prompt="x")
    for name, value in (("user-agent", "ipy-imgvar"), ("accept-encoding", "gzip, deflate")):
        assert files.requests[0].headers[name] == api.posts[0].headers[name] == value


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


@pytest.mark.parametrize(
    "address", ["http://user:pass/word@host/x.png", "http://host:pass/x.png", "http://pass\u00e4..de/x.png"]
)
def test_an_address_that_is_not_valid(address):
    """The error says what is allowed, and shows no part of the address, neither itself nor what led to it."""
    with pytest.raises(ConnectionFailedError, match="percent-encoded") as caught:
        fetch.get(address, name="x.png")
    assert "pass" not in str(caught.value).replace("password", "")
    assert caught.value.__cause__ is None


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


#: A picture that comes byte by byte, so that no wait for the next is long.
DRIP = [
    response(200, b"", "image/png", Content_Length=9_999),
    *[step for _ in range(60) for step in (b"x", 0.1)],
]
SLOW = {
    "a drip": DRIP,
    "silence": [STALL],
    "redirects": [0.15, response(302, b"", None, Location="/a.png")],
}


@pytest.fixture
def slow(files):
    """Give the address of a picture that takes seconds to come."""
    files.pages = {"/a.png": DRIP}
    return address(files, "/a.png")


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("argument", ["image", "mask"])
def test_timeout(files, photo, name, argument):
    """The timeout bounds all of the fetching of an image or a mask, however it is spent."""
    files.pages = {"/a.png": SLOW[name]}
    images = {"image": photo} | {argument: address(files, "/a.png")}
    with pytest.raises(RequestTimeoutError, match=r"a\.png: not fetched within the timeout of 0\.4 s"):
        Client("patch").variations(**images, timeout=0.4)
    assert last() is None


@pytest.mark.parametrize("argument", ["image", "mask"])
def test_cancel(files, photo, slow, argument):
    """The cancel switch ends the fetching of an image or a mask, and its connection."""
    cancel = threading.Event()
    threading.Thread(target=lambda: files.arrived.wait(100) and cancel.set(), daemon=True).start()
    with pytest.raises(CancelledError):
        Client("patch").variations(**{"image": photo, argument: slow}, cancel=cancel)
    assert files.gone.wait(100)


def test_without_a_timeout(slow, monkeypatch):
    """Where no timeout was asked for there is one all the same."""
    monkeypatch.setattr(fetch, "TOTAL_S", 0.4)
    with pytest.raises(RequestTimeoutError, match=r"not fetched within the timeout of 0\.4 s"):
        Client("patch").variations(slow)


def test_timeout_of_the_command_line(slow, capfd):
    """`--timeout` holds for an address on the command line."""
    assert cli.main(["create", slow, "--timeout", "0.4"]) == 1
    assert "a.png: not fetched within the timeout of 0.4 s" in capfd.readouterr().err


@pytest.mark.parametrize("executor", ["patch", "hosted"])
def test_timeout_in_bulk(slow, tmp_path, api, executor):
    """The timeout holds for each address of a bulk run, in processes and in threads."""
    client = Client("patch") if executor == "patch" else Client("openai", api_base=api.base, api_key="none")
    with client:
        result = client.map([slow], out_dir=tmp_path / "out", size=64, timeout=0.4, progress=False)
    assert "not fetched within the timeout of 0.4 s" in result[0].error
    assert api.posts == []


def test_a_newer_choice_in_the_panel(slow, files, photo):
    """A newer choice in the panel ends the fetching of an older one."""
    state, loaded = PanelState(), threading.Event()
    actions = PanelActions(state, {"photo": photo}, Client("patch"), Worker(), Worker())
    actions.type_source(slow)
    assert files.arrived.wait(100)
    state.observe(lambda _: loaded.set(), "source")
    actions.pick_variable("photo")
    assert loaded.wait(100)
    assert state.source.name == "photo"
    assert files.gone.wait(100)
