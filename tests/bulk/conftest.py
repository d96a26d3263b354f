"""What tests of bulk runs share: folders of pictures, a server that fails, and runs in a process of their own."""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import ipy_imgvar
from ipy_imgvar.bulk.ledger import NAME

#: Where the package is, for processes that the tests start.
ROOT = Path(ipy_imgvar.__file__).parent.parent


def png(colour, size=(64, 64)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def make_folder(tmp_path):
    """Return a function that makes a folder of flat pictures, no two alike: they cost the engine next to nothing."""

    def make(count, name="photos"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            (folder / f"p{number:03}.png").write_bytes(png((number % 256, 100 + number // 256, 40)))
        return folder

    return make


@pytest.fixture
def make_photos(tmp_path, photo):
    """Return a function that makes a folder of photographs, which take the engine about 0.2 s each."""

    def make(count, name="photographs"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            photo.rotate(7 * number).save(folder / f"photo{number:03}.png")
        return folder

    return make


def records(out_dir):
    """Return the ledger's records, in order."""
    return [json.loads(line) for line in (Path(out_dir) / NAME).read_text().splitlines()]


def pictures(out_dir):
    """Return the hash of every picture by name, and decode each: a half one raises."""
    found = {}
    for path in sorted(Path(out_dir).glob("*.png")):
        with Image.open(path) as picture:
            picture.load()
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def half_files(out_dir):
    return list(Path(out_dir).rglob("*.tmp"))


@pytest.fixture
def look():
    """Return functions that read what a run has left behind."""
    return SimpleNamespace(records=records, pictures=pictures, half_files=half_files)


@pytest.fixture
def start_python():
    """Return a function that runs a script in another process; whatever is left is killed after the test."""
    started = []

    def start(code, *words, **options):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], env=env, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class Handler(BaseHTTPRequestHandler):
    """Answers each POST as the server's plan says, and notes what was posted."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer's body waits 40 ms for the receipt of its head

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        name = body[body.index(b'filename="') :].split(b'"')[1].decode()
        server = self.server
        with server.lock:
            server.posts[name] += 1
            server.times.append(time.monotonic())
            kind = server.plan(name, server.posts[name])
            server.answers[kind] += 1
        time.sleep(server.delay_s)
        picture = base64.b64encode(server.picture).decode()
        answer = {"created": 1, "data": [{"b64_json": picture}], "usage": {"total_tokens": 3}}
        if kind in (429, 500):
            answer = {"error": {"message": server.refusal}}
        data = json.dumps(answer).encode()
        self.send_response(kind if kind in (429, 500) else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if kind == 429:
            self.send_header("retry-after", str(server.retry_after_s))
        self.end_headers()
        try:
            self.wfile.write(data[: len(data) // 2] if kind == "cut" else data)
        except OSError:  # The client was killed meanwhile.
            self.close_connection = True
        self.close_connection |= kind == "cut"

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """A loopback images API; `plan(name, number)` says how the number-th POST of a file is answered."""

    daemon_threads = True
    delay_s = 0.005
    retry_after_s = 0.05
    refusal = "not now"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan = lambda name, number: 200  # noqa: ARG005
        self.posts, self.answers, self.times = Counter(), Counter(), []
        self.picture = png("teal")
        self.lock = threading.Lock()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_):
        """Say nothing of clients that were killed."""


@pytest.fixture
def server():
    """Serve an images API on a free port of this machine."""
    instance = Server()
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield instance
    instance.shutdown()
    thread.join()
    instance.server_close()
