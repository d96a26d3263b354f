"""Whatever is sent: an answer of 2xx or 4xx in the API's shape, at once, that tells nothing of the server."""

import contextlib
import json
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import ipy_imgvar
from ipy_imgvar import Secret
from ipy_imgvar.server.guard import Policy

KEY = "sk-fuzz-0123456789"
CASES = 2000
HOME = str(Path(ipy_imgvar.__file__).parent.parent).encode()
FIELDS = ("image", "image[]", "mask", "n", "size", "prompt", "model", "seed", "strength", "fit", "stream", "quality",
          "response_format", "output_format", "partial_images", "user", "images", "")  # fmt: skip
PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"

texts = st.one_of(
    st.sampled_from(
        ["1", "64x64", "true", "auto", "b64_json", "dall-e-2", "/etc/passwd", "file:///etc/passwd", "-1"]
    ),
    st.text(max_size=40),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
contents = st.one_of(
    texts,
    st.binary(max_size=200),
    st.binary(max_size=100).map(lambda data: PNG_HEAD + data),
    st.sampled_from([b"GIF89a", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBPVP8 ", b"\0", b""]),
)
names = st.one_of(st.sampled_from(FIELDS).map(str.encode), st.binary(max_size=12))
dispositions = st.one_of(
    st.builds(lambda name: b'form-data; name="' + name + b'"', names),
    st.builds(
        lambda name, file: b'form-data; name="' + name + b'"; filename="' + file + b'"',
        names,
        st.one_of(st.sampled_from([b"a.png", b"../../etc/passwd", b"C:\\a.png"]), st.binary(max_size=12)),
    ),
    st.binary(max_size=30),
)
headers = st.lists(
    st.one_of(
        st.builds(lambda value: b"Content-Disposition: " + value, dispositions),
        st.just(b"Content-Type: image/png"),
        st.builds(lambda a, b: a + b": " + b, st.binary(max_size=8), st.binary(max_size=20)),
    ),
    min_size=0,
    max_size=3,
)
parts = st.builds(lambda head, content: b"\r\n".join([*head, b"", content]), headers, contents)
forms = st.builds(
    lambda found, opening, between, ending: opening + between.join(found) + ending,
    st.lists(parts, max_size=5),
    st.sampled_from([b"--a\r\n"] * 9 + [b"", b"junk\r\n--a\r\n", b"--b\r\n"]),
    st.sampled_from([b"\r\n--a\r\n"] * 9 + [b"\n--a\n", b"--a"]),
    st.sampled_from([b"\r\n--a--\r\n"] * 9 + [b"", b"\r\n--a--", b"\r\n--a", b"\r\n--a--\r\n--a\r\n"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=9)), values, max_size=5)
references = st.fixed_dictionaries(
    {"image_url": st.sampled_from(["data:,", "data:image/png;base64,iVBORw0KGgo="])}
)
documents = st.one_of(
    objects.map(lambda body: json.dumps(body).encode()),
    st.builds(
        lambda body, images: json.dumps({**body, "images": images, "prompt": "x"}).encode(),
        objects,
        st.one_of(st.lists(references, min_size=1, max_size=2), values),
    ),
    st.binary(max_size=60),
)
kinds = st.sampled_from(
    [b"multipart/form-data; boundary=a"] * 9 + [b"multipart/form-data", b"multipart/mixed; boundary=a"]
)
bodies = st.one_of(
    st.tuples(kinds, forms),
    st.tuples(kinds, forms),
    st.tuples(st.sampled_from([b"application/json", b"application/json; charset=utf-16"]), documents),
    st.tuples(st.binary(max_size=20), st.binary(max_size=60)),
)


class Wire:
    """One connection that is kept as long as the server keeps it."""

    def __init__(self, address):
        self.address = address
        self.socket = None

    def ask(self, route, kind, body):
        """Send a request and return the answer's head and body."""
        request = (
            f"POST /v1/images/{route} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Length: {len(body)}\r\nContent-Type: "
        ).encode() + kind.translate(None, b"\r\n\0") + b"\r\n\r\n" + body  # fmt: skip
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=100)
        self.socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.socket.recv(65_536)
            assert piece, "the connection was closed without an answer"
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += self.socket.recv(65_536)
        if b"connection: close" in head.lower():
            self.close()
        return head, rest

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


@pytest.fixture
def wire(start):
    """Return a connection to a server that asks for a key and has little time."""
    server = start(policy=Policy((Secret(KEY),)), run_timeout_s=20, links_bytes=1_000_000)
    with contextlib.closing(Wire(server.address)) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(route=st.sampled_from(["variations", "edits"]), sent=bodies)
def test_anything(wire, route, sent):
    """No body makes the server fail, hang, or tell its key or a path of its own."""
    head, body = wire.ask(route, *sent)
    status = int(head.split()[1])
    assert 200 <= status < 300 or 400 <= status < 500, (head, body)
    assert b"x-request-id: req_" in head
    assert KEY.encode() not in head + body
    for private in (b"Traceback", b".py", HOME, b"/usr/", b"/tmp/", b"root:"):
        assert private not in body or private in sent[1]
    if status >= 400:
        assert b"content-type: application/json" in head
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert "\n" not in error["message"]
