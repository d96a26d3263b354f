"""%config ImageVariationMagics: defaults that are checked, explained, and undone by %unload_ext."""

import pytest

from ipy_imgvar.magic.magics import ImageVariationMagics
from ipy_imgvar.results import history

BAD = {
    "n = 0": ("n is 0; allowed: a whole number from 1 to 10", "1"),
    "n = 'four'": ("expected an int, not the str 'four'", "1"),
    "size = '3x'": ("size is '3x'; allowed: 256, 512, 1024", "'1024x1024'"),
    "strength = 2.0": ("strength is 2.0; allowed: subtle, medium, strong", "'medium'"),
    "strength = 'weak'": ("strength is 'weak'; allowed: subtle, medium, strong", "'medium'"),
    "fit = 'fill'": ("fit is 'fill'; allowed: crop, pad, stretch", "'crop'"),
    "engine = 'pach'": ("engine is 'pach'; allowed: ", "''"),
    "response_format = 'gif'": ("response_format is 'gif'; allowed: url, base64", "''"),
    "timeout = -1.0": ("timeout is -1.0; allowed: seconds from 0 (no limit)", "0.0"),
    "columns = 11": ("columns is 11; allowed: a whole number from 0 to 10", "0"),
    "max_retry_count = 101": ("max_retry_count is 101; allowed: a whole number from 0 to 100", "0"),
    "store_bytes = -1": ("store_bytes is -1; allowed: a whole number", "1000000000"),
}


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_default_is_refused(kernel, setting):
    """A kernel says what was received and allowed, and keeps the value that was there."""
    message, kept = BAD[setting]
    shown = "".join(
        each.text if each.kind == "stream" else "\n".join(each.traceback)
        for each in kernel.run(f"%config ImageVariationMagics.{setting}").outputs
    )
    assert message in shown
    assert "Traceback" not in shown
    trait = setting.split()[0]
    place = "get_ipython().magics_manager.registry['ImageVariationMagics']"
    assert kernel.value(f"{place}.{trait}") == kept


def test_every_default_has_help():
    """Each trait says what it is and what it may be."""
    traits = ImageVariationMagics.class_own_traits(config=True)
    assert len(traits) >= 13
    assert all(trait.help.endswith(".") and len(trait.help) > 20 for trait in traits.values())


def test_config_without_a_value_lists_the_defaults(shell):
    """%config ImageVariationMagics shows every default with its help."""
    out = shell.run("%config ImageVariationMagics").out
    assert "ImageVariationMagics.size=" in out
    assert "Pictures for each image, 1 to 10." in out


def test_a_store_in_the_home_of_nobody_is_refused(shell, caplog):
    """A folder that can't be named is refused with what is allowed, and the store stays where it was."""
    before = history.store().root
    shell.run("%config ImageVariationMagics.store = '~nobody-here/s'")
    (line,) = caplog.messages
    assert line.startswith("store is '~nobody-here/s': ")
    assert line.endswith("; allowed: a folder, or off; the earlier value stays")
    assert history.store().root == before


def test_the_store_moves_and_comes_back(shell, tmp_path):
    """The store can be moved and switched off, and is where it was after %unload_ext."""
    before = history.store()
    shell.run(f"%config ImageVariationMagics.store = {str(tmp_path / 'other')!r}")
    assert history.store().root == tmp_path / "other"
    shell.run("%config ImageVariationMagics.store_bytes = 5000")
    assert history.store().max_bytes == 5000
    shell.run("%config ImageVariationMagics.store = 'off'")
    assert history.store() is None
    assert (
        "store is empty" in shell.run("%config ImageVariationMagics.store = ' '").err
        or history.store() is None
    )
    shell.run("%unload_ext ipy_imgvar")
    assert history.store().root == before.root
    assert history.store().max_bytes == before.max_bytes
    shell.run("%load_ext ipy_imgvar")


def test_a_line_wins_over_a_default(shell, tmp_path):
    """What a line says is used rather than the configured default."""
    import numpy as np

    shell.ns["picture"] = np.zeros((64, 64), np.uint8)
    shell.run("%config ImageVariationMagics.n = 3")
    shell.run("%config ImageVariationMagics.response_format = 'byte'")
    shell.run("a = %imagevariation picture -s 64 --quiet")
    shell.run("b = %imagevariation picture -s 64 -n 1 -f array --quiet")
    shell.run("%imagevariation picture -s 64 -n 1 --out-file a.png --quiet")
    assert [type(each) for each in shell.ns["a"]] == [bytes, bytes, bytes]
    assert shell.ns["b"].shape == (64, 64, 3)
    assert (tmp_path / "a.png").exists()
