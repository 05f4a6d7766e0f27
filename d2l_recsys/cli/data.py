"""The data that the chapter needs: where it is, whether it is whole, and fetching what is not."""

import pathlib
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from d2l_recsys.errors import DataError


class Found(NamedTuple):
    """A data set that is there: its folder, where it came from, whether it is the chapter's."""

    folder: pathlib.Path
    source: str
    genuine: bool


def ml100k(data_dir: Optional[pathlib.Path], may_fetch: bool) -> Optional[Found]:
    """MovieLens-100K."""
    from d2l_recsys.datasets.movielens import dataset_ml100k, find_ml100k, locate_ml100k

    location = (find_ml100k if may_fetch else locate_ml100k)(data_dir)
    if location is None:
        return None
    described = dataset_ml100k(data_dir)
    return Found(location.folder, described["source"], not described["substitute"])


def ctr(data_dir: Optional[pathlib.Path], may_fetch: bool) -> Optional[Found]:
    """The book's clicks."""
    from d2l_recsys.datasets.click_sets import find_book, locate_book
    from d2l_recsys.datasets.location import data_folder

    files = (find_book if may_fetch else locate_book)(data_folder(data_dir))
    return files and Found(files.files[0].parent, files.source, not files.substitute)


# Each looks for its data set, and raises DataError where that is damaged or cannot be had.
DATASETS: Dict[str, Callable[[Optional[pathlib.Path], bool], Optional[Found]]] = {
    "ml-100k": ml100k,
    "ctr": ctr,
}


def survey(data_dir: Optional[pathlib.Path], may_fetch: bool) -> Tuple[List[List[str]], List[str]]:
    """For each data set a row (name, folder, state); and what is wrong, a line for each fault."""
    from d2l_recsys.datasets.location import data_folder

    rows, faults = [], []
    for name, look_for in DATASETS.items():
        target = str(data_folder(data_dir) / name)
        try:
            found = look_for(data_dir, may_fetch)
        except DataError as error:
            rows.append([name, target, "not available" if may_fetch else "damaged"])
            faults.append(str(error))
            continue
        if found is None:
            rows.append([name, target, "not here yet"])
            faults.append(f"{name} is not in {target}; fetch it with 'd2l-recsys data fetch'")
        elif found.genuine:
            rows.append([name, str(found.folder), f"whole, from {found.source}"])
        else:
            rows.append([name, str(found.folder), "other data than the chapter's"])
            faults.append(f"{found.folder} has other data than the chapter's; name another folder")
    return rows, faults


def where(data_dir: Optional[pathlib.Path] = None) -> None:
    """Tell where each data set is, or where it would be fetched to."""
    rows, _ = survey(data_dir, may_fetch=False)
    _show(rows)


def check(data_dir: Optional[pathlib.Path] = None) -> None:
    """Check the data against its checksums: an error where some is damaged, missing or other."""
    _demand(*survey(data_dir, may_fetch=False))


def fetch(data_dir: Optional[pathlib.Path] = None) -> None:
    """Fetch what is not here yet, and check all."""
    _demand(*survey(data_dir, may_fetch=True))


def _demand(rows: List[List[str]], faults: List[str]) -> None:
    _show(rows)
    if faults:
        raise DataError("; ".join(faults))


COMMANDS = (where, check, fetch)


def _show(rows: List[List[str]]) -> None:
    from tabulate import tabulate

    print(tabulate(rows, tablefmt="plain"))
