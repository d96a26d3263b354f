"""Every code block of README and docs/ runs, in the order of its page, or says visibly why it does not."""

import atexit
import builtins
import contextlib
import os
import re
import shutil

import batch_server
import pytest
from blocks import ROOT, BlockError, Reader, blocks_of
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from traitlets.config import Config

# What a reader leaves open is closed with the shell.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.skipif(os.name == "nt", reason="the documentation's commands are for bash"),
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Pages that start many processes or wait for batches; CI alone runs them, with the engine itself, as all others.
LONG = {"batches.md", "bulk.md", "clusters.md", "command-line.md", "server.md"}
QUICK = [page for page in PAGES if page.name not in LONG]


@pytest.fixture
def folder(tmp_path, photo):
    """Return the folder of a reader's files: a photograph, three more, a mask and a text."""
    folder = tmp_path / "reader"
    (folder / "photos").mkdir(parents=True)
    photo.save(folder / "cat.png")
    for number, name in enumerate(("one.png", "two.jpg", "three.png")):
        photo.rotate(90 * number, expand=True).save(folder / "photos" / name)
    mask = Image.new("L", photo.size, 0)
    mask.paste(255, (24, 18, 72, 54))
    mask.save(folder / "mask.png")
    (folder / "notes.txt").write_text("Not a picture.\n")
    return folder


@pytest.fixture
def batches():
    """Give the loopback server of batches, whose batches have ended at the first look."""
    server = batch_server.Api()
    server.states = ["completed"]
    yield server
    server.close()


@pytest.fixture
def shell(folder, monkeypatch):
    """Give an IPython shell in that folder, without the extension; no block of it reaches the network."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing answers there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("OPENAI_API_BASE", "")  # so that it is put back, if a block sets it
    monkeypatch.delattr(builtins, "_", raising=False)
    monkeypatch.chdir(folder)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    if "ipy_imgvar" in shell.extension_manager.loaded:
        shell.run_line_magic("unload_ext", "ipy_imgvar")
    InteractiveShell.clear_instance()
    atexit.unregister(shell.atexit_operations)


@pytest.fixture
def reader(shell, folder, tmp_path, api, batches):
    """Return a function that runs a page's blocks, with servers on loopback where the page speaks of others."""
    commands = tmp_path / "commands"
    commands.mkdir()
    with contextlib.ExitStack() as stack:

        def run(path):
            text = path.read_text("utf-8")
            if re.search(r"^curl ", text, re.MULTILINE) and not shutil.which("curl"):
                pytest.skip("curl is not installed")
            if "%load_ext ipy_imgvar" not in text:
                shell.run_line_magic("load_ext", "ipy_imgvar")
            blocks = blocks_of(path)
            server = batches if any(block.has_batches for block in blocks) else api
            page = Reader(shell, folder, commands, server.base)
            stack.callback(page.close)
            for block in blocks:
                page.run(block)

        yield run


@pytest.mark.parametrize("path", QUICK, ids=[page.name for page in QUICK])
def test_the_blocks_of_a_page_run(path, reader, quick_patch):  # noqa: ARG001 - in cells; commands use the engine itself
    """Each block of the page runs without an error, in a folder with the reader's files."""
    reader(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=[page.name for page in PAGES])
def test_the_blocks_of_a_page_run_with_the_engine_itself(path, reader):
    """So does each block where the offline engine makes its own pictures."""
    reader(path)


#: Blocks that fail, the line of the page that is named, and what is said of it.
FAILURES = {
    "a cell that raises": ("```python\nx = 1\n1 / 0\n```", 4, "ZeroDivisionError: division by zero"),
    "a cell that is no Python": ("```python\nx = = 1\n```", 3, "SyntaxError"),
    "a wrong line": ("```\nx = 1\n%imagevariation dog.png\n```", 4, "UsageError: there is no .*dog.png"),
    "a wrong value": ("```ipython\n%imagevariation cat.png -s 7\n```", 3, "UsageError: size is 7"),
    "a command that fails": ("```sh\ntrue\nimgvar create dog.png\n```", 4, "it exits with 2\n.*dog.png"),
    "a pipe that fails": ("```sh\nfalse | cat\n```", 3, "it exits with 1"),
    "a server that does not start": (
        "```sh\nimgvar serve --engine none\n```",
        3,
        "the server does not start",
    ),
    "an installation": ("```sh\npip install '.[server]'\n```", 3, "it installs something"),
    "an unknown language": ("```ruby\nputs 1\n```", 3, "a block of ruby; allowed: python"),
    "output without a language": ("```\ncat-1.png\n```", 3, "a block of no language; allowed: python"),
    "a mark that CI does not read": ("<!-- ci: other -->\n```sh\nfalse\n```", 4, "it exits with 1"),
    "a reason that is not seen": (
        "<!-- Not run in the tests: x -->\n```sh\nfalse\n```",
        4,
        "it exits with 1",
    ),
    "a test that is not there": ("*Run by `tests/no.py`.*\n\n```sh\nfalse\n```", 5, "it exits with 1"),
    "another server's address": ("```ipython\n%imagevariation https://example.com/a.png\n```", 3, "Error"),
}


@pytest.mark.parametrize(("text", "line", "why"), FAILURES.values(), ids=FAILURES)
def test_a_block_that_fails_is_named(text, line, why, reader, tmp_path):
    """A failed block is reported with the page, the line, the reason and the output."""
    page = tmp_path / "page.md"
    page.write_text(f"First line.\n{text}\n")
    with pytest.raises(BlockError, match=rf"(?s)^page.md, line {line}: .*{why}"):
        reader(page)


def test_blocks_of_a_page_share_what_they_define(reader, tmp_path, folder):
    """Cells share a shell, commands share what is exported, and a block with a reason is left out."""
    page = tmp_path / "page.md"
    page.write_text(
        "*Run by `tests/magic/test_documented_servers.py`, in part.*\n\n```sh\nfalse\n```\n"
        "```python\nname = 'cat.png'\n```\n```\n%imagevariation $name -s 64 --out-file a.png\n```\n"
        "```sh\nexport WORD='two words'\n```\n- in a list:\n\n  ```sh\n  echo \"$WORD\" > said.txt\n  ```\n"
        "*Not run in the tests: it takes\na week.*\n\n```sh\nfalse\n```\n```text\ncat-1.png\n```\n"
    )
    reader(page)
    assert (folder / "a.png").is_file()
    assert (folder / "said.txt").read_text() == "two words\n"


def test_a_key_leads_to_the_loopback_server(reader, tmp_path, api):
    """A page that sets a key asks the tests' server in OpenAI's place, from both a cell and a command."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport getpass\nOPENAI_API_KEY = getpass.getpass()\n```\n"
        "```\n%imagevariation cat.png -n 2\n```\n"
        "```sh\nread -rs OPENAI_API_KEY && export OPENAI_API_KEY\nimgvar create cat.png\n```\n"
        "```sh\nimgvar create cat.png --api-base http://localhost:8000/v1\n```\n"
    )
    reader(page)
    assert [request.method for request in api.requests].count("POST") == 3


def test_a_server_of_a_page_answers_its_later_blocks(reader, tmp_path, folder):
    """`imgvar serve` runs at a free port, and later blocks reach it at the address that the page names."""
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nimgvar serve   # http://127.0.0.1:8765/v1\n```\n"
        "```sh\ncurl -sf http://localhost:8765/v1/models > models.json\n```\n"
    )
    reader(page)
    assert "patch-3" in (folder / "models.json").read_text()
