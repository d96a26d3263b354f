"""Files that come in pieces, in every order and size that a page may send."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.panel.uploads import PIECE_BYTES, PIECE_MAX_BYTES, UPLOAD_MAX_BYTES, Uploads


def send(uploads, key, data, *, piece=PIECE_BYTES, name="cat.png", purpose="source"):
    """Send a file as a page does, and return what came out."""
    uploads.begin(key, name, len(data), purpose)
    for offset in range(0, len(data), piece):
        assert uploads.finished(key) is None
        received = uploads.add(key, offset, memoryview(data)[offset : offset + piece])
        assert received == min(offset + piece, len(data))
    return uploads.finished(key)


def works(uploads):
    """Whether a further upload comes out whole."""
    return send(uploads, "next", b"0123456789", piece=3) == ("cat.png", b"0123456789", "source")


def ended(uploads, key):
    """Whether an upload is no longer there."""
    with pytest.raises(InvalidImageError, match="choose the file again"):
        uploads.add(key, 0, b"x")
    return True


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 40), max_size=300))
def test_any_cut_gives_the_same_bytes(data, lengths):
    """However a file is cut, what comes out is the file."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", len(data), "mask")
    offset = 0
    for length in [*lengths, len(data)]:
        if offset < len(data):
            assert uploads.finished("a") is None
            offset = uploads.add("a", offset, data[offset : offset + length])
    assert uploads.finished("a") == ("cat.png", data, "mask")


@given(st.data())
def test_pieces_in_a_wrong_order_are_refused(data):
    """Whatever order pieces come in but their own, the upload ends in words and the next one works."""
    pieces = data.draw(st.lists(st.binary(min_size=1, max_size=9), min_size=2, max_size=6))
    starts = [sum(map(len, pieces[:number])) for number in range(len(pieces))]
    order = data.draw(st.permutations(range(len(pieces))).filter(lambda order: list(order) != sorted(order)))
    uploads = Uploads()
    uploads.begin("a", "cat.png", sum(map(len, pieces)), "source")
    right = next(place for place, number in enumerate(order) if place != number)
    for number in order[:right]:
        uploads.add("a", starts[number], pieces[number])
    with pytest.raises(InvalidImageError, match="in place of byte"):
        uploads.add("a", starts[order[right]], pieces[order[right]])
    assert ended(uploads, "a")
    assert works(uploads)


@given(
    st.one_of(st.integers(), st.booleans(), st.floats(), st.none(), st.text()),
    st.one_of(st.binary(max_size=20), st.none(), st.text(), st.lists(st.integers())),
)
def test_any_wrong_piece_is_refused(offset, piece):
    """A piece of any kind of offset and bytes either fits or ends the upload in words, and the next one works."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", 10, "source")
    uploads.add("a", 0, b"0123")
    fits = isinstance(offset, int) and offset == 4 and isinstance(piece, bytes) and 0 < len(piece) <= 6
    if fits:
        assert uploads.add("a", offset, piece) == 4 + len(piece)
    else:
        with pytest.raises(InvalidImageError):
            uploads.add("a", offset, piece)
        assert ended(uploads, "a")
    assert works(uploads)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "cat.png is empty; choose another file"),
        (-1, "a file of -1 bytes"),
        (UPLOAD_MAX_BYTES + 1, "at most 64 MB can be uploaded; type its path instead"),
        (10**400, "at most 64 MB can be uploaded; type its path instead"),
        (2.5, "a file of 2.5 bytes"),
        (True, "a file of True bytes"),
        ("5", "a file of '5' bytes"),
        (None, "a file of None bytes"),
    ],
)
def test_a_size_that_no_file_may_have_is_refused(size, words):
    """A wrong size is refused before anything is kept, and the next upload works."""
    uploads = Uploads()
    with pytest.raises(InvalidImageError, match=words):
        uploads.begin("a", "cat.png", size, "source")
    assert ended(uploads, "a")
    assert works(uploads)


@pytest.mark.parametrize("purpose", ["", "Source", "program", None, 3])
def test_a_file_is_a_source_or_a_mask(purpose):
    """Another purpose is refused with the two that are allowed."""
    uploads = Uploads()
    with pytest.raises(InvalidImageError, match="allowed: source or mask"):
        uploads.begin("a", "cat.png", 5, purpose)
    assert ended(uploads, "a")


def test_a_refused_upload_leaves_an_older_one():
    """An upload goes on where a further one is refused at its begin."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", 4, "source")
    uploads.add("a", 0, b"01")
    with pytest.raises(InvalidImageError):
        uploads.begin("b", "dog.png", 0, "source")
    uploads.add("a", 2, b"23")
    assert uploads.finished("a") == ("cat.png", b"0123", "source")


def test_a_newer_upload_replaces_an_older_one():
    """A piece of the older upload is refused and does no harm to the newer one."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", 4, "source")
    uploads.add("a", 0, b"01")
    uploads.begin("b", "dog.png", 2, "source")
    with pytest.raises(InvalidImageError, match="another file has replaced it"):
        uploads.add("a", 2, b"23")
    uploads.add("b", 0, b"45")
    assert uploads.finished("b") == ("dog.png", b"45", "source")
    with pytest.raises(InvalidImageError):
        uploads.finished("b")


def test_a_large_piece_is_refused():
    """A piece above the limit of a message ends its upload."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", UPLOAD_MAX_BYTES, "source")
    uploads.add("a", 0, bytes(PIECE_MAX_BYTES))
    with pytest.raises(InvalidImageError, match="has 1000001 bytes; allowed: 1 to 1000000"):
        uploads.add("a", PIECE_MAX_BYTES, bytes(PIECE_MAX_BYTES + 1))
    assert ended(uploads, "a")


def test_more_bytes_than_the_size_are_refused():
    """A file that is longer than it was said to be ends its upload."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", 3, "source")
    with pytest.raises(InvalidImageError, match="more than the 3 bytes"):
        uploads.add("a", 0, b"0123")
    assert ended(uploads, "a")


def test_a_cancelled_upload_is_forgotten():
    """Cancel ends the upload of this key only; close ends any."""
    uploads = Uploads()
    uploads.begin("a", "cat.png", 3, "source")
    uploads.cancel("b")
    uploads.add("a", 0, b"0")
    uploads.cancel("a")
    assert ended(uploads, "a")
    uploads.begin("c", "cat.png", 3, "source")
    uploads.close()
    assert ended(uploads, "c")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cat.png", "cat.png"),
        ("/home/ann/cat.png", "cat.png"),
        ("C:\\pictures\\cat.png", "cat.png"),
        ("../../cat.png", "cat.png"),
        ("cat\x1b[2J\n.png", "cat\\x1b[2J\\n.png"),
        ("", "upload"),
        ("..", "upload"),
        ("/", "upload"),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
    ],
)
def test_only_the_last_part_of_a_name_is_used(name, kept):
    """A file's name has no folder, no control character, and a bounded length."""
    assert send(Uploads(), "a", b"0", name=name)[0] == kept


def test_an_upload_takes_the_memory_of_its_file():
    """No copy of the file is made while its pieces come, nor when it is complete."""
    size, piece = 12_000_000, bytes(PIECE_BYTES)
    tracemalloc.start()
    uploads = Uploads()
    uploads.begin("a", "cat.png", size, "source")
    for offset in range(0, size, PIECE_BYTES):
        uploads.add("a", offset, memoryview(piece)[: size - offset])
    _, data, _ = uploads.finished("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == size
    assert peak <= size + PIECE_BYTES
