"""From the report in Markdown to one HTML page that needs no other file."""

import base64
import html
import pathlib
import re
from typing import List, Mapping, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from d2l_recsys.reproduction.tables import ABSENT

# The heading above the list of links to all parts of the report.
CONTENTS = "Contents"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def html_page(text: str, figures: Mapping[str, bytes]) -> str:
    """Turn ``text``, the report in Markdown, into one HTML page that needs no other file.

    ``figures`` has the PNG file of each path that an image of ``text`` names. An image with a line
    in italics below it becomes a figure with a caption.
    """
    parser = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}).enable("table")
    tokens = parser.parse(text)
    _name_headings(tokens)
    _label_cells(tokens)
    _frame_figures(tokens, figures)
    _mark_contents(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    style = pathlib.Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    title = html.escape(text.partition("\n")[0].lstrip("# "))
    return PAGE.format(title=title, style=style, body=body)


def anchor(heading: str) -> str:
    """The anchor that GitHub gives to a ``heading`` in Markdown. The HTML page has the same."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _name_headings(tokens: Sequence[Token]) -> None:
    for token, content in zip(tokens, tokens[1:]):
        if token.type == "heading_open":
            token.attrSet("id", anchor(content.content))


def _label_cells(tokens: Sequence[Token]) -> None:
    """Make header cells of the cells that name a row; give each value the label of its column.

    The cells that name a row are aligned left. The last cell of a row never names it.
    """
    labels: List[str] = []
    column = 0
    for token, content, end in zip(tokens, tokens[1:], tokens[2:]):
        if token.type == "table_open":
            labels = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            token.attrSet("scope", "col")
            labels.append(content.content)
        elif token.type == "td_open":
            names_row = "left" in str(token.attrGet("style")) and column < len(labels) - 1
            if names_row and content.content:
                token.tag = end.tag = "th"
                token.attrSet("scope", "row")
            elif content.content not in ("", ABSENT):
                token.attrSet("data-label", labels[column])
            column += 1


def _frame_figures(tokens: List[Token], figures: Mapping[str, bytes]) -> None:
    """Put each image and the paragraph below it into a figure; put the PNG files into the page."""
    for position, token in enumerate(tokens):
        if token.children and token.children[0].type == "image":
            image = token.children[0]
            data = base64.b64encode(figures[str(image.attrGet("src"))]).decode("ascii")
            image.attrSet("src", f"data:image/png;base64,{data}")
            start, stop = position - 1, position + 5
            figure, inline, end, caption, text, caption_end = tokens[start:stop]
            figure.tag = end.tag = "figure"
            caption.tag = caption_end.tag = "figcaption"
            text.children = [part for part in text.children if part.tag != "em"]
            tokens[start:stop] = figure, inline, caption, text, caption_end, end


def _mark_contents(tokens: List[Token]) -> None:
    """Put the heading of the contents, and the list below it, into a ``nav``."""
    for start, token in enumerate(tokens):
        if token.attrGet("id") == anchor(CONTENTS):
            types = [token.type for token in tokens]
            stop = types.index("bullet_list_close", start) + 1
            named = {"aria-labelledby": anchor(CONTENTS)}
            opened = Token("nav_open", "nav", 1, attrs=named, block=True)
            closed = Token("nav_close", "nav", -1, block=True)
            tokens[start:stop] = opened, *tokens[start:stop], closed
            return
