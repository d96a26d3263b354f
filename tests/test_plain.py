"""Text from outside is shown and never obeyed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar import Client
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.plain import plain

BIDIRECTIONAL = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


@pytest.mark.parametrize("char", [*BIDIRECTIONAL, "\x1b", "\a", "\x9b", "\n", "\r", "\0", "\u2028", "\udc80"])
def test_what_acts_is_escaped(char):
    """Controls, bidirectional overrides, line separators and lone surrogates come out as their escape."""
    shown = plain(f"a{char}b")
    assert char not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b")


@pytest.mark.parametrize("text", ["cat.png", "हिन्दी.png", "עברית", "👩‍👩‍👧", "é", "名前", "a\u200cb"])
def test_what_only_shows_stays(text):
    """Letters, marks and joiners of every script stay as they are."""
    assert plain(text) == text


@given(st.text())
def test_plain_text_is_one_line_that_can_be_written(text):
    """Whatever comes in, the result is one line of encodable text, and plain of it is itself."""
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert plain(shown) == shown


def test_messages_of_errors_are_plain():
    """A message that quotes a name with a bidirectional override can't be read as another one."""
    assert "\u202e" not in str(ImageVariationError("cat\u202egnp.exe is not an image"))


def test_what_an_engine_says_is_plain(fake_engine, photo_path, tmp_path, caplog):
    """Progress, notices, warnings and the log show a file's name with its controls escaped, whatever the engine."""
    path = tmp_path / "a\x1b[2J\u202eb.png"
    path.write_bytes(photo_path.read_bytes())

    def say(job):
        job.progress(0.5, f"at {path.name}")
        job.announce(f"{path.name} goes out")
        job.warn(f"{path.name} is odd")

    caplog.set_level("DEBUG", "ipy_imgvar")
    heard = []
    made = Client(fake_engine([say, "red"])).variations(
        path, size=64, on_progress=lambda _, text: heard.append(text), on_notice=heard.append
    )
    said = [*heard, *made.warnings, *caplog.messages]
    assert len(said) > 4
    assert not [text for text in said if "\x1b" in text or "\u202e" in text]
