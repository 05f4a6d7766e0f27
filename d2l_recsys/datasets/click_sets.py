"""Find the files of the click data sets (sections 15.8 to 15.10), and fetch the book's."""

import io
import os
import pathlib
from typing import List, NamedTuple, Optional, Union

from d2l_recsys.datasets.click_files import AVAZU, CRITEO, ClickFile, RowLayout, book
from d2l_recsys.datasets.download import Source, download_url, fetch, file_digest, verify
from d2l_recsys.datasets.location import folder_to_fill
from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.datasets.movielens_clicks import MOVIELENS, movielens_clicks
from d2l_recsys.errors import DataError
from d2l_recsys.settings import ClickDataset

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


# The book's clicks and their substitute data. Results on other clicks show no reported numbers.
REPORTED_ON = (ClickDataset.book, ClickDataset.movielens)


class ClickFiles(NamedTuple):
    """The files of a click data set: a training and a test file, or one file with both."""

    name: str
    layout: RowLayout
    files: List[ClickFile]
    source: str
    substitute: bool


def find_book(folder: pathlib.Path) -> ClickFiles:
    """Find the book's two files; fetch them if they are missing.

    Drafts of the chapter call this ``read_data_ctr``.

    Raises NoSourceError if no source delivers them, and DataError if a file is missing or damaged.
    """
    found = locate_book(folder)
    if found is None:
        target = folder_to_fill(folder) / "ctr"
        by_hand = (
            f"put {TRAIN} and {TEST} of ctr.zip by hand into {target}, or name a folder that holds "
            "them with --data-dir"
        )
        fetch(BOOK_SOURCES, target, by_hand)
        found = locate_book(folder)
        if found is None:
            raise DataError(
                f"{target} has source.json but no clicks; delete it to fetch the data again"
            )
    return found


def locate_book(folder: pathlib.Path) -> Optional[ClickFiles]:
    """Returns the same files as ``find_book``, or None if they must first be fetched."""
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
    return ClickFiles(
        "ctr",
        book(),
        [place / TRAIN, place / TEST],
        record.get("source", "a folder of the user's"),
        not genuine,
    )


def recast_movielens(data_dir: Optional[PathLike]) -> ClickFiles:
    """Returns MovieLens-100K as two files of clicks in memory.

    Raises the errors of ``movielens_clicks``.
    """
    source = dataset_ml100k(data_dir)["source"]
    files = []
    for name, content in zip(("training", "test"), movielens_clicks(data_dir)):
        file = io.BytesIO(content)
        file.name = f"MovieLens-100K as clicks, {name} rows"
        files.append(file)
    return ClickFiles("MovieLens-100K as clicks", MOVIELENS, files, source, True)


def find_downloaded(choice: ClickDataset, folder: pathlib.Path) -> ClickFiles:
    """Find the training file of Criteo or Avazu in ``folder``, or in its folder of that name.

    Raises DataError if there is no such file.
    """
    layout, names = {
        ClickDataset.criteo: (CRITEO, ("train.txt", "train.txt.gz")),
        ClickDataset.avazu: (AVAZU, ("train.csv", "train.csv.gz", "train", "train.gz")),
    }[choice]
    for place in (folder, folder / choice.value):
        for name in names:
            if (place / name).is_file():
                file = place / name
                return ClickFiles(choice.value, layout, [file], "a folder of the user's", True)
    raise DataError(
        f"--dataset {choice.value}: there is no {' or '.join(names)} in {folder} or "
        f"{folder / choice.value}; download the data set and name its folder with --data-dir"
    )
