"""The links, pictures, titles and sentences of the documentation."""

import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import mistune
import pytest
from PIL import Image

import ipy_imgvar

ROOT = Path(ipy_imgvar.__file__).parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").glob("*.md"))]
#: Lines of the README: what a newcomer reads at once.
MOST_LINES = 160
#: Sentences of fewer words may stand in two places.
LEAST_WORDS = 8
#: What a code block that does not run in the tests has above it; the same reason may hold for several.
REASON = "Not run in the tests: "
#: Where a sentence ends. An abbreviation's full stop is followed by no capital, but in names such as "He et al. Use".
_END = re.compile(r"(?<=[.!?])[*_)\"']*\s+(?=[*_(\"'`\[]*[A-Z`%])")

pytestmark = pytest.mark.skipif(not (ROOT / "SECURITY.md").is_file(), reason="not in a checkout")


@cache
def tokens(page):
    """Return the parsed blocks of a page."""
    return mistune.create_markdown(renderer=None, plugins=["table"])(page.read_text("utf-8"))


def walk(nodes):
    """Yield each node of a parsed page, a parent before its children."""
    for node in nodes:
        yield node
        yield from walk(node.get("children") or ())


def text_of(node):
    """Return the words that a reader sees of a node."""
    if node["type"] in ("softbreak", "linebreak"):
        return " "
    if node["type"] == "image":
        return ""  # A picture has the same description wherever it is shown.
    return node.get("raw", "") + "".join(text_of(each) for each in node.get("children") or ())


def slug(heading):
    """Return the anchor that GitHub gives a heading: lower case, without punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors(page):
    """Return the anchors of a page; a heading that comes again gets a number."""
    counts, found = Counter(), set()
    for node in walk(tokens(page)):
        if node["type"] == "heading":
            name = slug("".join(text_of(each) for each in node["children"]))
            found.add(f"{name}-{counts[name]}" if counts[name] else name)
            counts[name] += 1
    return found


def targets(page):
    """Return the addresses of a page's links and pictures that lead to files of the repository."""
    urls = [node["attrs"]["url"] for node in walk(tokens(page)) if node["type"] in ("link", "image")]
    return [unquote(url) for url in urls if not re.match(r"[a-z][a-z+.-]*:", url, re.IGNORECASE)]


def problem_of(page, target):
    """Return why a link or a picture leads nowhere; None where it leads somewhere."""
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return "is not there"
    if anchor and anchor not in anchors(file):
        return f"has no such heading; it has {', '.join(sorted(anchors(file)))}"
    if file.suffix in (".jpg", ".png"):
        with Image.open(file) as picture:
            picture.verify()
    return None


def sentences(page):
    """Yield the sentences of a page's paragraphs and lists, without the words of tables, code and reasons."""
    for node in walk(tokens(page)):
        if node["type"] in ("paragraph", "block_text") and not text_of(node).startswith(REASON):
            for sentence in _END.split(text_of(node)):
                words = re.findall(r"[\w'-]+", sentence.lower())
                if len(words) >= LEAST_WORDS:
                    yield " ".join(words)


def twice(pages):
    """Return each sentence that stands in two places, with the names of its pages."""
    places = defaultdict(list)
    for page in pages:
        for sentence in sentences(page):
            places[sentence].append(page.name)
    return {sentence: names for sentence, names in places.items() if len(names) > 1}


def titles_of(page):
    """Return the headings of the first level of a page."""
    headings = [node for node in tokens(page) if node["type"] == "heading" and node["attrs"]["level"] == 1]
    return ["".join(text_of(each) for each in node["children"]) for node in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    """Each relative link of a page, with its anchor, and each picture leads to a file of the repository."""
    wrong = {target: why for target in targets(page) if (why := problem_of(page, target))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[a](missing.md)", "is not there"),
        ("[a](../../../etc)", "is not there"),
        ("![a](missing.png)", "is not there"),
        ("[a](#nowhere)", "has no such heading"),
        ("[a](other.md#two)", "has no such heading"),
        ("[a](#a-b-1)", None),
        ("[a](other.md#one)", None),
    ],
)
def test_a_link_to_nowhere_is_found(text, why, tmp_path, monkeypatch):
    """A missing file, a missing heading and a path out of the repository are found, and the right ones are not."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"# A `b`!\n\n## A b\n\n{text}\n")
    (tmp_path / "other.md").write_text("# One\n")
    (target,) = targets(page)
    found = problem_of(page, target)
    assert found is None if why is None else why in found


def test_no_sentence_stands_in_two_places():
    """No sentence of eight words or more stands in two places of the documentation."""
    assert twice(PAGES) == {}


def test_a_sentence_that_comes_again_is_found(tmp_path):
    """A sentence is found again with other marks, line breaks and neighbours, but not in code, tables or headings."""
    one, two, three = (tmp_path / f"{name}.md" for name in ("one", "two", "three"))
    said = "The store is a folder of all that was made."
    one.write_text(f"# Title\n\nFirst. {said} Last.\n")
    two.write_text(
        "- The **store** is\n  a `folder` of all that was made; no.\n- The store is a folder of all\n  that was made.\n"
    )
    assert twice([one, two]) == {"the store is a folder of all that was made": ["one.md", "two.md"]}
    three.write_text(f"# {said}\n\n```\n{said}\n```\n\n| a |\n| --- |\n| {said} |\n")
    assert twice([one, three]) == {}


def test_titles_are_unique():
    """Each page has one heading of the first level, and no two pages have the same."""
    titles = {page.name: titles_of(page) for page in PAGES}
    assert [name for name, found in titles.items() if len(found) != 1] == []
    assert len({found[0] for found in titles.values()}) == len(PAGES)


def test_pages_begin_with_their_purpose():
    """The first thing below the title of a page in docs/ is a paragraph."""
    for page in PAGES:
        if page.parent.name == "docs":
            blocks = [node["type"] for node in tokens(page) if node["type"] != "blank_line"]
            assert blocks[:2] == ["heading", "paragraph"], page.name


def test_every_page_is_found_from_the_readme():
    """Each page of docs/ is linked from the README, or from a page that the README links to."""
    near, linked = {ROOT / "README.md"}, set()
    for _ in range(2):
        linked |= {
            (page.parent / target.partition("#")[0]).resolve()
            for page in near
            for target in targets(page)
            if target.partition("#")[0]
        }
        near = {page for page in linked if page.suffix == ".md" and page.is_file()}
    assert sorted(page.name for page in PAGES if page.parent == ROOT / "docs" and page not in linked) == []


def test_the_readme_is_short():
    """The README has at most 160 lines; the rest is in docs/."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MOST_LINES
