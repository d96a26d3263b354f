"""A loopback images API: both routes as the specification has them, and every fault that a server can have.

It is written on sockets, so that it can break off, stall, reset or say nonsense anywhere. What it answers is a script:
`api.script(...)` takes one reply for each POST to come, and without a script it answers as OpenAI's API does.

A reply is an iterable of steps: bytes are sent, a float is slept, `STALL` waits for the other side to go, `CLOSE` ends
the connection, `RESET` aborts it.
"""

import base64
import io
import json
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from PIL import Image

#: A key that must be seen nowhere but here.
CANARY = "sk-proj-CaNaRy0123456789abcdefXY"
STALL, CLOSE, RESET = "stall", "close", "reset"


def png(colour="red", size=(64, 64), kind="PNG"):
    """Return an encoded picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


PICTURES = [png(colour) for colour in ("red", "lime", "blue", "white", "black") * 2]


def b64(data):
    """Return base64 text."""
    return base64.b64encode(data).decode("ascii")


#: What OpenAI's specification requires of `usage`, with its two breakdowns.
USAGE = {
    "input_tokens": 300,
    "output_tokens": 200,
    "total_tokens": 500,
    "input_tokens_details": {"text_tokens": 40, "image_tokens": 260},
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 200},
}


def answer_of(*pictures, **more):
    """Return the JSON of a success with pictures as base64."""
    return {"created": 1_790_000_000, "data": [{"b64_json": b64(each)} for each in pictures], **more}


def response(status=200, body=b"", content_type="application/json", **headers):
    """Return a whole HTTP response; underscores in a header's name stand for hyphens."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} Status"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    headers = {"Content_Length": len(body), **headers}
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _cut():
    body = json.dumps(answer_of(*PICTURES[:2])).encode()
    return [response(200, b"", Content_Length=len(body)), body[: body.index(b'"b64_json"') + 30]]


#: Steps that send a part of an answer's first picture.
TWO_CUT = _cut()


def refusal(status, message="no", code=None, param=None, **headers):
    """Return a refusal in OpenAI's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return [response(status, {"error": error}, **headers)]


def events(*entries):
    """Return a streamed answer: each entry is (name, data), or bytes as they are."""
    body = b"".join(
        entry
        if isinstance(entry, bytes)
        else f"event: {entry[0]}\ndata: {json.dumps({'type': entry[0], **entry[1]})}\n\n".encode()
        for entry in entries
    )
    return [response(200, body, "text/event-stream", Content_Length=None, Connection="close"), CLOSE]


@dataclass
class Request:
    """What came in."""

    method: str
    target: str
    headers: dict
    body: bytes = b""
    fields: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)

    @property
    def path(self):
        return self.target.partition("?")[0]

    @property
    def json(self):
        return json.loads(self.body)

    def parse(self):
        """Read the form, if it is one."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            return
        boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
        for part in self.body.split(boundary)[1:-1]:
            head, _, content = part[2:-2].partition(b"\r\n\r\n")
            named = {}
            for piece in head.decode().replace("\r\n", ";").split(";"):
                name, equals, value = piece.strip().partition("=")
                if equals:
                    named[name.strip()] = value.strip('"')
                elif piece.lower().startswith("content-type:"):
                    named["type"] = piece.partition(":")[2].strip()
            if "filename" in named:
                self.files[named["name"]] = (named["filename"], named.get("type"), content)
            else:
                self.fields[named["name"]] = content.decode()


class Api:
    """The server; `base` is what a client is given."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}/v1"
        self._lock = threading.Lock()
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        """Forget all that came in, and answer as OpenAI's API does."""
        self.requests = []
        self.connections = 0
        self.gone = threading.Event()
        self.arrived = threading.Event()
        self.reads_body = True
        self.dead_route = False
        self._script = []

    def script(self, *replies):
        """Answer the next POSTs with these, the last of them for ever."""
        self._script = [list(each) if not isinstance(each, bytes) else [each] for each in replies]

    @property
    def posts(self):
        return [each for each in self.requests if each.method == "POST"]

    @property
    def gets(self):
        return [each for each in self.requests if each.method == "GET"]

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self, connection):
        try:
            with connection:
                while (request := self._receive(connection)) is not None:
                    if not self._reply(connection, request):
                        return
        except OSError:
            self.gone.set()

    def _receive(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return None
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        request = Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})
        length = int(request.headers.get("content-length", 0))
        if not self.reads_body and method == "POST":
            self.requests.append(request)
            self.arrived.set()
            self._stall(connection)
            return None
        body = bytearray(rest)
        while len(body) < length:
            chunk = connection.recv(1 << 20)
            if not chunk:
                return None
            body += chunk
        request.body = bytes(body)
        request.parse()
        with self._lock:
            self.requests.append(request)
        self.arrived.set()
        return request

    def _reply(self, connection, request):
        """Play the reply; return whether the connection stays open."""
        for step in self._steps(request):
            if step is STALL:
                self._stall(connection)
                return False
            if step is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if step is CLOSE:
                return False
            if isinstance(step, float):
                time.sleep(step)
            else:
                connection.sendall(step)
        return True

    def _stall(self, connection):
        """Wait for the other side to close, without reading what it still sends."""
        poller = select.poll()
        poller.register(connection, select.POLLRDHUP)
        if poller.poll(30_000):
            self.gone.set()

    def _steps(self, request):
        if request.method == "GET":
            return self._picture(request)
        if self._script:
            with self._lock:
                return self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if request.path.endswith("/images/variations"):
            return self._variations(request)
        if request.path.endswith("/images/edits"):
            return self._edits(request)
        return [response(404, {"detail": "Not Found"})]

    def _picture(self, request):
        name = request.path.rpartition("/")[2].removesuffix(".png")
        if name == "stall":
            return [STALL]
        if not name.isdecimal() or int(name) >= len(PICTURES):
            return [response(404, b"", None)]
        return [response(200, PICTURES[int(name)], "image/png")]

    def _variations(self, request):
        """POST /images/variations: `image` is a square PNG below 4 MB; `response_format` is url unless said."""
        if self.dead_route:
            return [response(404, b"", None)]
        if unknown := set(request.fields) - {"model", "n", "size", "response_format", "user"}:
            return refusal(400, f"Unknown parameter: '{min(unknown)}'.", "unknown_parameter", min(unknown))
        _, kind, data = request.files["image"]
        image = Image.open(io.BytesIO(data))
        if image.format != "PNG" or kind != "image/png" or image.width != image.height or len(data) >= 4e6:
            return refusal(400, "Uploaded image must be a square PNG below 4 MB.", "invalid_image", "image")
        if request.fields.get("size", "1024x1024") not in ("256x256", "512x512", "1024x1024"):
            return refusal(400, "'size' is not one of the enum.", "invalid_value", "size")
        n = int(request.fields.get("n", 1))
        if request.fields.get("response_format", "url") == "b64_json":
            return [response(200, answer_of(*PICTURES[:n]))]
        urls = [f"http://127.0.0.1:{self.port}/pictures/{index}.png" for index in range(n)]
        return [response(200, {"created": 1, "data": [{"url": url} for url in urls]})]

    def _edits(self, request):
        """POST /images/edits with a gpt-image model: `prompt` is required, `response_format` unknown."""
        is_json = request.headers["content-type"] == "application/json"
        fields = request.json if is_json else request.fields
        known = {"model", "prompt", "n", "size", "quality", "background", "output_format", "stream", "user"}
        known |= {"output_compression", "moderation", "input_fidelity", "partial_images", "images", "mask"}
        if not fields.get("model", "").startswith("gpt-image"):
            known.add("response_format")
        if unknown := set(fields) - known:
            return refusal(400, f"Unknown parameter: '{min(unknown)}'.", "unknown_parameter", min(unknown))
        if not fields.get("prompt"):
            return refusal(
                400, "Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt"
            )
        if not (request.files.get("image") or request.files.get("image[]") or fields.get("images")):
            return refusal(400, "Missing required parameter: 'image'.", "missing_required_parameter", "image")
        n = int(fields.get("n", 1))
        if str(fields.get("stream")).lower() == "true":
            usual = {"created_at": 1, "size": "1024x1024", "quality": "high", "output_format": "png"}
            looks = [
                (
                    "image_edit.partial_image",
                    {"b64_json": b64(png("gray")), "partial_image_index": i, **usual},
                )
                for i in range(int(fields.get("partial_images", 0)))
            ]
            done = ("image_edit.completed", {"b64_json": b64(PICTURES[0]), "usage": USAGE, **usual})
            return events(*looks, done)
        more = {"background": "opaque", "output_format": "png", "size": "1024x1024", "quality": "high"}
        return [response(200, answer_of(*PICTURES[:n], usage=USAGE, **more), x_request_id="req_1")]
