"""Sweeps and dry runs in a notebook: what a line gives, shows and binds, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from IPython.core.error import UsageError

from ipy_imgvar import Client, Sweep, last
from ipy_imgvar.planning.plan import Plan

TABLE = "--sweep strength=.2,.5 --sweep seed=1..2"


@pytest.fixture
def desk(shell, photo, tmp_path):
    """Give a shell in a folder with photo.png, and with variables for values."""
    photo.save(tmp_path / "photo.png")
    shell.ns.update(
        np=np,
        values=[0.2, 0.5],
        array=np.array([0.2, 0.5]),
        column=pd.Series([1, 2]),
        axes={"strength": [0.2], "seed": range(1, 3)},
    )
    return shell


def made(desk, line):
    """Return the sweep that a line makes, at 64 px."""
    result = desk.run(f"%imagevariation photo.png -s 64 --quiet {line}")
    assert result.error is None, result.out
    return result.value


def combinations(sweep):
    return [tuple(each.combination.values()) for each in sweep]


def test_a_line_makes_every_combination(desk):
    """Two axes are a Sweep, in the order of the line, and each picture is the one made alone."""
    sweep = made(desk, TABLE)
    assert type(sweep) is Sweep
    assert sweep.axes == {"strength": (0.2, 0.5), "seed": (1, 2)}
    assert combinations(sweep) == [(0.2, 1), (0.2, 2), (0.5, 1), (0.5, 2)]
    assert sweep.grid[1][0].bytes == made(desk, "--strength .5 --seed 1")[0].bytes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--sweep strength={values}", [(0.2,), (0.5,)]),
        ("--sweep strength=$array", [(0.2,), (0.5,)]),
        ("--sweep seed={column}", [(1,), (2,)]),
        ("--sweep seed={np.arange(2, dtype=np.uint8)},7", [(0,), (1,), (7,)]),
        ("--sweep {axes}", [(0.2, 1), (0.2, 2)]),
        ('--sweep {"strength": values}', [(0.2,), (0.5,)]),
        ("--sweep flip=true,false", [(True,), (False,)]),
        ("--sweep fit=crop,pad", [("crop",), ("pad",)]),
        ("--sweep engine=patch", [("patch",)]),
        ("-Sweep strength=subtle,strong", [(0.2,), (0.85,)]),
    ],
)
def test_values_are_text_or_objects(desk, words, expected):
    """Values come from text, variables, arrays, series and dictionaries, and are in normal form in the result."""
    assert combinations(made(desk, words)) == expected


def test_sizes_make_pictures_of_each_size(desk):
    """The axis size wins over the configured size."""
    desk.run("%config ImageVariationMagics.size = '32x32'")
    result = desk.run("%imagevariation photo.png --quiet --sweep size=64,96x64")
    assert [each.size for each in result.value] == [(64, 64), (96, 64)]


def test_a_configured_value_gives_way_to_its_axis(desk):
    """What %config sets for an axis is no clash; what it sets for other options holds."""
    desk.run("%config ImageVariationMagics.strength = 'strong'\n%config ImageVariationMagics.n = 2")
    sweep = made(desk, "--sweep strength=.2,.5 --seed 1")
    assert [(each.combination["strength"], each.index) for each in sweep] == [
        (0.2, 1),
        (0.2, 2),
        (0.5, 1),
        (0.5, 2),
    ]


def test_several_images_get_every_combination(desk):
    """Each image of the line gets every combination, source by source."""
    sweep = made(desk, "{np.zeros((32, 32), np.uint8)} --sweep seed=1..2")
    assert len(sweep) == 4
    assert [each.source.name for each in sweep[:2]] == ["photo.png"] * 2
    assert len(sweep.sources) == 2


def test_a_body_is_the_prompt_of_no_sweep_over_prompts(desk):
    """A body is a list of images for a sweep, and no prompt beside an axis of prompts."""
    result = desk.run("%%imagevariation -s 64 --quiet --sweep seed=1..2\nphoto.png")
    assert combinations(result.value) == [(1,), (2,)]
    result = desk.run("%%imagevariation photo.png --engine openai --sweep prompt=a,b\na cat")
    assert "the prompt is given twice, by --sweep and in the cell's body" in str(result.error)


def test_forms_are_flat_lists_in_order(desk):
    """-f gives a list of the values, in the sweep's order, also for one combination."""
    many = made(desk, f"{TABLE} -f byte")
    assert many == last().bytes
    assert made(desk, "--sweep seed=1 -f byte") == last().bytes
    assert [each.shape for each in made(desk, "--sweep fit=crop,pad -f array")] == [(64, 64, 3)] * 2


def test_a_result_is_bound_and_saved(desk, tmp_path):
    """-o binds the Sweep, and --out-file names its files by the values, which win over variables."""
    desk.ns["strength"] = "a variable"
    made(desk, f"{TABLE} -o table --out-file out/{{stem}}-{{strength}}-{{seed}}.png")
    assert type(desk.ns["table"]) is Sweep
    names = ["photo-0.2-1.png", "photo-0.2-2.png", "photo-0.5-1.png", "photo-0.5-2.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ("--sweep flip=yes,no --sweep strength=.50", ["true-0.5", "false-0.5"]),
        ("--sweep size=64,96x64 --sweep strength=subtle", ["64x64-0.2", "96x64-0.2"]),
    ],
)
def test_a_dry_run_names_the_files_of_the_run(desk, tmp_path, axes, names):
    """A value in any spelling names a file by its normal form, in the plan and after the run."""
    first, second = (word.partition("=")[0] for word in axes.split("--sweep ")[1:])
    line = f"%imagevariation photo.png --quiet {axes} --out-file out/{{{first}}}-{{{second}}}.png"
    plan = desk.run(f"{line} --dry-run").value
    assert [each.path.stem for each in plan.files] == names
    assert desk.run(line).error is None
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(names)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [(8, [f"saved s/{seed}.png" for seed in range(1, 9)]), (9, ["saved 9 files: s/1.png ... s/9.png"])],
)
def test_many_saved_files_are_one_line(desk, seeds, said):
    """Up to 8 files are named one by one; more are one line with their number, the first and the last."""
    result = desk.run(f"%imagevariation photo.png -s 64 --sweep seed=1..{seeds} --out-file s/{{seed}}.png")
    assert result.error is None, result.out
    assert [line for line in result.out.splitlines() if line.startswith("saved")] == said


BAD = {
    "an unknown field": (
        "--sweep seed=1..2 --out-file {stem}-{{sed}}.png",
        "{sed} is no field of a file's name",
    ),
    "no values": ("--sweep strength", "--sweep is 'strength'; allowed: NAME=VALUES"),
    "an empty list": ("--sweep strength={[]}", "the axis strength has no values"),
    "a range backwards": ("--sweep seed=4..1", "4..1 runs backwards; write 1..4"),
    "a value that the field refuses": ("--sweep strength=.2,3", "strength is '3'; allowed: subtle, medium"),
    "a value that the engine refuses": ("--sweep flip=true,maybe", "flip"),
    "an unknown name": ("--sweep stength=.2", "stength"),
    "an unknown engine": ("--sweep engine=patch,pach", "engine is 'pach'; allowed: patch"),
    "three": ("--sweep seed=1 --sweep fit=pad --sweep size=64", "allowed: two in a line, more in Python"),
    "twice": ("--sweep seed=1 --sweep seed=2", "--sweep seed is given twice"),
    "beside its option": ("--seed 2 --sweep seed=1..3", "seed is given by --seed and by --sweep; keep one"),
    "beside the engine's option": (
        "--option flip=true --sweep flip=false",
        "by --option flip and by --sweep",
    ),
    "a variable without braces": ("--sweep strength=values", "values is a variable: write strength={values}"),
    "an open quote": ("--sweep 'prompt=\"a'", 'the quote " is never closed'),
    "with --index": ("--index 1 --sweep seed=1..2", "--index makes one picture of a run"),
    "with --out-dir": ("--out-dir out --sweep seed=1..2", "--out-dir makes the same of many images"),
    "with --panel": ("--panel --sweep seed=1..2", "leave --sweep or --panel out"),
    "with --history": ("--history --sweep seed=1..2", "--history shows what was made and makes nothing"),
    "yes alone": ("--yes", "--yes goes with --sweep; give both"),
    "again alone": ("--again", "--again goes with --sweep or --out-dir; give both"),
    "a dry run of the panel": ("--panel --dry-run", "leave --dry-run or --panel out"),
    "a dry run of the history": ("--history --dry-run", "--history shows what was made"),
    "one name for all": (f"{TABLE} --out-file x.png", "add {i}: x-{i}.png"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_sweep_is_one_line(desk, tmp_path, case):
    """A wrong line is a usage error of one line, and nothing is made or bound."""
    words, message = BAD[case]
    result = desk.run(f"%imagevariation photo.png {words} -o x")
    assert type(result.error) is UsageError
    assert message in str(result.error)
    assert len(str(result.error).splitlines()) == 1
    assert last() is None
    assert "x" not in desk.ns
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["photo.png"]


def test_yes_and_again_reach_the_client(desk, monkeypatch):
    """--yes confirms, --again makes all anew, and neither is there unasked."""
    asked = []

    def sweep(self, image, *, over, confirm=None, resume=True, **_):
        asked.append((confirm, resume, over))
        return self.variations(image, size=64)

    monkeypatch.setattr(Client, "sweep", sweep)
    made(desk, "--sweep seed=1..2 --yes --again")
    made(desk, "--sweep seed=1..2")
    assert asked == [(True, False, {"seed": [1, 2]}), (None, True, {"seed": [1, 2]})]


def test_a_large_sweep_needs_yes(desk):
    """Above 64 pictures the line says what would be made, and names --yes."""
    result = desk.run("%imagevariation photo.png -s 64 --sweep seed=1..65")
    assert "65 pictures" in str(result.error)
    assert "--yes" in str(result.error)
    assert last() is None


def test_a_dry_run_returns_its_plan(desk, store_root, tmp_path):
    """--dry-run shows a plan, returns it and binds it, and does nothing; --quiet hides it."""
    result = desk.run(f"%imagevariation photo.png -s 64 {TABLE} --dry-run -o plan --out-file new/{{i}}.png")
    assert type(result.value) is Plan
    assert desk.ns["plan"] is result.value
    assert (result.value.pictures, len(result.value.files)) == (4, 4)
    assert result.out.count("4 pictures of 1 image at 64x64 px") == 1
    assert desk.run("%imagevariation photo.png --dry-run --quiet").out == ""
    assert not (tmp_path / "new").exists()
    assert not store_root.exists()


def test_a_dry_run_of_many_images_counts_them(desk, tmp_path):
    """With --out-dir a dry run counts what is done and what is not, by the same settings."""
    line = "%imagevariation *.png -s 64 --workers 1 --out-dir out"
    assert desk.run(f"{line} --dry-run").value.out_dir.counts.to_do == 1
    assert not (tmp_path / "out").exists()
    desk.run(f"{line} --quiet")
    shown = desk.run(f"{line} --dry-run")
    assert "0 pictures of 0 images at 64x64 px; 1 of 1 image done already" in shown.out
    assert desk.run(f"{line} --dry-run --again").value.out_dir.counts.to_do == 1


def test_a_dry_run_asks_no_server(desk, api):
    """A dry run of a hosted engine names the server and sends nothing."""
    plan = desk.run(f"%imagevariation photo.png -s 256 -n 2 --api-base {api.base} --dry-run").value
    assert plan.destinations
    assert plan.requests > 0
    assert api.requests == []


def test_pictures_that_were_finished_are_shown_by_their_values(desk, monkeypatch):
    """After an interrupt the finished pictures of a sweep are shown, and are in last()."""
    from ipy_imgvar.engines.patch.engine import PatchEngine

    generate = PatchEngine.generate

    def interrupted(self, request, job):
        if request.seed == 3:
            raise KeyboardInterrupt
        return generate(self, request, job)

    monkeypatch.setattr(PatchEngine, "generate", interrupted)
    result = desk.run("%imagevariation photo.png -s 64 --sweep seed=1..4 -o x")
    assert type(result.error) is KeyboardInterrupt
    assert "2 of 4 pictures were finished; the same line goes on with the others" in result.out
    assert "x" not in desk.ns
    assert [each.combination for each in last()] == [{"seed": 1}, {"seed": 2}]


@pytest.fixture(scope="module")
def outputs(kernel):
    """Run a sweep and a dry run in a kernel, and return their outputs."""
    sweep = kernel.run(f"x = %imagevariation photo.png -s 64 --engine patch {TABLE}").outputs
    plan = kernel.run(f"%imagevariation photo.png -s 64 --engine patch {TABLE} --dry-run").outputs
    return SimpleNamespace(sweep=sweep, plan=plan)


def test_a_kernel_shows_one_output_a_line(outputs):
    """A sweep is one output with a table in HTML and text; so is a dry run, which is not echoed."""
    for several in (outputs.sweep, outputs.plan):
        assert [each.kind for each in several] == ["display_data"]
        assert {"text/plain", "text/html"} <= set(several[0].data)
    assert "<table" in outputs.plan[0].data["text/html"]
    assert outputs.sweep[0].data["text/html"].count("<img") >= 4


def test_the_kernel_has_the_sweep(kernel, outputs):  # noqa: ARG001
    """The variable holds the Sweep, and the kernel's completer knows its axes and values."""
    assert kernel.value("type(x).__name__, x.axes") == "('Sweep', {'strength': (0.2, 0.5), 'seed': (1, 2)})"
    assert kernel.complete("%imagevariation photo.png --sweep see")[0] == ["seed="]
    line = "%imagevariation photo.png --sweep fit=crop,p"
    (match,), start, _ = kernel.complete(line)
    assert line[:start] + match == "%imagevariation photo.png --sweep fit=crop,pad"


def test_a_plan_stays_in_the_output(kernel):
    """All lines that a sweep says before its first picture are shown, and stay if it makes none."""
    kernel.run(
        "from ipy_imgvar import Client\nfrom ipy_imgvar.errors import EngineError\nown = Client.sweep\n"
        "def sweep(self, *_, on_notice, **__):\n    on_notice('makes: 2')\n    on_notice('sends: <b>')\n"
        "    raise EngineError('no answer')\nClient.sweep = sweep"
    )
    shown, error = kernel.run("%imagevariation photo.png --engine patch --sweep seed=1..2").outputs
    kernel.run("Client.sweep = own")
    assert shown.data["text/plain"] == "makes: 2\nsends: <b>"
    assert shown.data["text/html"] == "<div>makes: 2</div><div>sends: &lt;b&gt;</div>"
    assert error.traceback == ["EngineError: no answer"]
