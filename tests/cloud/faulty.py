"""A proxy before an S3 server that counts requests and, on demand, fails, denies, is slow, or holds a crowd of objects.

moto's server never fails and checks no right, so what a store does on a bad day is done here. A request that is let
through is passed on as it came; what the server answers goes back as it is.
"""

import http.client
import itertools
import socket
import struct
import sys
import threading
import time
from collections import Counter
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

#: What a failing request meets, in turn. "lost" is the worst: the server did it, and its answer is lost.
FAULTS = ("500", "503", "reset", "lost")
#: Objects that S3 lists at a time, at most.
PAGE = 1000
_DENIED = ("403", "AccessDenied", "Access Denied")
_ERRORS = {
    "500": ("500", "InternalError", "We encountered an internal error."),
    "503": ("503", "SlowDown", "Slow"),
}
#: Headers that belong to one connection, and are not passed on.
_OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length", "host"}


class Faulty:
    """Stands before a server from `with` to its end; its attributes may change at any time.

    Parameters
    ----------
    upstream
        Host and port of the server, such as ("127.0.0.1", 5000).
    """

    def __init__(self, upstream):
        self.upstream = upstream
        #: Every so many requests one fails; 0 lets all through.
        self.fail_every = 0
        #: The methods that are denied, such as {"PUT", "DELETE"}.
        self.denied = frozenset()
        #: Seconds that each request waits.
        self.delay_s = 0.0
        #: Objects that are not on the server, but listed and read as if they were.
        self.crowd = None
        #: Called with method and path of a request before it is passed on.
        self.on_request = None
        #: Method and path (bucket and key), and the query of each request, as they came.
        self.requests = []
        #: How often each fault was met.
        self.faults = Counter()
        self._turn = itertools.cycle(FAULTS)
        self._number = itertools.count(1)
        self._lock = threading.Lock()

    def __enter__(self):
        """Listen on a port that is free."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faulty = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *exc_info):
        self._server.shutdown()
        self._server.server_close()

    def stored(self, suffix):
        """Return how often each object whose name ends so was put, by its path."""
        with self._lock:
            return Counter(
                path for method, path, _ in self.requests if method == "PUT" and path.endswith(suffix)
            )

    def counts(self):
        """Return how many requests of each kind came: `LIST` stands for a page of a listing."""
        with self._lock:
            return Counter("LIST" if "list-type" in query else method for method, _, query in self.requests)

    def note(self, method, path, query):
        """Count a request, and return the fault that it meets, or an empty text."""
        with self._lock:
            self.requests.append((method, path, query))
            fault = next(self._turn) if self.fail_every and next(self._number) % self.fail_every == 0 else ""
            if fault:
                self.faults[fault] += 1
        return fault


class Crowd:
    """Many small objects of one prefix that take no memory: each is made when it is read.

    Parameters
    ----------
    prefix
        Bucket and beginning of the keys, such as "bucket/many/".
    count
        How many; the keys end in a number of six digits and ".png".
    content
        Returns the bytes of an object, by its number.
    size
        Bytes of each object.
    """

    def __init__(self, prefix, count, content, size):
        self.bucket, _, self.prefix = prefix.partition("/")
        self.count, self.content, self.size = count, content, size

    def number(self, path):
        """Return the number of the object at a path, or None."""
        start = f"/{self.bucket}/{self.prefix}"
        digits = path.removeprefix(start).removesuffix(".png")
        is_one = path.startswith(start) and digits.isdigit() and int(digits) < self.count
        return int(digits) if is_one else None

    def is_listed(self, path, query):
        """Return whether a request lists this crowd."""
        prefix = query.get("prefix", [""])[0]
        return path.strip("/") == self.bucket and "list-type" in query and prefix.startswith(self.prefix)

    def tag(self, number):
        """Return an object's ETag."""
        return f'"{md5(str(number).encode(), usedforsecurity=False).hexdigest()}"'

    def page(self, query):
        """Return a page of the listing as S3 writes it."""
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(self.count, first + min(PAGE, int(query.get("max-keys", [PAGE])[0])))
        objects = "".join(
            f"<Contents><Key>{self.prefix}{number:06}.png</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(self.tag(number))}</ETag><Size>{self.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(first, last)
        )
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < self.count else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.bucket}</Name><Prefix>{self.prefix}</Prefix><KeyCount>{last - first}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{objects}"
            "</ListBucketResult>"
        ).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Say nothing of a client that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body of an answer are two writes, and the second would wait for the first one's receipt.
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.upstream = http.client.HTTPConnection(*self.server.faulty.upstream)

    def finish(self):
        self.upstream.close()
        super().finish()

    def do_GET(self):
        faulty, body = self.server.faulty, self.body()
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
        fault = faulty.note(self.command, path, query)
        time.sleep(faulty.delay_s)
        if self.command in faulty.denied:
            self.refuse(*_DENIED)
        elif fault in _ERRORS:
            self.refuse(*_ERRORS[fault])
        elif fault == "reset":
            self.reset()
        else:
            if faulty.on_request is not None:
                faulty.on_request(self.command, path)
            answer = self.from_crowd(faulty.crowd, path, query) or self.from_server(body)
            if fault == "lost":
                self.reset()
            else:
                self.answer(*answer)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def body(self):
        """Return the request's body, also one that came in chunks."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        chunks = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def from_server(self, body):
        """Pass the request on, and return status, headers and body of the answer."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_CONNECTION}
        for last in (False, True):
            try:
                self.upstream.request(self.command, self.path, body, headers)
                answer = self.upstream.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            except (OSError, http.client.HTTPException):  # The server ended an idle connection.
                self.upstream.close()
                if last:
                    raise
        return None

    def from_crowd(self, crowd, path, query):
        """Return the answer about a crowd's object, or None."""
        if crowd is None or self.command not in ("GET", "HEAD"):
            return None
        if crowd.is_listed(path, query):
            return 200, [("Content-Type", "application/xml")], crowd.page(query)
        number = crowd.number(path)
        if number is None:
            return None
        headers = [
            ("Content-Type", "image/png"),
            ("ETag", crowd.tag(number)),
            ("Last-Modified", formatdate(0, usegmt=True)),
        ]
        return 200, headers, crowd.content(number)

    def refuse(self, status, code, text):
        """Answer with an error in S3's form."""
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
        self.answer(int(status), [("Content-Type", "application/xml")], body.encode())

    def answer(self, status, headers, body):
        """Send an answer."""
        self.send_response_only(status)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        for name, value in headers:
            if name.lower() not in _OF_CONNECTION:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header(
                "Content-Length", length if self.command == "HEAD" and length else str(len(body))
            )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self):
        """Break the connection off."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        # Both of the files on the socket hold it open; a shutdown would send a polite end.
        self.wfile.close()
        self.rfile.close()
        self.connection.close()

    def log_message(self, *_):
        """Say nothing."""


def main():
    """Stand before the server of a port, in a process of its own that ends with its standard input."""
    with Faulty(("127.0.0.1", int(sys.argv[1]))) as faulty:
        print(faulty.address, flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main()
