"""What is packed: the metadata, the names that pages and messages give, and the files of wheel and sdist."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import ipy_imgvar

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")])
MODULES = sorted((ROOT / "ipy_imgvar").rglob("*.py"))
#: What a version looks like in the form that the index keeps.
VERSION = re.compile(r"\d+\.\d+\.\d+")


def changelog():
    """Return (version, date) of each section of the changelog, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    return re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)


def test_the_version_is_the_newest_of_the_changelog():
    """The version of pyproject.toml is that of the newest section with a date, which stands below Unreleased."""
    (first, no_date), (version, date), *_ = changelog()
    assert (first, no_date) == ("Unreleased", "")
    assert version == PROJECT["version"]
    assert VERSION.fullmatch(version)
    assert date


def test_the_package_knows_its_version():
    """`ipy_imgvar.__version__` is the version of pyproject.toml; after a change of it, install the clone again."""
    assert ipy_imgvar.__version__ == PROJECT["version"], "pip install -e . writes the installed metadata anew"


def test_the_sections_of_a_version_are_in_order():
    """A version's sections are those of Keep a Changelog, in its order, each once."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for version in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", version, re.MULTILINE)
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert kinds == [kind for kind in order if kind in kinds]


@pytest.mark.parametrize(
    "field", ["name", "version", "description", "readme", "license", "authors", "keywords"]
)
def test_a_field_of_the_metadata_is_there(field):
    """An index shows the field, and it isn't empty."""
    assert PROJECT[field]


def test_the_classifiers_agree_with_the_other_fields():
    """Each Python that is named may be installed on, the licence is an SPDX expression alone, and types are shipped."""
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert f">={pythons[0]}" == PROJECT["requires-python"]
    assert pythons == sorted(set(pythons), key=lambda name: int(name[2:]))
    assert not [each for each in PROJECT["classifiers"] if each.startswith("License")]
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert (ROOT / "ipy_imgvar/py.typed").exists()


def test_every_extra_that_is_named_exists():
    """A page or message that says `ipy-imgvar[...]`, or `.[...]` for a clone, names extras of pyproject.toml."""
    named = {}
    for path in [*PAGES, *MODULES]:
        for names in re.findall(r"(?:ipy-imgvar|'\.|\.whl)\[([a-z,-]+)\]", path.read_text("utf-8")):
            named |= dict.fromkeys(names.split(","), path.name)
    assert {"server", "diffusers", "notebook"} <= set(named)
    assert {name: where for name, where in named.items() if name not in EXTRAS} == {}


def test_the_page_has_every_extra():
    """The table of docs/installing.md has a row for each extra, and for no other."""
    page = (ROOT / "docs/installing.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `([\w-]+)` \|", page.partition("## Extras")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert sorted(rows) == sorted(EXTRAS)


def test_the_page_has_the_lowest_versions():
    """The table of lowest versions in docs/installing.md has each dependency with the bound of pyproject.toml."""
    page = (ROOT / "docs/installing.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert rows == [tuple(each.partition(";")[0].split(">=")) for each in PROJECT["dependencies"]]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["frob"], ["create", "none.png"]])
def test_the_package_runs_as_the_command(words, tmp_path):
    """`python -m ipy_imgvar` prints what `imgvar` prints, on both streams, with its exit code."""
    command = (
        f"import sys; from {PROJECT['scripts']['imgvar'].replace(':', ' import ')} as main; sys.exit(main())"
    )
    ended = [
        subprocess.run(
            [sys.executable, *how, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for how in (["-m", "ipy_imgvar"], ["-c", command])
    ]
    assert [each.stdout for each in ended] == [ended[0].stdout] * 2
    assert [each.stderr for each in ended] == [ended[0].stderr] * 2
    assert [each.returncode for each in ended] == [0 if words[0].startswith("--") else 2] * 2


def test_the_version_is_printed(capsys):
    """`imgvar --version` prints the name and the version."""
    from ipy_imgvar.cli import main

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"imgvar {ipy_imgvar.__version__}\n"


@pytest.mark.parametrize("name", PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
def test_what_the_sdist_includes_is_there(name):
    """A path that pyproject.toml names for the sdist exists, so that a folder that moved is noticed."""
    assert name.startswith("/")
    assert (ROOT / name[1:]).exists()


def built(suffix):
    """Return the file that `.ci/package` built; skip where it didn't."""
    if "IMGVAR_DIST" not in os.environ:
        pytest.skip(".ci/package builds the distributions, and names their folder in IMGVAR_DIST")
    (path,) = Path(os.environ["IMGVAR_DIST"]).glob(f"*{suffix}")
    return path


def test_the_wheel_has_the_package_and_nothing_else():
    """The wheel is for every platform and has each file of the package, the panel's too, its metadata and licence."""
    path = built(".whl")
    assert path.name == f"ipy_imgvar-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(path) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        metadata = {Path(name).name for name in file.namelist() if ".dist-info/" in name}
    package = [
        each
        for each in (ROOT / "ipy_imgvar").rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    ]
    assert names == {each.relative_to(ROOT).as_posix() for each in package}
    assert {
        "ipy_imgvar/py.typed",
        "ipy_imgvar/panel/front/panel.js",
        "ipy_imgvar/panel/front/panel.css",
    } <= names
    assert metadata == {"METADATA", "WHEEL", "RECORD", "LICENSE", "entry_points.txt"}


def test_the_sdist_has_no_file_that_a_command_makes():
    """The sdist has the pages, notebooks and tests, and neither caches, environments nor outputs."""
    path = built(".tar.gz")
    assert path.name == f"ipy_imgvar-{PROJECT['version']}.tar.gz"
    with tarfile.open(path) as file:
        names = [name.partition("/")[2] for name in file.getnames()]
    tops = {name.partition("/")[0] for name in names}
    named = {name[1:] for name in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert tops == named | {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    made = re.compile(r"__pycache__|node_modules|\.venv|\.pyc$|\.html$|checkpoints|\.hypothesis|_cache/")
    assert not [name for name in names if made.search(name)]
