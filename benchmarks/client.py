"""Measure the hosted engine against openai-python and plain httpx, all asking one local server.

    python benchmarks/client.py [--rounds 40] [--only latency]

The server is a process of its own that reads a request and sends bytes it has prepared. The three clients take turns
within each round, so that whatever else the machine does hits them alike; medians are given. Each gets its pictures as
bytes in hand; only ours also has every picture on disk by then. The row without the store shows what that costs.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.results.store import Store

MODEL: Final = "gpt-image-2.6-flare"
PROMPT: Final = "Create a new variation of this image."
CLIENTS: Final = ("httpx", "openai-python", "ours", "ours, no store")
THREADS: Final = 32


@dataclass(frozen=True)
class Case:
    """How much goes up and what comes back."""

    side_up: int
    side_down: int
    n: int


# Pictures of 99 KB, 80 KB and 1.5 MB.
CASES: Final = {"s1": Case(267, 240, 1), "n1": Case(1024, 1024, 1), "n10": Case(1024, 1024, 10)}


def picture(side: int) -> bytes:
    """Return a PNG as large as a photograph of that size: a gradient with noise in it."""
    import numpy as np

    from ipy_imgvar.images.codec import encode_png, of_pixels

    rng = np.random.default_rng(side)
    ramp = np.linspace(40, 200, side)
    pixels = ramp[:, None, None] + rng.integers(0, 7, (side, side, 3))
    return encode_png(of_pixels(pixels.astype(np.uint8)), level=1)


# --- the server ---------------------------------------------------------------------------------------------------


def answers() -> dict[str, bytes]:
    """Return each case's whole answer, by the case's name."""
    prepared = {}
    for name, case in CASES.items():
        text = base64.b64encode(picture(case.side_down)).decode()
        body = json.dumps(
            {"created": 1_790_000_000, "data": [{"b64_json": text}] * case.n, "output_format": "png"}
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        prepared[name] = head.encode() + body
    return prepared


def serve() -> None:
    """Answer each request with what is prepared for the case in its path, until the input ends."""
    prepared = {f"/{name}/".encode(): memoryview(answer) for name, answer in answers().items()}
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listener, prepared), daemon=True).start()
    sys.stdin.read()


def _accept(listener: socket.socket, prepared: dict[bytes, memoryview]) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, prepared), daemon=True).start()


def _answer(connection: socket.socket, prepared: dict[bytes, memoryview]) -> None:
    room = bytearray(1 << 20)
    while True:
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            data = connection.recv(65536)
            if not data:
                connection.close()
                return
            head += data
        length = head[:end].lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        left = int(length) - (len(head) - end - 4)
        while left > 0:
            left -= connection.recv_into(room, min(left, len(room)))
        name = b"/" + head.split(b"/", 2)[1] + b"/"
        connection.sendall(prepared[name])


# --- the clients --------------------------------------------------------------------------------------------------


def make(client: str, port: int, name: str) -> Callable[[], list[bytes]]:
    """Return a function that asks for a case's pictures and has their bytes in hand."""
    case = CASES[name]
    base = f"http://127.0.0.1:{port}/{name}/v1"
    image = picture(case.side_up)
    makers = {"httpx": _httpx, "openai-python": _openai}
    return makers.get(client, _ours)(base, image, case.n)


def _httpx(base: str, image: bytes, n: int) -> Callable[[], list[bytes]]:
    import httpx

    client = httpx.Client(timeout=None, headers={"Authorization": "Bearer sk-none"})  # noqa: S113
    fields = {"model": MODEL, "prompt": PROMPT, "n": str(n), "size": "1024x1024"}

    def ask() -> list[bytes]:
        response = client.post(
            f"{base}/images/edits", data=fields, files={"image": ("image.png", image, "image/png")}
        )
        response.raise_for_status()
        return [base64.b64decode(entry["b64_json"]) for entry in response.json()["data"]]

    return ask


def _openai(base: str, image: bytes, n: int) -> Callable[[], list[bytes]]:
    import openai

    client = openai.OpenAI(api_key="sk-none", base_url=base, max_retries=0)
    file = ("image.png", image, "image/png")

    def ask() -> list[bytes]:
        answer = client.images.edit(image=file, prompt=PROMPT, model=MODEL, n=n, size="1024x1024")
        return [base64.b64decode(entry.b64_json or "") for entry in answer.data or []]

    return ask


def _ours(base: str, image: bytes, n: int) -> Callable[[], list[bytes]]:
    from ipy_imgvar import Client

    client = Client("openai", api_base=base, api_key="sk-none", model=MODEL)

    def ask() -> list[bytes]:
        return client.variations(image, n=n, prompt=PROMPT).bytes

    return ask


@cache
def _stores(folder: str) -> tuple[None, Store]:
    from ipy_imgvar.results.store import Store

    return None, Store(Path(folder), 10**9)


def choose_store(client: str, folder: str) -> None:
    """Switch the store of this process on or off, as the client's name says."""
    from ipy_imgvar.results import history

    # The same store again, which `move_store` would open anew: a process opens its store once.
    history._history.opened = True  # noqa: SLF001
    history._history.store = _stores(folder)[not client.endswith("no store")]  # noqa: SLF001


# --- what is measured ---------------------------------------------------------------------------------------------


def latencies(port: int, name: str, rounds: int, folder: str) -> dict[str, float]:
    """Return each client's median milliseconds for a case; they take turns."""
    asking = {client: make(client, port, name) for client in CLIENTS}
    times: dict[str, list[float]] = {client: [] for client in CLIENTS}
    for turn in range(-3, rounds):
        for client in CLIENTS:
            choose_store(client, folder)
            gc.collect()
            began = time.perf_counter()
            pictures = asking[client]()
            took = time.perf_counter() - began
            assert len(pictures) == CASES[name].n  # noqa: S101
            if turn >= 0:
                times[client].append(took * 1000)
    return {client: statistics.median(values) for client, values in times.items()}


def throughputs(port: int, rounds: int, folder: str) -> dict[str, float]:
    """Return each client's median of requests a second, asked for s1 by many threads."""
    asking = {client: make(client, port, "s1") for client in CLIENTS}
    rates: dict[str, list[float]] = {client: [] for client in CLIENTS}
    requests = THREADS * 8
    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range(-1, rounds):
            for client in CLIENTS:
                choose_store(client, folder)
                began = time.perf_counter()
                for job in [pool.submit(asking[client]) for _ in range(requests)]:
                    job.result()
                if turn >= 0:
                    rates[client].append(requests / (time.perf_counter() - began))
    return {client: statistics.median(values) for client, values in rates.items()}


def gallery_cpu(port: int, folder: str) -> float:
    """Return the CPU seconds that showing ten pictures takes, as the magic shows them: HTML, sheet and table."""
    from ipy_imgvar import Client
    from ipy_imgvar.results import gallery

    choose_store("ours", folder)
    client = Client("openai", api_base=f"http://127.0.0.1:{port}/n10/v1", api_key="sk-none", model=MODEL)
    image = picture(1024)
    times = []
    for _ in range(3):
        # New ones each time: a picture keeps its thumbnail.
        pictures = client.variations(image, n=10)
        began = time.process_time()
        gallery.text(pictures)
        gallery.html(pictures)
        gallery.contact_sheet(pictures)
        times.append(time.process_time() - began)
    return statistics.median(times)


def peak(client: str, port: int, folder: str, image: str) -> None:
    """Ask for n10 once in this fresh process, and print the peak of its memory in MB."""
    data = Path(image).read_bytes()
    base = f"http://127.0.0.1:{port}/n10/v1"
    if client.startswith("ours"):
        choose_store(client, folder)
    asking = {"httpx": _httpx, "openai-python": _openai}.get(client, _ours)(base, data, 10)
    pictures = asking()
    assert len(pictures) == 10  # noqa: S101
    # Not `ru_maxrss`, which a child inherits from the process that started it.
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


def peaks(port: int, folder: str) -> dict[str, float]:
    """Return each client's peak of memory in MB, in a fresh process each."""
    image = Path(folder, "up.png")
    image.write_bytes(picture(1024))
    return {
        client: statistics.median(
            float(_run([__file__, "--peak", client, str(port), folder, str(image)])) for _ in range(3)
        )
        for client in CLIENTS
    }


IMPORTS: Final = {
    "httpx": "import httpx",
    "openai-python": "import openai; openai.OpenAI(api_key='sk-none')",
    "ours": "from ipy_imgvar import Client; Client('openai', api_key='sk-none')",
}


def import_cpus() -> dict[str, float]:
    """Return the CPU milliseconds of a fresh process that imports each client, less an empty process."""
    code = "import resource; u = resource.getrusage(0); print(u.ru_utime + u.ru_stime)"
    times: dict[str, list[float]] = {client: [] for client in ("", *IMPORTS)}
    for _ in range(7):
        for client, values in times.items():
            values.append(float(_run(["-c", f"{IMPORTS.get(client, '')}\n{code}"])) * 1000)
    empty = statistics.median(times.pop(""))
    return {client: statistics.median(values) - empty for client, values in times.items()}


def _run(arguments: list[str]) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


# --- the table ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Run everything and print a table, then each target with what was reached."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", choices=["latency"])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
    elif asked.peak:
        client, port, folder, image = asked.peak
        peak(client, int(port), folder, image)
    else:
        measure(asked.rounds, latency_only=asked.only == "latency")


def measure(rounds: int, *, latency_only: bool) -> None:
    """Start the server, measure, print."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None  # noqa: S101
    assert server.stdout is not None  # noqa: S101
    port = int(server.stdout.readline())
    columns: dict[str, dict[str, float]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            columns["s1 ms"] = latencies(port, "s1", rounds * 5, folder)
            columns["n1 ms"] = latencies(port, "n1", rounds, folder)
            columns["n10 ms"] = latencies(port, "n10", max(5, rounds // 3), folder)
            show(columns)
            if latency_only:
                return
            columns["32 threads, 1/s"] = throughputs(port, 5, folder)
            columns["peak MB"] = peaks(port, folder)
            columns["import ms"] = import_cpus()
            gallery = gallery_cpu(port, folder)
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()
    show(columns)
    targets(columns, gallery)


def show(columns: dict[str, dict[str, float]]) -> None:
    """Print a row for each client."""
    print(f"{'':16}" + "".join(f"{name:>17}" for name in columns))
    for client in CLIENTS:
        cells = [values.get(client) for values in columns.values()]
        print(f"{client:16}" + "".join(f"{'' if cell is None else f'{cell:.2f}':>17}" for cell in cells))
    print(flush=True)


def targets(columns: dict[str, dict[str, float]], gallery: float) -> None:
    """Print each target with what was reached."""

    def ratio(column: str, other: str) -> float:
        return columns[column]["ours"] / columns[column][other]

    rows: list[tuple[str, float, str, float]] = [
        ("s1 latency / httpx", ratio("s1 ms", "httpx"), "<=", 1.15),
        ("s1 latency / openai-python", ratio("s1 ms", "openai-python"), "<=", 1.0),
        ("n10 latency / openai-python", ratio("n10 ms", "openai-python"), "<=", 0.7),
        ("gallery of ten, CPU s", gallery, "<=", 0.6),
        ("peak memory at n10 / httpx", ratio("peak MB", "httpx"), "<=", 1.0),
        ("32 threads / openai-python", ratio("32 threads, 1/s", "openai-python"), ">=", 1.2),
        ("import CPU / openai-python", ratio("import ms", "openai-python"), "<=", 0.25),
    ]
    for name, reached, sign, bound in rows:
        met = reached <= bound if sign == "<=" else reached >= bound
        print(f"{name:30} {reached:7.3f}  {sign} {bound:<5} {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
