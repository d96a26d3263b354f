"""A panel without a kernel: work runs at once, time passes when a test says so, and engines do as they are told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from ipy_imgvar import Client
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.images import codec
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.job import Worker
from ipy_imgvar.panel.state import PanelState
from ipy_imgvar.results.variations import Variation


@pytest.fixture
def photo():
    """Return a photograph as an array of shape (80, 120, 3)."""
    return np.asarray(Image.fromarray(data.coffee()).resize((120, 80)))


class ScriptedEngine:
    """Yields each picture or colour as a picture; raises an exception; calls what can be called with the job."""

    name = "scripted"
    features = frozenset({"seed", "prompt", "strength"})

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []
        self.deaf = False  # a stalled request looks at no switch

    def capabilities(self, model=None):  # noqa: ARG002
        return Capabilities(self.features)

    def check(self, request):
        """Refuse nothing."""

    def model(self, request):  # noqa: ARG002
        return "scripted-1"

    def generate(self, request, job):
        self.requests.append(request)
        index = 0
        for number, step in enumerate(self.script):
            if not self.deaf:
                job.progress(number / len(self.script), f"step {number}")
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                step(job)
                continue
            index += 1
            drawn = step if isinstance(step, Image.Image) else Image.new("RGB", request.size, step)
            png = codec.encode_png(drawn)
            yield Variation(
                png,
                source=request.image,
                mime_type="image/png",
                size=request.size,
                index=index,
                seed=request.seed,
            )

    def close(self):
        """Hold nothing."""


@pytest.fixture
def make():
    """Build actions over a client with a scripted engine; everything runs at once."""

    def build(*script, namespace=None, client=None, execute=None):
        later = []
        inline = execute or (lambda work: work())
        engine = ScriptedEngine(*script)
        state = PanelState()
        actions = PanelActions(
            state,
            {} if namespace is None else namespace,
            client or Client(engine),
            Worker(inline, lambda _, action: later.append(action)),
            Worker(lambda work: work()),
        )
        state.size = "64x64"
        return SimpleNamespace(state=state, do=actions, engine=engine, later=later)

    return build


@pytest.fixture
def shell():
    """Return what a panel needs of a shell: variables and events."""
    registered = []
    events = SimpleNamespace(
        register=lambda name, action: registered.append((name, action)),
        unregister=lambda name, action: registered.remove((name, action)),
    )
    return SimpleNamespace(user_ns={}, events=events, registered=registered, execution_count=1)
