"""How similar pictures are to their sources and to each other: by each measure, in range, symmetric, and in order."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage import data

from ipy_imgvar import Variation, Variations
from ipy_imgvar.client import Client
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.images import codec, similarity
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.panel.cards import card_of
from ipy_imgvar.results import clip, measures
from ipy_imgvar.results.sweep import Sweep

NAMES = ["ssim", "new_share", "histogram"]


def cat(shape=(128, 128)):
    return codec.to_array(codec.resize(codec.of_pixels(data.chelsea()[:, 75:375]), shape))


def varied(pixels, source=None, **facts):
    """Return a picture of these pixels, shape (H, W, 3), uint8, as a variation of a source."""
    image = codec.of_pixels(pixels)
    source = Source("cat.png", data=codec.encode_png(codec.of_pixels(cat()))) if source is None else source
    return Variation(codec.encode_png(image), source=source, mime_type="image/png", size=image.size, **facts)


def run_of(*pixels):
    """Return a run of one source with these pictures, numbered from 1."""
    source = Source("cat.png", data=codec.encode_png(codec.of_pixels(cat())))
    pictures = [varied(each, source, index=index) for index, each in enumerate(pixels, start=1)]
    return Variations(pictures, engine="fake", model="fake-1", warnings=["a warning"])


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (128, 128, 3)).astype(np.uint8)


@pytest.fixture
def four():
    """Return a run of the source itself, a mirrored one, one in another light, and noise."""
    own = cat()
    return run_of(own, own[:, ::-1].copy(), (own * 0.6).astype(np.uint8), noise())


def test_no_order_without_any_value(four):
    """Where no source can be read any more, sorting says so instead of returning the order that is there."""
    lost = four.with_pictures([varied(cat(), Source("gone.png", path=Path("no/such.png"))) for _ in range(3)])
    with pytest.raises(ImageVariationError, match="can't be compared with its source"):
        lost.sorted("similarity")


def test_a_run_is_measured_at_once(four):
    """`measure` of a run has each picture's own number, and NaN for one whose source is gone."""
    expected = [each.measure("histogram") for each in four]
    lost = varied(cat(), Source("gone.png", path=Path("no/such.png")))
    found = four.with_pictures([*four, lost]).measure("histogram")
    assert found[:-1] == expected
    assert np.isnan(found[-1])


def test_the_similarity_is_the_panels(photo):
    """A picture's similarity is the number on the panel's card."""
    for fit in ("crop", "pad", "stretch"):
        (made,) = Client("patch").variations(photo, size="96x64", seed=3, fit=fit)
        card = card_of(made, similarity.sample(made.source), fit)
        assert made.similarity == card.similar
        assert 0.0 < made.similarity < 1.0


def test_the_fit_is_the_pictures(photo):
    """The source is brought to the picture's shape as its settings say, else it is cropped."""
    padded = codec.to_array(codec.pad_image(photo, (96, 96)))
    (source,) = load_sources(photo)
    assert varied(padded, source, parameters={"fit": "pad"}).similarity > 0.9
    assert (
        varied(padded, source).similarity
        == varied(padded, source, parameters={"fit": ["pad"]}).similarity
        < 0.5
    )


def test_the_blind_spots_are_as_documented(four):
    """SSIM sees no mirrored copy for what it is; the new share does, and the histogram sees the light."""
    own, mirrored, dark, noisy = four
    assert own.similarity == pytest.approx(1)
    assert mirrored.similarity < 0.5
    assert mirrored.measure("new_share") > 0.95
    assert dark.measure("new_share") > 0.95
    assert noisy.measure("new_share") < 0.5
    assert mirrored.measure("histogram") > 0.9
    assert dark.measure("histogram") < 0.5


def test_a_close_up_has_nothing_new():
    """A picture that shows a part of its source, or more than it, holds nothing new against it."""
    own = cat()
    closer = codec.to_array(codec.resize(codec.of_pixels(own[12:116, 12:116].copy()), (128, 128)))
    assert varied(closer).measure("new_share") > 0.95
    assert varied(closer).similarity < 0.6


def test_colour_is_seen_by_the_histogram_only():
    """A picture whose colours are exchanged at equal grey has another histogram, and the same structure."""
    own = cat()
    grey = np.repeat(np.asarray(codec.of_pixels(own).convert("L"))[:, :, None], 3, axis=2)
    assert varied(grey).similarity > 0.98
    assert varied(grey).measure("histogram") < 0.5


def test_the_similarity_is_computed_once(monkeypatch, four):
    """The number is kept with the picture, and a pickled picture has it."""
    first = four[3].similarity
    monkeypatch.setattr(measures, "to_source", None)
    again = pickle.loads(pickle.dumps(four[3]))  # noqa: S301 - our own
    assert four[3].similarity == four[3].measure("ssim") == again.similarity == first


def test_what_cannot_be_read_is_one_clear_line(tmp_path, four):
    """A source that is gone, a file that is gone and a broken picture each give one line that names the picture."""
    gone = varied(cat(), Source("old.png"))
    missing = Variation(
        None, source=four[0].source, mime_type="image/png", size=(8, 8), path=tmp_path / "no.png"
    )
    broken = Variation(b"no picture", source=four[0].source, mime_type="image/png", size=(8, 8), index=7)
    for picture, words in [
        (gone, "is gone; pass it again"),
        (missing, "no longer in the store"),
        (broken, "cat-7"),
    ]:
        with pytest.raises(ImageVariationError, match=re.escape(words)) as caught:
            _ = picture.similarity
        assert str(caught.value).startswith(f"{picture.name} can't be compared with its source: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageVariationError, match="no longer in the store"):
        Variations([four[0], missing]).similarities()


@pytest.mark.parametrize("metric", NAMES)
def test_similarities_are_symmetric_and_in_range(metric, four):
    """The matrix is symmetric, from 0 to 1, with 1 for equal pictures, and one call for None means SSIM."""
    found = four.similarities(metric)
    assert found.shape == (4, 4)
    assert found.dtype == np.float64
    assert np.array_equal(found, found.T)
    assert np.diag(found) == pytest.approx(1)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert found[0, 3] < found[0, 2]
    if metric == "ssim":
        assert np.array_equal(found, four.similarities())


@pytest.mark.parametrize("metric", NAMES)
@cases(60, 12)
@given(
    pixels=st.lists(
        arrays.arrays(
            np.uint8,
            st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)),
            elements=st.integers(0, 255),
        ),
        min_size=1,
        max_size=4,
    ),
    data=st.data(),
)
def test_similarities_of_any_pictures(metric, pixels, data):
    """For any pictures of any sizes the matrix is symmetric and in range, and follows the order of the pictures."""
    run = run_of(*pixels)
    found = run.similarities(metric)
    assert np.array_equal(found, found.T)
    assert ((found >= 0) & (found <= 1)).all()
    assert np.diag(found) == pytest.approx(1)
    order = data.draw(st.permutations(range(len(pixels))))
    again = run.with_pictures(run[at] for at in order).similarities(metric)
    assert again == pytest.approx(found[np.ix_(order, order)], abs=1e-9)


def test_no_pictures_give_an_empty_matrix():
    """Without pictures the matrix has no rows."""
    assert Variations().similarities().shape == (0, 0)


@pytest.mark.parametrize("metric", [*NAMES, lambda first, _: first.mean()])
def test_each_picture_is_decoded_once(metric, monkeypatch, four):
    """Four pictures take four decodes, and a source one for all of its pictures."""
    opened, whole = [], codec.open_image
    monkeypatch.setattr(
        codec, "open_image", lambda data, *rest, **more: opened.append(data) or whole(data, *rest, **more)
    )
    four.similarities(metric)
    assert len(opened) == 4
    opened.clear()
    four.sorted(metric)
    assert len(opened) == 5


def test_a_function_gets_two_arrays_of_one_shape():
    """A function gets uint8 arrays (H, W, 3) of one shape, of at most 256 px, once a pair, the earlier first."""
    run = run_of(cat((512, 256)), cat((128, 128)), noise())
    seen = []

    def metric(first, second):
        seen.append((first.shape, second.shape, first.dtype, second.dtype))
        return first.mean() - second.mean()

    found = run.similarities(metric)
    assert seen[1] == ((128, 128, 3), (128, 128, 3), np.uint8, np.uint8)
    assert seen[0][0] == (128, 256, 3)
    assert len(seen) == 6
    assert found[0, 2] == found[2, 0] == pytest.approx(cat().mean() - noise().mean(), abs=0.5)


def test_transparency_is_laid_on_white():
    """What transparency hides does not count: a picture that hides noise is a white one."""
    hidden = np.dstack([noise(), np.zeros((128, 128), np.uint8)])
    run = run_of(hidden, np.full((128, 128, 3), 255, np.uint8))
    for metric in NAMES:
        assert run.similarities(metric) == pytest.approx(np.ones((2, 2)))
    assert run.similarities(lambda first, second: float((first == second).all())).all()


@pytest.mark.parametrize("metric", ["SSIM", "", 3, ["ssim"], "clip"])
def test_a_wrong_metric_lists_what_is_allowed(metric, four):
    """A name that is none gives one line with all that are, from each way in."""
    allowed = re.escape(
        "allowed: ssim, new_share, histogram, clip:<folder or id>, or a function of two arrays"
    )
    for call in (four.similarities, four[0].measure, four[:0].similarities):
        with pytest.raises(InvalidRequestError, match=allowed) as caught:
            call(metric)
        assert caught.value.field == "metric"
    with pytest.raises(
        InvalidRequestError, match="similarity, index, seed, strength, seconds, size, ssim"
    ) as caught:
        four.sorted(metric)
    assert caught.value.field == "by"


def test_a_function_without_a_number_is_refused(four):
    """A function that returns no number gives one line with what it returned."""
    for call in (four.similarities, four.sorted):
        with pytest.raises(InvalidRequestError, match="the metric returned 'far'; allowed: a function"):
            call(lambda *_: "far")


def test_sorting_keeps_what_a_run_is(four):
    """A sorted run has its engine, model and warnings, with the least similar picture first, or last on request."""
    ordered = four.sorted("similarity")
    assert type(ordered) is Variations
    assert (ordered.engine, ordered.model, ordered.warnings) == ("fake", "fake-1", ["a warning"])
    values = [each.similarity for each in ordered]
    assert values == sorted(values)
    assert [each.index for each in four.sorted(reverse=True)] == [each.index for each in ordered][::-1]
    assert [each.index for each in four] == [1, 2, 3, 4]
    assert four.sorted("new_share")[0].index == 4
    assert four.sorted(lambda first, second: -np.abs(first - second.astype(float)).mean())[-1].index == 1


def test_sorting_keeps_a_sweep():
    """A sorted sweep is a sweep with the same axes and cells."""
    pictures = [
        varied(each, combination={"strength": strength})
        for each, strength in ((noise(1), 0.2), (cat(), 0.5), (noise(2), 0.8))
    ]
    made = Sweep(pictures, axes={"strength": [0.2, 0.5, 0.8]}, engine="fake")
    ordered = made.sorted("similarity", reverse=True)
    assert type(ordered) is Sweep
    assert ordered[0] is pictures[1]
    assert (ordered.axes, ordered.grid) == (made.axes, made.grid)
    assert list(made.sorted("strength", reverse=True)) == pictures[::-1]


def test_sorting_by_facts_is_stable_and_unknown_comes_last():
    """Facts sort in either direction, equal ones keep their order, and what has none comes last both times."""
    facts = [{"seed": 3, "seconds": 2.0}, {}, {"seed": 1, "seconds": 2.0}, {"seed": 3, "seconds": 1.0}]
    run = Variations([varied(noise(), index=index, **each) for index, each in enumerate(facts, start=1)])
    assert [each.index for each in run.sorted("seed")] == [3, 1, 4, 2]
    assert [each.index for each in run.sorted("seed", reverse=True)] == [1, 4, 3, 2]
    assert [each.index for each in run.sorted("seconds")] == [4, 1, 3, 2]
    assert [each.index for each in run.sorted("index", reverse=True)] == [4, 3, 2, 1]
    sizes = Variations([varied(noise()[:side], index=side) for side in (64, 16, 32)])
    assert [each.index for each in sizes.sorted("size")] == [16, 32, 64]


def test_unreadable_pictures_come_last(tmp_path, four):
    """A picture whose file or source is gone comes last in either direction."""
    missing = Variation(
        None, source=four[0].source, mime_type="image/png", size=(8, 8), path=tmp_path / "no.png"
    )
    gone = varied(cat(), Source("old.png"))
    run = Variations([missing, four[3], gone, four[0]])
    assert list(run.sorted()) == [four[3], four[0], missing, gone]
    assert list(run.sorted(reverse=True)) == [four[0], four[3], missing, gone]


def test_the_two_most_different():
    """Two of n are the least similar pair; a third is the one farthest from both; the run's order is kept."""
    own = cat()
    run = run_of(own, noise(1), (own * 0.9).astype(np.uint8), noise(2), (own * 0.8).astype(np.uint8))
    found = run.similarities()
    two = run.most_different()
    first, second = (each.index - 1 for each in two)
    assert first < second
    assert found[first, second] == found.min()
    assert {each.index for each in run.most_different(3)} >= {2, 4}
    assert list(run.most_different(9)) == list(run)
    assert len(run.most_different(1)) == 1
    with pytest.raises(InvalidRequestError, match="count is 0; allowed: a whole number from 1"):
        run.most_different(0)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """Return the folder of a CLIP model of random weights, saved as real ones are."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    sides = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sides, "vocab_size": 20, "bos_token_id": 18, "eos_token_id": 19, "pad_token_id": 0},
        vision_config={**sides, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor(size=32, crop_size=32).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layout", ["processor", "none"])
def test_clip_takes_every_layout_of_transformers(clip_folder, four, tmp_path, layout):
    """Settings of a processor may be in `processor_config.json`, and a model saved without any gets CLIP's own."""
    copy = tmp_path / "clip"
    shutil.copytree(clip_folder, copy)
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").unlink()
    if layout == "processor":
        (copy / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    expected = four.similarities(f"clip:{clip_folder}")
    assert four.similarities(f"clip:{copy}") == pytest.approx(expected, abs=1e-6)


def test_clip_compares_embeddings(clip_folder, four):
    """A CLIP model in a folder gives cosines in range: 1 for equal pictures, and as its own code computes them."""
    import torch
    import transformers

    found = four.similarities(f"clip:{clip_folder}")
    assert np.array_equal(found, found.T)
    assert np.diag(found) == pytest.approx(1)
    assert ((found >= 0) & (found <= 1)).all()
    assert found[0, 3] < found[0, 2] < 1
    model = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    pixels = transformers.CLIPImageProcessor.from_pretrained(clip_folder)(
        images=[each.image for each in four], return_tensors="pt"
    )
    with torch.no_grad():
        features = model.visual_projection(model.vision_model(**pixels).pooler_output)
    cosines = torch.nn.functional.cosine_similarity(features[0], features[3], dim=0)
    assert found[0, 3] == pytest.approx(max(0.0, float(cosines)), abs=1e-5)
    assert four[0].measure(f"clip:{clip_folder}") == pytest.approx(1)


def test_clip_loads_once_and_embeds_once(clip_folder, monkeypatch, four):
    """The model is loaded once for all calls of a process, and each picture is embedded once in a call."""
    import transformers

    loaded, load = [], transformers.CLIPModel.from_pretrained
    embedded, embed = [], transformers.CLIPModel.get_image_features
    monkeypatch.setattr(
        transformers.CLIPModel,
        "from_pretrained",
        lambda *rest, **more: loaded.append(rest) or load(*rest, **more),
    )
    monkeypatch.setattr(
        transformers.CLIPModel,
        "get_image_features",
        lambda self, **pixels: embedded.append(pixels) or embed(self, **pixels),
    )
    clip._load.cache_clear()
    for _ in range(2):
        four.similarities(f"clip:{clip_folder}")
    assert len(loaded) == 1
    assert len(embedded) == 8


def test_clip_finds_the_hubs_cache(clip_folder, monkeypatch, tmp_path, four):
    """A repository in the hub's cache is a model; one that isn't is a line with the command that fetches it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789" * 4
    repo = tmp_path / "models--some--clip"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots").mkdir()
    (repo / "snapshots" / commit).symlink_to(clip_folder)
    assert four.similarities("clip:some/clip") == pytest.approx(four.similarities(f"clip:{clip_folder}"))
    with pytest.raises(InvalidRequestError, match="downloads nothing; fetch it with: hf download other/clip"):
        four.similarities("clip:other/clip")


class Evil:
    """A pickle of it writes a file when it is read."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return Path.touch, (Path(self.trace),)


def test_clip_runs_no_code(clip_folder, tmp_path, four):
    """A folder whose weights are a pickle, or that names Python code, is refused with the file's name."""
    import shutil

    pickled, coded = tmp_path / "pickled", tmp_path / "coded"
    trace = tmp_path / "trace"
    for folder in (pickled, coded):
        shutil.copytree(clip_folder, folder)
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(trace)))
    (coded / "modeling.py").write_text(f"open({str(trace)!r}, 'w').close()")
    for folder, file in ((pickled, "pytorch_model.bin"), (coded, "modeling.py")):
        with pytest.raises(InvalidRequestError, match=re.escape(file)) as caught:
            four.similarities(f"clip:{folder}")
        assert caught.value.field == "metric"
        assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("", "no folder"),
        ("nowhere", "'nowhere', no folder"),
        ("../up", "no folder"),
        ("x\0y", "no folder"),
        ("EMPTY", "has no config.json"),
        ("OTHER", "is of the type 'bert'"),
        ("DAMAGED", "can't be loaded"),
    ],
)
def test_clip_without_a_model_is_one_line(model, words, tmp_path, four, request):
    """A name that is no CLIP model gives one line with what is allowed, in every order and measure."""
    folder = tmp_path / "model"
    folder.mkdir()
    if model in ("OTHER", "DAMAGED"):
        import shutil

        shutil.copytree(request.getfixturevalue("clip_folder"), folder, dirs_exist_ok=True)
        if model == "OTHER":
            (folder / "config.json").write_text('{"model_type": "bert"}')
        else:
            (folder / "model.safetensors").write_bytes(b"short")
    metric = f"clip:{folder if model.isupper() else model}"
    for call in (four.similarities, four.sorted, four[0].measure):
        with pytest.raises(InvalidRequestError, match=re.escape(words)) as caught:
            call(metric)
        assert "allowed: clip:FOLDER or clip:OWNER/NAME" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_clip_without_transformers_is_one_line(clip_folder, monkeypatch, four):
    """Without transformers the line says what to install."""
    import sys

    clip._load.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImageVariationError, match=re.escape("pip install 'ipy-imgvar[diffusers]'")):
        four.similarities(f"clip:{clip_folder}")
