"""docs/own-gpu.md says what the engine's tables say. It needs none of the extra's packages."""

from pathlib import Path

import pytest

from ipy_imgvar.engines.diffusers.pipelines.families import FAMILIES
from ipy_imgvar.engines.diffusers.weights.presets import PRESETS

PAGE = (Path(__file__).parents[3] / "docs/own-gpu.md").read_text("utf-8")
#: The page's words for each way in which a strength acts.
WORDS = {
    "strength": "noise",
    "noise_level": "noise on the embedding",
    "guidance": "guidance",
    "scale": "weight of the embedding",
    "wording": "instruction",
}
#: The families that the tests run with tiny weights; see `tiny.MAKERS`.
RUN = (
    "Stable Diffusion 1 and 2",
    "Stable Diffusion XL",
    "Latent consistency",
    "Stable Diffusion image variation",
    "Stable unCLIP",
    "FLUX.1 Redux",
    "FLUX.2 klein",
    "Z-Image",
    "any other class that takes `image`",
)


def rows(head):
    """Return the cells of each row of the table whose first line begins with `head`."""
    table = PAGE[PAGE.index(head) :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_page_has_the_table_of_presets():
    """Each preset has a row with its repository, licence, bytes and steps."""
    shown = [row[:5] for row in rows("| name | from |")]
    assert shown == [
        [f"`{each.name}`", f"`{each.repo}`", each.licence, f"{each.disk_gb:g} GB", str(each.steps)]
        for each in PRESETS.values()
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_page_has_a_row_for_each_family(family):
    """A family's row says how strength acts, whether it takes a prompt and a mask, its side and its grid."""
    (row,) = [row for row in rows("| family |") if row[0] == family.name]
    assert row[1:6] == [
        WORDS[family.control],
        "yes" if family.prompt else "no",
        "yes" if family.inpaint else "no",
        f"{family.side_px} px",
        str(family.grid_px),
    ]


def test_the_page_says_which_families_were_run():
    """The families that the tests run are marked, and no other is."""
    assert tuple(row[0] for row in rows("| family |") if row[6] == "tiny") == RUN
    assert {row[6] for row in rows("| family |")} == {"tiny", "no"}


@pytest.mark.parametrize(
    "said",
    [
        "magic, panel and Python of one kernel share it",
        "`imgvar serve` is a process of its own",
        "pickles beside safetensors are ignored",
        'extra_body={"steps": 8',
    ],
)
def test_the_page_says_what_holds(said):
    """The page has the sentences on memory, pickles and options that the code keeps."""
    assert said in " ".join(PAGE.split())
