import base64
import io
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from cases import slow
from page import HOSTILE, Page
from PIL import Image
from skimage import data

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.sweep import Sweep
from ipy_imgvar.results.table import page
from ipy_imgvar.results.variation import Variation

GRID = {"strength": (0.2, 0.5, 0.85), "seed": (1, 2, 3, 4)}
SQUARE = {"strength": tuple(n / 10 for n in range(1, 9)), "seed": tuple(range(1, 9))}
PHOTO = Image.fromarray(data.coffee()).resize((300, 200))
LONG = "a watercolour of a cat asleep on a red sofa beside a tall window with rain outside " * 3


def make(axes=None, *, names=("cat.png",), n=1, image=PHOTO, missing=(), folder=None, in_turn=False, **facts):
    """Return a sweep of copies of an image, without the pictures of these numbers; in files where a folder is given."""
    axes = GRID if axes is None else axes
    encoded = codec.encode_png(image)
    pictures, number = [], 0
    for name in names:
        source = Source(name, data=encoded)
        for values, index in itertools.product(itertools.product(*axes.values()), range(1, n + 1)):
            number += 1
            if number in missing:
                continue
            path = None if folder is None else folder / f"{number}.png"
            made = codec.encode_png(_turned(image, number)) if in_turn else encoded
            if path:
                path.write_bytes(made)
            combination = dict(zip(axes, values, strict=True))
            pictures.append(
                Variation(
                    None if path else made,
                    source=source,
                    mime_type="image/png",
                    size=image.size,
                    index=index,
                    seed=combination.get("seed"),
                    path=path,
                    combination=combination,
                    parameters={"fit": "crop", "source_sha256": name},
                )
            )
    request = VariationRequest.from_arguments(n=n)
    return Sweep(pictures, axes=axes, **({"engine": "patch", "request": request} | facts))


def _turned(image, number):
    return Image.fromarray(np.roll(np.asarray(image), number * 3, axis=1))


def page_of(sweep):
    return Page(sweep._repr_html_())


def heads(page, scope):
    return [
        attributes for tag, attributes in page.elements if tag == "th" and attributes.get("scope") == scope
    ]


def output_bytes(sweep):
    """Return the bytes of a cell's output in a saved notebook."""
    jpeg = sweep._repr_jpeg_()
    bundle = {"text/html": sweep._repr_html_(), "text/plain": page.text(sweep)}
    bundle |= {} if jpeg is None else {"image/jpeg": base64.b64encode(jpeg).decode()}
    assert sweep._repr_png_() is None
    return len(json.dumps(bundle))


class TestPage:
    """The table in a notebook."""

    def test_two_axes(self):
        """Two axes make one table: the last one across, the other down, and the source before all pictures."""
        page = page_of(make())
        assert sum(tag == "table" for tag, _ in page.elements) == 1
        assert len(heads(page, "col")) == 4
        assert [each["colspan"] for each in heads(page, "rowgroup")] == ["4", "4", "4"]
        alts = [each["alt"] for each in page.images()]
        assert alts[0] == "The source cat.png"
        assert alts[1] == "Variation of cat.png, strength 0.2, seed 1"
        assert alts[5] == "Variation of cat.png, strength 0.5, seed 1"
        assert len(alts) == 13
        for name in ("strength 0.85", "seed 4", "cat.png"):
            assert name in page.text

    def test_one_axis(self):
        """One axis makes one table too, with the source in its first cell."""
        page = page_of(make({"strength": (0.2, 0.5, 0.85)}))
        assert [tag for tag, _ in page.elements if tag in ("table", "tr")] == ["table", "tr", "tr"]
        assert len(heads(page, "col")) == 4
        assert page.images()[0]["alt"] == "The source cat.png"

    def test_one_long_axis_breaks_into_rows(self):
        """Ten values of one axis stand in rows of at most five, since a page may have 480 px."""
        page = page_of(make({"seed": tuple(range(10))}))
        rows = "".join("R" if tag == "tr" else "." for tag, _ in page.elements if tag in ("tr", "img"))
        assert max(map(len, rows.split("R"))) <= 5

    def test_columns(self):
        """A person may choose the number of pictures in a row of one axis."""
        assert page.html(make({"seed": tuple(range(7))}), columns=8).count("<tr") == 2

    def test_few_columns(self):
        """With few columns the names of the rows stand at the left, below the source."""
        page = page_of(make({"strength": (0.2, 0.5), "seed": (1, 2, 3)}))
        assert len(heads(page, "row")) == 2
        assert page.images()[0]["alt"] == "The source cat.png"

    def test_three_axes_and_two_images(self):
        """Each image and each value of the outer axis has a table of its own, with a heading."""
        page = page_of(make({"flip": (True, False), **GRID}, names=("a.png", "b.png")))
        assert sum(tag == "table" for tag, _ in page.elements) == 4
        for heading in ("a.png, flip true", "a.png, flip false", "b.png, flip true", "b.png, flip false"):
            assert heading in page.text

    def test_several_pictures_of_a_combination(self):
        """The pictures of one combination stand in one cell and say their number."""
        page = page_of(make(n=2))
        assert sum(tag == "td" for tag, _ in page.elements) == 1 + 12
        assert page.images()[2]["alt"] == "Variation of cat.png, strength 0.2, seed 1, picture 2"

    def test_missing(self):
        """An interrupted sweep has a dash where nothing was made, in a cell of the table."""
        page = page_of(make(missing=range(7, 13), status="interrupted"))
        assert page.text.count("—") == 6
        assert len(heads(page, "rowgroup")) == 3
        assert "interrupted" in page.text

    def test_slice(self):
        """A slice shows the rows and columns that it has."""
        page = page_of(make()[4:6])
        assert (len(heads(page, "row")), len(heads(page, "col"))) == (1, 2)
        assert "—" not in page.text

    def test_gone(self, tmp_path):
        """A picture that the store removed leaves words, and the others are shown."""
        sweep = make(folder=tmp_path)
        (tmp_path / "3.png").unlink()
        page = page_of(sweep)
        assert "no longer in the store" in page.text
        assert len(page.images()) == 12

    def test_source_is_gone(self):
        """Without its image the source is a name."""
        sweep = make({"seed": (1, 2)})
        for each in sweep:
            each.source = Source("cat.png")
        page = page_of(sweep)
        assert "cat.png" in page.text
        assert len(page.images()) == 2

    def test_sorted(self):
        """A sweep in another order is a list in that order, each picture with all its values."""
        page = page_of(make().with_pictures(reversed(make())))
        assert page.images()[1]["alt"] == "Variation of cat.png, strength 0.85, seed 4"
        assert page.images()[2]["alt"] == "Variation of cat.png, strength 0.85, seed 3"
        assert "strength 0.85, seed 4" in page.text

    def test_lines_about_the_run(self):
        """Engine, warnings and notes stand below, escaped."""
        text = Page(page.html(make(warnings=["a <b>"]), notes=["saved <x>"])).text
        assert text.endswith("12 pictures by patcha <b>saved <x>")

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_values(self, name):
        """No name or prompt brings an element or attribute onto the page, and no colour is set."""
        sweep = make({"prompt": (name, "x"), name: (1, 2)}, names=(name, "b.png"), model=name)
        html = sweep._repr_html_()
        page = Page(html)
        known = {"div", "table", "caption", "b", "bdi", "tr", "th", "td", "span", "img"}
        assert {tag for tag, _ in page.elements} <= known
        allowed = {
            "style",
            "aria-label",
            "role",
            "tabindex",
            "scope",
            "colspan",
            "src",
            "alt",
            "width",
            "height",
        }
        assert {key for _, attributes in page.elements for key in attributes} <= allowed
        styles = " ".join(attributes.get("style", "") for _, attributes in page.elements)
        assert "color:" not in styles.replace("color:inherit", "")
        assert "background:" not in styles.replace("background:none", "")

    def test_long_prompts(self):
        """Prompts are cut in heads and texts, so that they can't make a notebook large."""
        sweep = make({"prompt": tuple(f"{at} {LONG * 100}" for at in range(8)), "seed": tuple(range(8))})
        assert output_bytes(sweep) <= 400_000

    def test_formulas(self):
        """MathJax typesets nothing in a prompt: each of its delimiters is an element of its own."""
        html = make({"prompt": ("$x^2$", "\\(y\\)"), "seed": (1, 2)})._repr_html_()
        assert "<bdi><span>$</span>x^2<span>$</span></bdi>" in html
        assert "<bdi><span>\\</span>(y<span>\\</span>)</bdi>" in html

    def test_right_to_left(self):
        """A value of another direction is isolated from its axis."""
        html = make({"prompt": ("قطة حمراء", "cat")})._repr_html_()
        assert "prompt <bdi>قطة حمراء</bdi>" in html


class TestBytes:
    """What a sweep adds to a notebook."""

    @pytest.mark.slow
    @pytest.mark.parametrize("photo", ["coffee", "astronaut", "chelsea", "rocket"])
    def test_eight_by_eight(self, photo):
        """64 photographs make at most 400 kB in all forms together."""
        image = Image.fromarray(getattr(data, photo)()).resize((256, 256))
        assert 150_000 < output_bytes(make(SQUARE, image=image, in_turn=True)) <= 400_000

    @pytest.mark.parametrize("mode", ["RGB", slow("RGBA")])
    def test_noise(self, mode):
        """So do 64 pictures that nothing packs."""
        pixels = np.random.default_rng(0).integers(0, 256, (160, 160, len(mode)), np.uint8)
        assert output_bytes(make(SQUARE, image=Image.fromarray(pixels))) <= 400_000

    @pytest.mark.slow
    def test_twelve(self):
        """Twelve pictures are shown at 256 px, within the same bound."""
        sweep = make(image=PHOTO.resize((512, 512)), in_turn=True)
        assert page_of(sweep).images()[5]["width"] == "256"
        assert output_bytes(sweep) <= 400_000

    @pytest.mark.parametrize(("rows", "columns"), [(9, 9), slow(16, 16), slow(2, 300), slow(50, 20)])
    def test_more(self, rows, columns):
        """Any number of pictures makes at most 700 kB; what is not shown is counted."""
        sweep = make({"strength": tuple(n / 100 for n in range(rows)), "seed": tuple(range(columns))})
        page = page_of(sweep)
        hidden = rows * columns - (len(page.images()) - 1)
        assert len(page.images()) <= 257
        assert (f"{hidden} more pictures are not shown" in page.text) == (hidden > 0)
        assert output_bytes(sweep) <= 700_000


class TestText:
    """The table in a terminal."""

    def test_two_axes(self, tmp_path):
        """Rows and columns have values, cells the names of files, and the folder stands once below."""
        lines = page.text(make(folder=tmp_path)).splitlines()
        assert lines[:4] == [
            "cat.png        seed 1  seed 2  seed 3  seed 4",
            "strength 0.2   1.png   2.png   3.png   4.png",
            "strength 0.5   5.png   6.png   7.png   8.png",
            "strength 0.85  9.png   10.png  11.png  12.png",
        ]
        assert lines[4] == f"files in {tmp_path}"

    def test_sorted_pictures_of_several_images(self):
        """A list in another order names each row's own image, and no row has another one's name."""
        sweep = make({"seed": (1, 2)}, names=("cat.png", "dog.png"))
        lines = page.text(sweep.with_pictures(reversed(sweep))).splitlines()
        assert [" ".join(line.split()) for line in lines[:5]] == [
            "file",
            "of dog.png, seed 2 [0]",
            "of dog.png, seed 1 [1]",
            "of cat.png, seed 2 [2]",
            "of cat.png, seed 1 [3]",
        ]

    def test_in_memory(self):
        """A picture without a file is named by its place in the sweep."""
        text = page.text(make())
        assert "[0]     [1]" in text
        assert "sweep[i]" in text

    def test_wide(self, tmp_path):
        """A table wider than 80 columns becomes a list with a line for each picture."""
        sweep = make({"prompt": ("one " * 40, "two " * 40), "seed": (1, 2)}, folder=tmp_path)
        lines = page.text(sweep).splitlines()
        assert lines[0].split() == ["prompt", "seed", "file"]
        assert lines[4].split()[-2:] == ["2", "4.png"]
        assert all(len(line) <= 80 for line in lines[:5])

    def test_gone_and_missing(self, tmp_path):
        """A file that is gone, and a picture that was not made, are told apart."""
        sweep = make(folder=tmp_path, missing=[2], status="interrupted")
        (tmp_path / "1.png").unlink()
        assert page.text(sweep).splitlines()[1].split() == ["strength", "0.2", "gone", "-", "3.png", "4.png"]

    def test_controls(self):
        """A terminal obeys nothing in a prompt."""
        assert "\x1b" not in page.text(make({"prompt": ("a\x1b[2J", "b")}))


class TestPlot:
    """The figure."""

    def test_figure(self):
        """A figure of matplotlib has an axes for the source and each picture, and pyplot doesn't know it."""
        figure = make().plot()
        assert len(figure.axes) == 13
        assert [each.get_label() for each in figure.axes][:2] == ["cat.png", "strength 0.2, seed 1"]
        assert {"seed 4", "strength 0.85"} <= {each.get_text() for each in figure.texts}
        pyplot = sys.modules.get("matplotlib.pyplot")
        assert pyplot is None or not pyplot.get_fignums()
        assert not hasattr(figure, "_repr_png_")

    def test_shown_once_and_small(self, monkeypatch):
        """A notebook gets a figure as one JPEG, and one of 64 photographs adds at most 400 kB."""
        shown = []
        monkeypatch.setattr("IPython.display.publish_display_data", shown.append)
        make({"seed": range(8), "strength": [each / 8 for each in range(8)]}).plot()._ipython_display_()
        (bundle,) = shown
        assert set(bundle) == {"image/jpeg", "text/plain"}
        assert Image.open(io.BytesIO(bundle["image/jpeg"])).format == "JPEG"
        assert len(base64.b64encode(bundle["image/jpeg"])) < 400_000

    def test_dollars(self):
        """A prompt with dollar signs is no formula."""
        drawn = io.BytesIO()
        make({"prompt": ("$\\frac{$", "a $5 cat for $6")}).plot().savefig(drawn)
        assert drawn.getvalue()

    def test_without_matplotlib(self, monkeypatch):
        """Without matplotlib the figure is an image with the same places."""
        figure = make().plot()
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        image = make().plot()
        assert isinstance(image, Image.Image)
        assert image.size == tuple(round(inches * 100) for inches in figure.get_size_inches())

    def test_too_many(self):
        """Above 256 pictures, and without any, one line says what to do."""
        with pytest.raises(ImageVariationError, match=r"has 300 pictures.*sweep\[:64\]\.plot"):
            make({"seed": tuple(range(300))}).plot()
        with pytest.raises(ImageVariationError, match="nothing was made"):
            make()[:0].plot()

    def test_matplotlib_is_not_imported_before(self):
        """The table of a sweep imports no matplotlib."""
        code = (
            "import sys; from ipy_imgvar.results.table import page, plot; from ipy_imgvar.results.sweep import Sweep;"
            "s = Sweep(axes={'seed': (1,)}); s._repr_html_(); s._repr_jpeg_(); page.text(s);"
            "print('matplotlib' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"
