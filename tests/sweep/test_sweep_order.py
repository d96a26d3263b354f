"""The order of a sweep's pictures and of its runs, its grid, and what all combinations share."""

import copy
import io
import itertools
import math
import pickle

import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from painter import Painter, pixel

from ipy_imgvar import Client, Sweep, history, last
from ipy_imgvar.results import history as histories

AXES = {
    "strength": st.floats(0, 1),
    "seed": st.integers(0, 2**63 - 1),
    "model": st.text("abcdef", min_size=1, max_size=3),
    "size": st.sampled_from(["64x64", "32x64", "1x1"]),
    "prompt": st.sampled_from(["a cat", "ein Hund", "\u732b"]),
    "fit": st.sampled_from(["crop", "pad", "stretch"]),
    "flip": st.booleans(),
    "steps": st.integers(1, 50),
}


@st.composite
def axes(draw):
    """Draw one to four axes of one to three values each."""
    names = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=4, unique=True))
    return {name: draw(st.lists(AXES[name], min_size=1, max_size=3, unique=True)) for name in names}


def flat(grid):
    return [each for part in grid for each in flat(part)] if isinstance(grid, list) else [grid]


@cases(200, 40)
@given(over=axes(), n=st.integers(1, 2), images=st.integers(1, 2))
def test_every_combination_in_order(over, n, images):
    """The pictures are those of `itertools.product`, image by image, and the grid has them in the same order."""
    histories.keep_nothing()
    with Client(Painter()) as client:
        made = client.sweep([pixel(each) for each in range(images)], over=over, n=n, confirm=True)
    rows = list(itertools.product(*over.values()))
    assert [tuple(each.combination.values()) for each in made] == [
        row for row in rows for _ in range(n)
    ] * images
    assert flat(made.grid) == list(made)
    assert [each.index for each in made] == list(range(1, n + 1)) * len(rows) * images
    assert made.axes == {name: tuple(values) for name, values in over.items()}


@pytest.fixture
def result(client):
    """Return a sweep of two images, two axes and two pictures each."""
    return client.sweep([pixel(1), pixel(2)], over={"strength": [0.2, 0.5], "steps": [1, 2, 3]}, n=2, seed=7)


def test_the_grid_has_a_level_for_each(result):
    """Images come first and the pictures of a combination last, in the grid of several and of `n` above 1."""
    shape = [len(result.grid), len(result.grid[0]), len(result.grid[0][0]), len(result.grid[0][0][0])]
    assert shape == [2, 2, 3, 2]
    cell = result.grid[1][0][2][1]
    assert (cell.combination, cell.index) == ({"strength": 0.2, "steps": 3}, 2)


def test_a_slice_is_a_sweep(result):
    """A slice keeps its axes, and its grid has None where a picture is left out."""
    part = result[:5]
    assert isinstance(part, Sweep)
    assert part.axes == result.axes
    assert flat(part.grid) == [*part, *[None] * 7]


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))],  # noqa: S301 - our own bytes
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies(client, image, copied):
    """A copy, also one through pickle, keeps axes, grid and pictures."""
    histories.move_store(None, 0)
    other = copied(client.sweep(image, over={"steps": [1, 2]}))
    assert isinstance(other, Sweep)
    assert other.axes == {"steps": (1, 2)}
    assert [each.combination for each in flat(other.grid)] == [{"steps": 1}, {"steps": 2}]


def test_the_history_gives_it_back(result):
    """A run that is read back from the store is a `Sweep` in the same order, with the seconds of each picture."""
    histories.forget()
    back = last()
    assert isinstance(back, Sweep)
    assert back.axes == result.axes
    assert [(each.source.name, each.combination, each.index) for each in back] == [
        (each.source.name, each.combination, each.index) for each in result
    ]
    assert flat(back.grid) == list(back)
    assert [each.seconds for each in back] == [each.seconds for each in result]


def test_sources_of_one_name(client):
    """Images of one name stay apart, in the order in which they were given."""
    images = [pixel(value) for value in (9, 3, 6)]
    made = client.sweep(images, over={"steps": [1, 2]})
    histories.forget()
    for each in (made, last()):
        assert [len(rows) for rows in each.grid] == [2, 2, 2]
        assert len({picture.parameters["source_sha256"] for picture in each[:2]}) == 1
        assert None not in flat(each.grid)


def test_one_image_twice(client, image):
    """The same image given twice has a level of the grid for each, also after the record was read back."""
    client.sweep([image, image], over={"seed": [1, 2, 3]})
    histories.forget()
    back = last()
    assert [[each.image_number for each in row] for row in back.grid] == [[0] * 3, [1] * 3]
    assert len(back.sources) == 2


def test_each_model_is_loaded_once(painter, client, image):
    """However the axes are ordered, the runs go model by model, and the pictures are in the axes' order."""
    made = client.sweep(image, over={"seed": [1, 2], "model": ["a", "b", "c"], "flip": [True, False]})
    assert painter.loads == ["a", "b", "c"]
    assert [each.combination["model"] for each in made[:6]] == ["a", "a", "b", "b", "c", "c"]


def test_options_sizes_and_fits_are_grouped(painter, client, image):
    """Below a model, the runs go by options, then by size, then by fit, each in the order of its axis."""
    client.sweep(
        image, over={"seed": [1, 2], "fit": ["pad", "crop"], "size": [64, 32], "flip": [False, True]}
    )
    made = [(each.options["flip"], each.size[0], each.fit, each.seed) for each in painter.requests]
    assert made == list(itertools.product([False, True], [64, 32], ["pad", "crop"], [1, 2]))


def test_progress_goes_up(client, image):
    """The fractions never go back, and end at 1."""
    fractions = []
    client.sweep(
        [image, pixel(2)],
        over={"seed": [1, 2], "model": ["a", "b"]},
        n=2,
        on_progress=lambda share, _: fractions.append(share),
    )
    assert fractions == sorted(fractions)
    assert len(set(fractions)) == 16
    assert math.isclose(fractions[-1], 1)


def test_an_open_file_is_read_once(painter, client, image):
    """A file object, also one for the mask, serves every combination."""
    mask = io.BytesIO(pixel(255))
    made = client.sweep(io.BytesIO(image), over={"seed": [1, 2]}, mask=mask)
    assert len(made) == 2
    assert {each.image.read() for each in painter.requests} == {image}
    assert {each.mask.read() for each in painter.requests} == {pixel(255)}


def test_an_address_is_fetched_once(painter, client, api):
    """An image at an address is fetched once for all combinations."""
    client.sweep(f"http://127.0.0.1:{api.port}/pictures/1.png", over={"seed": range(4)})
    assert len(api.gets) == 1
    assert len(painter.requests) == 4


def test_masks_go_with_their_images(painter, client):
    """A list of masks has one for each image, in every combination."""
    images, masks = [pixel(1), pixel(2)], [pixel(250), pixel(251)]
    client.sweep(images, over={"seed": [1, 2]}, mask=masks)
    assert {(each.image.read(), each.mask.read()) for each in painter.requests} == set(
        zip(images, masks, strict=True)
    )


def test_one_picture_of_each_run(client, image):
    """`index` makes that picture of each seed's run, and needs a seed that is given or an axis."""
    made = client.sweep(image, over={"seed": [1, 2]}, index=3)
    assert [(each.seed, each.index) for each in made] == [(1, 3), (2, 3)]
    assert flat(made.grid) == list(made)
    with pytest.raises(ValueError, match="give its seed too"):
        client.sweep(image, over={"strength": [0.2]}, index=3)


def test_one_run_in_the_history(result):
    """A sweep is one run of the history, with the seconds that each picture took."""
    assert len(history()) == 1
    assert all(each.seconds is not None for each in result)
