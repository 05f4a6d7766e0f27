import html.parser
import pathlib
import re

import pytest

from d2l_recsys.reproduction import page_html
from d2l_recsys.reproduction.page_html import anchor, html_page

STYLE = pathlib.Path(page_html.__file__).with_name("report.css").read_text(encoding="utf-8")
TEXT = r"""# A & <b>

## Contents

- [One](#one)
- [15.3 Two: three](#153-two-three): [x-Y\*](#x-y)

## One

| section | number | printed | z |
|:--------|:-------|--------:|--:|
| [mf](#x-y) | loss | 1.5 | - |
|  | rmse | 2.5 | +1.0 |

## 15.3 Two: three

### x-Y\*

![A "curve" of 1 < 2](figures/x.png)

*What it \*shows\*.*

| name | value |
|:-----|:------|
| a | b |
"""


class Parsed(html.parser.HTMLParser):
    """The tree of a page as a list of (names of the open tags, attributes, text)."""

    EMPTY = frozenset(("meta", "img"))

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append(((*self.open, tag), dict(attributes), []))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.elements and data.strip():
            self.elements[-1][2].append(data)

    def all(self, tag):
        """The (path, attributes, text) of each element with this tag."""
        return [(path, a, "".join(text)) for path, a, text in self.elements if path[-1] == tag]


@pytest.fixture(scope="module")
def page():
    return html_page(TEXT, {"figures/x.png": b"\x89PNG"})


def test_the_page_is_well_formed_and_needs_no_other_file(page):
    parsed = Parsed(page)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<title>A &amp; &lt;b&gt;</title>" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    references = [a[name] for _, a, _ in parsed.elements for name in ("src", "href") if name in a]
    ids = [a["id"] for _, a, _ in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert set(references) <= {f"#{name}" for name in ids} | {"data:image/png;base64,iVBORw=="}
    assert not parsed.all("script") + parsed.all("link")
    assert not re.search(r"url\(|@import|//", STYLE)


def test_headings_have_githubs_anchors(page):
    headings = [(path[-1], a["id"]) for path, a, _ in Parsed(page).elements if path[-1][0] == "h"
                and path[-1][1:].isdecimal()]  # fmt: skip
    assert headings == [("h1", "a--b"), ("h2", "contents"), ("h2", "one"),
                        ("h2", "153-two-three"), ("h3", "x-y")]  # fmt: skip
    assert anchor("15.4 AutoRec: rating prediction") == "154-autorec-rating-prediction"
    assert anchor(r"deepfm-defined\*") == "deepfm-defined"


def test_the_contents_are_a_landmark(page):
    parsed = Parsed(page)
    ((_, attributes, _),) = parsed.all("nav")
    assert attributes == {"aria-labelledby": "contents"}
    inside = [path[-1] for path, *_ in parsed.elements if "nav" in path]
    assert inside == ["nav", "h2", "ul", "li", "a", "li", "a", "a"]
    assert not Parsed(html_page("# A\n\n- b\n", {})).all("nav")


def test_every_cell_has_a_header_or_a_label(page):
    parsed = Parsed(page)
    headers = [(a["scope"], text) for _, a, text in parsed.all("th")]
    columns = ["section", "number", "printed", "z"]
    assert headers == [
        *(("col", name) for name in columns), ("row", ""), ("row", "loss"), ("row", "rmse"),
        ("col", "name"), ("col", "value"), ("row", "a")]  # fmt: skip
    # The text of the first row header is in its link.
    assert ("main", "table", "tbody", "tr", "th", "a") in [path[2:] for path, *_ in parsed.elements]
    # Cells without a value have no label: a narrow screen does not show them.
    assert [(a.get("data-label"), text) for _, a, text in parsed.all("td")] == [
        ("printed", "1.5"), (None, "-"), (None, ""), ("printed", "2.5"), ("z", "+1.0"),
        ("value", "b")]  # fmt: skip


def test_an_image_and_its_caption_are_a_figure(page):
    parsed = Parsed(page)
    ((path, image, _),) = parsed.all("img")
    assert path[-2] == "figure"
    assert image == {"src": "data:image/png;base64,iVBORw==", "alt": 'A "curve" of 1 < 2'}
    ((path, _, text),) = parsed.all("figcaption")
    assert (path[-2], text) == ("figure", "What it *shows*.")


def test_on_a_narrow_screen_rows_are_blocks_and_nothing_scrolls_sideways():
    narrow = STYLE.partition("@media screen and (max-width: 44rem) {")[2].partition("\n}")[0]
    assert re.search(r"td::before \{[^}]*content: attr\(data-label\)", narrow)
    assert "td:not([data-label]) { display: none; }" in narrow
    # Only the short names of commands may not wrap, so that nothing is wider than the screen.
    assert re.findall(r"(\w+) \{[^}]*nowrap", STYLE) == ["code"]
    assert "overflow-x" not in STYLE


def contrast(color, other):
    """The contrast of two colors, as WCAG 2 defines it."""

    def luminance(color):
        color = "".join(2 * digit for digit in color) if len(color) == 3 else color
        parts = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_all_text_has_enough_contrast(scheme):
    assert contrast("000", "ffffff") == pytest.approx(21)
    blocks = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)
    colors = dict(re.findall(r"--(\w+): #(\w+);", blocks[scheme]))
    assert set(colors) == {"back", "text", "faint", "link", "line", "shade"}
    for text in ("text", "faint", "link"):
        for back in ("back", "shade"):
            assert contrast(colors[text], colors[back]) >= 4.5, (text, back)
    # All colors are variables; the only other color is the white behind the figures.
    assert set(re.findall(r"#\w{3,6}\b(?=;)", STYLE.partition("* {")[2])) == {"#fff"}
