"""The table of presets, and the choice of one for a machine."""

import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.diffusers.weights.presets import PRESETS, default_preset
from ipy_imgvar.engines.diffusers.weights.reference import is_repo, reference

GB = 10**9


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_rows(preset):
    """Each row has an id and a commit that the hub takes, a short summary, and adapters as safetensors."""
    assert PRESETS[preset.name] is preset
    assert is_repo(preset.repo)
    assert re.fullmatch(r"[0-9a-f]{40}", preset.revision)
    assert len(preset.summary) <= 90
    assert preset.steps > 0
    assert preset.disk_gb > 0
    if preset.adapter:
        assert preset.adapter.weight_name.endswith(".safetensors")
    if preset.base:
        assert re.fullmatch(r"[0-9a-f]{40}", reference(preset.base).revision)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_classes(preset):
    """Each row's pipeline is a class of the installed diffusers."""
    diffusers = importlib.util.find_spec("diffusers")
    if diffusers is None:
        pytest.skip("diffusers is not installed")
    # Its import loads torch, which takes seconds; its names stand in its first file.
    assert f'"{preset.pipeline}"' in Path(diffusers.origin).read_text("utf-8")


def test_names():
    """The eight presets have their names, and the gated and the non-commercial one is marked."""
    assert list(PRESETS) == ["klein", "klein-base", "z-image", "qwen-edit", "sdxl", "sd15", "lcm", "redux"]
    assert [name for name, row in PRESETS.items() if row.gated or not row.commercial] == ["redux"]


@pytest.mark.parametrize(
    ("kind", "memory", "name"),
    [
        ("cuda", 25_300_000_000, "klein"),  # a card sold with 24 GB
        ("cuda", 16_700_000_000, "klein"),  # 16 GB
        ("cuda", 12_500_000_000, "sdxl"),  # 12 GB
        ("cuda", 8_300_000_000, "sdxl"),  # 8 GB
        ("cuda", 6_200_000_000, "sd15"),  # 6 GB
        ("cuda", None, "sd15"),
        ("mps", 34_360_000_000, "klein"),  # 32 GB
        ("mps", 25_770_000_000, "klein"),  # 24 GB
        ("mps", 17_180_000_000, "sd15"),  # 16 GB
        ("mps", None, "sd15"),
        ("cpu", None, "lcm"),
        ("cpu", 500 * GB, "lcm"),
    ],
)
def test_defaults(kind, memory, name):
    """A GPU gets what fits without quantisation, a Mac what fits beside its system, a CPU the quickest model."""
    assert default_preset(memory, kind).name == name


@given(st.lists(st.integers(0, 200 * GB), min_size=2).map(sorted), st.sampled_from(["cuda", "mps", "cpu"]))
def test_more_memory_never_gets_less(sizes, kind):
    """More memory gets a model that needs as much or more, and the default is never gated or non-commercial."""
    presets = [default_preset(size, kind) for size in sizes]
    needs = [preset.memory_gb for preset in presets]
    assert needs == sorted(needs)
    assert not any(preset.gated or not preset.commercial for preset in presets)
