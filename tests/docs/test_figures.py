"""Figures in the documentation that the code states."""

import re
from pathlib import Path

import numpy as np
import pytest

import ipy_imgvar
from ipy_imgvar import settings
from ipy_imgvar.bulk import ledger, lock, workers
from ipy_imgvar.engines.openai import batches
from ipy_imgvar.engines.patch import scene, strength
from ipy_imgvar.engines.patch.camera import framing
from ipy_imgvar.engines.patch.capabilities import MODEL
from ipy_imgvar.engines.patch.composition import artefacts
from ipy_imgvar.engines.patch.matching.patches import PATCH
from ipy_imgvar.engines.patch.subjects import network
from ipy_imgvar.images import fetch
from ipy_imgvar.panel import state, uploads
from ipy_imgvar.results import gallery
from ipy_imgvar.server.limits import Limits
from ipy_imgvar.storage import attempts, listings

DOCS = Path(ipy_imgvar.__file__).parent.parent / "docs"
LIMITS = Limits()
MB = 1_000_000
WAITS = [2**number for number in range(attempts.TRIES - 1)]

#: By page: phrases with a figure, written with the code's own constants.
STATED = {
    "batches.md": [f"{batches._LIMITS.lines:,} lines and {batches._LIMITS.bytes // MB} MB"],
    "bulk.md": [
        f"disk every {ledger._SYNC_EVERY_S:g} seconds",
        f"| `openai` | {workers._HOSTED_WORKERS} threads",
    ],
    "object-stores.md": [
        f"pages of up to {listings._PAGE:,} objects",
        f"An object may have {fetch.MAX_BYTES >> 20} MiB",
        f"with {', '.join(map(str, WAITS[:-1]))} and {WAITS[-1]} seconds between",
        f"any other, {lock._DEAD_S:g} seconds",
    ],
    "offline-engine.md": [
        f"Each patch of {PATCH}x{PATCH} pixels",
        f"compared at {artefacts._COMPARED_PX} px on the short side",
        f"Its model of {network._SIZE_MB} MB",
        f"(`{MODEL}`)",
        f"Images of less than {scene._TINY} pixels a side",
        f"of less than {artefacts._LEAST_PX} pixels on the short side",
        f"From {strength._REARRANGED_FROM:g} on, new arrangements are tried",
    ],
    "panel.md": [
        f"Files up to {uploads.UPLOAD_MAX_BYTES // MB} MB",
        f"the newest {['', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight'][state._GROUPS]} runs",
    ],
    "privacy.md": [
        f"the default is {settings.STORE_MAX_BYTES // (1000 * MB)} GB",
        f"at most {gallery._ALONE_PX} px a side for one and {gallery._TOGETHER_PX} px for several",
        f"for {LIMITS.links_s / 60:g} minutes",
    ],
    "server.md": [
        f"| requests that wait for a run | {LIMITS.queue}, then 503",
        f"| one request | {LIMITS.upload_bytes // MB} MB |",
        f"| one run | {LIMITS.run_timeout_s:g} s |",
        f"| pixels of an image | {LIMITS.image_pixels:,} |",
        f"beyond 4 bytes a pixel | {LIMITS.decoding_bytes // MB} MB |",
        f"| pictures with an address, together | {LIMITS.links_bytes // MB} MB |",
        f"| lifetime of an address | {LIMITS.links_s / 60:g} minutes |",
        f"| open connections | {LIMITS.connections} |",
    ],
}


@pytest.mark.parametrize(
    ("page", "phrase"),
    [(page, phrase) for page, phrases in STATED.items() for phrase in phrases],
    ids=lambda value: value if value.endswith(".md") else "",
)
def test_limits_are_the_codes(page, phrase):
    """A limit that a page states is the one that the code has."""
    assert phrase in " ".join((DOCS / page).read_text("utf-8").split())


#: The strengths of the table in offline-engine.md, by their names.
NAMED = {"subtle": 0.2, "medium": 0.5, "strong": 0.85}


def least_side(value):
    """Return the side of the engine's smallest window at a strength, not turned, as a share of the source's."""
    corners = framing._window(np.array((0.5, 0.5, 1, 0.5, 0.5, 0.5)), value, 1.0)
    return float(np.ptp(corners, axis=0).max())


def arranged(name):
    """Return a function of the strength that gives a number of the tuning where arrangements are made."""
    return lambda value: getattr(strength.tune(value), name) if strength.rearranges(value) else None


ROWS = {
    "smallest side of a second shot's window, as a share of the source's": least_side,
    "largest rotation, in degrees": lambda value: framing._DEGREES[0] + framing._DEGREES[1] * value,
    "a source has to bear an arrangement with at least": arranged("least_bearing"),
    "an arrangement's artefact score is at most": arranged("most_artefacts"),
    "new share of an arrangement to aim at": arranged("new_share"),
}


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_the_table_of_strengths_is_the_codes(row):
    """Each number of the table of strengths is what the code computes at that strength."""
    values = [ROWS[row](value) for value in NAMED.values()]
    cells = ["no arrangement" if value is None else f"{value:.2f}" for value in values]
    page = (DOCS / "offline-engine.md").read_text("utf-8")
    assert f"| {row} | {' | '.join(cells)} |" in page
    assert re.findall(r"(\w+) \((0\.\d+)\)", page.split("| number |")[1].split("\n")[0]) == [
        (name, f"{value:g}") for name, value in NAMED.items()
    ]
