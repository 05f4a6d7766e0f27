"""The commands ``d2l-recsys data``: show where the data sets are, check them, fetch them."""

import pathlib
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.errors import DataError


class Found(NamedTuple):
    """A data set on disk: its folder, its source, and whether it is the chapter's data."""

    folder: pathlib.Path
    source: str
    genuine: bool


def ml100k(data_dir: Optional[pathlib.Path], may_fetch: bool) -> Optional[Found]:
    """Returns MovieLens-100K, or None if it is missing and ``may_fetch`` is False."""
    from d2l_recsys.datasets.movielens import dataset_ml100k, find_ml100k, locate_ml100k

    location = (find_ml100k if may_fetch else locate_ml100k)(data_dir)
    if location is None:
        return None
    described = dataset_ml100k(data_dir)
    return Found(location.folder, described["source"], not described["substitute"])


def ctr(data_dir: Optional[pathlib.Path], may_fetch: bool) -> Optional[Found]:
    """Returns the book's clicks, or None if they are missing and ``may_fetch`` is False."""
    from d2l_recsys.datasets.click_sets import find_book, locate_book
    from d2l_recsys.datasets.location import data_folder

    files = (find_book if may_fetch else locate_book)(data_folder(data_dir))
    return files and Found(files.files[0].parent, files.source, not files.substitute)


# Each function finds a data set, and raises DataError if it is damaged or cannot be fetched.
DATASETS: Dict[str, Callable[[Optional[pathlib.Path], bool], Optional[Found]]] = {
    "ml-100k": ml100k,
    "ctr": ctr,
}
# The data sets without which everything runs, and what replaces each of them.
OPTIONAL = {"ctr": "MovieLens-100K, recast as clicks, replaces it"}


class State(NamedTuple):
    """A row of the table: a data set, its folder, and in words whether it is there and whole."""

    name: str
    folder: str
    state: str
    complete: bool = False


def survey(data_dir: Optional[pathlib.Path], may_fetch: bool) -> Tuple[List[State], List[str]]:
    """Returns the state of each data set, and a text for each problem."""
    from d2l_recsys.datasets.location import data_folder

    rows, faults = [], []
    for name, look_for in DATASETS.items():
        target = str(data_folder(data_dir) / name)
        try:
            found = look_for(data_dir, may_fetch)
        except DataError as error:
            rows.append(State(name, target, "not available" if may_fetch else "damaged"))
            faults.append(str(error))
            continue
        if found is None and name in OPTIONAL:
            rows.append(State(name, target, f"not here yet; not needed: {OPTIONAL[name]}"))
        elif found is None:
            rows.append(State(name, target, "not here yet"))
            faults.append(f"{name} is not in {target}; fetch it with 'd2l-recsys data fetch'")
        elif found.genuine:
            rows.append(State(name, str(found.folder), f"complete, from {found.source}", True))
        else:
            rows.append(State(name, str(found.folder), "not the chapter's data"))
            faults.append(f"{found.folder} does not have the chapter's data; name another folder")
    return rows, faults


def where(data_dir: Optional[pathlib.Path] = None, json: AsJson = False) -> None:
    """Show the folder of each data set, or the folder to which it would be fetched."""
    _show(*survey(data_dir, may_fetch=False), json)


def check(data_dir: Optional[pathlib.Path] = None, json: AsJson = False) -> None:
    """Check the data against its checksums; fail if needed data is damaged, missing or different.

    The book's clicks are not needed.
    """
    _demand(*survey(data_dir, may_fetch=False), json)


def fetch(data_dir: Optional[pathlib.Path] = None, json: AsJson = False) -> None:
    """Fetch the data sets that are missing, and check all data sets."""
    _demand(*survey(data_dir, may_fetch=True), json)


def prune(data_dir: Optional[pathlib.Path] = None, json: AsJson = False) -> None:
    """Delete encoded clicks whose source is gone, or that were not used for 30 days.

    Large files of clicks are encoded into the folder encoded of the data. Encodings are made again
    when they are needed. Nothing else is deleted.
    """
    from d2l_recsys.datasets import click_encoding
    from d2l_recsys.datasets.location import data_folder

    found = click_encoding.prune(data_folder(data_dir) / "encoded", time.time())
    deleted = [{**p._asdict(), "folder": str(p.folder)} for p in found]
    rows = [(str(p.folder), f"{p.size / 1e6:.1f} MB", f"deleted: {p.reason}") for p in found]
    show({"deleted": deleted}, lambda: _table(rows) or "there is nothing to delete", json)


def _demand(rows: List[State], faults: List[str], json: bool) -> None:
    _show(rows, faults, json)
    if faults:
        raise DataError("; ".join(dict.fromkeys(faults)))


COMMANDS = (where, check, fetch, prune)


def _show(rows: List[State], faults: List[str], json: bool) -> None:
    document = {"data_sets": [row._asdict() for row in rows], "problems": faults}
    show(document, lambda: _table([row[:3] for row in rows]), json)


def _table(rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    return tabulate(rows, tablefmt="plain")
