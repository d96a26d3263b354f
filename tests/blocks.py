"""Runs the code blocks of a page of the documentation, in the page's order, as a reader would.

A block of `python` or `ipython`, and one without a language that has a line beginning with `%`, is a cell of one
IPython shell. A block of `sh` is run by bash, in the same folder; what it exports holds in the blocks below it. Blocks
of `NOT_RUN` are only read. A block is left out below a paragraph in italics that begins with "Not run in the tests: "
or "Run by `tests/...`", and below a `<!-- ci: NAME -->` whose name `.ci/run` asks for. Any other block fails.
"""

import contextlib
import getpass
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import httpx
from loopback import CANARY

ROOT = Path(__file__).parent.parent
#: Languages of what is only to be read.
NOT_RUN = ("json", "text", "toml", "powershell")
#: What a page writes for a server of the images API, and for `imgvar serve` where its port is left out.
IMAGES_API, SERVED = "http://localhost:8000/v1", re.compile(r"http://(?:127\.0\.0\.1|localhost):8765")
#: The beginning of the visible reason for a block that can't run in the tests.
REASON = "*Not run in the tests: "
#: The other reason: a test of its own runs the block, as it stands, with what it needs.
_ELSEWHERE = re.compile(r"\*Run by `(tests/[\w/]+\.py)`.*\*")
_INSTALLS = re.compile(r"\b(pip|uv|conda|npm|apt-get) (.*\b)?install\b")
_LIMIT_S = 120
#: What stands before the number of a failed line, in the output of bash.
_AT = "failed at line"


class BlockError(AssertionError):
    """A block failed: the page, the line and what it printed."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the page's name, the number of its first line of code, the fence's word, and the code."""

    page: str
    line: int
    language: str
    code: str
    reason: str

    def failed(self, why, output="", line=1):
        """Return the error of the block's line of that number."""
        return BlockError(
            f"{self.page}, line {self.line + line - 1}: {why}\n\n{self.code}\n\n{output}".rstrip()
        )

    @property
    def has_batches(self):
        """Whether it asks for batches, which the loopback server of a page without them does not take."""
        return bool(self.kind and re.search(r"--batch\b|batch=True", self.code))

    @property
    def kind(self):
        """The way to run it: cell, sh, or "" for none."""
        if self.language in NOT_RUN or self.reason:
            return ""
        if self.language == "sh":
            return "sh"
        if self.language in ("python", "ipython") or (
            not self.language and re.search(r"^\s*(\w+ = )?%", self.code, re.MULTILINE)
        ):
            return "cell"
        raise self.failed(
            f"a block of {self.language or 'no language'}; allowed: python, ipython, sh, {', '.join(NOT_RUN)}, or a "
            f"line above it that begins with {REASON}"
        )


def blocks_of(path):
    """Return the blocks of a page in their order."""
    page, found = path.read_text("utf-8"), []
    asked = re.findall(r"readme_command \"(.+?)\"", (ROOT / ".ci/run").read_text("utf-8"))
    lines, number = page.splitlines(), 0
    while number < len(lines):
        fence = re.fullmatch(r"( *)(`{3,})([\w+-]*).*", lines[number])
        if fence is None:
            number += 1
            continue
        indent, ticks, language = fence.groups()
        end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == ticks)
        above = next((each.strip() for each in reversed(lines[:number]) if each.strip()), "")
        named = re.fullmatch(r"<!-- ci: (.+) -->", above)
        reason = _reason(lines[:number]) or (above if named and named[1] in asked else "")
        code = "\n".join(each.removeprefix(indent) for each in lines[number + 1 : end])
        found.append(Block(path.name, number + 2, language, code, reason))
        number = end + 1
    return found


def _reason(above):
    """Return the reason in the paragraph right above a block, which may take several lines; "" where there is none."""
    paragraph = []
    for line in reversed(above):
        if line.strip() and not line.strip().startswith("```"):
            paragraph.insert(0, line.strip())
        elif paragraph or line.strip():
            break
    text = " ".join(paragraph)
    elsewhere = _ELSEWHERE.fullmatch(text)
    is_reason = (text.startswith(REASON) and text.endswith("*")) or (
        elsewhere and (ROOT / elsewhere[1]).is_file()
    )
    return text if is_reason else ""


def _line_of(error):
    """Return the number of the cell's line that raised; 1 where the traceback does not tell."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    lines = (
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if "<ipython-input" in frame.f_code.co_filename
    )
    return next(lines, 1)


class Reader:
    """Runs blocks in one IPython shell and one environment of bash.

    Parameters
    ----------
    shell
        The IPython shell, with the extension loaded.
    folder
        The folder that the blocks run in.
    commands
        A folder for the command `imgvar`.
    api_base
        The address of an images API on loopback.
    """

    def __init__(self, shell, folder, commands, api_base):
        self.shell, self.folder, self.api_base = shell, folder, api_base
        self.state = commands / "exported"
        self.state.write_text("")
        # The Python that runs the tests runs the commands too, wherever it is; a link would lose its packages.
        for name, module in (("imgvar", "-m ipy_imgvar.cli "), ("python", "")):
            command = commands / name
            command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n')
            command.chmod(0o755)
        self.log = commands / "log"
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        self.server = self.served = None

    def run(self, block):
        """Run a block; raises `BlockError` where it fails."""
        if not block.kind:
            return
        if "OPENAI_API_KEY" in block.code:
            # From here on the page asks OpenAI; the tests ask the loopback server in its place.
            os.environ["OPENAI_API_BASE"] = self.environment["OPENAI_API_BASE"] = self.api_base
        code = block.code.replace(IMAGES_API, self.api_base).replace("sk-...", CANARY)
        if self.served:
            code = SERVED.sub(self.served, code)
        if block.kind == "cell":
            self._run_cell(block, code)
        else:
            self._run_sh(block, code)

    def _run_cell(self, block, code):
        shown, typed = io.StringIO(), getpass.getpass
        getpass.getpass = lambda *_, **__: CANARY
        try:
            with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
                result = self.shell.run_cell(code)
        finally:
            getpass.getpass = typed
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise block.failed(f"{type(error).__name__}: {error}", shown.getvalue(), _line_of(error))

    def _run_sh(self, block, code):
        if _INSTALLS.search(code):
            raise block.failed(f"it installs something; say so above it, in a line that begins with {REASON}")
        # Each `imgvar serve` waits for requests, so it is a process beside the lines before and after it.
        line = 1
        for part in re.split(r"^(imgvar serve(?:.*\\\n)*.*)$", code, flags=re.MULTILINE):
            if part.startswith("imgvar serve"):
                self._serve(block, part, line)
            elif part.strip():
                self._run_lines(block, part, line)
            line += part.count("\n")

    def _bash(self, code, **streams):
        start = f"set -Eeuo pipefail; . {shlex.quote(str(self.state))}; trap 'echo \"{_AT} $LINENO\"' ERR"
        script = f"{start}\n{code}"
        return subprocess.Popen(
            ["bash", "-c", script],  # noqa: S607 - the reader's own
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            **streams,
        )

    def _run_lines(self, block, code, line):
        process = self._bash(
            f"{code}\nexport -p > {shlex.quote(str(self.state))}",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            # The key is what a `read` of the page waits for.
            output, _ = process.communicate(f"{CANARY}\n", timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise block.failed(f"it took more than {_LIMIT_S} s", process.communicate()[0]) from None
        if process.returncode:
            # bash counts the line before the block's as well.
            number, _, text = output.rpartition(_AT)[::-1] if _AT in output else ("2", "", output)
            where = line + int(number) - 2
            raise block.failed(f"it exits with {process.returncode}", text, where)

    def _serve(self, block, line, number):
        """Start a server at a free port, ask whether it is well, and leave it running for the page's other blocks."""
        self.close()
        command, *_ = line.partition(" #")
        command = re.sub(r" --port[ =]\d+", "", command).rstrip() + " --port 0"
        with self.log.open("w") as log:
            self.server = self._bash(command, stdout=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + _LIMIT_S
        while not (found := re.search(r"^http\S+:(\d+)/v1\n", self.log.read_text(), re.MULTILINE)):
            if self.server.poll() is not None or time.monotonic() > end:
                raise block.failed("the server does not start", self.log.read_text(), number)
            time.sleep(0.02)
        # Asked on this machine, whatever name or interface the page gives it.
        self.served = f"http://127.0.0.1:{found[1]}"
        status = httpx.get(f"{self.served}/healthz", timeout=60).status_code
        if status != httpx.codes.OK:
            raise block.failed(f"/healthz answers {status}", self.log.read_text(), number)

    def close(self):
        """Stop the server that a block started."""
        if self.server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait(60)
        self.server = self.served = None
