"""A loopback server of files and batches, written from OpenAI's specification, with every fault that one can have.

It keeps what came in: `uploads`, `creates`, `cancels`, `deletes` are the calls that it acted on. A fault is scripted
with `api.fault("POST /files", "lost")` for one call to come:

- "lost": it acts, and the connection is reset before the answer;
- "dropped": the connection is reset before it acts;
- a number: it answers with that status and does not act;
- "slow": it acts, and takes 0.8 s to send its answer, in eight pieces;
- bytes: it acts, and answers 200 with these.

The next `api.late_lists` lists of batches are empty, as of a server that is late.
While `api.removes_answers`, a batch names files of answers that are gone.

A key that it does not know is answered with 401, and so is every key while `api.is_locked`.

`api.on_call(call)` is called with each call before it is acted on; where it returns "dropped", the connection is reset
instead. Each look moves a batch one state on (`api.states`), and at the last one its lines are answered, as
`api.answer(line, batch)` says.
"""

import json
import random
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from loopback import CANARY, USAGE, Request, answer_of, png

PICTURE = png("teal")


def good(line, batch):  # noqa: ARG001 - a rule's arguments
    """Answer a line with `n` pictures."""
    pictures = [PICTURE] * int(line["body"].get("n", 1))
    return 200, answer_of(*pictures, usage=USAGE)


class Api:
    """The server; `base` is what a client is given."""

    def __init__(self):
        self.lock = threading.RLock()
        self.reset()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.api = self
        self._server.handle_error = lambda *_: None
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def reset(self):
        self.files, self.batches = {}, {}
        self.uploads, self.creates, self.cancels, self.deletes = [], [], [], []
        self.calls = []
        self.looks = Counter()
        self.faults = defaultdict(list)
        self.states = ["validating", "in_progress", "finalizing", "completed"]
        self.answer = good
        self.refuse = None
        self.models = {"gpt-image-2.6-flare": {}}
        self.has_batches = True
        self.shuffled = random.Random(7)  # noqa: S311 - no secret
        self.cut_output = self.doubled = False
        self.page = 2
        self.on_call = None
        self.delay_s = 0.0
        self.is_locked = False
        self.late_lists = 0
        self.removes_answers = False

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def fault(self, call, *faults):
        """Let the next calls of this kind fail so, such as "POST /files" or "GET /batches/"."""
        self.faults[call].extend(faults)

    def lines(self):
        """Return every line that a batch was made of, as often as it was."""
        return [line for each in self.creates for line in self.lines_of(each["input_file_id"])]

    def lines_of(self, file_id):
        return [json.loads(line) for line in self.uploaded[file_id].splitlines()]

    @property
    def uploaded(self):
        return {each["id"]: each["data"] for each in self.uploads}

    def posts(self, path):
        return sum(call == f"POST {path}" for call in self.calls)

    # What the server does.

    def upload(self, request):
        name, kind, data = request.files["file"]
        assert kind == "application/jsonl"
        assert request.fields["purpose"] == "batch"
        assert len(data) <= 200_000_000
        number = len(self.uploads) + 1
        file = {
            "id": f"file-{number}",
            "object": "file",
            "filename": name,
            "purpose": "batch",
            "bytes": len(data),
        }
        self.uploads.append({**file, "data": data})
        self.files[file["id"]] = {**file, "data": data}
        return 200, file

    def create(self, body):
        assert body["endpoint"] == "/v1/images/edits"
        assert body["completion_window"] == "24h"
        assert len(body["metadata"]) <= 16
        assert all(len(name) <= 64 and len(value) <= 512 for name, value in body["metadata"].items())
        if body["input_file_id"] not in self.files:
            return 400, {"error": {"message": "no such file", "code": "not_found"}}
        number = len(self.creates) + 1
        batch = {
            "id": f"batch_{number}",
            "object": "batch",
            "status": "validating",
            "input_file_id": body["input_file_id"],
            "created_at": 1_790_000_000 + number,
            "metadata": body["metadata"],
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.creates.append(batch)
        self.batches[batch["id"]] = batch
        return 200, dict(batch)

    def look(self, batch):
        """Move a batch one state on, and end it at the last one."""
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return
        if batch["status"] == "cancelling":
            self.end(batch, "cancelled")
            return
        if self.refuse is not None and (errors := self.refuse(batch)):
            batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
            return
        state = self.states[min(self.looks[batch["id"]], len(self.states) - 1)]
        self.looks[batch["id"]] += 1
        batch["status"] = state
        if state in ("completed", "expired"):
            self.end(batch, state)

    def end(self, batch, state):
        output, errors, counts = [], [], Counter()
        lines = self.lines_of(batch["input_file_id"])
        for number, line in enumerate(lines):
            reply = self.answer(line, batch)
            head = {"id": f"batch_req_{number}", "custom_id": line["custom_id"]}
            if state == "cancelled" and number >= len(lines) // 2:
                reply = ("batch_cancelled", "This request was cancelled.")
            if reply is None:  # Neither file has it.
                continue
            status, body = reply
            if isinstance(status, str):
                counts["failed"] += status not in ("batch_expired", "batch_cancelled")
                errors.append({**head, "response": None, "error": {"code": status, "message": body}})
                continue
            response = {"status_code": status, "request_id": f"req_{number}", "body": body}
            counts["completed" if status == 200 else "failed"] += 1
            (output if status == 200 else errors).append({**head, "response": response, "error": None})
        self.shuffled.shuffle(output)
        if self.doubled:
            output += output
        for name, entries in (("output_file_id", output), ("error_file_id", errors)):
            if entries:
                data = "".join(json.dumps(each) + "\n" for each in entries).encode()
                if name == "output_file_id" and self.cut_output:
                    data = data[: len(data) * 2 // 3]
                file_id = f"{batch['id']}-{name}"
                if not self.removes_answers:
                    file = {"id": file_id, "filename": name, "bytes": len(data), "data": data}
                    self.files[file_id] = file
                batch[name] = file_id
        total = {"total": len(lines), "completed": counts["completed"], "failed": counts["failed"]}
        batch |= {"status": state, "request_counts": total}

    def cancel(self, batch):
        self.cancels.append(batch["id"])
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return 409, {"error": {"message": "it has ended"}}
        batch["status"] = "cancelling"
        return 200, dict(batch)

    def listed(self, entries, query):
        """Return a page of a list, the newest first."""
        found = list(entries)[::-1]
        if after := query.get("after"):
            names = [each["id"] for each in found]
            found = found[names.index(after[0]) + 1 :]
        size = min(self.page, int(query.get("limit", ["20"])[0]))
        page = [{name: value for name, value in each.items() if name != "data"} for each in found[:size]]
        last = page[-1]["id"] if page else None
        return 200, {"object": "list", "data": page, "has_more": len(found) > size, "last_id": last}

    def act(self, request, path, query):  # noqa: PLR0911 - a table of routes
        """Return status and body of a call."""
        parts = path.strip("/").split("/")
        kind, rest = parts[0], parts[1:]
        if kind == "models":
            known = self.models.get(rest[0])
            missing = {
                "error": {"message": f"The model '{rest[0]}' does not exist", "code": "model_not_found"}
            }
            return (404, missing) if known is None else (200, {"id": rest[0], "object": "model", **known})
        if not self.has_batches:
            return 404, {"detail": "Not Found"}
        if kind == "files":
            return self.act_on_files(request, rest, query)
        if request.method == "POST" and not rest:
            return self.create(request.json)
        if not rest:
            # The question whether there are batches at all asks for one, and says nothing of what is late.
            if self.late_lists and query.get("limit") != ["1"]:
                self.late_lists -= 1
                return self.listed([], query)
            return self.listed(self.batches.values(), query)
        batch = self.batches.get(rest[0])
        if batch is None:
            return 404, {"error": {"message": "no such batch"}}
        if rest[1:] == ["cancel"]:
            return self.cancel(batch)
        self.look(batch)
        return 200, dict(batch)

    def act_on_files(self, request, rest, query):
        if not rest:
            return (
                self.upload(request) if request.method == "POST" else self.listed(self.files.values(), query)
            )
        file = self.files.get(rest[0])
        if file is None:
            return 404, {"error": {"message": "no such file"}}
        if request.method == "DELETE":
            self.deletes.append(rest[0])
            del self.files[rest[0]]
            return 200, {"id": rest[0], "deleted": True}
        if rest[1:] == ["content"]:
            return 200, file["data"]
        return 200, {name: value for name, value in file.items() if name != "data"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer's body waits 40 ms for the receipt of its head

    def do_GET(self):
        api = self.server.api
        url = urlsplit(self.path)
        length = int(self.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        request.parse()
        path = url.path.removeprefix("/v1")
        call = f"{self.command} {path}"
        is_known = headers["authorization"] == f"Bearer {CANARY}"
        time.sleep(api.delay_s)
        with api.lock:
            api.calls.append(call)
            if api.on_call is not None and api.on_call(call) == "dropped":
                self.reset()
                return
            key = next((each for each in api.faults if call.startswith(each) and api.faults[each]), None)
            fault = api.faults[key].pop(0) if key is not None else None
            if not is_known or api.is_locked:
                fault = 401
            if fault == "dropped":
                self.reset()
                return
            if isinstance(fault, int):
                status, body = fault, {"error": {"message": f"not now, said {headers['authorization']}"}}
            else:
                status, body = api.act(request, path, parse_qs(url.query))
        if fault == "lost":
            self.reset()
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        data = fault if isinstance(fault, bytes) else data
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        if status == 429:
            self.send_header("retry-after", "0.02")
        self.end_headers()
        if fault == "slow":
            for start in range(0, len(data), -(-len(data) // 8)):
                self.wfile.write(data[start : start + -(-len(data) // 8)])
                time.sleep(0.1)
            return
        self.wfile.write(data[: len(data) // 2] if fault == "half" else data)
        self.close_connection |= fault == "half"

    do_POST = do_DELETE = do_GET  # noqa: N815

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_):
        pass
