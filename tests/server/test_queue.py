"""Many at once, clients that leave, clients that are slow, and a server that is told to stop."""

import contextlib
import io
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest


def post(server, png, route="variations", client=httpx, **form):
    """ImageRequest for a picture of 64 px."""
    data = {"size": "64x64", "response_format": "b64_json", **form}
    return client.post(f"{server.base}/images/{route}", files={"image": png}, data=data, timeout=200)


def open_request(server, png, extra=b""):
    """Send a whole request over a socket and return that, without waiting for the answer."""
    body = (
        b'--a\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + png
        + b'\r\n--a\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx'
        + extra
        + b"\r\n--a--\r\n"
    )
    connection = server.connect()
    connection.sendall(
        b"POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=a\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


def test_full_queue(start, png, fake_engine, wait_until):
    """With every run and every place in the queue taken, the answer is 503 with the time to wait."""
    release = threading.Event()
    engine = fake_engine(*[[lambda _: release.wait(100), "red"] for _ in range(3)])
    server = start(engine, runs=1, queue=1)
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(post, server, png) for _ in range(2)]
        wait_until(lambda: server.service.queue.admitted == 2)
        refused = post(server, png)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert httpx.get(f"{server.root}/healthz").json()["requests"] == 2
        release.set()
        assert [each.result().status_code for each in accepted] == [200, 200]
    wait_until(lambda: server.service.queue.admitted == 0)
    assert post(server, png).status_code == 200


def test_one_run_for_each_place(start, png, fake_engine, wait_until):
    """No more runs are at work at a time than there are to be."""
    at_work, most, lock = 0, 0, threading.Lock()

    def step(_):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.05)
        with lock:
            at_work -= 1

    server = start(fake_engine(*[[step, "red"] for _ in range(8)]), runs=2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(server, png).status_code, range(8)))
    assert answers == [200] * 8
    assert most == 2
    wait_until(lambda: server.service.queue.admitted == 0)


@pytest.mark.parametrize(
    "stream", [b"", b'\r\n--a\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue']
)
def test_a_client_that_leaves_stops_its_run(start, png, fake_engine, wait_until, stream):
    """When the connection is gone the engine's run of a minute ends at once, also that of a stream."""
    engine = fake_engine([60], ["red"])
    server = start(engine, runs=1)
    connection = open_request(server, png, stream)
    wait_until(lambda: not engine.runs[1:])
    connection.close()
    wait_until(lambda: engine.ended == 1)
    assert post(server, png).status_code == 200


def test_a_client_that_leaves_gives_up_its_place(start, png, fake_engine, wait_until):
    """A request whose client left while it waited is never run."""
    release = threading.Event()
    engine = fake_engine([lambda _: release.wait(100), "red"], ["red"])
    server = start(engine, runs=1, queue=1)
    first = open_request(server, png)
    wait_until(lambda: len(engine.runs) == 1)
    second = open_request(server, png)
    wait_until(lambda: server.service.queue.admitted == 2)
    second.close()
    wait_until(lambda: server.service.queue.admitted == 1)
    release.set()
    assert first.recv(100).split()[1] == b"200"
    first.close()
    assert len(engine.runs) == 1


def test_patch_lets_go_of_a_client_that_left(start, photo, wait_until):
    """Our own engine too stops, in the middle of ten large pictures."""
    buffer = io.BytesIO()
    photo.resize((1024, 768)).save(buffer, "PNG")
    server = start()
    extra = b'\r\n--a\r\nContent-Disposition: form-data; name="n"\r\n\r\n10'
    connection = open_request(server, buffer.getvalue(), extra)
    wait_until(lambda: server.service.queue.admitted == 1)
    time.sleep(0.5)
    connection.close()
    wait_until(lambda: server.service.queue.admitted == 0)


def test_slow_headers(start):
    """A client that sends a header a byte at a time is cut off in time, however steady it is."""
    server = start(header_timeout_s=0.5)
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        with contextlib.suppress(OSError):
            for sent in range(400):  # noqa: B007 - how far it came is the point
                connection.sendall(b"a")
                time.sleep(0.05)
    assert sent < 399


def test_slow_body(start):
    """A body that pauses too long is answered with 408."""
    server = start(chunk_timeout_s=0.3)
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/images/variations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
            b"Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n"
        )
        assert connection.recv(100).split()[1] == b"408"


def test_dripping_body(start):
    """A body that never pauses and never ends is answered with 408 too."""
    server = start(upload_timeout_s=0.5)
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/images/variations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
            b"Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n"
        )
        connection.settimeout(0.02)
        answer = b""
        for _ in range(400):
            connection.sendall(b"a")
            try:
                answer = connection.recv(100)
                break
            except TimeoutError:
                continue
        assert answer.split()[1] == b"408"


def test_idle_connection(start):
    """A connection that rests is closed."""
    server = start(idle_timeout_s=0.3)
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while piece := connection.recv(1000):
            received += piece
    assert received.startswith(b"HTTP/1.1 200")


def test_unread_answer(start, png, fake_engine, make_picture, wait_until):
    """A client that does not read its answer loses it, and its memory is free again."""

    class Large(fake_engine):
        def generate(self, request, job):  # noqa: ARG002
            noise = os.urandom(12_000_000)
            for index in range(3):
                picture = make_picture("red", source=request.image, size=request.size, index=index)
                picture._data += noise
                yield picture

    server = start(Large(), chunk_timeout_s=0.5)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(server.address)
    server.connect = lambda: connection
    open_request(server, png)
    wait_until(lambda: len(server.server.server_state.connections) == 1)
    wait_until(lambda: not server.server.server_state.connections)
    connection.close()


def healthy(connection):
    """ImageRequest over an open connection whether the server is up, and return the status."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while not received.endswith(b"}"):
        piece = connection.recv(1000)
        assert piece, received
        received += piece
    return int(received.split()[1])


def test_too_many_connections(start):
    """Beyond the bound a connection is told so and closed; the others go on."""
    server = start(connections=2)
    with server.connect() as first, server.connect() as second:
        assert [healthy(first), healthy(second)] == [200, 200]
        with server.connect() as third:
            assert third.recv(1000).split()[1] == b"503"
        assert healthy(first) == 200


def test_pipelined_requests(server):
    """Two requests sent at once are answered in turn."""
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        connection.settimeout(100)
        received = b""
        while received.count(b'"status"') < 2:
            received += connection.recv(1000)


@pytest.mark.slow
def test_sigterm_under_load(launch, png):
    """A server that is told to stop answers every request it has accepted, refuses the rest, and ends with 0."""
    process = launch("--quiet")
    answers, refusals, broken = [], [], []
    asked = threading.Barrier(17)

    def ask():
        with httpx.Client() as client:
            asked.wait()
            try:
                while True:
                    answer = post(process, png, client=client, size="128x128")
                    (answers if answer.status_code == 200 else refusals).append(answer)
            except httpx.ConnectError:
                return
            except httpx.HTTPError as exc:
                broken.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for each in threads:
        each.start()
    asked.wait()
    while httpx.get(f"{process.root}/healthz").json()["requests"] < 10:
        time.sleep(0.01)
    assert process.stop() == 0
    for each in threads:
        each.join()
    assert len(answers) >= 10
    assert not broken
    for answer in refusals:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_stopping")
        assert answer.headers["retry-after"]


@pytest.mark.slow
def test_second_signal(launch, png):
    """Told twice, it gives up what it was at, and an interrupt ends it with 130."""
    process = launch("--quiet")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, process, png, size="1024x1024", n="10")
        while httpx.get(f"{process.root}/healthz").json()["requests"] < 1:
            time.sleep(0.01)
        process.process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.stop(signal.SIGINT) == 130
        broken = asked.exception()
    assert isinstance(broken, httpx.HTTPError) or asked.result().status_code == 503


def test_requests_after_the_signal(start, png, fake_engine, wait_until):
    """A connection that was open when the server was told to stop is told to come back later."""
    release = threading.Event()
    server = start(fake_engine([lambda _: release.wait(100), "red"]))
    connection = server.connect()
    running = open_request(server, png)
    wait_until(lambda: server.service.queue.admitted == 1)
    server.server.handle_exit(signal.SIGTERM, None)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = connection.recv(1000)
    assert answer.split()[1] == b"503"
    assert b"connection: close" in answer.lower()
    release.set()
    assert running.recv(100).split()[1] == b"200"
    running.close()
    connection.close()
