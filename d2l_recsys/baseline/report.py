"""Reports on a check: a table with findings, JSON, and JUnit XML for test systems."""

import json
import math
import xml.etree.ElementTree as ET
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

from d2l_recsys.baseline.check import Cell, Finding, Row, Status
from d2l_recsys.baseline.ladder import (
    DRAWN,
    MODELS,
    ORDER,
    PROTOCOLS,
    RUNGS,
    VARIANTS,
    variants,
)
from d2l_recsys.baseline.mistakes import MISTAKES, Explanation, Mistake

SHOWN = {
    Status.no_answer: "no answer", Status.open: "-", Status.left_out: "",
    Status.undecided: "undecided",
}  # fmt: skip
SKIPPED = {
    Status.open: "a lower rung is not right",
    Status.undecided: "right answers lie too far apart",
}
# The largest number of findings or mistakes that the text report shows for one rung.
TOLD = 3


def table(rows: Sequence[Row]) -> str:
    """A table with a line for each model and protocol, and a column for each chosen rung."""
    rungs = [
        rung for rung in ORDER if any(row.cells[rung].status != Status.left_out for row in rows)
    ]
    lines = [["model", "protocol", *(f"{rung} {RUNGS[rung]}" for rung in rungs)]]
    lines += [
        [row.model, row.protocol, *(_shown(row.cells[rung]) for rung in rungs)] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in lines]
    texts.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text.rstrip() for text in texts)


def _shown(cell: Cell) -> str:
    if cell.status in SHOWN:
        return SHOWN[cell.status]
    ratio = max((finding.ratio for finding in cell.findings), default=0.0)
    text = "exact" if ratio == 0 else _ratio(ratio)
    return f"WRONG {text}" if cell.status == Status.wrong else text


def _ratio(ratio: float) -> str:
    if math.isinf(ratio):
        return ""
    if 0.01 <= ratio < 1000:
        return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"
    return f"{ratio:.0e}"


def first_wrong(rows: Sequence[Row], accepted: Sequence[str] = ()) -> str:
    """For each row the first wrong rung: which arrays, how far off, and possible causes.

    ``accepted`` has the names of the mistakes that are accepted already.
    """
    told: Dict[Tuple[int, Cell], List[Row]] = {}
    for row in rows:
        rung = row.first_wrong
        if rung is not None:
            told.setdefault((rung, row.cells[rung]), []).append(row)
    return "\n\n".join(
        "\n".join(_told(rung, cell, of_rung, accepted)) for (rung, cell), of_rung in told.items()
    )


def _told(
    rung: int, cell: Cell, rows: Sequence[Row], accepted: Sequence[str] = ()
) -> Iterator[str]:
    models, protocols = (
        " and ".join(dict.fromkeys(names))
        for names in ((row.model for row in rows), (row.protocol for row in rows))
    )
    where = f"{models} ({protocols}), rung {rung}, {RUNGS[rung]}"
    if cell.status == Status.no_answer:
        yield f"{where}: no answer"
    else:
        yield f"{where}: first wrong here"
    yield from _first(f"  {found.question}: {found.words}" for found in _wrong(cell))
    if cell.status == Status.wrong:
        yield from _explained(rung, cell, accepted)


def _wrong(cell: Cell) -> List[Finding]:
    return [found for found in cell.findings if found.ratio > 1]


def _first(lines: Iterable[str], of: str = "finding") -> Iterator[str]:
    """The first of ``lines`` without repetitions, and how many more there are."""
    distinct = list(dict.fromkeys(lines))
    yield from distinct[:TOLD]
    more = len(distinct) - TOLD
    if more > 0:
        yield f"  and {more} more {of}{'s' * (more > 1)}; --json writes all"


def _explained(rung: int, cell: Cell, accepted: Sequence[str]) -> Iterator[str]:
    """The causes of a wrong cell, and the option that accepts the first of them."""
    complete = [cause.mistakes for cause in cell.causes if cause.complete]
    if complete and len(complete[0]) == 1:
        alone = "this mistake gives" if len(complete) == 1 else "each of these mistakes gives"
        yield f"  {alone} the same answers:"
        yield from _first((_line(mistake) for (mistake,) in complete), "mistake")
    for made in complete if complete and len(complete[0]) == 2 else ():
        yield "  these two mistakes together give the same answers:"
        yield from map(_line, made)
    if complete and rung not in DRAWN:
        names = [*accepted, *(mistake.name for mistake in complete[0])]
        yield f"  if this is on purpose, accept it and go on: --accept {','.join(names)}"
    elif not complete and cell.usual:
        yield "  this can be the cause:"
        yield from map(_line, cell.usual)
    elif not complete and rung in DRAWN:
        yield "  no known mistake fails these tests, and only these"
    elif not complete and cell.sought:
        yield "  no known mistake, and no two of them, give all of these answers"
    if cell.precision:
        yield f"  Only if the port computes in {cell.precision}, this can be rounding: then add"
        yield f"  --precision {cell.precision}. In float32 it is a mistake."
    for cause in cell.causes:
        if not cause.complete:
            yield f"  only {', '.join(cause.questions)} is as this mistake answers it:"
            yield from map(_line, cause.mistakes)


def _line(mistake: Mistake) -> str:
    return f"    {mistake.name}: {mistake.says}"


def semantics_map() -> str:
    """All known mistakes as a Markdown page, rung by rung."""
    lines = [
        "# The semantics map",
        "",
        "This page lists mistakes that ports of the chapter make, by the rung where they first",
        "show. Each row says what is right, and what the mistake does instead. A model stands for",
        "its variants as well. The tests contain a wrong port for each row. If your port gives the",
        "same answers as such a wrong port, the check names the mistake. The command",
        "`d2l-recsys baseline causes` prints this page.",
        "",
        "The answers of rung 6 are random. So the check lists the mistakes that fail the same",
        "tests. It does the same for one mask for all examples (rung 7): each output is right,",
        "only together the outputs are wrong.",
        "",
        "Some cases cannot be decided, because right answers lie as far apart as wrong ones:",
        "",
        "- The first step of Adam for the last bias of NeuMF (rung 4). Its gradient is a sum that",
        "  cancels. What remains is rounding, and Adam makes a whole step of it. The check skips",
        "  this array; the step in the middle of training tests it.",
        "- The logarithm of a sigmoid in `neumf-sigmoid`. All scores lie between 0 and 1, so the",
        "  sigmoid of their difference never rounds to 0.",
    ]
    for rung in ORDER:
        name = RUNGS[rung]
        lines += ["", f"## {rung} {name}", "", "| mistake | models | |", "|---|---|---|"]
        for mistake in MISTAKES:
            if mistake.rung == rung:
                models = _in_models(mistake)
                if mistake.protocols != PROTOCOLS:
                    models += f" ({mistake.protocols[0]})"
                says = mistake.says.replace("|", "\\|")
                lines.append(f"| {mistake.name} | {models} | {says} |")
    return "\n".join(lines)


def _in_models(mistake: Mistake) -> str:
    """The models in which a mistake is possible. A model stands for its variants as well."""
    if mistake.variants == VARIANTS:
        return "all"
    names: List[str] = []
    for model in MODELS:
        made = [name for name in variants([model]) if name in mistake.variants]
        others = [name for name in variants([model]) if name not in made]
        if model in made and others:
            names.append(f"{model} (not {', '.join(others)})")
        else:
            names += [model] if model in made else made
    return " ".join(names)


def verdict(rows: Sequence[Row]) -> str:
    """One line: right, right except for accepted mistakes, or how many rows are not right."""
    wrong = [row for row in rows if row.first_wrong is not None]
    if not wrong:
        made = accepted_in(rows)
        decided = not any(cell.status == Status.undecided for row in rows for cell in row.cells)
        return (
            f"right{' except for ' * bool(made)}{', '.join(made)}: all rungs that "
            f"{'were asked' if decided else 'can be decided; check undecided rungs in float32'}"
        )
    return f"not right: {len(wrong)} of {len(rows)} rows, see the first wrong rungs above"


def accepted_in(rows: Sequence[Row]) -> List[str]:
    """The names of the accepted mistakes that the port makes in any row."""
    return list(dict.fromkeys(mistake.name for row in rows for mistake in row.accepted))


def as_json(rows: Sequence[Row], about: Dict[str, Any]) -> str:
    """All findings as JSON. ``about`` names the port and the versions. Infinity becomes null."""
    report = {
        **about,
        "right": all(row.first_wrong is None for row in rows),
        "accepted": accepted_in(rows),
        "rows": [
            {
                "model": row.model,
                "protocol": row.protocol,
                "first_wrong": row.first_wrong,
                "accepted": accepted_in([row]),
                "rungs": [
                    {
                        "rung": rung,
                        "name": RUNGS[rung],
                        "status": cell.status,
                        "findings": [_as_dict(finding) for finding in cell.findings],
                        "causes": [_as_cause(cause) for cause in cell.causes],
                        "precision": cell.precision or None,
                        "possible_causes": [mistake.name for mistake in cell.usual],
                    }
                    for rung, cell in row.in_order()
                    if cell.status != Status.left_out
                ],
            }
            for row in rows
        ],
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _as_dict(finding: Finding) -> Dict[str, Any]:
    return {
        "question": finding.question,
        "tolerances": None if math.isinf(finding.ratio) else finding.ratio,
        "words": finding.words,
    }


def _as_cause(cause: Explanation) -> Dict[str, Any]:
    return {
        "mistakes": [mistake.name for mistake in cause.mistakes],
        "questions": list(cause.questions),
        "complete": cause.complete,
    }


def as_junit(rows: Sequence[Row], name: str) -> str:
    """JUnit XML with a test suite for each row, and a test case for each chosen rung."""
    root = ET.Element("testsuites", name=f"baseline: {name}")
    for row in rows:
        asked = [(rung, cell) for rung, cell in row.in_order() if cell.status != Status.left_out]
        wrong = [cell for _, cell in asked if cell.status in (Status.wrong, Status.no_answer)]
        skipped = [cell for _, cell in asked if cell.status in SKIPPED]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"{row.model} {row.protocol}",
            tests=str(len(asked)),
            failures=str(len(wrong)),
            errors="0",
            skipped=str(len(skipped)),
        )
        if row.accepted:
            properties = ET.SubElement(suite, "properties")
            for name in accepted_in([row]):
                ET.SubElement(properties, "property", name="accepted", value=name)
        for rung, cell in asked:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"baseline.{row.model}.{row.protocol}",
                name=f"{rung} {RUNGS[rung]}",
            )
            if cell in wrong:
                lines = list(_told(rung, cell, [row]))
                ET.SubElement(case, "failure", message=lines[0]).text = "\n".join(lines[1:])
            elif cell in skipped:
                ET.SubElement(case, "skipped", message=SKIPPED[cell.status])
    return ET.tostring(root, encoding="utf-8", xml_declaration=True).decode() + "\n"
