"""What is loaded for a model, and its name in records."""

from pathlib import Path

import pytest

from ipy_imgvar import Client
from ipy_imgvar.engines.diffusers.recipes import checked_adapter, name_of
from ipy_imgvar.engines.diffusers.weights.presets import PRESETS
from ipy_imgvar.engines.diffusers.weights.reference import Reference, reference
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.request import VariationRequest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("model", "commit", "name"),
    [
        (Reference("a/b"), None, "a/b"),
        (Reference("a/b"), COMMIT, "a/b@0123456789ab"),
        (Reference("a/b", COMMIT), None, "a/b@0123456789ab"),
        (Reference("a/b", "refs/pr/8"), None, "a/b@refs/pr/8"),
        (Reference(folder=Path("/home/me/models/klein")), None, "klein"),
    ],
)
def test_a_record_names_a_commit_by_its_first_digits_and_a_folder_without_its_path(model, commit, name):
    """The same model has the same name in every record, and no record has a path."""
    assert name_of(model, commit) == name


def test_a_model_has_one_name_before_and_after_its_download():
    """A bulk run that goes on compares the name, so a preset's must not change when its files arrive."""
    with Client("diffusers") as client:
        before = client.engine.model(VariationRequest(model="klein"))
    assert before == name_of(reference("klein"), PRESETS["klein"].revision)


def test_no_model_named_is_the_machines_default():
    """Which model that is needs torch, so a description says so without loading it."""
    with Client("diffusers") as client:
        assert client.engine.model(VariationRequest()) == "the machine's default"


def test_an_adapter_in_the_home_of_nobody_is_no_file():
    """A path whose user is not there is refused as any file that is missing."""
    with pytest.raises(InvalidRequestError, match="adapter is '~nobody-here/a', which is no file"):
        checked_adapter({"adapter": "~nobody-here/a"})
