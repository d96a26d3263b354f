"""What `imgvar serve` makes of many clients: requests per second, p50, p99, memory, the ratio to the bare engine.

Run with `python benchmarks/server.py [--seconds 60] [--clients 64] [--rounds 3]`; other options go to the server. A
round has two parts. First the clients alone: latency and memory. Then the server under the same load and the engine
without a server, as many runs at a time, take turns of two seconds (the other is stopped meanwhile), so that a noisy
machine disturbs both alike: the ratio. Each client keeps its connection, asks for one picture, waits for it, and asks
again; after a 503 it waits as long as `Retry-After` says.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ipy_imgvar.images import codec

BOUNDARY = "imgvar"
TURN_S = 2.0


def photograph(side_px: int) -> bytes:
    """Return a PNG with edges, slopes and grain: smooth noise of several scales."""
    rng = np.random.default_rng(7)
    layers = np.zeros((side_px, side_px, 3))
    for cells in (4, 16, 64):
        small = codec.of_pixels(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers += np.asarray(codec.resize(small, (side_px, side_px)), dtype=float) / 3
    return codec.encode_png(codec.of_pixels(layers.clip(0, 255).astype(np.uint8)))


def form(image: bytes, fields: dict[str, str]) -> bytes:
    """Return a multipart body."""
    body = io.BytesIO()
    for name, value in fields.items():
        body.write(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        )
    body.write(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'.encode()
    )
    return body.getvalue() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


BARE = """
import sys, threading
from ipy_imgvar import Client
from ipy_imgvar.results import history
history.keep_nothing()
image, side, at_a_time = open(sys.argv[1], "rb").read(), *map(int, sys.argv[2:])
client = Client("patch")
client.variations(image, size=side)
def work():
    while True:
        client.variations(image, size=side, response_format="b64_json")[0].base64
        print(flush=True)
for _ in range(at_a_time):
    threading.Thread(target=work, daemon=True).start()
sys.stdin.read()
"""


class Bare:
    """The engine without a server, in a process of its own; `count` grows by one for each picture."""

    def __init__(self, image: bytes, side_px: int, at_a_time: int) -> None:
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            file.write(image)
            file.flush()
            command = [sys.executable, "-c", BARE, file.name, str(side_px), str(at_a_time)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.count = 0
            assert self.process.stdout is not None  # noqa: S101
            self.process.stdout.readline()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101
        for _ in self.process.stdout:
            self.count += 1

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Clients:
    """Many clients at once, and what they saw."""

    def __init__(self, base: str, body: bytes, seconds: float) -> None:
        self.place = urlsplit(base)
        self.body = body
        self.end = time.monotonic() + seconds
        self.statuses: Counter[int | str] = Counter()
        self.latencies_s: list[float] = []
        self.ends: list[float] = []

    def run(self, count: int) -> None:
        """Ask until the time is up."""
        threads = [threading.Thread(target=self._one) for _ in range(count)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def _one(self) -> None:
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=300)
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        while time.monotonic() < self.end:
            began = time.monotonic()
            try:
                connection.request("POST", "/v1/images/variations", self.body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self.statuses[type(exc).__name__] += 1
                connection.close()
                continue
            self.statuses[answer.status] += 1
            if answer.status == 503 and answer.headers["retry-after"]:
                time.sleep(int(answer.headers["retry-after"]))
            elif answer.status == 200:
                self.ends.append(time.monotonic())
                self.latencies_s.append(self.ends[-1] - began)
        connection.close()


def memory_mb(pid: int) -> float:
    """Return a process's resident memory; 0 where there is no /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


class Server:
    """`imgvar serve` in a process of its own."""

    def __init__(self, options: list[str]) -> None:
        command = [sys.executable, "-m", "ipy_imgvar.server", "--port", "0", "--quiet", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None  # noqa: S101
        self.base = self.process.stderr.readline().strip()

    def close(self) -> None:
        """Stop it, and wait for its last answers."""
        self.process.terminate()
        self.process.wait()
        assert self.process.stderr is not None  # noqa: S101
        self.process.stderr.close()


def alone(server: Server, body: bytes, clients: int, seconds: int) -> str:
    """Load the server with nothing beside it, and say what the clients and its memory saw."""
    memory: list[float] = []
    load = Clients(server.base, body, seconds)
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            memory.append(memory_mb(server.process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    began = time.monotonic()
    load.run(clients)
    over.set()
    sampler.join()
    # What was begun in time is waited for, and counted with the time that it took.
    rate = len(load.ends) / (max(load.ends) - began)
    waits, third = sorted(load.latencies_s), max(1, len(memory) // 3)
    return (
        f"{rate:.2f} requests/s, p50 {waits[len(waits) // 2]:.1f} s, "
        f"p99 {waits[min(len(waits) - 1, int(len(waits) * 0.99))]:.1f} s, answers {dict(load.statuses)}, "
        f"memory {statistics.median(memory[:third]):.0f} MB in the first third, "
        f"{statistics.median(memory[-third:]):.0f} in the last, {max(memory):.0f} at most"
    )


def in_turns(server: Server, bare: Bare, body: bytes, clients: int, seconds: int) -> tuple[float, float]:
    """Return the requests per second of the server and of the engine without one, both under full load."""
    load = Clients(server.base, body, seconds)
    loader = threading.Thread(target=load.run, args=(clients,))
    loader.start()
    counts: dict[str, list[float]] = {"server": [0, 0], "bare": [0, 0]}
    pids = {"server": server.process.pid, "bare": bare.process.pid}
    turn = 0
    while time.monotonic() < load.end:
        name, other = ("server", "bare") if turn % 2 else ("bare", "server")
        os.kill(pids[other], signal.SIGSTOP)
        os.kill(pids[name], signal.SIGCONT)
        before, began = (len(load.ends), bare.count), time.monotonic()
        time.sleep(TURN_S)
        if turn > 1:  # the first two fill the queue
            counts[name][0] += len(load.ends) - before[0] if name == "server" else bare.count - before[1]
            counts[name][1] += time.monotonic() - began
        turn += 1
    os.kill(pids["server"], signal.SIGCONT)
    loader.join()
    return counts["server"][0] / counts["server"][1], counts["bare"][0] / counts["bare"][1]


def main() -> None:
    """Print two lines for each round, and the median ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    options, passed_on = parser.parse_known_args()
    image = photograph(options.size)
    body = form(image, {"size": f"{options.size}x{options.size}", "response_format": "b64_json"})
    cores = os.cpu_count() or 1
    print(
        f"{options.clients} clients, {options.seconds} s a round, {options.size} px, {cores} cores, engine patch"
    )
    ratios = []
    for number in range(1, options.rounds + 1):
        server = Server(passed_on)
        print(f"round {number}: {alone(server, body, options.clients, options.seconds)}", flush=True)
        bare = Bare(image, options.size, cores)
        served, engine = in_turns(server, bare, body, options.clients, options.seconds)
        bare.close()
        server.close()
        ratios.append(served / engine)
        print(
            f"    in turns: server {served:.2f}/s, engine alone {engine:.2f}/s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio to the engine alone: {statistics.median(ratios):.2f} (at least 0.85)")


if __name__ == "__main__":
    main()
