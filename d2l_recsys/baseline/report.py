"""Reports on a check: a table with findings, JSON, and JUnit XML for test systems."""

import json
import math
import xml.etree.ElementTree as ET
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from d2l_recsys.baseline.check import Cell, Finding, Row, Status
from d2l_recsys.baseline.ladder import MODELS, PROTOCOLS, RUNGS
from d2l_recsys.baseline.mistakes import MISTAKES, Mistake

SHOWN = {Status.no_answer: "no answer", Status.open: "-", Status.left_out: ""}
# The largest number of findings that the text report shows for one rung.
TOLD = 3


def table(rows: Sequence[Row]) -> str:
    """A table with a line for each model and protocol, and a column for each chosen rung."""
    rungs = [
        rung
        for rung in range(len(RUNGS))
        if any(row.cells[rung].status != Status.left_out for row in rows)
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


def first_wrong(rows: Sequence[Row]) -> str:
    """For each row the first wrong rung: which arrays, how far off, and possible causes."""
    told: Dict[Tuple[int, str, Tuple[Finding, ...]], List[Row]] = {}
    for row in rows:
        rung = row.first_wrong
        if rung is not None:
            cell = row.cells[rung]
            told.setdefault((rung, cell.status, cell.findings), []).append(row)
    return "\n\n".join(
        "\n".join(_told(rung, status, findings, of_rung))
        for (rung, status, findings), of_rung in told.items()
    )


def _told(
    rung: int, status: str, findings: Tuple[Finding, ...], rows: Sequence[Row]
) -> Iterator[str]:
    protocols = " and ".join(row.protocol for row in rows)
    where = f"{rows[0].model} ({protocols}), rung {rung}, {RUNGS[rung]}"
    if status == Status.no_answer:
        yield f"{where}: no answer"
    else:
        yield f"{where}: first wrong here"
    for finding in [found for found in findings if found.ratio > 1][:TOLD]:
        yield f"  {finding.question}: {finding.words}"
    causes, certain = _causes(findings)
    if status == Status.wrong and causes:
        alone = (
            "  this mistake gives the same answers:"
            if len(causes) == 1
            else "  these mistakes give the same answers:"
        )
        yield alone if certain else "  frequent causes at this rung:"
        for cause in causes:
            yield f"    {cause.name}: {cause.says}"


def _causes(findings: Sequence[Finding]) -> Tuple[List[Mistake], bool]:
    """The causes to report, and True if they are mistakes that give the same answers."""
    wrong = [finding for finding in findings if finding.ratio > 1]
    named = [cause for finding in wrong for cause in finding.causes]
    # Two mistakes can give the same answer to one question and different answers to another.
    in_all = [c for c in named if all(c in found.causes for found in wrong if found.causes)]
    if named:
        return _distinct(in_all or named), True
    return _distinct([cause for finding in wrong for cause in finding.usual]), False


def _distinct(causes: Sequence[Mistake]) -> List[Mistake]:
    return list({cause.name: cause for cause in causes}.values())


def semantics_map() -> str:
    """All known mistakes as a Markdown page, rung by rung."""
    lines = [
        "# The semantics map",
        "",
        "This page lists mistakes that ports of the chapter make, by the rung where they first",
        "show. Each row says what is right, and what the mistake does instead. The tests contain",
        "a wrong port for each row. If your port gives the same answers as such a wrong port, the",
        "check names the mistake. The command `d2l-recsys baseline causes` prints this page.",
    ]
    for rung, name in enumerate(RUNGS):
        lines += ["", f"## {rung} {name}", "", "| mistake | models | |", "|---|---|---|"]
        for mistake in MISTAKES:
            if mistake.rung == rung:
                models = "all" if mistake.models == MODELS else " ".join(mistake.models)
                if mistake.protocols != PROTOCOLS:
                    models += f" ({mistake.protocols[0]})"
                says = mistake.says.replace("|", "\\|")
                lines.append(f"| {mistake.name} | {models} | {says} |")
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> str:
    """One line: right, or how many rows are not right."""
    wrong = [row for row in rows if row.first_wrong is not None]
    if not wrong:
        return "right: all rungs that were asked"
    return f"not right: {len(wrong)} of {len(rows)} rows, see the first wrong rungs above"


def as_json(rows: Sequence[Row], about: Dict[str, Any]) -> str:
    """All findings as JSON. ``about`` names the port and the versions. Infinity becomes null."""
    report = {
        **about,
        "right": all(row.first_wrong is None for row in rows),
        "rows": [
            {
                "model": row.model,
                "protocol": row.protocol,
                "first_wrong": row.first_wrong,
                "rungs": [
                    {
                        "rung": rung,
                        "name": RUNGS[rung],
                        "status": cell.status,
                        "findings": [_as_dict(finding) for finding in cell.findings],
                    }
                    for rung, cell in enumerate(row.cells)
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
        "causes": [cause.name for cause in finding.causes],
        "usual_causes": [cause.name for cause in finding.usual],
    }


def as_junit(rows: Sequence[Row], name: str) -> str:
    """JUnit XML with a test suite for each row, and a test case for each chosen rung."""
    root = ET.Element("testsuites", name=f"baseline: {name}")
    for row in rows:
        asked = [
            (rung, cell) for rung, cell in enumerate(row.cells) if cell.status != Status.left_out
        ]
        wrong = [cell for _, cell in asked if cell.status in (Status.wrong, Status.no_answer)]
        skipped = [cell for _, cell in asked if cell.status == Status.open]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"{row.model} {row.protocol}",
            tests=str(len(asked)),
            failures=str(len(wrong)),
            errors="0",
            skipped=str(len(skipped)),
        )
        for rung, cell in asked:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"baseline.{row.model}.{row.protocol}",
                name=f"{rung} {RUNGS[rung]}",
            )
            if cell in wrong:
                lines = list(_told(rung, cell.status, cell.findings, [row]))
                ET.SubElement(case, "failure", message=lines[0]).text = "\n".join(lines[1:])
            elif cell.status == Status.open:
                ET.SubElement(case, "skipped", message="a lower rung is not right")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True).decode() + "\n"
