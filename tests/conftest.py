"""What all tests share: an empty store, a clean environment, a photograph, a queueing engine, an images API."""

import itertools
import os
import shutil
import signal
import sys
import time
import tomllib
from pathlib import Path

import certifi
import hypothesis
import pytest
from cases import cases
from loopback import Api
from PIL import Image
from quick import rolled

from ipy_imgvar import Client
from ipy_imgvar.engine import Capabilities, EngineOption
from ipy_imgvar.images import codec
from ipy_imgvar.results import history
from ipy_imgvar.results.variations import Variation

# jsonschema, which nbformat imports, compiles 38 grammars of addresses where this is installed: 5 s of each process.
sys.modules.setdefault("rfc3987_syntax", None)

# Tests start hundreds of processes, each of which would compile the package anew where this was set.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell starts what it runs in the background with SIGINT ignored, which the processes of tests would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The machine is shared: how long a case takes says nothing.
hypothesis.settings.register_profile("ours", cases(200, 25))
hypothesis.settings.load_profile("ours")
#: A package of its own, which the fixture `installed_engine` installs.
collect_ignore = ["installed_engine"]


@pytest.fixture(scope="session")
def _certificate(tmp_path_factory):
    """Write one of the certificates that clients trust: reading all of them takes each client 20 ms."""
    first, end, _ = Path(certifi.where()).read_text("ascii").partition("-----END CERTIFICATE-----")
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    path.write_text(first[first.index("-----BEGIN") :] + end + "\n")
    return path


@pytest.fixture(scope="session")
def _store_roots(tmp_path_factory):
    """Return numbered paths for stores: `mktemp` looks through thousands of folders for each new one."""
    folder = tmp_path_factory.mktemp("stores")
    return (folder / str(number) / "imgvar" for number in itertools.count())


@pytest.fixture(autouse=True)
def store_root(_store_roots, monkeypatch, _certificate):
    """Give every test an empty store and no settings of the machine's, and return the store's folder."""
    for name in list(os.environ):
        if name.upper().startswith(("OPENAI_", "IPY_IMGVAR_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(_certificate))
    root = next(_store_roots)
    root.parent.mkdir()
    monkeypatch.setenv("IPY_IMGVAR_STORE", str(root))
    history.forget()
    yield root
    history.forget()


@pytest.fixture
def patch():
    """Give a client of the engine patch."""
    with Client("patch") as client:
        yield client


@pytest.fixture(scope="session")
def _api():
    api = Api()
    yield api
    api.close()


@pytest.fixture
def api(_api):
    """Give the loopback images API, with nothing recorded and nothing scripted."""
    _api.reset()
    return _api


@pytest.fixture(scope="session")
def _photograph():
    from skimage import data

    picture = Image.fromarray(data.chelsea())
    return picture.crop((75, 30, 375, 255)).resize((96, 72))


@pytest.fixture
def photo(_photograph):
    """Return a photograph as a PIL image, RGB, 96x72."""
    return _photograph.copy()


@pytest.fixture
def photo_path(photo, tmp_path):
    """Return the path of the photograph as a PNG file."""
    path = tmp_path / "photo.png"
    photo.save(path)
    return path


class FakeEngine:
    """An engine that does what it was told: for faults that a real one can't produce on demand.

    Parameters
    ----------
    *runs
        One list for each image, in order. A str is a colour: a picture of it is made. An exception is raised. A
        number of seconds is waited, and the run's `check` called meanwhile. A callable is called with the job.
    features
        As in `engine.Capabilities`; a strength is always taken.
    """

    name = "fake"

    def __init__(self, *runs, features=("mask", "prompt", "seed")):
        self.runs = list(runs)
        self.features = frozenset({*features, "strength"})
        self.requests = []
        self.closed = 0
        self.ended = 0

    def capabilities(self, model=None):  # noqa: ARG002
        return Capabilities(self.features, options=(EngineOption("quality"),), parallel="threads")

    def check(self, request):
        self.requests.append(request)

    def model(self, request):  # noqa: ARG002
        return "fake-1"

    def generate(self, request, job):
        try:
            yield from self._made(request, job)
        finally:
            self.ended += 1

    def _made(self, request, job):
        index = 0
        for step in self.runs.pop(0):
            if isinstance(step, str):
                index += 1
                yield picture(step, source=request.image, size=request.size, index=index, seed=request.seed)
            elif isinstance(step, (int, float)):
                end = time.monotonic() + step
                while time.monotonic() < end:
                    job.check()
                    time.sleep(0.005)
            elif callable(step) and not isinstance(step, type):
                step(job)
            else:
                raise step

    def close(self):
        self.closed += 1


def picture(colour, *, source, size=(64, 64), index=1, seed=None, **facts):
    """Return a `Variation` of one colour, in memory."""
    pixels = codec.encode_png(Image.new("RGB", size, colour))
    return Variation(pixels, source=source, mime_type="image/png", size=size, index=index, seed=seed, **facts)


@pytest.fixture
def quick_patch(monkeypatch):
    """Make the engine patch quick in this process: it rolls a picture where it would arrange one anew."""
    monkeypatch.setattr("ipy_imgvar.engines.patch.engine.synthesise", rolled)


@pytest.fixture
def fake_engine():
    """Return the class `FakeEngine`."""
    return FakeEngine


@pytest.fixture
def make_picture():
    """Return `picture`, which makes a `Variation` of one colour."""
    return picture


@pytest.fixture(scope="session")
def _installed_engine(tmp_path_factory):
    # As pip lays it out; to build it takes seconds, and a build backend that Python no longer brings.
    source = Path(__file__).with_name("installed_engine")
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    target = tmp_path_factory.mktemp("installed")
    shutil.copytree(source / "imgvar_posterise", target / "imgvar_posterise")
    info = target / f"imgvar_posterise-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    ((group, entries),) = project["entry-points"].items()
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    return target


@pytest.fixture
def installed_engine(_installed_engine, monkeypatch):
    """Install the package of tests/installed_engine for this process and those it starts, and return its folder."""
    monkeypatch.syspath_prepend(_installed_engine)
    monkeypatch.setenv("PYTHONPATH", str(_installed_engine), prepend=os.pathsep)
    return _installed_engine
