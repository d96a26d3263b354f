"""What a bulk run gives back, and its page: all of it from the ledger, escaped, and bounded in size."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from ipy_imgvar import Client, Variations
from ipy_imgvar.bulk import BulkResult, page
from ipy_imgvar.errors import EngineError, ImageVariationError, InvalidRequestError


@pytest.fixture
def result(fake_engine, make_folder, tmp_path):
    """Return the result of five items, of which the third failed."""
    engine = fake_engine(["red", "blue"], ["red"], [EngineError("no <luck> & none")], ["red"], ["red"])
    return Client(engine).map(str(make_folder(5)), out_dir=tmp_path / "out", max_workers=1, size=64)


class Page(HTMLParser):
    """Collects the addresses of a page's pictures and links, and its text."""

    def __init__(self, path):
        super().__init__()
        self.images, self.links, self.text = [], [], ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "img":
            self.images.append(found["src"])
        if tag == "a":
            self.links.append(found["href"])

    def handle_data(self, data):
        self.text += data


def test_it_is_a_sequence_in_the_order_of_the_images(result):
    """Items have source, paths, status and error; slices and the three parts are results, too."""
    assert [each.status for each in result] == ["done", "done", "failed", "done", "done"]
    assert [len(result[1:3]), len(result.done), len(result.failed), len(result.skipped)] == [2, 4, 1, 0]
    assert result[-1].source.endswith("p004.png")
    assert len(result[0].paths) == 2
    assert all(path.is_file() for each in result for path in each.paths)
    assert result.failed[0].error == "no <luck> & none"
    with pytest.raises(IndexError):
        result[5]


def test_the_ledger_gives_the_result_again(result):
    """`BulkResult.read` has the same items without running anything, and a folder without a ledger is a clear line."""
    again = BulkResult.read(result.out_dir)
    assert {(each.item, each.status, each.paths) for each in again} == {
        (each.item, each.status, each.paths) for each in result
    }
    with pytest.raises(InvalidRequestError, match=re.escape("ledger.jsonl")):
        BulkResult.read(result.out_dir / "nowhere")


def test_a_frame_has_a_row_a_picture(result, monkeypatch):
    """`to_frame` has a row for each picture and one for a failed item, in the order of the images."""
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame.index) == [0, 0, 1, 2, 3, 4]
    assert list(frame["status"]) == ["done"] * 3 + ["failed"] + ["done"] * 2
    assert list(frame.loc[0, "path"]) == [str(path) for path in result[0].paths]
    assert list(frame["index"].fillna(0)) == [1, 2, 1, 0, 1, 1]
    assert list(frame["source"].unique()) == [each.source for each in result]
    assert list(frame["seed"]) == [result[at].seed for at in frame.index]
    failed = frame.loc[2]
    assert failed["error"] == "no <luck> & none"
    assert failed[["path", "index", "similarity", "run", "started"]].isna().all()
    assert set(frame["engine"]) == {"fake"}
    assert (set(frame["strength"]), set(frame["size"]), set(frame["fit"])) == ({0.5}, {"64x64"}, {"crop"})
    assert frame.loc[0, "seconds"].sum() == pytest.approx(result[0].elapsed)
    assert list(BulkResult.read(result.out_dir).to_frame()["path"].dropna()) == list(frame["path"].dropna())
    assert list(result.failed.to_frame().index) == [2]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImageVariationError, match="needs pandas"):
        result.to_frame()


def test_rows_of_a_bulk_run_lead_to_its_pictures(result):
    """The rows with a path give pictures with their sources, so they can be measured; a failed one is a clear line."""
    pytest.importorskip("pandas")
    result[1].paths[0].unlink()
    frame = result.to_frame(similarity=True)
    assert list(frame["similarity"].isna()) == [False, False, True, True, False, False]
    back = Variations.from_frame(frame.loc[[3, 0]])
    assert back.bytes == [path.read_bytes() for path in (*result[3].paths, *result[0].paths)]
    assert [each.source.path for each in back] == [Path(result[at].source) for at in (3, 0, 0)]
    assert [each.similarity for each in back] == list(frame.loc[[3, 0], "similarity"])
    assert [each.seed for each in back] == [result[at].seed for at in (3, 0, 0)]
    with pytest.raises(InvalidRequestError, match="row 2 of the frame has no path"):
        Variations.from_frame(result.failed.to_frame())


def test_a_frame_keeps_the_index_of_the_images(fake_engine, make_folder, tmp_path):
    """Images from a pandas column give rows with the same labels, so that they can be joined."""
    pd = pytest.importorskip("pandas")
    paths = pd.Series(sorted(map(str, make_folder(3).iterdir())), index=["x", "y", "z"])
    made = Client(fake_engine(["red"], ["red", "blue"], ["red"])).map(
        paths, out_dir=tmp_path / "out", size=64, n=2, max_workers=1
    )
    assert list(made.to_frame().index) == ["x", "y", "y", "z"]
    assert made[1].label == "y"


def test_the_page_shows_sources_beside_variations(result):
    """Every picture of the page is a relative link to a file that is there, and errors are text."""
    shown = Page(result.out_dir / "index.html")
    assert len(shown.images) == 5 + 5
    assert shown.images == shown.links
    for address in shown.images:
        assert not address.startswith(("/", "file:", "http"))
        assert (result.out_dir / unquote(address)).is_file()
    assert "no <luck> & none" in shown.text
    assert "4 done, 1 failed, 0 skipped" in shown.text


def test_odd_names_are_escaped_in_the_page(fake_engine, make_folder, tmp_path):
    """A name with markup, quotes, spaces, per cent or a hash neither breaks the page nor its links."""
    folder = make_folder(1)
    odd = folder / 'a "b" <i> & 100% #1?.png'
    (folder / "p000.png").rename(odd)
    made = Client(fake_engine(["red"])).map(str(folder), out_dir=tmp_path / "out dir", size=64)
    shown = Page(tmp_path / "out dir" / "index.html")
    assert [(made.out_dir / unquote(address)).resolve() for address in shown.images] == [odd, *made[0].paths]


ACTS = "\x1b[2J\x07\u202egnp\u2066\n\r"


def test_text_that_acts_is_shown_as_text(fake_engine, make_folder, tmp_path):
    """Escape sequences, line breaks and bidirectional controls of names, errors and usage act nowhere."""
    folder = make_folder(2)
    (folder / "p000.png").rename(folder / f"{ACTS}.png")
    engine = fake_engine([lambda job: job.count({f"a{ACTS}": 3}), "red"], [RuntimeError(f"no {ACTS}")])
    made = Client(engine).map(str(folder), out_dir=tmp_path / "out", size=64, max_workers=1)
    assert [len(made.done), len(made.failed)] == [1, 1]
    lines = [made._repr_html_(), made.summary(), repr(made), made.failed[0].error]
    page_text = (made.out_dir / "index.html").read_text("utf-8")
    assert "\\x1b" in page_text
    assert not set("\n\r").intersection("".join(lines))
    assert not set("\x1b\x07\u202e\u2066\r").intersection(page_text + "".join(lines))
    shown = Page(made.out_dir / "index.html")
    assert all((made.out_dir / unquote(address)).is_file() for address in shown.images)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/a.png", "\ud800.png", "a\0b.png", "", "/dev/zero"])
def test_a_page_is_made_whatever_a_ledger_names(fake_engine, make_folder, tmp_path, name):
    """A source that no file can be called, or that is no file, leaves a row without its picture."""
    made = Client(fake_engine(["red"])).map(str(make_folder(1)), out_dir=tmp_path / "out", size=64)
    (picture,) = made[0].paths
    ledger = made.out_dir / "ledger.jsonl"
    record = json.loads(ledger.read_text())
    ledger.write_text(json.dumps(record | {"item": name, "source": name}) + "\n")
    read = BulkResult.read(made.out_dir)
    assert read._repr_html_().count("<img") == 1
    assert picture.name in page.write_pages(read).read_text("utf-8")


def test_a_page_has_a_bounded_number_of_rows(fake_engine, make_folder, tmp_path, monkeypatch):
    """A long run is spread over pages that link to each other."""
    monkeypatch.setattr(page, "PAGE_ITEMS", 4)
    made = Client(fake_engine(*[["red"]] * 9)).map(str(make_folder(9)), out_dir=tmp_path / "out", size=64)
    pages = [Page(made.out_dir / name) for name in ("index.html", "index-2.html", "index-3.html")]
    assert [len(each.images) for each in pages] == [8, 8, 2]
    assert {"index-2.html", "index-3.html"} <= set(pages[0].links)


def test_a_notebook_shows_a_few_thumbnails(fake_engine, make_folder, tmp_path):
    """The fragment is of the same size for a hundred items as for a thousand: eight rows, then a count."""
    made = Client(fake_engine(*[["red"]] * 100)).map(str(make_folder(100)), out_dir=tmp_path / "out", size=64)
    html = made._repr_html_()
    assert html.count("<img") == 16
    assert "8 of 100 items are shown" in html
    assert len(html) < 50_000


def test_the_fragment_escapes_and_survives_missing_files(result):
    """Errors are escaped, and a picture that was removed since is left out."""
    result[0].paths[0].unlink()
    html = result._repr_html_()
    assert "no &lt;luck&gt; &amp; none" in html
    assert html.count("<img") == 8
    assert "4 done, 1 failed" in repr(result)


def test_a_ledger_that_is_gone_is_a_clear_line(result):
    """Items are read when asked for; without the ledger that says so."""
    Path(result.out_dir / "ledger.jsonl").unlink()
    with pytest.raises(ImageVariationError, match="is gone"):
        list(result)
