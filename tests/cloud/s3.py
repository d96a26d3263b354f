"""An S3 server on loopback, moto's in a process of its own, with faults on request: for every test about buckets.

Run as a script it is the server: it prints its port, and ends when its standard input does.
"""

import base64
import contextlib
import itertools
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

#: Where the server takes orders, beside S3's own requests.
_ORDERS = "/-/orders"
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} for AKIASECRET</Message></Error>"
#: The answers of faults that have a status, by their kind.
_REFUSALS = {
    "slow-down": ("503 Slow Down", "SlowDown"),
    "internal": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
    "expired": ("400 Bad Request", "ExpiredToken"),
    "wrong-key": ("403 Forbidden", "InvalidAccessKeyId"),
}


class Server:
    """A running server.

    Parameters
    ----------
    process
        It ends with its standard input.
    port
        Its port on 127.0.0.1.
    """

    def __init__(self, process, port):
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def environment(self, home):
        """Return the variables with which s3fs and boto3 find this server, and nothing of the user's own.

        Parameters
        ----------
        home
            A folder without a configuration.
        """
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing-key-id",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(Path(home, "aws-config")),
            "AWS_SHARED_CREDENTIALS_FILE": str(Path(home, "aws-credentials")),
            "FSSPEC_CONFIG_DIR": str(Path(home, "fsspec")),
        }

    def order(self, **order):
        """Give the server an order, and return its answer; see `_Application.order`."""
        request = urllib.request.Request(self.url + _ORDERS, json.dumps(order).encode())  # noqa: S310
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            return json.load(answer)

    def make_bucket(self, name, *, fill=0, count=0, key="{:06}.png", content=b""):
        """Make a bucket, and return its address.

        Parameters
        ----------
        name
            The bucket.
        fill, count
            How many objects it has: as many are put, or only counted, which costs nothing but takes no other object.
        key, content
            The pattern of their keys, and what each of them holds.
        """
        content = base64.b64encode(content).decode()
        order = {"count": count} if count else {"fill": fill}
        self.order(bucket=name, key=key, content=content, **order)
        return f"s3://{name}"

    def fail(self, kind=None, *, every=1, methods=("GET", "PUT", "HEAD", "POST", "DELETE"), seconds=0.0):
        """Let requests fail from now on; `kind` is None for none, and see `_Application.__call__`."""
        self.order(kind=kind, every=every, methods=list(methods), seconds=seconds)

    def requests(self):
        """Return how many requests were answered since the last call, by method, and `failed`."""
        return self.order(counts=True)


@contextlib.contextmanager
def running():
    """Run a server until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield Server(process, int(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Application:
    """moto's application behind a gate that counts requests and lets some fail."""

    def __init__(self):
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._fault = {"kind": None, "every": 1, "methods": (), "seconds": 0.0}
        self._counts = {}
        #: Buckets that hold no objects but count them: moto takes seconds for a page of a hundred thousand.
        self._counted = {}

    def __call__(self, environ, start):
        if environ["PATH_INFO"] == _ORDERS:
            order = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            body = json.dumps(self.order(order)).encode()
            start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        method = environ["REQUEST_METHOD"]
        with self._lock:
            fault = self._fault
            counted = fault["kind"] is not None and method in fault["methods"]
            fails = counted and next(self._numbers) % fault["every"] == 0
            for name in (method, *(["failed"] if fails else [])):
                self._counts[name] = self._counts.get(name, 0) + 1
        if fails:
            return self._failed(fault, environ, start)
        bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
        if bucket in self._counted and method in ("GET", "HEAD") and (not key or self._has(bucket, key)):
            return self._count_out(environ, start, bucket, key)
        return self._moto(environ, start)

    def _has(self, bucket, key):
        """Return whether a bucket whose keys are numbers has this one."""
        count, pattern, _ = self._counted[bucket]
        number = re.search(r"\d+(?=\D*$)", key)
        return number is not None and int(number[0]) < count and pattern.format(int(number[0])) == key

    def _count_out(self, environ, start, bucket, key):
        """Answer a request to a bucket whose keys are numbers: a page of its listing, or its one content."""
        count, pattern, content = self._counted[bucket]
        query = {name: values[0] for name, values in urllib.parse.parse_qs(environ["QUERY_STRING"]).items()}
        body, kind = content, "image/png"
        if not key:
            first = int(query.get("continuation-token", 0))
            last = min(first + int(query.get("max-keys", 1000)), count)
            rows = "".join(
                f"<Contents><Key>{pattern.format(number)}</Key><Size>{len(content)}</Size><ETag>&quot;1&quot;</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
                for number in range(first, last)
            )
            more = "" if last >= count else f"<NextContinuationToken>{last}</NextContinuationToken>"
            body = (
                f"<?xml version='1.0'?><ListBucketResult><Name>{bucket}</Name><KeyCount>{last - first}</KeyCount>"
                f"<IsTruncated>{str(last < count).lower()}</IsTruncated>{more}{rows}</ListBucketResult>"
            ).encode()
            kind = "application/xml"
        start("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body))), ("ETag", '"1"')])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _failed(self, fault, environ, start):
        """Answer with a fault: a refusal, "reset" (no answer), "short" (half of it), "slow" (late)."""
        kind = fault["kind"]
        if kind == "slow":
            time.sleep(fault["seconds"])
            return self._moto(environ, start)
        if kind == "reset":
            _reset(environ)
        if kind == "short":
            body = b"".join(self._moto(environ, start))
            return _half(environ, body)
        status, code = _REFUSALS[kind]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"].read(length)
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else _ERROR.format(code=code).encode()
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def order(self, order):
        """Make a bucket, fill it, set the fault, or tell and forget the counts."""
        from moto.s3.models import s3_backends

        backend = s3_backends["123456789012"]["aws"]
        if "bucket" in order:
            if order["bucket"] not in backend.buckets:
                backend.create_bucket(order["bucket"], "us-east-1")
            content = base64.b64decode(order.get("content", ""))
            for number in range(order.get("fill", 0)):
                backend.put_object(order["bucket"], order["key"].format(number), content)
            if "count" in order:
                self._counted[order["bucket"]] = order["count"], order["key"], content
        if "kind" in order:
            with self._lock:
                self._fault, self._numbers = order, itertools.count(1)
        if "counts" in order:
            with self._lock:
                counts, self._counts = self._counts, {}
            return counts
        return {}


def _reset(environ):
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _half(environ, body):
    yield body[: len(body) // 2]
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def _serve():
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, _Application(), threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    # moto's own start asks for these.
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")  # noqa: S106
    _serve()
