import base64
import io
import re
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page import HOSTILE, Page
from PIL import Image

from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results import gallery
from ipy_imgvar.results.sweep import Sweep
from ipy_imgvar.results.variations import Variation, Variations


def make(count, *, size=(600, 400), name="cat.png", mode="RGB", **facts):
    data = codec.encode_png(Image.new(mode, size, 128 if mode == "L" else "red"))
    return Variations(
        [
            Variation(data, source=Source(name), mime_type="image/png", size=size, index=index, seed=7)
            for index in range(1, count + 1)
        ],
        **{"engine": "patch", "model": "patch-3", "elapsed": 1.25} | facts,
    )


def sheet_of(result):
    """Return the one picture that stands for a result where HTML is not shown."""
    kinds = {"JPEG": result._repr_jpeg_(), "PNG": result._repr_png_()}
    ((kind, data),) = [(kind, data) for kind, data in kinds.items() if data is not None]
    image = Image.open(io.BytesIO(data))
    assert image.format == kind
    return image


def shown(attributes):
    kind, _, data = attributes["src"].partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert kind == f"data:{Image.MIME[image.format]}"
    return image


class TestHtml:
    """The page in a notebook."""

    @pytest.mark.parametrize(("count", "side_px"), [(1, 512), (2, 256), (4, 256), (10, 256)])
    def test_thumbnails(self, count, side_px):
        """Each picture is a thumbnail, no larger than it is shown: 512 px alone, 256 px with others."""
        images = Page(make(count)._repr_html_()).images()
        assert len(images) == count
        for attributes in images:
            image = shown(attributes)
            assert max(image.size) == side_px
            assert (int(attributes["width"]), int(attributes["height"])) == image.size

    def test_small_pictures_are_not_enlarged(self):
        """A small picture is shown in its own size."""
        (attributes,) = Page(make(1, size=(40, 30))._repr_html_()).images()
        assert shown(attributes).size == (40, 30)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_modes(self, mode):
        """Pictures of every mode are shown."""
        assert len(Page(make(2, mode=mode)._repr_html_()).images()) == 2

    def test_every_picture_has_a_text_in_its_place(self):
        """Every image says what it is to who can't see it."""
        images = Page(make(3)._repr_html_()).images()
        assert [each["alt"] for each in images] == [f"Variation {i} of cat.png" for i in (1, 2, 3)]

    def test_caption(self):
        """The page says what repeats each picture alone, and engine, model and seconds of the run."""
        text = Page(make(2)._repr_html_()).text
        assert "cat-1 · 600x400 · seed 7 · --index 1" in text
        assert "cat-2 · 600x400 · seed 7 · --index 2" in text
        assert "2 pictures by patch (patch-3) · 1.2 s" in text

    def test_nothing_is_claimed_without_a_seed(self):
        """A picture that no seed makes again has neither seed nor index in its caption."""
        made = make(2)
        made[1].seed = None
        assert gallery.caption(made[1]) == "cat-2 · 600x400"

    def test_warnings_and_notes(self):
        """Warnings and notes are on the page, escaped."""
        text = Page(gallery.html(make(1, warnings=["a <b> & c"]), notes=["saved to <x>"])).text
        assert "a <b> & c" in text
        assert "saved to <x>" in text

    def test_how_it_ended(self):
        """A run that did not come to its end says so; one that did, does not."""
        assert "· interrupted" in Page(make(1, status="interrupted")._repr_html_()).text
        assert "done" not in Page(make(1)._repr_html_()).text

    def test_usage(self):
        """What a server counted is shown where there is any."""
        assert "· 1056 tokens" in Page(make(1, usage={"total_tokens": 1056})._repr_html_()).text
        assert "token" not in Page(make(1, usage={})._repr_html_()).text

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names(self, name):
        """A name can't bring an element or attribute onto the page."""
        made = make(2, name=name, engine="<i>e</i>", model="<b>m</b>", warnings=["<script>w</script>"])
        page = Page(made._repr_html_())
        assert {tag for tag, _ in page.elements} == {"div", "figure", "img", "figcaption", "span"}
        for tag, attributes in page.elements:
            assert set(attributes) <= {"src", "alt", "width", "height", "style"}, tag
        assert page.images()[0]["alt"].endswith(name.replace("\n", "\\n"))

    @given(st.text(max_size=30))
    def test_any_name(self, name):
        """Whatever the name, the page is well-formed and can be encoded."""
        html = make(1, size=(8, 8), name=name)._repr_html_()
        html.encode()
        assert {tag for tag, _ in Page(html).elements} == {"div", "figure", "img", "figcaption", "span"}

    def test_no_colours(self):
        """No colour is set, so light and dark themes both work."""
        html = re.sub(r'src="[^"]*"', "", make(3)._repr_html_())
        assert not re.search(r"color|background|#[0-9a-f]{3}|rgb\(|white(?!-space)|black", html)

    def test_self_contained(self):
        """The page needs no script, style sheet or network."""
        html = make(2)._repr_html_()
        assert not re.search(r"<script|<link|<style|https?:|url\(", html)

    def test_columns(self):
        """The number of columns can be fixed."""
        assert "repeat(3,minmax(0,max-content))" in gallery.html(make(4), columns=3)
        assert "repeat(auto-fill," in gallery.html(make(4))

    def test_nothing_made(self):
        """A run without a picture still says who and how it ended."""
        page = Page(make(0, status="failed")._repr_html_())
        assert page.images() == []
        assert "0 pictures by patch (patch-3) · 1.2 s · failed" in page.text

    def test_one_variation(self):
        """One `Variation` shows itself, without a line about a run."""
        page = Page(make(2)[1]._repr_html_())
        assert [each["alt"] for each in page.images()] == ["Variation 2 of cat.png"]
        assert "patch" not in page.text

    def test_a_notebook_stays_small(self):
        """What a notebook saves for ten large pictures is a small part of the originals."""
        import numpy as np

        rng = np.random.default_rng(0)
        data = codec.encode_png(Image.fromarray(rng.integers(0, 255, (700, 700, 3), np.uint8)))
        made = Variations(
            [Variation(data, source=Source("x"), mime_type="image/png", size=(700, 700))] * 2, engine="patch"
        )
        assert len(made._repr_html_()) < len(data) / 4


class TestHistory:
    """The table of runs."""

    def test_rows(self):
        """Each run has a row: how to get it, when, by what, of what, how, and how it ended."""
        started = datetime(2026, 11, 22, 12, 30).astimezone()
        request = VariationRequest.from_arguments(size=64, strength="strong", seed=7)
        runs = [make(2, started=started, request=request), make(1, status="failed", engine=None), make(0)]
        text = gallery.history_text(runs).splitlines()
        assert text[0].split() == ["run", "when", "engine", "of", "how", "made"]
        assert re.split(" {2,}", text[1]) == [
            "history()[0]",
            "2026-11-22 12:30",
            "patch",
            "cat.png",
            "64x64, strength 0.85, seed 7",
            "2 pictures",
        ]
        assert text[2].startswith("history()[1]")
        assert text[2].endswith("1 picture, failed")
        page = Page(gallery.history_html(runs))
        assert "64x64, strength 0.85, seed 7" in page.text
        assert [each["alt"] for each in page.images()] == [
            "Variation 1 of cat.png",
            "Variation 2 of cat.png",
            "Variation 1 of cat.png",
        ]
        assert all(max(shown(each).size) <= 64 for each in page.images())

    def test_a_sweep(self):
        """A sweep's row has all values of its axes, in place of those of its first request; long ones are cut."""
        request = VariationRequest.from_arguments(size=64, strength=0.2, seed=7)
        axes = {"strength": (0.2, 0.8), "flip": (True, False), "prompt": ("a" * 99, "b c")}
        run = Sweep(make(1), axes=axes, engine="patch", request=request)
        assert f"  64x64, strength 0.2, 0.8, seed 7, flip true, false, prompt {'a' * 23}…, b c  " in (
            gallery.history_text([run])
        )
        sizes = Sweep(make(1), axes={"size": ("64x64", "32x32"), "seed": range(99)}, request=request)
        assert "strength 0.2, seed 0, 1, 2," in gallery.history_text([sizes])
        assert "size 64x64, 32x32" in gallery.history_text([sizes])
        assert "90" not in gallery.history_text([sizes])

    def test_a_picture_of_a_run_alone(self):
        """A run of one picture by its index says which one it is."""
        request = VariationRequest.from_arguments(size=64, seed=7, index=3)
        assert "strength 0.5, seed 7, --index 3" in gallery.history_text([make(1, request=request)])

    def test_the_newest(self):
        """Of many runs the newest twenty are shown, with the numbers by which `history()` gives them."""
        runs = [make(1, size=(8, 8)) for _ in range(23)]
        text = gallery.history_text(runs)
        assert "history()[22]" in text
        assert "history()[2]" not in text
        assert "history()[3] " in text
        assert text.endswith("3 earlier runs are not shown; history() has them")
        assert len(Page(gallery.history_html(runs)).images()) == 20

    def test_nothing_yet(self):
        """Without runs it says so."""
        assert gallery.history_text([]) == "nothing was made yet"
        assert "nothing was made yet" in Page(gallery.history_html([])).text

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names(self, name):
        """A name can bring neither an element onto the page nor a line into the table."""
        runs = [make(1, name=name, engine="<b>e</b>")]
        tags = {tag for tag, _ in Page(gallery.history_html(runs)).elements}
        assert tags == {"table", "thead", "tbody", "tr", "th", "td", "div", "img"}
        assert len(gallery.history_text(runs).splitlines()) == 2

    def test_removed_originals(self, tmp_path):
        """A run whose files were removed meanwhile has its row, without a thumbnail."""
        gone = Variations([make(1)[0].kept_at(tmp_path / "gone.png", None)], engine="patch")
        page = Page(gallery.history_html([gone, *[make(1)]]))
        assert len(page.images()) == 1
        assert page.text.count("patch") == 2


class TestContactSheet:
    """The one picture for where a page can't be shown."""

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10, 17, 40])
    @pytest.mark.parametrize("size", [(600, 400), (40, 900), (8, 8)])
    def test_bounds(self, count, size):
        """One picture of at most 1024 px a side, however many pictures of whatever shape."""
        assert max(sheet_of(make(count, size=size)).size) <= 1024

    @pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("RGB", "JPEG"), ("RGBA", "PNG")])
    @pytest.mark.parametrize("count", [1, 3])
    def test_only_transparency_makes_a_png(self, mode, kind, count):
        """The sheet and the thumbnails are JPEG where all is opaque, and PNG where something is transparent."""
        colour = (9, 9, 9, 99) if mode == "RGBA" else 9
        data = codec.encode_png(Image.new(mode, (40, 30), colour))
        made = Variations([Variation(data, source=Source("x"), mime_type="image/png", size=(40, 30))] * count)
        assert sheet_of(made).format == sheet_of(made[0]).format == kind
        assert {shown(each).format for each in Page(made._repr_html_()).images()} == {kind}

    def test_an_alpha_channel_alone_makes_no_png(self):
        """Pictures with an alpha channel that is opaque everywhere are shown as JPEG."""
        made = make(2, mode="RGBA")
        assert sheet_of(made).format == "JPEG"
        assert {shown(each).format for each in Page(made._repr_html_()).images()} == {"JPEG"}

    def test_alone(self):
        """One picture is the sheet, of at most 512 px; a small one keeps its size."""
        assert sheet_of(make(1)[0]).size == (512, 341)
        assert sheet_of(make(1, size=(30, 20))).size == (30, 20)

    def test_mixed(self):
        """Pictures of several sizes and modes are on one sheet."""
        mixed = [
            *make(1, size=(40, 30)),
            *make(1, size=(30, 40), mode="L"),
            Variation(
                codec.encode_png(Image.new("RGBA", (9, 9))),
                source=Source("x"),
                mime_type="image/png",
                size=(9, 9),
            ),
        ]
        assert sheet_of(Variations(mixed)).mode == "RGBA"

    def test_nothing_made(self):
        """Without a picture there is no sheet, and IPython shows the next best."""
        assert Variations()._repr_png_() is Variations()._repr_jpeg_() is None
        assert gallery.contact_sheet([]) == {}


class TestRemoved:
    """Pictures whose originals were removed from the store."""

    def test_others_are_shown(self, tmp_path):
        """One removed original leaves a line in its place; the others are shown, on the page and the sheet."""
        gone = make(1)[0].kept_at(tmp_path / "<gone>.png", None)
        made = Variations([gone, *make(1)], engine="patch")
        page = Page(made._repr_html_())
        assert len(page.images()) == 1
        assert "<gone>.png is no longer in the store" in page.text
        assert sheet_of(made).size == (512, 341)

    def test_all_removed(self, tmp_path):
        """Without any original there is no sheet, and the page says why."""
        gone = make(1)[0].kept_at(tmp_path / "gone.png", None)
        assert gone._repr_png_() is gone._repr_jpeg_() is None
        assert Variations([gone])._repr_png_() is Variations([gone])._repr_jpeg_() is None
        assert "make it again" in Page(gone._repr_html_()).text


class TestText:
    """The table in a terminal."""

    def test_table(self, tmp_path):
        """A terminal gets a table of name, size and path, and the line about the run."""
        made = make(2)
        stored = Variations(
            [made[0].kept_at(tmp_path / "1.png", None), made[1]], engine="patch", elapsed=1.25
        )
        assert gallery.text(stored).splitlines() == [
            "name   size     path",
            f"cat-1  600x400  {tmp_path / '1.png'}",
            "cat-2  600x400  in memory",
            "2 pictures by patch · 1.2 s",
        ]

    def test_notes_and_warnings(self):
        """Warnings and notes are below the table, each on its line."""
        assert gallery.text(make(1, warnings=["careful"]), notes=["saved"]).splitlines()[-2:] == [
            "careful",
            "saved",
        ]

    def test_nothing_made(self):
        """A run without a picture has no table, only how it ended."""
        assert gallery.text(make(0, status="failed", elapsed=0)) == "0 pictures by patch (patch-3) · failed"

    def test_control_characters(self):
        """A name can't send a terminal escape sequences, nor break the table's lines."""
        name = "\x1b[2Jevil\r\n\x9b\x07.png"
        made = make(1)
        made[0].source = Source(name, path=Path(name))
        lines = gallery.text(made).splitlines()
        assert len(lines) == 3
        assert all(char.isprintable() for line in lines for char in line)
        assert "[2Jevil" in lines[1]

    def test_pretty(self):
        """IPython's terminal shows the table for a result, and a line for one without pictures."""
        from IPython.lib.pretty import pretty

        assert "in memory" in pretty(make(2))
        assert pretty(Variations()) == "<Variations: 0 pictures>"
