"""Makes ``docs/coverage.md``: what the chapter has, and which command here does the same.

    python -m benchmarks.coverage

The rows are in ``rows.py``. Their numbers come from the reference run, from the figures of
``ERRATA.md`` and from the exercises, so make the page again after these. Nothing is trained.
"""

import pathlib
from typing import Dict, List, Sequence

from benchmarks.coverage.rows import CHAPTER, LECTURES, ROWS, TUTORIAL, Compared, Row
from benchmarks.coverage.values import DASH, ROOT, Results, link_to_erratum, read_results
from d2l_recsys.exercises.page import TITLES
from d2l_recsys.sections.command_line import run
from d2l_recsys.storage.files import write_files

PAGE = ROOT / "docs" / "coverage.md"
INTRODUCTION = """# The chapter, part by part

This page has a row for each code block, printed output, figure and exercise of the chapter, and for
some claims of its text. It says which command here does the same, and compares the numbers. Tables
at the end have a tutorial on recommender systems, and lecture notes.

- **command** comes after `d2l-recsys`. [running.md](running.md) has all options.
- **source** is the value in the book, the tutorial or the notes.
- **here** is ours: a number with ± is the mean and the standard deviation over seeds, from the
  [reference run](reference/report.md) or from [`ERRATA.md`](../ERRATA.md).
- **compared** says how the two agree; a test checks it.
  - *equal*: ours, rounded like the source's number, is the same.
  - *in the range of the seeds*: the source's number lies between the smallest and the largest
    number of twenty seeds, rounded like the source's. The source's number is of one seed, so no
    closer agreement can be asked.
  - *differs*: the entry of `ERRATA.md`, or the reason beside it, says why.
- A dash stands where there is no value.

[names.md](names.md) says where each name of the chapter is. `python -m benchmarks.coverage` makes
this page.
"""
TUTORIAL_BEGINS = """## A tutorial

A public tutorial on recommender systems. It learns from all ratings of MovieLens-100K.
"""
NOTES_BEGIN = """## Lecture notes

Only this section is listed.
"""
HEAD = "| kind | what | command | source | here | compared |\n|---|---|---|---|---|---|"


def as_row(row: Row, results: Results) -> str:
    """Returns one row as a line of Markdown."""
    command = f"`{row.command}`" if row.command else DASH
    here = row.ours.text(results) if row.ours else DASH
    compared = [row.compared.value] if row.compared and here != DASH else []
    if row.erratum:
        compared.append(link_to_erratum(row.erratum, results))
    told = "; ".join(filter(None, [": ".join(compared), row.note]))
    cells = [row.kind.value, row.what, command, row.source, here, told]
    return f"| {' | '.join(cells)} |"


def as_tables(rows: Sequence[Row], results: Results, titles: Dict[str, str], level: str) -> str:
    """Returns the tables of ``rows``, one under the heading of each section."""
    blocks: List[str] = []
    for section in dict.fromkeys(row.section for row in rows):
        lines = [as_row(row, results) for row in rows if row.section == section]
        title = f"{section} {titles.get(section, '')}".strip()
        blocks.append("\n".join([f"{level} {title}", "", HEAD, *lines]) + "\n")
    return "\n".join(blocks)


def page(results: Results) -> str:
    """Returns the whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            as_tables(CHAPTER, results, TITLES, "##"),
            TUTORIAL_BEGINS,
            as_tables(TUTORIAL, results, {}, "###"),
            NOTES_BEGIN,
            as_tables(LECTURES, results, {}, "###"),
        ]
    )


def main(out: pathlib.Path = PAGE) -> None:
    """Make docs/coverage.md."""
    write_files(out.parent, {out.name: page(read_results()).encode("utf-8")})
    cannot = sum(row.command is None for row in ROWS)
    compared = {way.value: sum(row.compared is way for row in ROWS) for way in Compared}
    print(f"{len(ROWS)} rows, {cannot} without a command")
    print(", ".join(f"{way}: {count}" for way, count in compared.items()))


if __name__ == "__main__":
    run(main)
