"""Objects of a file system that fails as it is told to, and of a web page."""

import errno
import functools
import http.server
import threading
import time

import pytest

from ipy_imgvar.errors import (
    CancelledError,
    ConfigurationError,
    ConnectionFailedError,
    ImageVariationError,
    InvalidImageError,
    InvalidRequestError,
    RequestTimeoutError,
)
from ipy_imgvar.storage import attempts, objects
from ipy_imgvar.storage.folder import open_folder

pytest.importorskip("fsspec")
from shelf import register


@pytest.fixture
def shelf(monkeypatch):
    monkeypatch.setattr(attempts, "_LONGEST_S", 0.01)
    return register()


class ServerSaysError(Exception):
    """An error as a package raises it: a status, and a text that no one should see."""

    def __init__(self, status):
        super().__init__("https://host/?signature=secret")
        self.status = status


@pytest.mark.parametrize(
    "fault",
    [
        TimeoutError(),
        ConnectionResetError(),
        ServerSaysError(503),
        ServerSaysError(429),
        OSError(errno.EBUSY, "secret"),
    ],
    ids=repr,
)
def test_a_fault_that_passes(shelf, fault):
    """A fault that may pass is tried again, up to five times in all, and each is counted."""
    folder = open_folder("shelf://out")
    before = objects.retries()
    shelf.faults[:] = [fault, fault, None]
    folder.write("a.png", b"abc")
    shelf.faults[:] = [fault] * 4
    assert objects.read("shelf://out/a.png", most_bytes=9) == b"abc"
    assert objects.retries() == before + 6
    shelf.faults[:] = [fault] * 5
    with pytest.raises(ConnectionFailedError) as caught:
        objects.read("shelf://out/a.png", most_bytes=9)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "fault", [PermissionError(), ServerSaysError(403), ServerSaysError(400), KeyError("secret")]
)
def test_a_fault_that_stays(shelf, fault):
    """A refusal is not tried again, and none of its text is shown."""
    folder = open_folder("shelf://out")
    folder.write("a.png", b"abc")
    shelf.faults[:] = [fault]
    with pytest.raises(InvalidImageError) as caught:
        objects.read("shelf://out/a.png", most_bytes=9)
    assert "secret" not in str(caught.value)
    shelf.faults[:] = [fault]
    with pytest.raises(ImageVariationError) as caught:
        folder.write("a.png", b"abc")
    assert "secret" not in str(caught.value)
    assert not shelf.faults
    shelf.faults[:] = [fault]
    with pytest.raises(InvalidRequestError, match="out_dir shelf://out can't be written") as caught:
        folder.check()
    assert caught.value.field == "out_dir"


def test_a_short_read(shelf):
    """A content that ends before its length is read again."""
    open_folder("shelf://out").write("a.png", b"abcdef")
    whole, answers = shelf.cat_file, [b"abc"]

    def cat_file(self, path, **options):
        return answers.pop() if answers else whole(self, path, **options)

    shelf.cat_file = cat_file
    try:
        assert objects.read("shelf://out/a.png", most_bytes=9) == b"abcdef"
    finally:
        shelf.cat_file = whole


def test_a_server_without_atomic_writes(shelf):
    """A server that is no object store gets the file under another name first; a failure leaves nothing."""
    folder = open_folder("shelf://out")
    folder.write("a.png", b"1")
    (first, half), (second, final) = shelf.calls
    assert (first, second, final) == ("pipe", "mv", "/out/a.png")
    assert half.startswith("/out/.a.png-")
    assert half.endswith(".imgvar.tmp")
    shelf.faults[:] = [None, PermissionError()]
    with pytest.raises(ImageVariationError):
        folder.write("b.png", b"1")
    assert list(shelf.store) == ["/out/a.png"]


def test_too_large(shelf):
    """An object above the bound is refused before it is read."""
    open_folder("shelf://out").write("a.png", bytes(3_000_000))
    shelf.calls.clear()
    with pytest.raises(
        InvalidImageError, match=r"shelf://out/a\.png has 3\.0 MB; allowed: 2 MiB; reduce it first"
    ):
        objects.read("shelf://out/a.png", most_bytes=2 << 20)
    assert shelf.calls == []


def test_a_slow_read(shelf, monkeypatch):
    """A read that gets no answer ends at its limit, or at the caller's wish."""
    open_folder("shelf://out").write("a.png", b"1")
    monkeypatch.setattr(shelf, "_may_fail", lambda *_: time.sleep(100))
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError, match=r"timeout of 0\.2 s"):
        objects.read("shelf://out/a.png", most_bytes=9, timeout_s=0.2)

    def check():
        if time.monotonic() > started + 0.5:
            raise CancelledError("stop")

    with pytest.raises(CancelledError):
        objects.read("shelf://out/a.png", most_bytes=9, check=check)
    assert time.monotonic() < started + 60


def test_protocols_that_cant_be_opened():
    """An unknown protocol, and one whose package is missing, are told in one line."""
    with pytest.raises(ConfigurationError, match=r"foo:// is no known protocol; allowed: s3, gs"):
        objects.read("foo://host/a.png", most_bytes=9)
    with pytest.raises(ConfigurationError, match=r"dropbox:// needs .*: pip install"):
        objects.read("dropbox://host/a.png", most_bytes=9)


@pytest.mark.usefixtures("shelf")
def test_folders_and_patterns_that_are_no_image():
    """A folder or a pattern in place of an image says so."""
    open_folder("shelf://cats").write("tom.png", b"1")
    with pytest.raises(
        InvalidImageError, match=r"shelf://cats is a folder; .* such as shelf://cats/tom\.png"
    ):
        objects.read("shelf://cats", most_bytes=9)
    with pytest.raises(InvalidImageError, match="patterns of addresses are for"):
        objects.read("shelf://cats/*.png", most_bytes=9)
    assert objects.matching("shelf://cats/*.png") == ["shelf://cats/tom.png"]
    with pytest.raises(InvalidImageError, match=r"no object matches shelf://cats/\*\.jpg"):
        objects.matching("shelf://cats/*.jpg")


def test_a_folder_at_a_time(shelf):
    """A listing looks into a subfolder when its turn comes, and into none that the pattern leaves out."""
    for name in ("a/1.png", "b/2.png", "c/3.png", "a.png"):
        open_folder("shelf://in").write(name, b"1")
    shelf.calls.clear()
    found = objects.listing("shelf://in/**/*.png")
    assert [next(found).address, next(found).address] == ["shelf://in/a.png", "shelf://in/a/1.png"]
    assert ("ls", "/in/b") not in shelf.calls
    assert [each.address for each in found] == ["shelf://in/b/2.png", "shelf://in/c/3.png"]
    shelf.calls.clear()
    assert [each.address for each in objects.listing("shelf://in/b*/*.png")] == ["shelf://in/b/2.png"]
    assert [path for name, path in shelf.calls if name == "ls"] == ["/in", "/in/b"]


def test_a_web_page(tmp_path):
    """A web page with links is a folder: its images are listed as addresses that can be fetched."""
    pytest.importorskip("aiohttp")
    from ipy_imgvar.images.source import load_sources

    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b c.png", "100%25 #1.png", "note.txt", ".no.png", "sub/d.png"):
        (tmp_path / name).write_text(name)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        root = f"http://127.0.0.1:{server.server_address[1]}"
        found = [each.address for each in objects.listing(f"{root}/*.png")]
        assert [load_sources(each)[0].read().decode() for each in found] == [
            "100%25 #1.png",
            "a.png",
            "b c.png",
        ]
        assert [each.address for each in objects.listing(f"{root}/**/d*")] == [f"{root}/sub/d.png"]
        assert [each.address for each in objects.listing(f"{root}/sub/")] == [f"{root}/sub/d.png"]
        with pytest.raises(InvalidImageError, match="there is no object"):
            list(objects.listing(f"{root}/none/"))
        server.shutdown()
