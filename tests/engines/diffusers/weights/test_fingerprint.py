"""The fingerprint of a folder's files."""

import shutil

from ipy_imgvar.engines.diffusers.weights.fingerprint import fingerprint


def model(folder, weights):
    """Write a folder with an index and weights."""
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "w.safetensors").write_bytes(weights)
    return folder


def test_a_copy_has_the_same_fingerprint_and_another_model_another(tmp_path):
    """Place, dates and other files don't count; weights, settings and the names of their files do."""
    first = model(tmp_path / "a" / "mod", b"1" * 100_000)
    copy = tmp_path / "b" / "mod"
    shutil.copytree(first, copy)
    (copy / "README.md").write_text("read me")
    assert len(fingerprint(first)) == 12
    assert fingerprint(copy) == fingerprint(first)
    assert fingerprint(model(tmp_path / "c", b"1" * 99_999 + b"2")) != fingerprint(first)


def test_a_changed_file_changes_the_fingerprint(tmp_path):
    """A fine-tune that is saved into the same folder is another model, of the same length."""
    folder = model(tmp_path / "mod", b"1" * 100)
    before = fingerprint(folder)
    (folder / "unet" / "w.safetensors").write_bytes(b"2" * 100)
    assert fingerprint(folder) != before


def test_what_can_not_be_read_has_none(tmp_path):
    """The load says what is wrong with it."""
    assert fingerprint(tmp_path / "missing") == ""
    assert fingerprint(tmp_path) == ""
