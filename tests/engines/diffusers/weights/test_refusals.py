"""Our errors for the exceptions of huggingface_hub, of the network and of the disk."""

import errno

import pytest

from ipy_imgvar.engines.diffusers.weights import refusals
from ipy_imgvar.engines.diffusers.weights.reference import Reference
from ipy_imgvar.errors import ConnectionFailedError, EngineError, InvalidRequestError

MODEL = Reference("some/model", "v1")


def made(name):
    """Return an exception of the library by its name."""
    library = pytest.importorskip("huggingface_hub.errors")
    return getattr(library, name)("secret")


@pytest.mark.parametrize(
    ("exc", "error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left"), EngineError, "the disk is full"),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            EngineError,
            "cache (Permission denied); set HF_HOME",
        ),
        (OSError("secret: Consistency check failed"), ConnectionFailedError, "came incomplete from a-hub"),
        (ConnectionResetError("secret"), ConnectionFailedError, "a-hub can't be reached, or broke off"),
        (TimeoutError("secret"), ConnectionFailedError, "a-hub can't be reached, or broke off"),
        (KeyError("secret"), EngineError, "can't be fetched from a-hub (KeyError)"),
        ("OfflineModeIsEnabled", InvalidRequestError, "hf download some/model --revision v1 --include"),
        ("HFValidationError", InvalidRequestError, "no valid id of a-hub"),
        ("LocalEntryNotFoundError", ConnectionFailedError, "a-hub can't be reached"),
    ],
)
def test_failures(exc, error, text):
    """Each failure has its error and next step, and nothing of the original message, which may hold an address."""
    found = refusals.of(made(exc) if isinstance(exc, str) else exc, MODEL, "a-hub")
    assert type(found) is error
    assert text in str(found)
    assert "some/model" in str(found)
    assert "secret" not in str(found)
    assert "\n" not in str(found)


def test_an_interrupt():
    """An interrupt stays what it is."""
    interrupt = KeyboardInterrupt()
    assert refusals.of(interrupt, MODEL, "a-hub") is interrupt
