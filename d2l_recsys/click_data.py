"""The click data of sections 15.8-15.10: find or fetch it, encode it, load it in batches."""

import enum
import hashlib
import io
import os
import pathlib
import sys
from typing import Dict, List, NamedTuple, Optional, Union

import numpy as np

from d2l_recsys.batches import BatchLoader, MappedLoader
from d2l_recsys.click_files import AVAZU, CRITEO, ClickFile, Layout, book
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import data_folder, dataset_ml100k
from d2l_recsys.errors import DataError, NoSourceError
from d2l_recsys.fetch import Source, download_url, fetch, file_digest, verify
from d2l_recsys.movielens_clicks import MOVIELENS, movielens_clicks
from d2l_recsys.settings import as_choice

__all__ = [
    "REPORTED_ON",
    "CTRData",
    "ClickDataset",
    "click_batches",
    "find_book",
    "load_data_ctr",
    "locate_book",
]

PathLike = Union[str, "os.PathLike[str]"]

TRAIN, TEST = "train.csv", "test.csv"
BOOK_SHA1 = {
    TRAIN: "6dec3052e49ce0d1cec5ebc6f5ded1172be0befb",
    TEST: "c265e3c1fad0ed4caf8c1a373c580465a8096eb0",
}
BOOK_SOURCES = (
    Source(
        name="the book's server",
        url="http://d2l-data.s3-accelerate.amazonaws.com/ctr.zip",
        known_hash="sha1:e18327c48c8e8e5c23da714dd614e390d369843f",
        members={name: f"ctr/{name}" for name in BOOK_SHA1},
        download=download_url,
    ),
)


class ClickDataset(str, enum.Enum):
    """Whose clicks: the book's, or those of MovieLens-100K, Criteo or Avazu."""

    book = "book"
    movielens = "movielens"
    criteo = "criteo"
    avazu = "avazu"


# The book's clicks, and what takes their place: the reported numbers are quoted for these alone.
REPORTED_ON = (ClickDataset.book, ClickDataset.movielens)


class CTRData(NamedTuple):
    """Training and test clicks, their batches, and what a result says of them."""

    train: CTRDataset
    test: CTRDataset
    train_iter: BatchLoader
    test_iter: BatchLoader
    dataset: Dict[str, object]


class _Files(NamedTuple):
    """Where the rows come from: training and test file, or one file that has both."""

    name: str
    layout: Layout
    files: List[ClickFile]
    source: str
    substitute: bool


def load_data_ctr(
    dataset: str = "book",
    data_dir: Optional[PathLike] = None,
    batch_size: int = 2048,
    min_threshold: int = 4,
    strict: bool = False,
    shuffle_rng: Union[np.random.Generator, int, None] = None,
    quiet: bool = True,
) -> CTRData:
    """Find or fetch a click data set, encode it and cut it into batches.

    Parameters
    ----------
    dataset : ``book`` is the book's set; where it cannot be had, a line on standard error says so
        and ``movielens``, MovieLens-100K recast as clicks, takes its place. ``criteo`` and
        ``avazu`` read the training file of those sets, every tenth row of which is a test row
    data_dir : the folder to look in (default: ``default_data_dir()``), or in a folder ``ctr``,
        ``ml-100k``, ``criteo`` or ``avazu`` of it; what is fetched goes there
    batch_size : rows in a batch; the training batches are shuffled by ``shuffle_rng`` and roll
        over, the test batches keep order and every row
    min_threshold, strict : as in ``CTRDataset``; rows left out are named on standard error
    quiet : show no progress bar

    The mapper of the training set encodes the test set: a value that is new there has its field's
    default id. Raises SettingError for an unknown ``dataset``, DataError where there is no data and
    for a set with labels of one class only, and what ``CTRDataset`` raises.
    """
    choice = as_choice(ClickDataset, "dataset", dataset)
    folder = data_folder(data_dir)
    if choice is ClickDataset.book:
        try:
            found = find_book(folder)
        except NoSourceError as error:
            print(f"{error}; MovieLens-100K takes its place, recast as clicks", file=sys.stderr)
            found = _recast_movielens(data_dir)
    elif choice is ClickDataset.movielens:
        found = _recast_movielens(data_dir)
    else:
        found = _find_downloaded(choice, folder)

    first, last = found.files[0], found.files[-1]
    parts = ("train", "test") if len(found.files) == 1 else (None, None)
    options = {"min_threshold": min_threshold, "strict": strict, "layout": found.layout}
    train = CTRDataset(first, part=parts[0], quiet=quiet, **options)
    test = CTRDataset(
        last, train.feat_mapper, train.defaults, part=parts[1], quiet=quiet, **options
    )
    for rows in (train, test):
        if str(rows.skipped):
            print(rows.skipped, file=sys.stderr)
        if rows.num_clicks in (0, len(rows)):
            raise DataError(
                f"{rows.skipped.name}: each of its {len(rows)} rows has the label "
                f"{int(rows.num_clicks > 0)}; clicks and others are needed to learn and to test"
            )
    described = {
        "name": found.name,
        "source": found.source,
        "sha256": _sha256(train, test),
        "substitute": found.substitute,
        "train_rows": len(train),
        "test_rows": len(test),
        "rows_left_out": train.skipped.count + test.skipped.count,
    }
    return CTRData(
        train,
        test,
        click_batches(train, batch_size, shuffle=True, last_batch="rollover", rng=shuffle_rng),
        click_batches(test, batch_size),
        described,
    )


def click_batches(rows: CTRDataset, batch_size: int, **options: object) -> BatchLoader:
    """Batches of features and labels, through a ``MappedLoader`` where these are in mapped files.

    ``options`` are the loader's.
    """
    mapped = isinstance(rows.features, np.memmap)
    loader = MappedLoader if mapped else BatchLoader
    return loader(rows.features, rows.labels, batch_size=batch_size, **options)


def find_book(folder: pathlib.Path) -> _Files:
    """The book's two files, fetched if need be; NoSourceError where they cannot be had."""
    found = locate_book(folder)
    if found is None:
        target = folder / "ctr"
        by_hand = (
            f"put {TRAIN} and {TEST} of ctr.zip by hand into {target}, or name a folder that holds "
            "them with --data-dir"
        )
        fetch(BOOK_SOURCES, target, by_hand)
        found = locate_book(folder)
        if found is None:
            raise DataError(f"{target} holds a record but no clicks; delete it to fetch again")
    return found


def locate_book(folder: pathlib.Path) -> Optional[_Files]:
    """Where ``find_book`` finds the book's two files; None where it would have to fetch them."""
    places = (folder, folder / "ctr")
    place = next((p for p in places if any((p / name).exists() for name in BOOK_SHA1)), None)
    if place is None:
        return None
    record = verify(place)
    for name in BOOK_SHA1:
        if not (place / name).is_file():
            raise DataError(
                f"there is no {name} in {place}; put the book's file there, or name another folder "
                "with --data-dir"
            )
    genuine = all(file_digest(place / n, "sha1") == digest for n, digest in BOOK_SHA1.items())
    return _Files(
        "ctr",
        book(),
        [place / TRAIN, place / TEST],
        record.get("source", "a folder of the user's"),
        not genuine,
    )


def _recast_movielens(data_dir: Optional[PathLike]) -> _Files:
    source = dataset_ml100k(data_dir)["source"]
    files = []
    for name, content in zip(("training", "test"), movielens_clicks(data_dir)):
        file = io.BytesIO(content)
        file.name = f"MovieLens-100K as clicks, {name} rows"
        files.append(file)
    return _Files("MovieLens-100K as clicks", MOVIELENS, files, source, True)


def _find_downloaded(choice: ClickDataset, folder: pathlib.Path) -> _Files:
    layout, names = {
        ClickDataset.criteo: (CRITEO, ("train.txt", "train.txt.gz")),
        ClickDataset.avazu: (AVAZU, ("train.csv", "train.csv.gz", "train", "train.gz")),
    }[choice]
    for place in (folder, folder / choice.value):
        for name in names:
            if (place / name).is_file():
                file = place / name
                return _Files(choice.value, layout, [file], "a folder of the user's", True)
    raise DataError(
        f"--dataset {choice.value}: there is no {' or '.join(names)} in {folder} or "
        f"{folder / choice.value}; download the set and name its folder with --data-dir"
    )


def _sha256(*datasets: CTRDataset) -> str:
    """Of one file its SHA-256; of two, that of both digests one after the other."""
    digests = list(dict.fromkeys(rows.sha256 for rows in datasets))
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
