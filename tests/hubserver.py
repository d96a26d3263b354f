"""A small Hugging Face hub over loopback, with the standard library: what huggingface_hub asks, and its faults.

It answers the information on a model, the list of its files, and the files themselves with ETag, commit and ranges, as
huggingface.co does without its storage Xet. `Hub.repos` holds the repositories, `Hub.requests` what was asked.
"""

import functools
import hashlib
import http.server
import json
import re
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

#: Bytes from which a file counts as large, which the hub keeps under its SHA-256.
LARGE = 1000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repo:
    """A repository, and how the hub treats it.

    `rate` is bytes a second. `breaks` are shares of a large file, one for each coming transfer, after which its
    connection ends. With `short`, large files come without their end. `token` is the only one that a gated repository's
    files are sent to. `sizes` are sizes that the list states instead of the true ones.
    """

    files: dict
    commit: str = COMMIT
    revisions: tuple = ("main",)
    card: dict = field(default_factory=dict)
    gated: str | bool = False
    token: str | None = None
    private: bool = False
    rate: float | None = None
    breaks: list = field(default_factory=list)
    short: bool = False
    silent: bool = False
    status: int | None = None
    sizes: dict = field(default_factory=dict)


@functools.lru_cache(32)
def digest(data):
    """Return the name of a file's blob: git's hash of a small file, the SHA-256 of a large one."""
    if len(data) < LARGE:
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's
    return hashlib.sha256(data).hexdigest()


class Hub:
    """The server, in a thread; `url` is what `HF_ENDPOINT` takes."""

    def __init__(self):
        self.repos = {}
        self.requests = []
        self.sent = 0
        self.closing = threading.Event()
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def paths(self):
        """Return the paths of files whose content was asked for, in order."""
        return [
            path.partition("/resolve/")[2].partition("/")[2]
            for verb, path, _ in self.requests
            if verb == "GET" and "/resolve/" in path
        ]

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer's body waits 40 ms for the receipt of its head

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(
            (self.command, path, {name.lower(): value for name, value in self.headers.items()})
        )
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            name, kind, revision = found.groups()
            if repo := self.allowed(name, revision, is_file=False):
                self.send_json(tree(repo) if kind == "tree" else information(name, repo))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = found.groups()
            repo = self.allowed(name, revision, is_file=True)
            if repo and file not in repo.files:
                self.refuse(404, "EntryNotFound")
            elif repo:
                self.send_file(repo, repo.files[file])
        else:
            self.refuse(404, "RepoNotFound")

    def allowed(self, name, revision, *, is_file):
        repo = self.hub.repos.get(name)
        if repo is None or repo.private:
            return self.refuse(401, "RepoNotFound")
        while repo.silent and not self.hub.closing.wait(0.05):
            pass
        if repo.status:
            return self.refuse(repo.status, None)
        if revision and revision not in (*repo.revisions, repo.commit):
            return self.refuse(404, "RevisionNotFound")
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if is_file and repo.gated and (repo.token is None or sent != repo.token):
            return self.refuse(403 if sent else 401, "GatedRepo")
        return repo

    def refuse(self, status, code):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", f"{code} of {self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_json(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, repo, data):
        start = int(re.match(r"bytes=(\d+)", self.headers.get("Range", "bytes=0"))[1])
        body = data[start : -10 if repo.short and len(data) >= LARGE and self.command == "GET" else None]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{digest(data)}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Linked-ETag", f'"{digest(data)}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if repo.breaks and len(data) >= LARGE:
            body = body[: int(len(body) * repo.breaks.pop(0))]
            self.close_connection = True
        self.send_slowly(body, repo.rate)

    def send_slowly(self, body, rate):
        step = 64 * 1024 if rate is None else max(1, min(64 * 1024, int(rate / 20)))
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            self.hub.sent += len(piece)
            if rate:
                time.sleep(len(piece) / rate)


def information(name, repo):
    """Return what the hub says on a model, with its files' sizes (`?blobs=true`)."""
    siblings = []
    for path, data in repo.files.items():
        large = (
            {"sha256": digest(data), "size": len(data), "pointerSize": 134} if len(data) >= LARGE else None
        )
        size = repo.sizes.get(path, len(data))
        siblings.append({"rfilename": path, "size": size, "blobId": digest(data), "lfs": large})
    return {
        "_id": "1",
        "id": name,
        "modelId": name,
        "sha": repo.commit,
        "private": False,
        "gated": repo.gated,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "cardData": repo.card,
        "siblings": siblings,
    }


def tree(repo):
    """Return the hub's list of a repository's files."""
    entries = []
    for path, data in repo.files.items():
        entry = {"type": "file", "path": path, "size": len(data), "oid": digest(data)}
        if len(data) >= LARGE:
            entry["lfs"] = {"oid": digest(data), "size": len(data), "pointerSize": 134}
        entries.append(entry)
    return entries


INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [None, None],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


def pipeline(large=5000, **files):
    """Return the files of a pipeline by path, with so many bytes of weights; `files` add to it, None removes."""
    made = {
        "model_index.json": json.dumps(INDEX).encode(),
        "README.md": b"# A model",
        "scheduler/scheduler_config.json": b'{"file": 1}',
        "tokenizer/tokenizer_config.json": b'{"file": 2}',
        "tokenizer/vocab.json": b'{"file": 3}',
        "unet/config.json": b'{"file": 4}',
        "unet/diffusion_pytorch_model.safetensors": b"u" * large,
        "unet/diffusion_pytorch_model.bin": b"p" * large,
        "whole.safetensors": b"w" * large,
        **files,
    }
    return {path: data for path, data in made.items() if data is not None}
