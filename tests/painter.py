"""An engine without an algorithm, for tests of what is around one: its pictures are one pixel, made in no time."""

import io

from PIL import Image

from ipy_imgvar.engine import Capabilities, EngineOption
from ipy_imgvar.results.variation import Variation


def pixel(value=0):
    """Return an encoded picture of one pixel."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1), value).save(buffer, "PNG")
    return buffer.getvalue()


class Painter:
    """Makes `n` pictures of each request, notes the requests, and counts the loads of its models.

    Parameters
    ----------
    name
        As `engine=` takes it.
    fails
        Returns, for a request, the exception that it ends with, or None.
    hosted
        Whether it says that it sends the image away.
    notes_digest
        Whether pictures name their source's digest, as our own engines' do.
    features
        As in `engine.Capabilities`, beside strength.
    """

    def __init__(
        self,
        name="painter",
        *,
        fails=lambda _: None,
        hosted=False,
        notes_digest=True,
        features=("seed", "prompt", "mask"),
    ):
        self.name, self.fails, self.hosted, self.notes_digest = name, fails, hosted, notes_digest
        self.features = frozenset({"strength", *features})
        self.requests, self.loads, self.closed = [], [], 0

    def capabilities(self, model=None):  # noqa: ARG002
        options = (
            EngineOption("flip", bool, default=True),
            EngineOption("steps", int, range=(1, 50)),
            EngineOption("extra", object),
        )
        return Capabilities(
            self.features,
            options=options,
            hosted=self.hosted,
            destination="paint.example:443" if self.hosted else None,
        )

    def check(self, request):
        pass

    def model(self, request):
        return request.model or "brush"

    def generate(self, request, job):
        if not self.loads or self.loads[-1] != self.model(request):
            self.loads.append(self.model(request))
        self.requests.append(request)
        for done, index in enumerate(range(1, request.n + 1), start=1):
            if (error := self.fails(request)) is not None:
                raise error
            yield Variation(
                pixel(index),
                source=request.image,
                mime_type="image/png",
                size=(1, 1),
                index=request.index or index,
                seed=request.seed,
                parameters={"source_sha256": request.image.sha256} if self.notes_digest else {},
            )
            job.progress(done / request.n, "paints")

    def close(self):
        self.closed += 1
