"""Pictures at an address: how long, how many, and who gets at them."""

import contextlib
import stat

import pytest

from ipy_imgvar.server.links import Links


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def kept(clock):
    """Return a folder with room for 100 bytes and an hour."""
    with contextlib.closing(Links(100, 3600, clock)) as folder:
        yield folder


def test_a_picture_comes_back(kept):
    """A picture is given back byte for byte, with its type, under a name that can't be guessed."""
    name = kept.add(b"picture", "image/webp")
    assert kept.read(name) == (b"picture", "image/webp")
    assert len(name) == 22
    assert name != kept.add(b"picture", "image/webp")


def test_gone_after_an_hour(kept, clock):
    """After its time a picture is neither given out nor on disk."""
    name = kept.add(b"picture", "image/png")
    clock.now = 3599.0
    assert kept.read(name)
    clock.now = 3600.0
    assert kept.read(name) is None
    assert kept.size_bytes == 0


def test_bounded_on_disk(kept):
    """Beyond the bound the oldest go first, and the newest stays even where it alone is too large."""
    names = [kept.add(bytes(40), "image/png") for _ in range(50)]
    assert kept.size_bytes == 80
    assert [kept.read(name) is not None for name in names] == [False] * 48 + [True] * 2
    large = kept.add(bytes(500), "image/png")
    assert kept.size_bytes == 500
    assert kept.read(large)


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc/passwd", "a\0b", "/etc/passwd"])
def test_names_are_no_paths(kept, name):
    """A name that was not given out leads nowhere, whatever it looks like."""
    assert kept.read(name) is None


def test_a_file_that_somebody_removed(kept):
    """A picture whose file is gone is gone."""
    name = kept.add(b"picture", "image/png")
    (kept._folder / name).unlink()
    assert kept.read(name) is None


def test_the_folder_is_private_and_goes(clock):
    """Only this user can look into the folder, and closing removes it."""
    kept = Links(100, 60, clock)
    kept.add(b"picture", "image/png")
    assert stat.S_IMODE(kept._folder.stat().st_mode) == 0o700
    kept.close()
    assert not kept._folder.exists()
    assert kept.read("x") is None


def test_pictures_of_a_server_are_bounded(start, http, png):
    """A server's pictures leave when others come and the bound is reached."""
    server = start(links_bytes=20_000)
    urls = []
    for _ in range(6):
        answer = http.post(f"{server.base}/images/variations", files={"image": png}, data={"size": "64x64"})
        urls.append(answer.json()["data"][0]["url"])
    assert http.get(urls[0]).status_code == 404
    assert http.get(urls[-1]).status_code == 200
    assert server.service.links.size_bytes <= 20_000
