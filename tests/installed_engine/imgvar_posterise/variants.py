"""The same engine for one device, and on another machine."""

from dataclasses import replace

from ipy_imgvar.errors import ConfigurationError

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
