"""One picture of a run alone: `index=`, `--index`."""

import json

import pytest
from cases import slow

from ipy_imgvar import Client, variations
from ipy_imgvar.cli import main
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.request import VariationRequest

FIXED = {"engine": "patch", "size": "64x64", "seed": 7}


@pytest.mark.parametrize("strength", [0.2, slow(0.5), slow(0.85)])
def test_a_picture_alone_has_the_bytes_of_the_run(photo, strength):
    """Each picture of a run, made alone by its index, has the same bytes, parameters, index and name."""
    run = variations(photo, n=4, strength=strength, **FIXED)
    for number, picture in enumerate(run, start=1):
        (alone,) = variations(photo, index=number, strength=strength, **FIXED)
        assert alone.bytes == picture.bytes
        assert alone.parameters == picture.parameters
        assert (alone.index, alone.name) == (number, picture.name)
        assert alone.parameters["index"] == number


@pytest.mark.parametrize("shape", [None, slow((64, 96)), slow((192, 96)), slow((96, 192))])
def test_a_picture_alone_is_the_same_for_another_shape_and_a_mask(photo, shape):
    """The bytes are those of the run for retargeting, for a mask and for a picture of one colour too."""
    kinds = [{"mask": photo.convert("L").point(lambda level: 255 * (level > 128))}]
    if shape is not None:
        kinds.append({"fit": "retarget", "size": f"{shape[0]}x{shape[1]}"})
    for kind in kinds:
        chosen = {**FIXED, **kind}
        assert variations(photo, index=2, **chosen)[0].bytes == variations(photo, n=2, **chosen)[1].bytes
    flat = photo.resize((1, 1)).resize((96, 72))
    assert variations(flat, index=2, **FIXED)[0].bytes == variations(flat, n=2, **FIXED)[1].bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": 3}, "index repeats one picture of a run: give its seed too"),
        ({"index": 5, "seed": 7, "n": 4}, "index is 5, and n is 4; allowed: an index up to n, or no n"),
        ({"index": 0, "seed": 7}, "index is 0; allowed: a whole number from 1 to 10"),
        ({"index": 11, "seed": 7}, "index is 11; allowed: a whole number from 1 to 10"),
        ({"index": True, "seed": 7}, "index is True; allowed: a whole number from 1 to 10"),
    ],
)
def test_an_index_that_names_no_picture_is_refused(arguments, message):
    """An index needs the run's seed, and stands in 1..10 and within the run."""
    with pytest.raises(InvalidRequestError) as caught:
        VariationRequest.from_arguments(**arguments)
    assert str(caught.value) == message


@pytest.mark.usefixtures("quick_patch")
def test_the_index_may_be_added_to_the_call_of_the_run(photo):
    """Beside the number of pictures of the run an index gives its one picture."""
    client = Client("patch")
    run = client.variations(photo, n=3, seed=7, size=64)
    alone = client.variations(photo, n=3, seed=7, size=64, index=2)
    assert alone.bytes == run.bytes[1:2]


def test_an_engine_without_a_seed_refuses_an_index(photo, fake_engine):
    """The client refuses an index, with or without a seed, for an engine that takes no seed."""
    client = Client(fake_engine(["red"], features=()))
    with pytest.raises(InvalidRequestError, match="engine fake can't use an index; leave it out"):
        client.variations(photo, index=3)


def test_an_engine_of_another_package_gets_the_index(photo, fake_engine):
    """An engine reads the index in its request."""
    engine = fake_engine(["red"])
    Client(engine).variations(photo, index=3, seed=7)
    assert engine.requests[-1].index == 3


def test_settings_without_an_index_are_as_they_were():
    """A request without an index writes none down, so that earlier ledgers still match."""
    assert "index" not in VariationRequest().settings()
    settings = VariationRequest.from_arguments(index=3, seed=7).settings()
    assert VariationRequest.from_arguments(**settings).index == 3


@pytest.mark.usefixtures("quick_patch")
def test_the_command_line_makes_one_picture_of_a_run(photo_path, monkeypatch, capsys):
    """`--index 3` writes the third file that `-n 4` writes, under the same name."""
    monkeypatch.chdir(photo_path.parent)
    common = ["--engine", "patch", "-s", "64", "--seed", "7"]
    assert main(["create", str(photo_path), "-n", "3", *common]) == 0
    whole = (photo_path.parent / "photo-3.png").read_bytes()
    for path in photo_path.parent.glob("photo-?.png"):
        path.unlink()
    capsys.readouterr()
    assert main(["create", str(photo_path), "--index", "3", "--json", *common]) == 0
    (described,) = json.loads(capsys.readouterr().out)["pictures"]
    assert described["parameters"]["index"] == 3
    assert (photo_path.parent / "photo-3.png").read_bytes() == whole


@pytest.mark.slow
def test_bulk_makes_one_picture_of_each_run(photo_path, tmp_path):
    """`Client.map` with an index writes, for each image, the picture that the whole run writes under that name."""
    with Client("patch") as client:
        whole = client.map([photo_path], out_dir=tmp_path / "a", n=3, size="64x64", seed=7, max_workers=1)
        alone = client.map([photo_path], out_dir=tmp_path / "b", index=3, size="64x64", seed=7, max_workers=1)
    assert [path.name for path in alone[0].paths] == [whole[0].paths[2].name]
    assert alone[0].paths[0].read_bytes() == whole[0].paths[2].read_bytes()


@pytest.mark.slow
def test_the_page_of_a_bulk_run_names_each_picture(photo_path, tmp_path):
    """`index.html` says by which seed and index each picture is made alone, and it is, with the same bytes."""
    with Client("patch") as client:
        (item,) = client.map([photo_path], out_dir=tmp_path / "a", n=2, size="64x64", max_workers=1)
        client.map([photo_path], out_dir=tmp_path / "b", index=2, seed=0, size="64x64", max_workers=1)
        alone = client.variations(photo_path, seed=item.seed, index=2, size="64x64")
    page = (tmp_path / "a" / "index.html").read_text()
    assert f'2 · seed {item.seed} · <span style="white-space:nowrap">--index 2</span>' in page
    assert alone[0].bytes == item.paths[1].read_bytes()
    page = (tmp_path / "b" / "index.html").read_text()
    assert "Variation 2 of" in page
    assert "Variation 1 of" not in page
