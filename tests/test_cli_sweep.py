"""Sweeps and dry runs on the command line: what they print and save, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ipy_imgvar import cli, last

pytestmark = pytest.mark.usefixtures("quick_patch")

TABLE = ["--sweep", "strength=.2,.5", "--sweep", "seed=1..2"]


@pytest.fixture
def here(photo_path, monkeypatch):
    """Work in the folder of photo.png."""
    monkeypatch.chdir(photo_path.parent)
    return photo_path.parent


def create(*words):
    return cli.main(["create", "photo.png", "-s", "64", *words])


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("here")
def test_a_sweep_saves_files_in_its_order(capfd):
    """The files are numbered through the sweep, the last axis fastest, and each is the picture made alone."""
    assert create(*TABLE) == 0
    names = capfd.readouterr().out.split()
    assert names == [f"photo-{i}.png" for i in (1, 2, 3, 4)]
    assert [each.combination for each in last()] == [
        {"strength": strength, "seed": seed} for strength in (0.2, 0.5) for seed in (1, 2)
    ]
    assert create("--strength", ".5", "--seed", "1", "--out-file", "alone.png") == 0
    assert Path("alone.png").read_bytes() == Path("photo-3.png").read_bytes()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{stem}-{i}.png", ["photo-1.png", "photo-2.png", "photo-3.png", "photo-4.png"]),
        (
            "{strength}/{stem}-{seed:02}.png",
            ["0.2/photo-01.png", "0.2/photo-02.png", "0.5/photo-01.png", "0.5/photo-02.png"],
        ),
    ],
)
def test_the_axes_are_fields_of_a_pattern(here, capfd, pattern, names):
    """--out-file numbers the pictures of a sweep, and has a field for each axis."""
    assert create(*TABLE, "--out-file", f"out/{pattern}") == 0
    assert capfd.readouterr().out.split() == [f"out/{name}" for name in names]
    assert names_in(here / "out") == sorted(names)


def test_a_run_a_dry_run_and_a_failure_name_the_same_files(here, capfd, monkeypatch):
    """A value in any spelling names a file by its normal form, in the plan, after the run and after a failure."""
    from ipy_imgvar.engines.patch.engine import PatchEngine
    from ipy_imgvar.errors import EngineError

    words = ["--sweep", "flip=yes,no", "--sweep", "strength=.50", "--out-file", "out/{flip}-{strength}.png"]
    (here / "out").mkdir()
    (here / "out" / "true-0.5.png").write_text("old")
    assert create(*words, "--dry-run", "--json") == 0
    files = json.loads(capfd.readouterr().out)["files"]
    assert [(each["path"], each["replaces"]) for each in files] == [
        ("out/true-0.5.png", True),
        ("out/false-0.5.png", False),
    ]
    assert create(*words) == 0
    assert capfd.readouterr().out.split() == [each["path"] for each in files]
    generate = PatchEngine.generate

    def failing(self, request, job):
        if request.options["flip"]:
            raise EngineError("no mirror")
        return generate(self, request, job)

    monkeypatch.setattr(PatchEngine, "generate", failing)
    assert create(*words, "--again") == 1
    assert capfd.readouterr().out.split() == ["out/false-0.5.png"]


@pytest.mark.usefixtures("here")
def test_a_pattern_without_a_field_for_each_picture_is_refused_before_the_run(capfd):
    """Two pictures of a sweep don't get one name, which is said before anything is made."""
    assert create(*TABLE, "--out-file", "out/{strength}.png") == 2
    assert "out/0.2.png is the name of 2 pictures; add {i}" in capfd.readouterr().err
    assert last() is None


@pytest.mark.usefixtures("here")
def test_an_unknown_field_is_refused_before_the_run(capfd):
    """A name in braces that is no field is refused with the fields of the sweep, and nothing is made."""
    assert create(*TABLE, "--out-file", "out/{sed}-{i}.png") == 2
    assert (
        "{sed} is no field of a file's name; allowed: {i}, {n}, {stem}, {strength}" in capfd.readouterr().err
    )
    assert last() is None


@pytest.mark.usefixtures("here")
def test_json_has_axes_and_combinations(capfd):
    """--json tells each picture's combination, and the axes of all."""
    assert create(*TABLE, "--json") == 0
    described = json.loads(capfd.readouterr().out)
    assert described["axes"] == {"strength": [0.2, 0.5], "seed": [1, 2]}
    assert described["pictures"][2]["combination"] == {"strength": 0.5, "seed": 1}
    assert described["pictures"][2]["path"] == "photo-3.png"
    assert create("--json") == 0
    described = json.loads(capfd.readouterr().out)
    assert "axes" not in described
    assert "combination" not in described["pictures"][0]


def test_forms_are_printed_in_order(here, capfd):
    """-f base64 prints a line for each picture of a sweep, in its order, and saves nothing."""
    assert create("--sweep", "size=64,96", "-f", "base64") == 2
    assert "size is given by -s and by --sweep; keep one" in capfd.readouterr().err
    assert cli.main(["create", "photo.png", "--sweep", "size=64,96x64", "-f", "base64"]) == 0
    assert len(capfd.readouterr().out.split()) == 2
    assert [each.size for each in last()] == [(64, 64), (96, 64)]
    assert names_in(here) == ["photo.png"]


def test_a_picture_that_fails_leaves_its_number_out(here, capfd, monkeypatch):
    """Pictures of a sweep that are made although others fail keep the numbers that they have in it."""
    from ipy_imgvar.engines.patch.engine import PatchEngine
    from ipy_imgvar.errors import EngineError

    generate = PatchEngine.generate

    def failing(self, request, job):
        if request.seed == 1:
            raise EngineError("no memory for seed 1")
        return generate(self, request, job)

    monkeypatch.setattr(PatchEngine, "generate", failing)
    assert create(*TABLE) == 1
    printed = capfd.readouterr()
    assert printed.out.split() == ["photo-2.png", "photo-4.png"]
    assert "no memory for seed 1" in printed.err
    assert names_in(here) == ["photo-2.png", "photo-4.png", "photo.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sweep", "strength"], "--sweep is 'strength'; allowed: NAME=VALUES"),
        (["--sweep", "seed={range(4)}"], "braces and $ are for a notebook; here, write the values"),
        (["--sweep", "nothing=1"], "nothing"),
        (["--sweep", "strength=.2,2"], "strength is '2'; allowed: subtle, medium, strong"),
        (["--sweep", "fit=crop,none"], "fit is 'none'; allowed: crop"),
        (["--sweep", "engine=patch,pach"], "engine is 'pach'; allowed: patch"),
        (["--sweep", "seed=1", "--sweep", "fit=pad", "--sweep", "size=64"], "allowed: two in a line"),
        (["--sweep", "seed=1", "--sweep", "seed=2"], "--sweep seed is given twice"),
        (["--seed", "3", "--sweep", "seed=1..2"], "seed is given by --seed and by --sweep; keep one"),
        (
            ["--option", "flip=true", "--sweep", "flip=true,false"],
            "flip is given by --option flip and by --sweep; keep one",
        ),
        (["-Sweep", "seed=1", "-Seed", "3"], "seed is given by -Seed and by -Sweep; keep one"),
        (["--index", "1", "--sweep", "seed=1..2"], "--index makes one picture of a run, and --sweep"),
        (["--sweep", "seed=1..2", "-f", "byte"], "-f byte writes one picture"),
        (["--sweep", "seed=1..2", "-f", "byte", "--dry-run"], "-f byte writes one picture"),
        (["--sweep", "seed=1..2", "--out-file", "x.png", "--dry-run"], "add {i}: x-{i}.png"),
        (["--yes"], "--yes goes with --sweep; give both"),
        (["--again"], "--again goes with --sweep or --out-dir; give both"),
    ],
)
def test_a_wrong_sweep_ends_with_2_and_one_line(here, capfd, words, message):
    """A wrong sweep gives exit code 2 and one line, and nothing is made."""
    assert cli.main(["create", "photo.png", *words]) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert names_in(here) == ["photo.png"]
    assert last() is None


@pytest.mark.usefixtures("here")
def test_above_64_pictures_yes_is_needed(capfd, monkeypatch):
    """A sweep of more than 64 pictures is refused in a line that names --yes; with it, the client is told so."""
    from ipy_imgvar.client import Client

    assert create("--sweep", "seed=1..65") == 2
    assert "--yes" in capfd.readouterr().err
    assert last() is None
    asked = []

    def sweep(self, image, *, confirm=None, resume=True, **named):
        asked.append((confirm, resume, len(list(named["over"]["seed"]))))
        return self.variations(image, size=64)

    monkeypatch.setattr(Client, "sweep", sweep)
    assert create("--sweep", "seed=1..65", "--yes", "--again") == 0
    assert asked == [(True, False, 65)]


def test_a_dry_run_of_a_sweep_is_a_table(here, capfd, store_root):
    """--dry-run prints what would be made and written, and does nothing."""
    Path("photo-1.png").write_text("precious")
    assert create(*TABLE, "--dry-run") == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert "4 pictures of 1 image at 64x64 px" in printed.out
    assert [line.split()[-2] for line in printed.out.splitlines() if line.endswith("new")] == [
        f"photo-{i}.png," for i in (2, 3, 4, 5)
    ]
    assert names_in(here) == ["photo-1.png", "photo.png"]
    assert not store_root.exists()


def test_a_dry_run_names_the_files_of_a_pattern(here, capfd):
    """The files of --out-file are listed as the run names them, and those that it replaces are marked."""
    words = [*TABLE, "--out-file", "out/{strength}-{seed}.jpg"]
    (here / "out").mkdir()
    (here / "out" / "0.5-1.jpg").write_text("old")
    assert create(*words, "--dry-run", "--json") == 0
    files = json.loads(capfd.readouterr().out)["files"]
    assert [each["path"] for each in files if each["replaces"]] == ["out/0.5-1.jpg"]
    assert create(*words) == 0
    assert capfd.readouterr().out.split() == [each["path"] for each in files]


@pytest.mark.usefixtures("here")
def test_a_dry_run_asks_no_server(api, capfd, monkeypatch):
    """A dry run names server, requests and bytes, and sends nothing."""
    monkeypatch.setenv("OPENAI_API_BASE", api.base)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    assert cli.main(["create", "photo.png", "-s", "256", "--sweep", "model=a,b", "--dry-run", "--json"]) == 0
    printed = capfd.readouterr().out
    described = json.loads(printed)
    assert (described["requests"], described["models"]) == (2, ["a", "b"])
    assert described["bytes_to_send"] > 0
    assert "sk-canary" not in printed
    assert api.requests == []


def test_a_dry_run_of_many_images_counts_them(here, capfd):
    """`bulk --dry-run` says how many images are done and to do, as a table and as JSON; --json needs it."""
    words = ["bulk", ".", "--out-dir", "out", "-s", "64"]
    assert cli.main([*words, "--dry-run"]) == 0
    assert capfd.readouterr().out.count("1 image, 0 done, 1 to do") == 1
    assert not (here / "out").exists()
    assert cli.main([*words, "--workers", "1", "--quiet"]) == 0
    capfd.readouterr()
    for again, to_do in ([], 0), (["--again"], 1):
        assert cli.main([*words, *again, "--dry-run", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["out_dir"]["to_do"] == to_do
    assert cli.main([*words, "--json"]) == 2
    assert "--json goes with --dry-run here" in capfd.readouterr().err


@pytest.mark.slow
def test_again_makes_again(here, capfd):
    """--again makes again what the ledger lists as done."""
    words = ["bulk", "photo.png", "--out-dir", "out", "-s", "64", "--workers", "1", "--quiet"]
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    assert cli.main([*words, "--again"]) == 0
    capfd.readouterr()
    records = (here / "out" / "ledger.jsonl").read_text().splitlines()
    assert len([line for line in records if json.loads(line).get("status") == "done"]) == 2


@pytest.mark.usefixtures("here")
def test_many_images_take_no_sweep(capfd):
    """`bulk` says that it takes no sweep, in one line."""
    assert cli.main(["bulk", ".", "--out-dir", "out", "--sweep", "seed=1..2"]) == 2
    assert "--out-dir makes the same of many images, and --sweep" in capfd.readouterr().err
    assert not Path("out").exists()


def test_verbose_says_the_plan_once(api, here):
    """With --verbose a hosted sweep's plan is said once, not by the log too."""
    words = ["create", "photo.png", "--api-base", api.base, "--sweep", "size=256,512", "--verbose"]
    done = subprocess.run(
        [sys.executable, "-m", "ipy_imgvar.cli", *words],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("makes: 2 pictures") == 1
