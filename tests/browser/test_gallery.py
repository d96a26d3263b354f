"""How the pictures of a run stand on a page, in a headless Chromium."""

import pytest
from PIL import Image

from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.results import gallery
from ipy_imgvar.results.variations import Variation, Variations

#: Of each section of a page: the number of pictures in each row, the narrowest image's width, and what sticks out.
ROWS = """() => [...document.querySelectorAll('section')].map((section) => {
  const rows = new Map(), figures = [...section.querySelectorAll('figure')];
  for (const each of figures) {
    const top = Math.round(each.getBoundingClientRect().top);
    rows.set(top, (rows.get(top) ?? 0) + 1);
  }
  const widths = figures.map((each) => each.querySelector('img').getBoundingClientRect().width);
  return [[...rows.values()], Math.min(...widths), section.scrollWidth - section.clientWidth];
})"""


def html_of(count, size=(600, 400), **settings):
    data = codec.encode_png(Image.new("RGB", size, "teal"))
    pictures = [
        Variation(data, source=Source("photo.png"), mime_type="image/png", size=size, index=index, seed=7)
        for index in range(1, count + 1)
    ]
    return gallery.html(Variations(pictures, engine="patch"), **settings)


@pytest.fixture(scope="module")
def rows(browser):
    """Give a function that shows a gallery in several widths, and returns the rows and the narrowest image of each."""
    page = browser.new_page(viewport={"width": 1500, "height": 800})

    def rows(html, widths):
        page.set_content("".join(f'<section style="width:{each}px">{html}</section>' for each in widths))
        found = page.evaluate(ROWS)
        assert [outside for _, _, outside in found] == [0] * len(widths)
        return [(lengths, narrowest) for lengths, narrowest, _ in found]

    yield rows
    page.close()


WIDTHS = (500, 600, 770, 900, 1000, 1200, 1400)
EXPECTED = {
    1: [[1]] * 7,
    2: [[2]] * 7,
    3: [[2, 1], *[[3]] * 6],
    4: [[2, 2], [2, 2], *[[4]] * 5],
    5: [[2, 2, 1], [3, 2], [3, 2], [3, 2], [5], [5], [5]],
    6: [[2, 2, 2], [3, 3], [3, 3], [3, 3], [3, 3], [6], [6]],
    7: [[2, 2, 2, 1], [2, 2, 2, 1], [4, 3], [4, 3], [4, 3], [4, 3], [7]],
    8: [[2, 2, 2, 2], [3, 3, 2], *[[4, 4]] * 5],
}


@pytest.mark.parametrize("count", EXPECTED)
def test_rows_have_like_length(rows, count):
    """Rows are balanced on every width, and a picture shrinks to at most 70 % before a row breaks."""
    found = rows(html_of(count), WIDTHS)
    assert [lengths for lengths, _ in found] == EXPECTED[count]
    assert all(narrowest >= 0.7 * 256 - 1 for _, narrowest in found)


@pytest.mark.parametrize("size", [(400, 600), (60, 900)])
@pytest.mark.parametrize("count", [4, 10, 13])
def test_rows_of_any_shape_have_like_length(rows, size, count):
    """Upright and thin pictures stand in rows of one length too, but for the last one."""
    for lengths, _ in rows(html_of(count, size), WIDTHS):
        assert len(set(lengths[:-1])) <= 1
        assert lengths[-1] <= lengths[0]
        assert sum(lengths) == count
        assert len(lengths) > 4 or lengths[0] - lengths[-1] <= max(1, lengths[0] // 2)


def test_the_first_picture_stands_where_it_stays(rows):
    """While others are still being made, a picture has the size and place that it has beside them."""
    ((_, alone),) = rows(html_of(1, expected=4), [770])
    ((_, beside),) = rows(html_of(4), [770])
    assert alone == beside


def test_fixed_columns_shrink_instead_of_leaving_the_page(rows):
    """The number of columns that a person fixed holds on a narrow page too."""
    found = rows(html_of(6, columns=3), [500, 1400])
    assert [lengths for lengths, _ in found] == [[3, 3], [3, 3]]
