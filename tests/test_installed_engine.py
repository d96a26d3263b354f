"""An engine in a package of its own: everything that ours can do, from what it declares."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from cases import slow

from ipy_imgvar import Client, Secret, cli
from ipy_imgvar.bulk import workers
from ipy_imgvar.errors import ConfigurationError, InvalidRequestError

pytestmark = pytest.mark.usefixtures("installed_engine")
SMALL = {"size": 64, "seed": 7}


@pytest.fixture
def folder(photo, tmp_path):
    """Give a folder of three pictures."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        photo.rotate(90 * number).save(photos / f"{number}.png")
    return str(photos)


@pytest.fixture
def processes(monkeypatch):
    """Record the worker processes that runs make."""
    made = []

    class Noted(workers.WorkerProcesses):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(workers, "WorkerProcesses", Noted)
    return made


def files(out_dir):
    return {path.name: path.read_bytes() for path in Path(out_dir).glob("*.png")}


def test_python(photo):
    """Pictures are made with its models, options, mask and seed, and one of them alone is the same one."""
    mask = photo.convert("L").point(lambda level: 255 * (level > 128))
    asked = {"model": "hard", "mask": mask, "options": {"bits": "2", "mirror": "Always"}, **SMALL}
    with Client("posterise") as client:
        made = client.variations(photo, n=2, **asked)
        assert made.bytes[0] != made.bytes[1]
        assert client.variations(photo, index=2, **asked).bytes == made.bytes[1:]
    assert (made.engine, made.model) == ("posterise", "hard")
    assert made[0].parameters["options"] == {"bits": 2, "mirror": "always"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"options": {"bits": 9}}, "option bits is 9; allowed: a whole number from 1 to 8"),
        ({"options": {"flip": True}}, "unknown to the engine posterise; allowed: bits, mirror$"),
        ({"model": "odd"}, "the engine posterise has only soft, hard"),
        ({"size": 2048}, "the engine posterise makes sides of 8 to 1024 pixels"),
        ({"prompt": "a dog"}, "the engine posterise can't use a prompt"),
    ],
)
def test_what_it_does_not_declare(photo, arguments, said):
    """What it does not declare is refused in the words that ours are refused in."""
    with Client("posterise") as client, pytest.raises(InvalidRequestError, match=said):
        client.variations(photo, **{"size": 64, **arguments})


def test_command_line(photo_path, monkeypatch, capfd):
    """`imgvar create` makes its pictures, and its help lists the options and models."""
    monkeypatch.chdir(photo_path.parent)
    line = [
        "create",
        "photo.png",
        "--engine",
        "posterise",
        "--model",
        "hard",
        "--option",
        "bits=2",
        "-s",
        "64",
    ]
    assert cli.main([*line, "--json"]) == 0
    described = json.loads(capfd.readouterr().out)
    assert (described["engine"], described["model"]) == ("posterise", "hard")
    assert described["pictures"][0]["parameters"]["options"] == {"bits": 2}
    assert cli.main([*line, "--help"]) == 0
    text = capfd.readouterr().out
    assert "Options of the engine posterise" in text
    assert "bits=1..8" in text
    assert "bits of each channel; default 3" in text
    assert "mirror=never|always" in text
    assert "soft, hard" in text


@pytest.mark.slow
def test_bulk_in_processes(folder, tmp_path, processes):
    """CPU work goes to processes, which make what one thread makes."""
    with Client("posterise") as client:
        assert len(client.map(folder, out_dir=tmp_path / "a", max_workers=2, **SMALL).done) == 3
        (made,) = processes
        assert made._max_workers == 2
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            client.map(folder, out_dir=tmp_path / "b", executor=executor, **SMALL)
    engine = Client("posterise").engine
    client = Client(engine)
    client.map(folder, out_dir=tmp_path / "c", **SMALL)
    assert processes == [made]
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")
    with ProcessPoolExecutor(1) as executor, pytest.raises(ConfigurationError, match="given as an object"):
        client.map(folder, out_dir=tmp_path / "c", executor=executor, **SMALL)


def test_bulk_one_at_a_time(folder, tmp_path, processes):
    """An engine for one device works on one image at a time, in this process, and more is refused."""
    with Client("posterise-one") as client:
        assert workers.choose_workers(client.engine, None, None).count == 1
        assert len(client.map(folder, out_dir=tmp_path / "out", **SMALL).done) == 3
        with pytest.raises(
            InvalidRequestError, match="max_workers is 2; allowed: a whole number from 1 to 1"
        ):
            client.map(folder, out_dir=tmp_path / "out", max_workers=2, **SMALL)
    assert processes == []


@pytest.mark.parametrize("name", ["posterise-hosted", slow("posterise-private")])
def test_a_hosted_one_gets_the_connection(folder, tmp_path, processes, name):
    """Key and base reach a hosted engine, in threads and in processes, and the destination is named before."""
    asked = {"api_base": "http://me:secret@images.example/v1"}
    heard = []
    with Client(name, **asked, api_key=Secret("sk-1")) as client:
        found = client.engine.connection
        assert (found.api_key, found.login) == (Secret("sk-1"), ("me", "secret"))
        client.variations(f"{folder}/0.png", on_notice=heard.append, **SMALL)
        result = client.map(folder, out_dir=tmp_path / "out", on_notice=heard.append, **SMALL)
        assert len(result.done) == 3
        with ProcessPoolExecutor(1) as executor, pytest.raises(ConfigurationError, match="keys are not sent"):
            client.map(folder, out_dir=tmp_path / "out", executor=executor, **SMALL)
    assert len(processes) == (name == "posterise-private")
    assert heard[0] == "0.png goes to images.example, model soft"
    assert heard[1].startswith("the images go to images.example (model soft), what comes back to ")
    ledger = (tmp_path / "out" / "ledger.jsonl").read_text()
    assert '"server":"images.example"' in ledger
    assert "secret" not in ledger
    with Client(name, **asked) as client:
        failed = client.map(folder, out_dir=tmp_path / "again", **SMALL).failed
    assert "there is no API key" in failed[0].error


def test_an_engine_that_takes_no_connection(tmp_path, monkeypatch):
    """A factory that can't be called with a connection is one line that names the engine."""
    info = tmp_path / "old-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: old\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ipy_imgvar.engines]\nold = secrets:token_bytes\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=r"engine old can't be made \(TypeError"):
        Client("old")


@pytest.mark.slow
def test_pip_installs_it(installed_engine, tmp_path):
    """What pip builds and installs has the modules and entry points that the other tests use."""
    pytest.importorskip("setuptools", minversion="70.1", reason="an older setuptools builds no wheels")
    # A copy, since building leaves files beside what is built.
    source = shutil.copytree(Path(__file__).with_name("installed_engine"), tmp_path / "source")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", tmp_path / "installed", source], check=True)
    for name in ("imgvar_posterise/__init__.py", "imgvar_posterise/variants.py"):
        assert (tmp_path / "installed" / name).read_bytes() == (installed_engine / name).read_bytes()
    entries = "imgvar_posterise-1.0.dist-info/entry_points.txt"
    built, laid = (
        (each / entries).read_text().split("\n") for each in (tmp_path / "installed", installed_engine)
    )
    assert sorted(filter(None, built)) == sorted(laid)
