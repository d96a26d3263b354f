"""The device and its number format."""

import pytest

from ipy_imgvar.engines.diffusers.device import machine
from ipy_imgvar.errors import InvalidRequestError


def test_a_device_that_is_not_there_is_refused_with_those_that_are(torch):
    """The line names what was asked for and what this machine has."""
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(
        InvalidRequestError, match=f"device is '{missing}'; this machine and this torch have .*cpu"
    ):
        machine.find(missing)
    with pytest.raises(InvalidRequestError, match="device is 'tpu'"):
        machine.find("tpu")


def test_a_cpu_computes_in_float32_unless_told_otherwise(torch):
    """float32 is what every CPU has; bfloat16 is an option."""
    found = machine.find("cpu")
    assert found.kind == "cpu"
    assert found.memory_bytes is None or found.memory_bytes > 10**8
    assert machine.dtype_of(found, None) is torch.float32
    assert machine.dtype_of(found, "bfloat16") is torch.bfloat16


def test_a_gpu_that_torch_cannot_use_is_mentioned(torch, monkeypatch, tmp_path):
    """A CPU build of torch on a machine with NVIDIA's driver is a common mistake that makes runs slow."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("torch can use this machine's GPU")
    driver = tmp_path / "version"
    driver.write_text("NVRM")
    monkeypatch.setattr(machine, "_NVIDIA_DRIVER", driver)
    assert "NVIDIA GPU, but torch" in machine.find(None).note
    assert machine.find("cpu").note == ""
