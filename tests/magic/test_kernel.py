"""What the magic does in a real kernel: the outputs a notebook keeps, the values, and what an interrupt leaves."""

import io

import pytest
from frontend import interrupted_after_a_picture
from PIL import Image

#: pyzmq starts a thread of its own, for good, when it first sends something large.
THREADS = "sum(type(t).__module__ != 'zmq.utils.garbage' for t in __import__('threading').enumerate())"
FOUR = "%imagevariation photo.png -n 4 -s 64 --seed 7 --engine patch"


def test_one_output_has_html_jpeg_and_text(kernel):
    """A run is one output with an HTML gallery, a JPEG contact sheet and a text table."""
    (output,) = kernel.run(FOUR).outputs
    assert output.kind == "display_data"
    assert set(output.data) == {"text/plain", "text/html", "image/jpeg"}
    assert output.data["text/html"].count('alt="Variation') == 4
    assert "photo-4" in output.data["text/plain"]


@pytest.mark.slow
def test_four_different_pictures_and_the_same_again(kernel):
    """The same seed gives the same four bytes again, different from one another."""
    kernel.run(f"first = {FOUR}")
    kernel.run(f"second = {FOUR}")
    assert kernel.value("first.bytes == second.bytes, len(set(first.bytes))") == "(True, 4)"


@pytest.mark.parametrize(("form", "kind"), [("byte", "bytes"), ("base64", "str"), ("url", "str")])
def test_one_picture_is_one_value_and_several_are_a_list(kernel, form, kind):
    """With -f, one picture gives its value alone and several give a list."""
    kernel.run(f"one = %imagevariation photo.png -s 64 -f {form} --quiet")
    kernel.run(f"%imagevariation photo.png -s 64 -n 2 -f {form} -o two --quiet")
    assert kernel.value("type(one).__name__, type(two).__name__, len(two)") == f"('{kind}', 'list', 2)"


def test_bytes_are_a_png_of_the_size_asked_for(kernel):
    """The bytes that -f byte gives decode as a PNG of the asked size."""
    kernel.run("data = %imagevariation photo.png -s 96 -f byte --quiet")
    data = eval(kernel.value("data"))  # noqa: S307 - the repr of bytes
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("PNG", (96, 96))


@pytest.mark.parametrize("form", ["", "-f byte", "-f base64 -n 2", "-f array", "-f image"])
def test_a_value_that_ends_the_cell_is_not_shown_twice(kernel, form):
    """What the magic returned is not echoed below what it displayed."""
    outputs = kernel.run(f"%imagevariation photo.png -s 64 {form}").outputs
    assert [each.kind for each in outputs] == ["display_data"]


def test_an_error_before_the_first_picture_says_nothing_of_pictures(kernel):
    """Where nothing was finished, only the error and where the image went are left, and the history has no row."""
    before = kernel.value("len(__import__('ipy_imgvar').history())")
    outputs = kernel.run("%imagevariation photo.png --api-base http://127.0.0.1:9/v1").outputs
    assert [each.kind for each in outputs] == ["display_data", "error"]
    assert (
        outputs[0].data["text/plain"]
        == "photo.png goes to 127.0.0.1:9 (variations, model the server's default)"
    )
    assert kernel.value("len(__import__('ipy_imgvar').history())") == before


def test_a_value_is_shown_when_it_is_asked_for_in_a_later_cell(kernel):
    """The swallowed echo is the one of its own cell only."""
    kernel.run("later = %imagevariation photo.png -s 64 --quiet")
    assert [each.kind for each in kernel.run("later").outputs] == ["execute_result"]
    assert kernel.value("[1, b'x']") == "[1, b'x']"


def test_a_loop_shows_every_run(kernel):
    """Each run of a loop has its own output, also when its value is assigned."""
    outputs = kernel.run("for seed in (1, 2):\n    x = %imagevariation photo.png -s 64 --seed {seed}").outputs
    assert [each.kind for each in outputs] == ["display_data", "display_data"]


@pytest.mark.parametrize("silent", [";", " ;", " --quiet", "; # said nothing"])
def test_a_semicolon_or_quiet_hides_the_pictures_and_keeps_the_value(kernel, silent):
    """A trailing semicolon and --quiet skip the display, never the value."""
    assert kernel.run(f"kept = %imagevariation photo.png -s 64{silent}").outputs == []
    assert kernel.value("len(kept)") == "1"


@pytest.mark.slow
def test_progress_and_result_share_one_output(kernel):
    """A run of more than a second shows progress in the place where its pictures then are."""
    (output,) = kernel.run("%imagevariation photo.png -n 8 -s 512 --engine patch").outputs
    assert "<progress" in output.earlier[0]["text/html"]
    assert output.data["text/html"].count("<img") == 8
    assert "<progress" not in output.data["text/html"]


def test_an_interrupt_keeps_what_is_finished_and_leaves_nothing_half_done(kernel):
    """After an interrupt last() has the finished pictures, and no thread, temporary file or name is left."""
    threads = kernel.value(THREADS)
    with interrupted_after_a_picture(kernel):
        result = kernel.run("cut = %imagevariation photo.png -n 10 -s 1024 --engine patch -o bound")
    assert result.status == "error"
    error = result.outputs[-1]
    assert error.ename == "KeyboardInterrupt"
    assert len(error.traceback) == 1
    kernel.run("from ipy_imgvar import last")
    assert 1 <= int(kernel.value("len(last())")) < 10
    assert kernel.value("last().status, last()[0].image.size") == "('interrupted', (1024, 1024))"
    assert kernel.value("'cut' in globals(), 'bound' in globals()") == "(False, False)"
    assert kernel.value(THREADS) == threads
    assert not list((kernel.folder / "store" / "runs").rglob("*.tmp"))


def test_history_survives_the_kernel(kernel):
    """A new process of the same user finds the earlier runs in the store."""
    kernel.run("before = %imagevariation photo.png -s 64 --seed 3 --quiet")
    expected = kernel.value("before.bytes[0][-40:]")
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', "
    script = "'from ipy_imgvar import last; print(last().bytes[0][-40:])'"
    output = kernel.run(f"{code}{script}], capture_output=True, text=True).stdout)").outputs[0]
    assert output.text.strip() == expected


def test_a_function_sees_its_own_variables(kernel):
    """A magic inside a function finds that function's local names."""
    kernel.run(
        "def vary(picture, count):\n"
        "    return get_ipython().run_line_magic('imagevariation', 'picture -n {count} -s 64 --quiet')\n"
    )
    kernel.run("import numpy as np")
    assert kernel.value("len(vary(np.zeros((64, 64, 3), np.uint8), 2))") == "2"


LOOKING = """
import time
from ipy_imgvar.images import codec
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.results.variations import Variation
from PIL import Image
png = codec.encode_png(Image.open("photo.png").convert("RGB"))
class Looking:
    name = "looking"
    capabilities = lambda self, model=None: Capabilities()
    check = lambda self, request: None
    model = lambda self, request: "looking-1"
    close = lambda self: None
    def generate(self, request, job):
        time.sleep(1)
        for fraction, preview in ((0.0, None), (0.5, png), (0.0, None), (0.25, None), (0.75, b"no picture")):
            job.progress(fraction, "looking", preview)
            time.sleep(0.25)
        for index in (1, 2):
            yield Variation(png, source=request.image, mime_type="image/png", size=(384, 288), index=index)
            job.progress(0.9, "looking")
looking = Looking()
%imagevariation photo.png --engine {looking} -n 2
"""


@pytest.mark.slow
def test_a_first_look_stays_until_the_picture_comes(kernel):
    """A preview stays beside the progress until its picture is there, and the bar never goes back."""
    (output,) = kernel.run(LOOKING).outputs
    updates = [each["text/html"] for each in output.earlier]
    looks = ["A first look" in each for each in updates]
    assert looks.count(True) >= 4
    first = looks.index(True)
    pictures = ["Variation 1 of" in each for each in updates]
    came = pictures.index(True)
    assert looks == [False] * first + [True] * (came - first) + [False] * (len(looks) - came)
    bars = [float(part.split('"')[0]) for each in updates for part in each.split('<progress value="')[1:]]
    assert bars[:2] == [0.0, 0.5]
    assert bars == sorted(bars)
    assert "A first look" not in output.data["text/html"]


@pytest.mark.slow
@pytest.mark.parametrize("notice", ["", "the picture goes to example.invalid"])
def test_a_run_that_made_nothing_leaves_no_bar(kernel, notice):
    """After an error without a picture, the output says where the picture went, and nothing else."""
    code = LOOKING.replace(
        "for index in (1, 2):", 'raise ImageVariationError("no")\n        for index in ():'
    )
    code = code.replace("time.sleep(1)", f"time.sleep(1)\n        {notice and f'job.announce({notice!r})'}")
    output, error = kernel.run("from ipy_imgvar.errors import ImageVariationError\n" + code).outputs
    assert error.ename == "ImageVariationError"
    assert output.data["text/plain"] == notice
    assert output.data["text/html"] == (f"<div>{notice}</div>" if notice else "")
