"""Measures the effect of each erratum, for the numbers in ``ERRATA.md``.

    python -m benchmarks.errata [--data-dir DIR] [--clicks-dir DIR] [--only R1,K2] [--seeds 3]

Each entry of ``ERRATA.md`` has one function that measures it, in the module of its part: R1 is in
``ratings``, K1 in ``ranking``, C1 in ``clicks``, D1 in ``loops_data_tools`` and T1 in ``tutorial``.
The command writes the measured figures to ``docs/errata.json``.

If the reference run (``docs/reference/reference.json``) has a number, the command takes the number
from there. Otherwise it trains the model, with the chapter's settings, and on two devices as in the
book unless an entry says otherwise. The chapter's own functions come from d2l 1.0.3.

``--only`` measures some entries and keeps the figures of all other entries. If ``--clicks-dir`` has
rows of the book's clicks (``train.csv`` and ``test.csv``), the entries on clicks are measured on
these rows, too. Without ``--clicks-dir``, earlier figures on these rows stay in the file.
"""

import json
import pathlib
from typing import Any, Dict, List, Optional

from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from benchmarks.against_d2l import ClicksDir
from benchmarks.errata import clicks, loops_data_tools, ranking, ratings, tutorial
from benchmarks.errata.figures import Figures, entries, merged, texts, tidy, unsaid
from benchmarks.errata.lab import BOOKS_DEVICES, ROOT, Lab
from d2l_recsys.devices import pick_devices
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.command_line import run
from d2l_recsys.storage.files import as_json, write_files

TEXT = ROOT / "ERRATA.md"
FIGURES = ROOT / "docs" / "errata.json"
REFERENCE = ROOT / "docs" / "reference" / "reference.json"

ROWS = {
    **ratings.ROWS,
    **ranking.ROWS,
    **clicks.ROWS,
    **loops_data_tools.ROWS,
    **tutorial.ROWS,
}


def read_json(file: pathlib.Path) -> Dict[str, Any]:
    """Returns the content of a JSON file, or {} if the file does not exist.

    Raises DataError if the content is not JSON.
    """
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); delete it, or create it again") from None


def chosen_rows(only: Optional[str]) -> List[str]:
    """Returns the entries that ``--only`` names, in the order of ``ROWS``.

    Returns all entries if ``only`` is None. Raises SettingError if an entry does not exist.
    """
    if only is None:
        return list(ROWS)
    numbers = only.split(",")
    for number in numbers:
        if number not in ROWS:
            raise SettingError(
                f"--only has {number!r}, which is not an entry; choose from: {', '.join(ROWS)}"
            )
    return [number for number in ROWS if number in numbers]


def provenance(seeds: int, reference: Dict[str, Any]) -> Dict[str, Any]:
    """Returns the head of ``docs/errata.json``, which says how the figures were measured."""
    return {
        "command": "python -m benchmarks.errata",
        "seeds": seeds,
        "num_devices": BOOKS_DEVICES,
        "reference": {
            "file": REFERENCE.relative_to(ROOT).as_posix(),
            "seeds": len(reference["seeds"]),
            "num_devices": reference["num_devices"],
        }
        if reference
        else None,
        "environment": environment(pick_devices(BOOKS_DEVICES)),
    }


def main(
    data_dir: Optional[pathlib.Path] = None,
    clicks_dir: ClicksDir = None,
    only: Annotated[
        Optional[str], Option(help="Entries of ERRATA.md, separated by commas. Default: all.")
    ] = None,
    seeds: Annotated[
        int, Option(min=1, help="Seeds for each training that the reference run lacks.")
    ] = 3,
    reference: Annotated[
        pathlib.Path,
        Option(
            help="File of the reference run; without it, all is trained.",
            show_default="docs/reference/reference.json",
        ),
    ] = REFERENCE,
    json_file: Annotated[
        pathlib.Path, Option(help="File for the figures.", show_default="docs/errata.json")
    ] = FIGURES,
) -> None:
    """Measure the entries of ERRATA.md."""
    numbers = chosen_rows(only)
    held = read_json(reference)
    before = read_json(json_file)
    if only is not None and before.get("seeds", seeds) != seeds:
        raise SettingError(
            f"--seeds is {seeds}, but the other entries of {json_file} were measured with "
            f"{before['seeds']}; use that number, or leave out --only"
        )
    lab = Lab(data_dir, clicks_dir, seeds, held)
    rows: Dict[str, Figures] = {
        number: figures for number, figures in before.get("rows", {}).items() if number in ROWS
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(numbers, disable=None)
    for number in bar:
        bar.set_description(number)
        rows[number] = merged(rows.get(number, {}), tidy(ROWS[number](lab)))
        # Write the entries in the order of ROWS, even if --only measures them later.
        content = {**provenance(seeds, held), "rows": {n: rows[n] for n in ROWS if n in rows}}
        write_files(json_file.parent, {json_file.name: as_json(content)})
    told = entries(TEXT.read_text(encoding="utf-8")) if TEXT.is_file() else {}
    for number in numbers:
        missing = unsaid(told.get(number, ""), rows[number])
        print(number)
        for name, text in texts(rows[number]).items():
            print(f"    {name}: {text}{f'   (not in {TEXT.name})' * (name in missing)}")


if __name__ == "__main__":
    run(main)
