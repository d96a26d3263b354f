import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.errors import ConfigurationError, shown
from ipy_imgvar.settings import (
    STORE_MAX_BYTES,
    Secret,
    connection,
    store_max_bytes,
    store_problem,
    store_root,
)

KEY = "sk-very-secret-123"


def test_reveal():
    """A secret gives its value when asked, without the white space around it that a file leaves."""
    assert Secret(KEY).reveal() == KEY
    assert Secret(f" {KEY}\n").reveal() == KEY
    assert Secret(Secret(KEY)).reveal() == KEY


SHOW = {
    "repr": repr,
    "str": str,
    "format": format,
    "wide format": lambda secret: f"{secret:>80}",
    "conversion": lambda secret: f"{secret!r}{secret!s}{secret!a}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
    "list": lambda secret: str([secret, {secret: secret}]),
    "pprint": lambda secret: pprint.pformat({"key": secret}),
    "shown": shown,
    "dir": lambda secret: str(
        [(name, str(getattr(secret, name, ""))) for name in dir(secret) if name != "reveal"]
    ),
    "state": lambda secret: str(secret.__getstate__()),
    "dataclass": lambda secret: str(dataclasses.asdict(dataclasses.make_dataclass("Box", ["key"])(secret))),
    "json": lambda secret: json.dumps(secret, default=str),
    "copy": lambda secret: str(copy.copy(secret)) + str(copy.deepcopy([secret])),
}


@pytest.mark.parametrize("show", SHOW.values(), ids=SHOW)
def test_never_shown(show):
    """No way to show a secret shows its value, nor how long it is."""
    assert KEY not in show(Secret(KEY))
    assert str(Secret("x")) == str(Secret(KEY)) == "********"
    assert repr(Secret(KEY)) == "Secret('********')"


def test_no_attributes_to_print():
    """`vars` finds nothing, since debuggers and variable inspectors print what it finds."""
    with pytest.raises(TypeError):
        vars(Secret(KEY))


def test_no_pickle():
    """A secret is not pickled, with every protocol, since a pickle would hold it in the clear."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(
            TypeError, match="can't be pickled; pass the name of an environment variable"
        ) as caught:
            pickle.dumps([Secret(KEY)], protocol=protocol)
        assert KEY not in str(caught.value)


def test_copies_are_the_secret():
    """A copy is the secret itself."""
    secret = Secret(KEY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": [secret]})["a"][0] is secret


def test_logging(caplog):
    """A log record of a secret has stars."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("ipy_imgvar").info("key %s %r", Secret(KEY), Secret(KEY))
    assert KEY not in caplog.text
    assert "********" in caplog.text


def test_traceback_with_locals():
    """A traceback that shows local variables shows stars."""
    secret = Secret(KEY)
    try:
        secret.value = "x"
    except AttributeError as exc:
        text = "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())
    assert "********" in text
    assert KEY not in text.replace(f"{KEY = }", "")


def test_unchangeable():
    """A secret can't be given another value."""
    with pytest.raises(AttributeError, match="make a new one"):
        Secret(KEY).value = "x"


def test_equality():
    """Secrets of one value are equal and hash alike; text is never equal to one."""
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    assert len({Secret(KEY), Secret(KEY), Secret("other")}) == 2


@pytest.mark.parametrize("value", ["", "  \n", None, 3, b"sk-very-secret-123", ["sk-very-secret-123"]])
def test_no_secret(value):
    """What is no text, or empty, is refused without echoing it."""
    with pytest.raises(ConfigurationError, match="allowed: text") as caught:
        Secret(value)
    assert "very-secret" not in str(caught.value)


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_is_kept(text):
    """Any text can be a secret."""
    assert Secret(text).reveal() == text.strip()
    assert Secret(text) == Secret(text)


def test_store_root(monkeypatch, tmp_path):
    """The store is where the variable says, else in the user's cache."""
    monkeypatch.setenv("IPY_IMGVAR_STORE", f" {tmp_path} ")
    assert store_root() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("IPY_IMGVAR_STORE", "~/mine")
    assert store_root() == tmp_path / "mine"
    for nothing in ("", "  "):
        monkeypatch.setenv("IPY_IMGVAR_STORE", nothing)
        assert store_root() == tmp_path / "cache" / "ipy_imgvar"


def test_relative_store_root(monkeypatch, tmp_path):
    """A relative store stays where it is when the working folder changes."""
    monkeypatch.setenv("IPY_IMGVAR_STORE", "mine")
    monkeypatch.chdir(tmp_path)
    assert store_root() == tmp_path / "mine"


@pytest.mark.parametrize("off", ["off", "OFF", " Off "])
def test_store_off(monkeypatch, off):
    """The store can be switched off."""
    monkeypatch.setenv("IPY_IMGVAR_STORE", off)
    assert store_root() is None


def test_store_of_nobody(monkeypatch):
    """A store in the home of a user that does not exist is one line."""
    monkeypatch.setenv("IPY_IMGVAR_STORE", "~no-such-user/x")
    with pytest.raises(
        ConfigurationError, match=r"IPY_IMGVAR_STORE is '~no-such-user/x'.*; allowed: a folder, or off"
    ):
        store_root()


def test_store_bound(monkeypatch):
    """The store's bound is 1 GB, or what the variable says; anything but bytes is refused."""
    assert store_max_bytes() == STORE_MAX_BYTES == 10**9
    monkeypatch.setenv("IPY_IMGVAR_STORE_BYTES", " 5000 ")
    assert store_max_bytes() == 5000
    for wrong in ("1GB", "-1", "1e9", "1.5"):
        monkeypatch.setenv("IPY_IMGVAR_STORE_BYTES", wrong)
        with pytest.raises(ConfigurationError, match="allowed: a whole number of bytes"):
            store_max_bytes()


@pytest.mark.parametrize("end", ["/images/edits", "/images/variations/", "/images", "/Images/Generations"])
def test_a_base_that_is_an_endpoint(end):
    """The address of an endpoint is refused as a base, with the base that is meant."""
    with pytest.raises(ConfigurationError) as caught:
        connection(api_base=f"http://me:secret-word@localhost:8000/v1{end}")
    assert str(caught.value).endswith("which is added to it; give http://localhost:8000/v1")


def test_a_base_with_a_query():
    """A query in a base is refused with the option that takes it, and its value, which may be a key, is not shown."""
    with pytest.raises(
        ConfigurationError, match=r"""--extra-query "\{'api-version': 'VALUE'\}\""""
    ) as caught:
        connection(api_base="https://x.example/openai/v1?api-version=preview-7")
    assert "preview-7" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        connection(api_base="https://x.example/v1#part")


def test_a_cache_below_a_home_that_is_not_found_is_no_store(monkeypatch):
    """Where platformdirs leaves the ~ in the cache's path, there is no store, and the reason names the variable."""
    monkeypatch.delenv("IPY_IMGVAR_STORE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/x"))
    assert store_root() is None
    assert store_problem() == "no home folder can be found; IPY_IMGVAR_STORE names another place"
