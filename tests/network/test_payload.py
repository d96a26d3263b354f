"""Bodies are unpacked within a bound: what is packed oddly, endlessly or too often is an error, not a full memory."""

import functools
import gzip
import subprocess
import sys
import zlib

import httpx
import pytest
from loopback import PICTURES, answer_of, response

from ipy_imgvar.errors import BadResponseError, ConnectionFailedError
from ipy_imgvar.network import payload


@functools.cache
def bomb():
    """Return 300 MB of zeros in 300 kB; of these no picture is made."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(10_000_000)
    return b"".join(packer.compress(zeros) for _ in range(30)) + packer.flush()


def packed(body, encoding, pieces=7):
    """Return a streamed answer whose body comes in small pieces."""
    chunks = iter([body[start : start + pieces] for start in range(0, len(body), pieces)])
    return httpx.Response(200, headers={"Content-Encoding": encoding}, content=chunks)


def read(answer, most=1 << 20):
    return b"".join(payload.pieces(answer, most, lambda: OverflowError("too much")))


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


TEXT = b"one picture " * 40_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "X-GZIP, identity"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
    ],
    ids=["plain", "identity", "gzip", "x-gzip", "zlib", "raw"],  # a gzip's bytes hold the time
)
def test_what_we_ask_for(body, encoding):
    """Plain, gzip and both kinds of deflate are read, however they are cut up."""
    assert read(packed(body, encoding)) == TEXT
    assert read(packed(b"", encoding)) == b""


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (gzip.compress(gzip.compress(TEXT)), "gzip, gzip", "packed 2 times"),
        (gzip.compress(TEXT), "gzip,deflate,br", "packed 3 times"),
        (TEXT, "br", "packed by br"),
        (TEXT, "zstd", "packed by zstd"),
        (TEXT, "gzip", "no gzip"),
        (TEXT, "deflate", "no deflate"),
        (gzip.compress(TEXT)[:-9], "gzip", "ends too early"),
    ],
    # Not the bodies: a gzip body holds the time it was made, and pytest's workers must agree on the names of tests.
    ids=["twice", "three times", "br", "zstd", "no gzip", "no deflate", "cut"],
)
def test_what_we_do_not_ask_for(body, encoding, said):
    """Layers, other packings and damage are errors that say which."""
    with pytest.raises(httpx.DecodingError, match=said):
        read(packed(body, encoding))


@pytest.mark.parametrize("body", [gzip.compress(bytes(10_000)), bytes(10_000)], ids=["packed", "plain"])
def test_the_bound(body):
    """A body of the bound is read, one of a byte more is not."""
    encoding = "gzip" if len(body) < 10_000 else ""
    assert len(read(packed(body, encoding), 10_000)) == 10_000
    with pytest.raises(OverflowError):
        read(packed(body, encoding), 9_999)


def test_a_body_that_unpacks_to_nothing():
    """What is packed counts too: empty blocks without end are not read for ever."""

    def endless():
        yield zlib.compress(b"")[:2]
        while True:
            yield b"\0\0\0\xff\xff" * 1000

    answer = httpx.Response(200, headers={"Content-Encoding": "deflate"}, content=endless())
    with pytest.raises(OverflowError):
        read(answer)


CHILD = """
import sys
from ipy_imgvar import Client
from ipy_imgvar.images import fetch
import ipy_imgvar.engines.openai.engine, ipy_imgvar.images.codec
import numpy
base, how = sys.argv[1:]
def peak():  # Not ru_maxrss, which a child inherits from who started it.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
client = Client("openai", api_base=base, api_key="none")
client.variations(numpy.zeros((64, 64, 3), "uint8"), prompt="x")
before = peak()
try:
    if how == "fetch":
        fetch.get(f"{base}/bomb", name="x")
    else:
        client.variations(numpy.zeros((64, 64, 3), "uint8"), prompt="x")
except Exception as exc:
    print(type(exc).__name__, (peak() - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("how", "error", "most_mib"),
    [
        ("fetch", "InvalidImageError", 50),
        ("answer", "BadResponseError", 68),
        ("refusal", "APIStatusError", 1),
    ],
)
def test_memory(api, monkeypatch, how, error, most_mib):
    """A bomb takes no more memory than the bound of what is read, and 24 MiB: as a picture, an answer or a refusal."""
    answer = response(400 if how == "refusal" else 200, bomb(), Content_Encoding="gzip")
    monkeypatch.setattr(api, "_picture", lambda _: [answer])
    api.script([response(200, answer_of(PICTURES[0]))], [answer])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, api.base, how], capture_output=True, text=True, check=False
    )
    kind, grown_mib = done.stdout.split()
    assert kind == error
    assert int(grown_mib) < most_mib + 24


@pytest.mark.parametrize("status", [200, 400])
def test_stacked_answers(api, photo, status):
    """An answer that is packed twice is one of our errors, after one POST, and so is a picture's address."""
    from ipy_imgvar import Client
    from ipy_imgvar.images import fetch

    twice = gzip.compress(gzip.compress(bytes(1_000_000)))
    page = [response(status, twice, Content_Encoding="gzip, gzip")]
    api.script(page)
    with Client("openai", api_base=api.base, api_key="none") as client:
        with pytest.raises(Exception, match=r"answered 400|packed 2 times over") as caught:
            client.variations(photo, prompt="x")
        assert isinstance(caught.value, BadResponseError) == (status == 200)
    assert len(api.posts) == 1
    api._picture = lambda _: [response(200, twice, Content_Encoding="gzip, gzip")]
    try:
        with pytest.raises(ConnectionFailedError, match="packed 2 times over"):
            fetch.get(f"{api.base}/0.png", name="x")
    finally:
        del api._picture
