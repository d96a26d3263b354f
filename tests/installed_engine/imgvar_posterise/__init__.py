"""An engine in a package of its own: a picture in fewer tones and other colours."""

import io
import random

from PIL import Image, ImageEnhance, ImageOps

from ipy_imgvar import Variation
from ipy_imgvar.engine import Capabilities, EngineOption, Sizes
from ipy_imgvar.images import codec

CAPABILITIES = Capabilities(
    features=frozenset({"mask", "seed"}),
    models=("soft", "hard"),
    options=(
        EngineOption("bits", int, default=3, range=(1, 8), help="bits of each channel"),
        EngineOption("mirror", default="never", choices=("never", "always"), help="swap left and right"),
    ),
    sizes=Sizes(least=8, most=1024),
    parallel="processes",  # the CPU alone does the work
)


class Posterise:
    """Makes variations; the seed and a picture's number decide on its colours."""

    name = "posterise"

    def __init__(self, connection):
        self.connection = connection  # where to ask and as whom, for an engine that asks somebody

    def capabilities(self, model=None):
        return CAPABILITIES

    def check(self, request):
        """Refuse what the declaration can't say; here, nothing."""

    def model(self, request):
        return request.model or "soft"

    def generate(self, request, job):
        options = CAPABILITIES.defaults() | request.options
        source = request.image.open()
        image = ImageOps.fit(source.convert("RGB"), request.size)
        most = 0.2 if self.model(request) == "soft" else 0.8
        for index in [request.index] if request.index else range(1, request.n + 1):
            job.progress((index - 1) / 10, f"picture {index}")  # raises when the run is cancelled
            draw = random.Random(f"{request.seed} {index}")  # noqa: S311 - no secret
            made = ImageEnhance.Color(image).enhance(1 + draw.uniform(-most, most))
            made = ImageOps.posterize(made, options["bits"])
            if options["mirror"] == "always":
                made = ImageOps.mirror(made)
            if request.mask is not None:
                keep = Image.fromarray(codec.kept_pixels(request.mask.open(), source.size))
                made.paste(image, mask=ImageOps.fit(keep, request.size))
            file = io.BytesIO()
            made.save(file, "PNG")
            yield Variation(
                file.getvalue(), source=request.image, mime_type="image/png", size=made.size, index=index,
                seed=request.seed, parameters={**request.settings(), "engine": self.name, "index": index},
            )  # fmt: skip

    def close(self):
        """Release what is held between runs; here, nothing."""
