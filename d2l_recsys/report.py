"""Reported beside reproduced: a table of results for the terminal.

python -m d2l_recsys.report results/mf/seed-0 ...
"""

import pathlib
from typing import Any, Dict, List, Mapping, Sequence

from tabulate import tabulate
from typer import Argument
from typing_extensions import Annotated

from d2l_recsys.command_line import run
from d2l_recsys.results import read_result

__all__ = ["main", "table"]

HEADERS = ("section", "variant", "number", "reported", "printed", "defined")
# The settings that make one variant of a section another.
VARIANT = ("split", "variant", "head", "loss", "L", "trained_on", "dataset")
VALUES = {"L": "L {}", "trained_on": "on {}"}
DECIMALS = {"sparsity": 6, "examples_per_sec": 0}
ABSENT = "-"


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Each number of each result: as the chapter reports it, reproduced as printed, as defined.

    A section whose data is not the chapter's is marked with an asterisk.
    """
    rows: List[List[str]] = []
    for result in results:
        speed = {"examples_per_sec": result.get("examples_per_second")}
        columns = [result["reported"], result["printed"], {**result["defined"], **speed}]
        names = [name for column in (*columns[1:], columns[0]) for name in column]
        section = result["chapter"] + "*" * bool(result["dataset"].get("substitute"))
        variant = ", ".join(
            VALUES.get(name, "{}").format(value)
            for name, value in ((name, result["settings"].get(name)) for name in VARIANT)
            if value is not None
        )
        for name in sorted(dict.fromkeys(names), key=lambda name: name in speed):
            if all(column.get(name) is None for column in columns):
                continue
            rows.append(
                [section, variant, name.replace("_", " ")]
                + [_number(name, column.get(name)) for column in columns]
            )
            section = variant = ""
    aligned = ("left", "left", "left", "right", "right", "right")
    return tabulate(rows, HEADERS, disable_numparse=True, colalign=aligned)


def _number(name: str, value: object) -> str:
    if value is None:
        return ABSENT
    return str(value) if isinstance(value, int) else f"{value:.{DECIMALS.get(name, 3)}f}"


def main(
    folders: Annotated[List[pathlib.Path], Argument(help="Folders with a result.json each.")],
) -> None:
    """Print the reported numbers of the chapter beside those in the results FOLDERS."""
    results: List[Dict[str, Any]] = [read_result(folder) for folder in folders]
    print(table(results))
    print()
    for line in dict.fromkeys(_data_line(result["dataset"]) for result in results):
        print(line)
    for folder in folders:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
        print(f"{folder}: {', '.join(files)}")


def _data_line(dataset: Mapping[str, Any]) -> str:
    line = f"data: {dataset['name']} from {dataset['source']}, SHA-256 {dataset['sha256'][:16]}"
    if dataset.get("substitute"):
        line += "; * not the chapter's data: its numbers do not compare"
    return line


if __name__ == "__main__":
    run(main)
