"""Frames: the same columns and types for results, sweeps, the history and bulk runs, and the way back to a picture."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

import ipy_imgvar
from ipy_imgvar import Client, Variation, Variations, history
from ipy_imgvar.errors import EngineError, ImageVariationError, InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.results.frames import COLUMNS
from ipy_imgvar.results.history import History, forget
from ipy_imgvar.results.sweep import Sweep

pd = pytest.importorskip("pandas")

pytestmark = pytest.mark.usefixtures("quick_patch")


@pytest.fixture
def made(photo_path):
    """Return a run of the engine patch: three pictures in the store."""
    return Client("patch").variations(photo_path, n=3, size="64x64", seed=5, strength=0.4)


def same(first, second):
    """Return whether two pictures are described alike."""
    names = ("bytes", "index", "seed", "size", "mime_type", "parameters", "combination", "seconds", "path")
    return all(getattr(first, name) == getattr(second, name) for name in names)


def test_a_frame_says_all_of_a_run(made):
    """A row has its picture's source, settings, measure, file and time, each in its own type."""
    frame = made.to_frame()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == COLUMNS
    assert list(frame.index) == [0, 1, 2]
    row = frame.loc[1]
    assert (row["source"], row["index"], row["seed"], row["strength"]) == ("photo.png", 2, 5, 0.4)
    assert (row["engine"], row["model"], row["size"], row["fit"]) == ("patch", made.model, "64x64", "crop")
    assert row["similarity"] == made[1].similarity
    assert (Path(row["path"]), row["run"]) == (made[1].path, made[1].path.parent.name)
    assert row["seconds"] == made[1].seconds
    assert row["started"] == made.started
    assert row["status"] == "done"
    assert row[["prompt", "error"]].isna().all()


@pytest.mark.filterwarnings("ignore:The behavior of array concatenation with empty:FutureWarning")  # pandas 2
def test_columns_and_types_are_the_same_everywhere(made, fake_engine, photo_path, tmp_path):
    """Results, sweeps, the history and bulk runs, and the empty ones of each, have the same columns and types."""
    bulk = Client(fake_engine(["red"], [EngineError("no")])).map(
        [photo_path, made[0].path], out_dir=tmp_path / "out", size=64
    )
    sweep = Client("patch").sweep(photo_path, over={"strength": [0.2, 0.5], "seed": [1, 2]}, size=64)
    every = [made, made[:0], Variations(), sweep, sweep[:0], history(), history()[:0], bulk, bulk.skipped]
    assert [len(each.to_frame()) for each in every] == [3, 0, 0, 4, 0, 7, 0, 2, 0]
    for each in every:
        assert {name: str(dtype) for name, dtype in each.to_frame().dtypes.items()} == COLUMNS, each
    measured = pd.concat([each.to_frame(similarity=True) for each in every])
    assert measured.dtypes.equals(made.to_frame().dtypes)


def test_a_sweeps_other_axes_are_columns(photo_path):
    """An axis that is no column follows as one, with the value that made each picture; others are not doubled."""
    over = {"strength": [0.2, 0.5], "flip": [True, False]}
    sweep = Client("patch").sweep(photo_path, over=over, seed=4, size=64)
    frame = sweep.to_frame(similarity=False)
    assert list(frame.columns) == [*COLUMNS, "flip"]
    assert list(frame["flip"]) == [True, False, True, False]
    assert list(frame["strength"]) == [0.2, 0.2, 0.5, 0.5]
    assert frame["flip"].dtype == "boolean"
    assert list(sweep[:0].to_frame().columns) == [*COLUMNS, "flip"]
    assert list(history().to_frame()["flip"]) == [True, False, True, False]
    assert list(Variations.from_frame(frame)[1].combination.items()) == [("strength", 0.2), ("flip", False)]


def test_a_frame_that_is_read_again_keeps_the_axes(photo_path):
    """The pictures of a frame give the same columns of the same types again, also those of a sweep's axes."""
    sweep = Client("patch").sweep(photo_path, over={"flip": [True, False], "seed": [1, 2]}, size=64)
    frame = sweep.to_frame(similarity=False)
    again = Variations.from_frame(frame).to_frame(similarity=False)
    assert list(again.columns) == list(frame.columns)
    assert again["flip"].equals(frame["flip"])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((True, False), "boolean"),
        ((1, 2), "Int64"),
        ((0.5, 1.5), "float64"),
        (("a", "b"), "string"),
        ((2**70, 1), "object"),
        ((1, "a"), "object"),
        (([1], [2, 3]), "object"),
        ((True, 1), "object"),
    ],
)
def test_the_type_of_an_axis_is_that_of_its_values(values, dtype):
    """An option's column has the type of its values, and NA where a picture has none."""
    made = Variations([picture(combination={"how": value}) for value in values] + [picture()])
    column = made.to_frame(similarity=False)["how"]
    assert str(column.dtype) == dtype
    assert list(column[:-1]) == list(values)
    assert pd.isna(column.iloc[-1])


def test_each_row_makes_its_picture_again(photo_path):
    """A row of a sweep's frame holds what makes the same bytes alone."""
    sweep = Client("patch").sweep(photo_path, over={"strength": [0.3, 0.9], "seed": [1, 2]}, size=64)
    for row, picture in zip(sweep.to_frame().to_dict("records"), sweep, strict=True):
        settings = {name: row[name] for name in ("strength", "seed", "size", "fit")}
        assert Client(row["engine"]).variations(photo_path, **settings).bytes == [picture.bytes]


def test_similarity_is_measured_where_it_is_asked_for(made, monkeypatch):
    """A run is measured unless told not to, the history only if told to; a file that is gone has NaN."""
    made[0].path.unlink()
    similar = made.to_frame()["similarity"]
    assert list(similar.isna()) == [True, False, False]
    assert similar[1:].between(0, 1).all()
    forget()
    assert list(history().to_frame(similarity=True)["similarity"].isna()) == [True, False, False]
    monkeypatch.setattr(codec, "open_image", None)
    assert made.to_frame(similarity=False)["similarity"].isna().all()
    assert history().to_frame()["similarity"].isna().all()


def test_the_history_is_a_list_of_runs(made):
    """The history is a list, oldest first; its slices have frames, too."""
    second = Client("patch").variations(made[0], size="64x64")
    runs = history()
    assert isinstance(runs, list)
    assert [each.bytes for each in runs] == [made.bytes, second.bytes]
    assert type(runs[-1:]) is History
    assert list(runs.to_frame()["run"].unique()) == [each[0].path.parent.name for each in runs]
    assert len(runs[-1:].to_frame()) == 1


def test_rows_lead_back_to_their_pictures(made):
    """Rows that were filtered and sorted in pandas give these pictures in this order, as the store describes them."""
    frame = made.to_frame()
    chosen = frame[frame["index"] != 2].sort_values("index", ascending=False)
    back = Variations.from_frame(chosen)
    assert type(back) is Variations
    assert [each.index for each in back] == [3, 1]
    assert same(back[0], made[2])
    assert back[0].source.path == made[2].source.path
    assert back[0].similarity == made[2].similarity
    assert Variations.from_frame(frame[["path"]]).bytes == made.bytes
    assert Variations.from_frame(frame.loc[1]).bytes == [made[1].bytes]
    assert len(Variations.from_frame(frame[:0])) == 0


def test_rows_lead_back_by_a_file_of_csv(made, tmp_path):
    """A frame that was written as CSV and read again leads back as well."""
    made.to_frame().to_csv(tmp_path / "runs.csv", index=False)
    back = Variations.from_frame(pd.read_csv(tmp_path / "runs.csv"))
    assert all(map(same, back, made))


def test_our_own_files_describe_themselves(made, tmp_path, photo_path):
    """A PNG of ours outside of the store is described by the settings in it; the row's own are not asked."""
    frame = made.to_frame()
    frame["path"] = list(map(str, made.save(tmp_path / "kept-{i}.png")))
    frame["seed"], frame["source"] = 99, str(photo_path)
    back = Variations.from_frame(frame)
    assert [(each.index, each.seed) for each in back] == [(1, 5), (2, 5), (3, 5)]
    assert [each.parameters for each in back] == [each.parameters for each in made]
    assert back[0].source.path == photo_path
    assert back[0].similarity == made[0].similarity


def test_a_source_of_another_content_is_not_taken(made, tmp_path):
    """A file of the source's name that holds another picture is not the source."""
    frame = made.to_frame()
    frame["path"] = list(map(str, made.save(tmp_path / "kept-{i}.png")))
    other = tmp_path / "photo.png"
    other.write_bytes(made[0].bytes)
    frame["source"] = str(other)
    assert Variations.from_frame(frame)[0].source.path is None


def test_other_files_are_described_by_their_rows(made, tmp_path):
    """A JPEG carries no settings, so the row says what made it."""
    frame = made.to_frame()
    frame["path"] = list(map(str, made.save(tmp_path / "kept-{i}.jpg")))
    back = Variations.from_frame(frame)
    assert [(each.mime_type, each.index, each.seed, each.seconds) for each in back] == [
        ("image/jpeg", each.index, each.seed, each.seconds) for each in made
    ]
    assert back[1].parameters == {
        "engine": "patch",
        "model": made.model,
        "size": "64x64",
        "strength": 0.4,
        "seed": 5,
        "fit": "crop",
    }
    assert str(back[1].source) == "photo.png"
    assert list(back.to_frame(similarity=False)["strength"]) == [0.4] * 3


def test_a_row_without_a_picture_is_one_clear_line(made, tmp_path):
    """A row without a path, with a file that is gone, or with no picture gives one line with the row's label."""
    frame = made.to_frame().set_axis(["a", "b", "c"])
    text = tmp_path / "text.txt"
    text.write_text("no picture")
    for path, words in [(None, "no path"), ("/no/such.png", "can't be read"), (str(text), "can't be read")]:
        broken = frame.copy()
        broken.loc["b", "path"] = path
        with pytest.raises(InvalidRequestError, match=f"row 'b' of the frame.*{words}") as caught:
            Variations.from_frame(broken)
        assert "\n" not in str(caught.value)
    frame["error"] = "no luck"
    frame.loc["c", "path"] = pd.NA
    with pytest.raises(
        InvalidRequestError, match=r"row 'c' .*no path \(no luck\); drop such rows with dropna"
    ):
        Variations.from_frame(frame)


@pytest.mark.parametrize("value", [None, 3, "frame", [1], {"path": "x"}])
def test_what_is_no_frame_is_refused(value):
    """Anything but a frame or a row of one gives one line with what is allowed."""
    with pytest.raises(
        InvalidRequestError, match=r"allowed: a data frame, or a row of one, from to_frame\(\)"
    ):
        Variations.from_frame(value)


def test_a_frame_without_paths_is_refused():
    """A frame without the column path is refused with the columns that it has."""
    with pytest.raises(InvalidRequestError, match="no column path; its columns: a, 1"):
        Variations.from_frame(pd.DataFrame({"a": [1], 1: [2]}))
    with pytest.raises(InvalidRequestError, match="allowed: a data frame"):
        Variations.from_frame(pd.Series({"a": 1}))


def test_without_pandas_there_is_one_line(made, monkeypatch):
    """Without pandas, frames of runs and of the history give one line that says what to install, at once."""
    runs = history()
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr(codec, "open_image", None)
    for each in (made, runs, Variations()):
        with pytest.raises(
            ImageVariationError, match="to_frame needs pandas, which is not installed; install it with"
        ):
            each.to_frame()


def picture(name="cat.png", **facts):
    data = codec.encode_png(codec.of_pixels(np.zeros((4, 4, 3), np.uint8)))
    return Variation(data, source=Source(name), mime_type="image/png", size=(4, 4), **facts)


def test_odd_values_fit_into_a_frame():
    """The largest seed, a name that is not UTF-8, a year far away, and parameters of other types make a frame."""
    odd = picture(
        "\udce9 \0.png", seed=2**63 - 1, parameters={"strength": "far", "prompt": ["x"], "engine": 3}
    )
    run = Variations([odd], engine="e", started=datetime(9998, 1, 1, tzinfo=UTC))
    row = run.to_frame(similarity=False).iloc[0]
    assert (row["source"], row["seed"], row["engine"]) == ("\udce9 \0.png", 2**63 - 1, "e")
    assert row["started"].year == 9998
    assert row[["strength", "prompt", "path", "run"]].isna().all()
    earliest = Variations([odd], started=datetime.min.replace(tzinfo=UTC))
    assert earliest.to_frame(similarity=False)["started"].iloc[0].year == 1


@cases(60, 12)
@given(
    st.lists(
        st.builds(
            dict,
            name=st.text(max_size=8),
            index=st.integers(1, 10),
            seed=st.none() | st.integers(0, 2**63 - 1),
            seconds=st.none() | st.floats(0, 1e6),
            combination=st.dictionaries(st.sampled_from(["strength", "guidance"]), st.floats(0, 1)),
        ),
        max_size=4,
    )
)
def test_any_pictures_keep_their_values_in_a_frame(facts):
    """Every fact of any picture is in its row unchanged, and the types never depend on the values."""
    sweep = Sweep([picture(**each) for each in facts], axes={"strength": [], "guidance": []})
    frame = sweep.to_frame(similarity=False)
    known = any("guidance" in each["combination"] for each in facts)
    guidance = {"guidance": "float64" if known else "object"}
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == COLUMNS | guidance
    for row, each in zip(frame.to_dict("records"), facts, strict=True):
        assert (row["source"], row["index"]) == (each["name"], each["index"])
        for name in ("seed", "seconds"):
            assert pd.isna(row[name]) if each[name] is None else row[name] == each[name]
        for name in ("strength", "guidance"):
            value = each["combination"].get(name)
            assert pd.isna(row[name]) if value is None else row[name] == value


USED = """
import sys
import numpy as np
import ipy_imgvar
ramp = np.arange(64 * 64).astype(np.uint8).reshape(64, 64)
made = ipy_imgvar.variations(ramp, n=2, size=64, options={"subjects": "off"})
made._repr_html_()
for metric in ("ssim", "new_share", "histogram"):
    made.similarities(metric)
    made.sorted(metric)
made.sorted("similarity")
made.most_different()
ipy_imgvar.history()
heavy = ("pandas", "matplotlib", "sklearn", "skimage", "torch", "transformers")
print([name for name in heavy if name in sys.modules])
"""


def test_nothing_is_loaded_before_it_is_asked_for(tmp_path):
    """A result that is made, shown, measured and sorted loads none of pandas, matplotlib, scikit-learn and torch."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USED],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1]),
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_a_pipe_is_refused(made, tmp_path):
    """A path of a pipe, which no reading would end, is refused in one line; a path may be a `Path`."""
    os.mkfifo(tmp_path / "pipe.png")
    frame = made.to_frame(similarity=False).astype({"path": object})
    assert len(Variations.from_frame(frame.assign(path=[Path(each) for each in frame["path"]]))) == len(made)
    frame["path"] = [tmp_path / "pipe.png"] * len(made)
    with pytest.raises(InvalidRequestError, match="is no regular file"):
        Variations.from_frame(frame)
