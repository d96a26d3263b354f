"""Runs of the history without an engine: pictures that have a path and no pixels."""

from pathlib import Path

from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.variations import Variation, Variations


def run_of(source, *names, **settings):
    """Return a run of a source whose pictures lie at paths of these names."""
    pictures = [
        Variation(None, source=source, mime_type="image/png", size=(64, 64), index=index, path=Path(name))
        for index, name in enumerate(names, start=1)
    ]
    return Variations(pictures, engine="patch", request=VariationRequest.from_arguments(**settings))


def at(path):
    return Source(Path(path).name, path=Path(path))
