"""The same engine for one device, on another machine, and with weights to load."""

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

from ipy_imgvar.engine import EngineOption
from ipy_imgvar.errors import ConfigurationError, EngineError, InvalidRequestError

from . import CAPABILITIES, Posterise


class OneAtATime(Posterise):
    """As if a device had room for one picture."""

    name = "posterise-one"

    def capabilities(self, model=None):
        return replace(CAPABILITIES, parallel="one")


class Hosted(Posterise):
    """As if a server made the pictures: it says where they go, and needs a key."""

    name = "posterise-hosted"

    def capabilities(self, model=None):
        return replace(CAPABILITIES, parallel="threads", hosted=True, destination=self.connection.server)

    def generate(self, request, job):
        job.announce(f"{request.image.name} goes to {self.connection.server}, model {self.model(request)}")
        if self.connection.api_key is None:
            raise ConfigurationError("there is no API key; set OPENAI_API_KEY")
        yield from super().generate(request, job)


class Private(Hosted):
    """The same with much work of its own before it asks, so in processes."""

    name = "posterise-private"

    def capabilities(self, model=None):
        return replace(super().capabilities(model), parallel="processes")


class Weights(OneAtATime):
    """As if a model had to be loaded first: it says what it loads, and where a test asks for it, writes it down."""

    name = "posterise-weights"

    def __init__(self, connection):
        super().__init__(connection)
        self.loaded, self.hurry = [], False
        self.lock = threading.Lock()

    def capabilities(self, model=None):
        own = (
            EngineOption("device", default="cpu", choices=("cpu", "gpu"), help="where it runs", trusted=True),
            EngineOption("quality", default="low", choices=("low", "high"), help="how good", trusted=True),
            EngineOption("background", default="opaque", choices=("opaque", "transparent"), help="behind it"),
        )
        return replace(
            CAPABILITIES,
            parallel="one",
            models=("soft", "hard"),
            other_models=True,
            model_notes={"soft": "few changes, 1 MB", "hard": "many changes, 2 MB"},
            options=(*CAPABILITIES.options, *own),
        )

    def prepare(self, models, job, options=None):
        self.note("prepared", options)
        for model in models or ["soft"]:
            self.load(model, job)

    def load(self, model, job):
        if model.startswith("no-such"):
            raise InvalidRequestError(f"model is {model}; allowed: soft, hard", field="model")
        if model == "broken":
            raise ConfigurationError("the weights of broken can't be loaded; install them again")
        if model == "odd":
            raise ValueError("a fault\nof two lines")
        if model not in self.loaded:
            job.announce(f"{model}: 2 MB from nowhere, free for all")
            for part in range(1, 4):
                job.progress(part / 4, f"loading {part} of 3 MB")
            while model == "endless" or (model == "slow" and not self.hurry):
                job.check()
                time.sleep(0.01)
            if model == "deaf":
                self.note("deaf", model)
                while True:
                    time.sleep(0.01)
            if model == "fading":
                raise ConfigurationError("the weights of fading are gone")
            self.loaded.append(model)
            self.note("loaded", model)

    def generate(self, request, job):
        if not self.lock.acquire(blocking=False):
            raise EngineError("two runs at once")
        try:
            self.load(self.model(request), job)
            job.model = f"{self.model(request)}@1"
            self.note("options", request.options)
            time.sleep(0.05)  # so that two runs at once would meet
            yield from super().generate(request, job)
        finally:
            self.lock.release()

    def unload(self):
        freed, self.loaded = self.loaded, []
        return freed

    def close(self):
        self.note("closed", self.unload())

    @staticmethod
    def note(event, value):
        """Append what happened in this process to a file, if a test names one."""
        if path := os.environ.get("POSTERISE_NOTES"):
            with Path(path).open("a") as file:
                file.write(json.dumps([os.getpid(), event, value]) + "\n")
