"""Every error: the status, the API's shape, and nothing in it that is not the caller's."""

import base64
import contextlib
import io
import json

import pytest
from cases import slow
from PIL import Image

from ipy_imgvar import Secret
from ipy_imgvar.errors import (
    APIStatusError,
    AuthenticationError,
    BadResponseError,
    ConfigurationError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)
from ipy_imgvar.server.guard import Policy

SMALL = {"size": "64x64"}


@pytest.fixture
def server(shared, quick_patch):  # noqa: ARG001 - the fixture is the change
    """Return the server that these tests share."""
    return shared


def refused(answer, status, code=None, param=None):
    """Check a refusal and return its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    kind = (
        "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    )
    assert error["type"] == kind
    return error["message"]


@pytest.mark.parametrize(
    ("form", "status", "code", "param"),
    [
        ({"n": "0"}, 400, "invalid_value", "n"),
        ({"n": "11"}, 400, "invalid_value", "n"),
        ({"n": "two"}, 400, "invalid_value", "n"),
        ({"size": "7x7"}, 400, "invalid_value", "size"),
        ({"size": "9999x64"}, 400, "invalid_value", "size"),
        ({"response_format": "byte"}, 400, "invalid_value", "response_format"),
        ({"seed": "-1"}, 400, "invalid_value", "seed"),
        ({"strength": "2"}, 400, "invalid_value", "strength"),
        ({"fit": "squeeze"}, 400, "invalid_value", "fit"),
        ({"quality": "best"}, 400, "invalid_value", "quality"),
        ({"output_format": "gif"}, 400, "invalid_value", "output_format"),
        ({"partial_images": "9"}, 400, "invalid_value", "partial_images"),
        ({"model": "sd-xl"}, 404, "model_not_found", "model"),
        ({"n": ["1", "2"]}, 400, "invalid_value", "n"),
        ({"prompt": "x" * 300_000}, 400, "value_too_long", "prompt"),
        ({str(number): "x" for number in range(80)}, 400, "invalid_form", None),
    ],
)
def test_wrong_fields(server, http, png, *, form, status, code, param):
    """A wrong value names the field and says what is allowed."""
    answer = http.post(f"{server.base}/images/variations", files={"image": png}, data=form)
    refused(answer, status, code, param)


@pytest.mark.parametrize(
    ("route", "files", "form", "code", "param"),
    [
        ("variations", {"other": b"x"}, {}, "invalid_value", "other"),
        ("variations", {"image": b""}, {}, "invalid_image", "image"),
        ("edits", {"mask": b"x"}, {"prompt": "x"}, "missing_required_parameter", "image"),
        ("edits", {"image": b"x"}, {}, "missing_required_parameter", "prompt"),
        ("edits", [("image[]", b"x"), ("image[]", b"y")], {"prompt": "x"}, "too_many_images", "image"),
        ("variations", {"image": b"x", "mask": b"y"}, {}, "unknown_parameter", "mask"),
    ],
)
def test_wrong_files(server, http, *, route, files, form, code, param):
    """Files that are missing, too many or not wanted are refused by name."""
    refused(http.post(f"{server.base}/images/{route}", files=files, data=form), 400, code, param)


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "~/.ssh/id_rsa", "file:///etc/passwd", "http://169.254.169.254/"]
)
def test_text_is_no_image(server, http, text):
    """A path or an address in place of an image is never opened."""
    answer = http.post(f"{server.base}/images/variations", files={"image": (None, text)})
    assert "no PNG" in refused(answer, 400, "invalid_image", "image")
    body = {"images": [{"image_url": text}], "prompt": "x"}
    answer = http.post(f"{server.base}/images/edits", json=body)
    assert "data: URL" in refused(answer, 400, "invalid_image", "images[0]")


@pytest.mark.parametrize(
    ("content", "status", "code", "param"),
    [
        (b"{", 400, "invalid_json", None),
        (b"[]", 400, "invalid_json", None),
        (b'"\xff"', 400, "invalid_json", None),
        (b"[" * 100_000, 400, "invalid_json", None),
        (b'{"n":' + b"9" * 10_000 + b"}", 400, "invalid_json", None),
        (b'{"images": 5, "prompt": "x"}', 400, "invalid_value", "images"),
        (b'{"images": [5], "prompt": "x"}', 400, "invalid_image", "images[0]"),
        (b'{"images": [{"file_id": "file-1"}], "prompt": "x"}', 400, "invalid_image", "images[0]"),
        (b'{"images": [{"image_url": "data:,"}], "prompt": "x", "n": [1]}', 400, "invalid_value", "n"),
        (b'{"images": [{"image_url": "data:;base64,*"}], "prompt": "x"}', 400, "invalid_image", "images[0]"),
        (b'{"images": [{"image_url": "data:,x"}], "prompt": "x", "mask": "a"}', 400, "invalid_image", "mask"),
        (b'{"images": [{"image_url": "data:,x"}], "prompt": {}}', 400, "invalid_value", "prompt"),
        (b'{"images": [], "prompt": "x"}', 400, "missing_required_parameter", "image"),
    ],
)
def test_wrong_json(server, http, *, content, status, code, param):
    """JSON that is broken, deep, huge or of another shape is refused."""
    headers = {"content-type": "application/json"}
    answer = http.post(f"{server.base}/images/edits", content=content, headers=headers)
    refused(answer, status, code, param)


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"content-type": "text/plain"}, b"x", 415, "unsupported_content_type"),
        ({"content-type": "application/json"}, b"{}", 415, "unsupported_content_type"),
        ({}, b"x", 415, "unsupported_content_type"),
        ({"content-type": "multipart/form-data"}, b"x", 400, "invalid_form"),
        ({"content-type": "multipart/form-data; boundary=a"}, b"x", 400, "invalid_form"),
        ({"content-type": f"multipart/form-data; boundary={'a' * 300}"}, b"x", 400, "invalid_form"),
        ({"content-type": "multipart/form-data; boundary=a"}, b"--a\r\n\r\nx\r\n--a--", 400, "invalid_form"),
        (
            {"content-type": "multipart/form-data; boundary=a", "content-encoding": "gzip"},
            b"",
            415,
            "unsupported_encoding",
        ),
    ],
)
def test_wrong_bodies(server, http, *, headers, content, status, code):
    """A body of another type, compressed, or a broken form is refused."""
    answer = http.post(f"{server.base}/images/variations", content=content, headers=headers)
    refused(answer, status, code)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def broken_images():
    """Return files that are no whole image of a type that is taken, by name."""
    picture = Image.linear_gradient("L").convert("RGB")
    whole = {kind: encoded(picture, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")}
    found = {f"half a {kind}": data[: len(data) // 2] for kind, data in whole.items() if kind != "JPEG"}
    found |= {f"head of a {kind}": data[:12] for kind, data in whole.items()}
    found |= {f"{kind} of zeros": data[:12] + bytes(500) for kind, data in whole.items()}
    found |= {kind: encoded(picture, kind) for kind in ("BMP", "TIFF", "PPM", "EPS", "ICO", "PDF")}
    found["SVG"] = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    found["HTML"] = b"<html><script>alert(1)</script>"
    found["float TIFF as PNG"] = b"\x89PNG\r\n\x1a\n" + encoded(Image.new("F", (9, 9)), "TIFF")
    return found


BROKEN = broken_images()
#: Pictures of one bit a pixel that take 400 and 64 MB when decoded; packing the first takes a second.
LARGE = {"bomb": (20_000, 20_000), "large": (8_000, 8_000)}


@pytest.mark.parametrize("name", [*BROKEN, "large", slow("bomb")])
def test_broken_images(server, http, name):
    """A file that is broken, too large when decoded, or of a type that is not taken is the caller's fault."""
    content = encoded(Image.new("1", LARGE[name]), "PNG", compress_level=1) if name in LARGE else BROKEN[name]
    answer = http.post(
        f"{server.base}/images/variations", files={"image": ("../../a.png", content)}, data=SMALL
    )
    message = refused(answer, 400, "invalid_image", "image")
    assert "a.png" not in message


def test_mask_without_transparency(server, http, png):
    """A mask that can't say what may change is refused, instead of being read the other way round."""
    files = {"image": png, "mask": png}
    answer = http.post(f"{server.base}/images/edits", files=files, data={"prompt": "x", **SMALL})
    assert "no transparency" in refused(answer, 400, "invalid_image", "mask")


@pytest.mark.parametrize(
    ("exc", "status", "code"),
    [
        (RateLimitError("sk-secret", status=429), 429, "rate_limit_exceeded"),
        (RequestTimeoutError("sk-secret"), 504, "timeout"),
        (AuthenticationError("sk-secret", status=401), 502, "engine_error"),
        (ServerError("sk-secret", status=500), 502, "engine_error"),
        (BadResponseError("sk-secret"), 502, "engine_error"),
        (ConfigurationError("sk-secret"), 500, "not_configured"),
        (RuntimeError("sk-secret"), 500, "internal_error"),
    ],
)
def test_engine_faults(start, http, png, fake_engine, *, exc, status, code):
    """A fault of the engine or of its server is a status of its own, and tells nothing of its text."""
    answer = http.post(f"{start(fake_engine([exc])).base}/images/variations", files={"image": png})
    message = refused(answer, status, code)
    assert "sk-secret" not in answer.text
    assert "Traceback" not in answer.text
    assert message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/images/variations", 405),
        ("DELETE", "/v1/models", 405),
        ("OPTIONS", "/v1/images/edits", 405),
        ("POST", "/healthz", 405),
        ("GET", "/", 404),
        ("POST", "/v1/images/generations", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/images/..%2f..%2fetc%2fpasswd.png", 404),
        ("GET", "/images/../../etc/passwd.png", 404),
        ("GET", "/images/%00.png", 404),
        ("GET", "/images/AAAAAAAAAAAAAAAAAAAAAA.png", 404),
        ("GET", "//evil.example/%2e%2e/", 404),
    ],
)
def test_other_addresses(server, http, method, path, status):
    """What is not there is a 404, what is not for a method a 405 that names those that are; CORS stays closed."""
    answer = http.request(method, server.root + path)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert error["type"] == "invalid_request_error"
    assert ("allow" in answer.headers) == (status == 405)
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "10.0.0.1",
        "",
        "a b",
        "[::",
        "localhost:x",
    ],
)
def test_foreign_hosts(server, http, host):
    """A name that somebody pointed at this machine is refused."""
    refused(http.get(f"{server.base}/models", headers={"host": host}), 421, "wrong_host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.0.0.2:1", "[::1]:8765", "a.localhost"]
)
def test_own_hosts(server, http, host):
    """The machine's own names and addresses are taken, at whichever port a tunnel has."""
    assert http.get(f"{server.base}/models", headers={"host": host}).status_code == 200


def test_two_hosts(server):
    """Two Host headers are refused, since somebody in between may have read the other one."""
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://localhost:1", "file://"])
def test_foreign_origins(server, http, png, origin):
    """A page of another origin can't have pictures made, with or without an answer that it may read."""
    answer = http.post(
        f"{server.base}/images/variations", files={"image": png}, data=SMALL, headers={"origin": origin}
    )
    refused(answer, 403, "foreign_origin")


def test_cross_site_requests(server, http):
    """A browser that sends no Origin says by other means that another site asks."""
    answer = http.get(f"{server.base}/models", headers={"sec-fetch-site": "cross-site"})
    refused(answer, 403, "foreign_origin")


def test_own_origin(server, http):
    """A page that this server itself would serve may ask."""
    assert http.get(f"{server.base}/models", headers={"origin": server.root}).status_code == 200


@pytest.fixture
def keyed(start):
    """Return a server that asks for one of two keys."""
    return start(policy=Policy((Secret("key-one"), Secret("kéy-two"))))


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer key-on", "Bearer key-one2", "Basic key-one", "key-one"]
)
def test_wrong_keys(keyed, http, value):
    """Without one of the keys nothing is served, and the key is not repeated."""
    answer = http.get(f"{keyed.base}/models", headers={"authorization": value})
    assert "key-on" not in refused(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", [b"key-one", "kéy-two".encode()])
def test_right_keys(keyed, http, key):
    """Any of the keys opens."""
    assert http.get(f"{keyed.base}/models", headers={b"authorization": b"Bearer " + key}).status_code == 200


def test_what_needs_no_key(keyed, http, png):
    """Health needs no key, and neither does a picture's address, which is a secret itself."""
    assert http.get(f"{keyed.root}/healthz").status_code == 200
    headers = {"authorization": "bearer key-one"}
    answer = http.post(f"{keyed.base}/images/variations", files={"image": png}, data=SMALL, headers=headers)
    assert http.get(answer.json()["data"][0]["url"]).status_code == 200


def raw(server, data):
    """Send bytes and return the answer's status and body."""
    with server.connect() as connection:
        connection.sendall(data)
        received = b""
        # A server that closes before it has read all that was sent resets the connection, after its answer.
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"x-request-id" in head
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000, 431),
        (b"GET /" + b"a" * 100_000, 431),
        (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
            + b"a" * 20_000
            + b"\r\n\r\n",
            431,
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
    ],
)
def test_what_is_no_request(server, data, status):
    """Headers without end, and what is no HTTP, get an answer in the API's shape and a closed connection."""
    got, error = raw(server, data)
    assert got == status
    assert error["type"] == "invalid_request_error"


def test_broken_chunks(server):
    """A body whose chunks are broken ends the request, with an answer or none, and the server goes on."""
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/images/variations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=a\r\n\r\n5\r\nhello\r\nzz\r\n"
        )
        answer = connection.recv(65_536)
    assert not answer or answer.split()[1] == b"400"
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).split()[1] == b"200"


def test_upload_limit_by_length(start, http, png):
    """A body that says it is too large is refused before it is read."""
    server = start(upload_bytes=1000)
    answer = http.post(f"{server.base}/images/variations", files={"image": png})
    refused(answer, 413, "request_too_large")


def test_upload_limit_while_reading(start, http):
    """A body that does not say how large it is is refused as soon as it is too large."""
    server = start(upload_bytes=100_000)
    sent = 0

    def endless():
        nonlocal sent
        yield b'--a\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(1_000):
            sent += 10_000
            yield bytes(10_000)

    headers = {"content-type": "multipart/form-data; boundary=a"}
    answer = http.post(f"{server.base}/images/variations", content=endless(), headers=headers)
    refused(answer, 413, "request_too_large")


def test_uploads_are_bounded_together(start, http, png):
    """Bodies that are fine one by one are refused when all together are too much, and room comes back."""
    server = start(uploads_bytes=len(png) + 2000)
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/images/variations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
            b"Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n"
            b'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + bytes(4000)
        )
        held = None
        for _ in range(100):
            held = http.post(f"{server.base}/images/variations", files={"image": png}, data=SMALL)
            if held.status_code == 503:
                break
        refused(held, 503, "overloaded")
        assert held.headers["retry-after"]
    for _ in range(100):
        answer = http.post(f"{server.base}/images/variations", files={"image": png}, data=SMALL)
        if answer.status_code == 200:
            break
    assert answer.status_code == 200


def test_log_says_nothing_of_the_user(launch, http, png, tmp_path):
    """The log has an id, a method, a status and a time; no key, path, address, prompt or file name."""
    (tmp_path / "keys").write_text("# ours\n\nkey-secret\n")
    process = launch("--api-key-file", str(tmp_path / "keys"))
    headers = {"authorization": "Bearer key-secret"}
    form = {"prompt": "my-prompt", "user": "my-user", "my-field": "x", **SMALL}
    files = {"image": ("my-name.png", png)}
    url = f"{process.base}/images/variations?my-query=1"
    answer = http.post(url, files=files, data=form, headers=headers)
    picture = answer.json()["data"][0]["url"]
    http.get(picture)
    http.get(f"{process.root}/my-path%0d%0aforged")
    http.post(url, files={"image": b"my-image"}, headers=headers)
    assert process.stop() == 0
    log = process.log.read_text()
    assert answer.headers["x-request-id"] in log
    for private in ("key-secret", "my-", "forged", picture.rpartition("/")[2], "keys", str(tmp_path)):
        assert private not in log
    assert base64.b64encode(png)[:40].decode() not in log
    assert not list(tmp_path.glob("imgvar-pictures-*"))


def test_pictures_leave_no_other_trace(launch, http, png, tmp_path):
    """What a server makes is in nobody's history: the store stays empty."""
    process = launch(IPY_IMGVAR_STORE=str(tmp_path / "store"))
    assert http.post(f"{process.base}/images/variations", files={"image": png}, data=SMALL).status_code == 200
    assert not (tmp_path / "store").exists()


def test_a_socket_that_says_nothing(start):
    """A connection on which no request comes is answered with 408 and closed."""
    server = start(header_timeout_s=0.2)
    with server.connect() as connection:
        assert connection.recv(100).split()[1] == b"408"
        connection.settimeout(100)
        while connection.recv(65_536):
            pass


@pytest.mark.parametrize("text", ["a\u202eb", "a\x1b[2J", "a\x07", "a\u2066b"])
def test_what_is_echoed_is_plain(start, http, png, fake_engine, text):
    """A field's name, a model and an upstream's message, code and field are shown without what would act in them."""
    escaped = text.encode("unicode_escape").decode()
    exc = APIStatusError(f"m {text}", status=400, code=text, param=text)
    server = start(fake_engine([exc]))
    answer = http.post(f"{server.base}/images/variations", files={"image": png})
    error = answer.json()["error"]
    assert (error["message"], error["code"], error["param"]) == (f"m {escaped}", escaped, escaped)
    # As a form of its own: client libraries escape some of it.
    head = f'--b\r\nContent-Disposition: form-data; name="{text}"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = http.post(f"{server.base}/images/variations", content=head.encode(), headers=headers)
    error = answer.json()["error"]
    assert (error["message"], error["param"]) == (f"{escaped} is a file; send it as text", escaped)
