"""The chapter's data: read it, split it, and load it into arrays and batches (15.2 and 15.8).

The functions keep the chapter's names and arguments. Additional arguments come last. Array
operations replace the book's loops over rows. The code that finds and reads the files is in
``datasets``. Needs numpy, scipy and pandas, but not MXNet.
"""

import hashlib
import sys
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import pandas as pd

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.datasets.click_sets import find_book, find_downloaded, recast_movielens
from d2l_recsys.datasets.location import PathLike, data_folder, default_data_dir
from d2l_recsys.datasets.movielens import (
    dataset_ml100k,
    find_ml100k,
    locate_ml100k,
    read_data_ml100k,
    read_items_ml100k,
    read_users_ml100k,
    title_and_year,
)
from d2l_recsys.errors import DataError, NoSourceError, SettingError
from d2l_recsys.loaders.batches import BatchLoader, MappedLoader, training_loader
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.loaders.sessions import Sessions, cut_sessions, last_tenth
from d2l_recsys.loaders.splits import in_training
from d2l_recsys.settings import ClickDataset, Feedback, Split, TimeSplit, as_choice

__all__ = [
    "CTRData",
    "CTRDataset",
    "RankingData",
    "SessionSplit",
    "click_batches",
    "data_folder",
    "dataset_ml100k",
    "default_data_dir",
    "find_ml100k",
    "load_all_ml100k",
    "load_data_ctr",
    "load_data_ml100k",
    "load_ranking_ml100k",
    "load_sessions_ml100k",
    "locate_ml100k",
    "read_data_ml100k",
    "read_items_ml100k",
    "read_users_ml100k",
    "split_and_load_ml100k",
    "split_data_ml100k",
    "title_and_year",
]

Rng = Union[np.random.Generator, int, None]


def split_data_ml100k(
    data: pd.DataFrame,
    num_users: int,
    num_items: int,
    split_mode: str = "random",
    test_ratio: float = 0.1,
    rng: Rng = None,
) -> Tuple[pd.DataFrame, pd.DataFrame]:
    """Split ratings into a training frame and a test frame, as the chapter does.

    There are three values of ``split_mode``:

    - ``random``: each rating is a test rating with probability ``test_ratio``. Both frames keep the
      order and the index of ``data``.
    - ``seq-aware``: the latest rating of each user is the test rating. If several ratings tie for
      the latest time, the first of them in ``data`` is the test rating. The training ratings are
      ordered by user and time. The test ratings are in the order in which their users first appear
      in ``data``.
    - ``validation``: split as ``seq-aware``, then split the training ratings in the same way again.
      The test ratings of the first split are not used.

    ``rng`` is a numpy Generator or a seed; only ``random`` uses it. Raises SettingError if the mode
    is unknown or ``test_ratio`` does not lie between 0 and 1. Raises DataError if ``seq-aware`` or
    ``validation`` has no ratings to split.
    """
    split = as_choice(Split, "split", split_mode)
    if split is Split.random:
        if not 0 < test_ratio < 1:
            raise SettingError(f"test_ratio is {test_ratio}; it must lie between 0 and 1")
        train = in_training(len(data), test_ratio, rng)
        return data[train], data[~train]
    if data.empty:
        raise DataError("there are no ratings to split; give one rating or more")
    if split is Split.validation:
        data, _ = split_data_ml100k(data, num_users, num_items, Split.seq_aware)
        if data.empty:
            raise DataError(
                "no user has two ratings, so no rating is left for validation; add ratings"
            )
    users, times = data["user_id"].to_numpy(), data["timestamp"].to_numpy()
    by_user_and_time = np.lexsort((times, users))
    users, times = users[by_user_and_time], times[by_user_and_time]
    block_ends = np.append(np.flatnonzero(np.diff(users)), len(users) - 1)
    block_sizes = np.diff(block_ends, prepend=-1)
    is_latest = times == np.repeat(times[block_ends], block_sizes)
    # The sort is stable, so the first of a user's latest ratings is the first in the file.
    latest = np.flatnonzero(is_latest)
    held_out = latest[np.unique(users[latest], return_index=True)[1]]
    train = data.iloc[np.delete(by_user_and_time, held_out)]
    first_seen = pd.unique(data["user_id"])
    test = data.iloc[by_user_and_time[held_out]].set_index("user_id", drop=False).loc[first_seen]
    return train.reset_index(drop=True), test.reset_index(drop=True)


def load_data_ml100k(
    data: pd.DataFrame, num_users: int, num_items: int, feedback: str = "explicit"
) -> Tuple[np.ndarray, np.ndarray, np.ndarray, Union[np.ndarray, Dict[int, List[int]]]]:
    """Returns zero-based users and items, scores, and the interactions in the chapter's form.

    ``users`` and ``items`` (int32) and ``scores`` (float32) are as long as ``data``. The scores are
    the ratings, or 1 for implicit feedback. For explicit feedback ``inter`` is the float32 rating
    matrix of shape (num_items, num_users), with 0 for unobserved pairs. For implicit feedback
    ``inter`` is a dict from each user to the list of the user's items, in the order of ``data``.

    Raises DataError if an id is outside 1 ... num_users or 1 ... num_items, or if the matrix does
    not fit into memory.
    """
    users, items, scores = _columns(data, num_users, num_items, feedback)
    if as_choice(Feedback, "feedback", feedback) is Feedback.implicit:
        order = np.argsort(users, kind="stable")
        present, starts = np.unique(users[order], return_index=True)
        lists = dict(zip(present.tolist(), np.split(items[order], starts[1:])))
        inter = {user: lists[user].tolist() for user in pd.unique(users).tolist()}
        return users, items, scores, inter
    try:
        inter = np.zeros((num_items, num_users), dtype=np.float32)
    except MemoryError as error:
        raise DataError(
            f"the matrix of {num_items} items and {num_users} users does not fit into memory; "
            "leave out some items or users"
        ) from error
    inter[items, users] = scores
    return users, items, scores, inter


def _columns(
    data: pd.DataFrame, num_users: int, num_items: int, feedback: str
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns users, items and scores, as ``load_data_ml100k`` does."""
    implicit = as_choice(Feedback, "feedback", feedback) is Feedback.implicit
    users, items = _indices(data, num_users, num_items)
    scores = data["rating"].to_numpy(np.float32)
    return users, items, np.ones_like(scores) if implicit else scores


def _indices(data: pd.DataFrame, num_users: int, num_items: int) -> Tuple[np.ndarray, np.ndarray]:
    indices = []
    for column, count in (("user_id", num_users), ("item_id", num_items)):
        ids = data[column].to_numpy()
        outside = (ids < 1) | (ids > count)
        if outside.any():
            raise DataError(
                f"{column} {ids[outside][0]} is outside 1-{count}; correct the id or the count"
            )
        indices.append((ids - 1).astype(np.int32))
    return indices[0], indices[1]


def split_and_load_ml100k(
    split_mode: str = "seq-aware",
    feedback: str = "explicit",
    test_ratio: float = 0.1,
    batch_size: int = 256,
    data_dir: Optional[PathLike] = None,
    split_rng: Rng = None,
    shuffle_rng: Rng = None,
) -> Tuple[int, int, BatchLoader, BatchLoader]:
    """Read, split and load MovieLens-100K: num_users, num_items, training batches, test batches.

    A batch is [users, items, scores]: int32, int32 and float32. The training loader shuffles with
    ``shuffle_rng``; rows that do not fill a batch roll over into the next epoch. The test loader
    keeps the order and all rows. Raises SettingError if ``feedback`` is unknown, and the errors of
    ``read_data_ml100k``, ``split_data_ml100k`` and ``BatchLoader``.
    """
    as_choice(Feedback, "feedback", feedback)
    data, num_users, num_items = read_data_ml100k(data_dir)
    parts = split_data_ml100k(data, num_users, num_items, split_mode, test_ratio, split_rng)
    train, test = (_columns(part, num_users, num_items, feedback) for part in parts)
    return (
        num_users,
        num_items,
        training_loader(*train, batch_size=batch_size, rng=shuffle_rng),
        BatchLoader(*test, batch_size=batch_size),
    )


def load_ranking_ml100k(
    data_dir: Optional[PathLike] = None, split_mode: str = "seq-aware"
) -> RankingData:
    """Read MovieLens-100K, split it by time, and load it as implicit feedback (15.6 and 15.7).

    ``split_mode`` is ``seq-aware`` or ``validation``, as in ``split_data_ml100k``.

    Raises SettingError if the split is not by time. Raises DataError if a user has too few ratings:
    if all ratings of a user are held out, the user has no training item. Also raises the errors of
    ``read_data_ml100k`` and ``split_data_ml100k``.
    """
    split = as_choice(Split, "split", split_mode)
    if split is Split.random:
        raise SettingError(
            "--split is 'random', but ranking is tested on each user's last item; choose one of: "
            "seq-aware, validation"
        )
    data, num_users, num_items = read_data_ml100k(data_dir)
    train, test = split_data_ml100k(data, num_users, num_items, split)
    users, items, ratings = _columns(train, num_users, num_items, Feedback.explicit)
    *_, candidates = load_data_ml100k(train, num_users, num_items, "implicit")
    *_, test_items = load_data_ml100k(test, num_users, num_items, "implicit")
    if len(candidates) < num_users:
        user = min(set(range(num_users)) - candidates.keys()) + 1
        count = int((data["user_id"] == user).sum())
        few = "one rating, which is" if count == 1 else "two ratings, which are"
        raise DataError(
            f"{find_ml100k(data_dir).ratings}: user {user} has {few} held out, so no training "
            "item is left; give this user more ratings, or leave this user out"
        )
    return RankingData(num_users, num_items, users, items, ratings, candidates, test_items)


def load_all_ml100k(data_dir: Optional[PathLike] = None) -> RankingData:
    """Load all ratings of MovieLens-100K as training pairs, without held-out items.

    The pairs have the form of ``load_ranking_ml100k``, ordered by user and time. If several ratings
    of a user tie for the latest time, the rating that ``seq-aware`` holds out comes last. Raises
    the errors of ``read_data_ml100k``.
    """
    data, num_users, num_items = read_data_ml100k(data_dir)
    data = pd.concat(split_data_ml100k(data, num_users, num_items, Split.seq_aware))
    data = data.sort_values("user_id", kind="stable")
    columns = _columns(data, num_users, num_items, Feedback.explicit)
    *_, candidates = load_data_ml100k(data, num_users, num_items, "implicit")
    return RankingData(num_users, num_items, *columns, candidates, test_items={})


class SessionSplit(NamedTuple):
    """Sessions, split by time: those to learn from, and those to test on.

    Items are zero-based. ``num_users`` and ``num_items`` are the numbers of all users and items.
    """

    num_users: int
    num_items: int
    train: Sessions
    test: Sessions

    @property
    def sizes(self) -> Tuple[int, int]:
        """The numbers of users and items."""
        return self.num_users, self.num_items


def load_sessions_ml100k(
    data_dir: Optional[PathLike] = None, split_mode: str = "seq-aware", idle: int = 30
) -> SessionSplit:
    """Read MovieLens-100K, cut the ratings into sessions, and hold out the latest (15.7).

    A session ends where a user pauses for more than ``idle`` minutes. With the split ``seq-aware``
    the last tenth of the sessions is held out, in the order of their first rating. ``validation``
    leaves this tenth out of everything, and holds out a tenth of the others in the same way.

    Raises SettingError if the split is not by time or ``idle`` is out of range. Raises DataError if
    there are fewer than two sessions to learn from. Also raises the errors of ``read_data_ml100k``.
    """
    split = as_choice(TimeSplit, "split", split_mode)
    data, num_users, num_items = read_data_ml100k(data_dir)
    users, items = _indices(data, num_users, num_items)
    every = cut_sessions(users, items, data["timestamp"].to_numpy(), idle)
    train, test = last_tenth(every)
    if split is TimeSplit.validation:
        train, test = last_tenth(train)
    if len(train) < 2:
        raise DataError(
            f"{find_ml100k(data_dir).ratings}: pauses of more than {idle} minutes cut the ratings "
            f"into {len(every)} sessions of two or more ratings, too few to learn from; choose "
            "another --idle, or add ratings"
        )
    return SessionSplit(num_users, num_items, train, test)


class CTRData(NamedTuple):
    """Training and test clicks, their batches, and the description of the data set for results."""

    train: CTRDataset
    test: CTRDataset
    train_iter: BatchLoader
    test_iter: BatchLoader
    dataset: Dict[str, object]

    @property
    def loaders(self) -> Tuple[BatchLoader, BatchLoader]:
        """The training batches and the test batches."""
        return self.train_iter, self.test_iter


def load_data_ctr(
    dataset: str = "book",
    data_dir: Optional[PathLike] = None,
    batch_size: int = 2048,
    min_threshold: int = 4,
    strict: bool = False,
    shuffle_rng: Union[np.random.Generator, int, None] = None,
    quiet: bool = True,
) -> CTRData:
    """Find or fetch a click data set, encode it, and cut it into batches.

    Parameters
    ----------
    dataset : ``book`` is the book's data set. If no source delivers it, ``movielens`` replaces it,
        and a line on standard error says so. ``movielens`` is MovieLens-100K recast as clicks.
        ``criteo`` and ``avazu`` read the training file of these data sets; every tenth row of the
        file is a test row
    data_dir : the folder to search (default: ``default_data_dir()``). Its folder ``ctr``,
        ``ml-100k``, ``criteo`` or ``avazu`` is searched, too. Fetched files go to this inner folder
    batch_size : the number of rows in a batch. The training batches are shuffled with
        ``shuffle_rng``, and rows that do not fill a batch roll over into the next epoch. The test
        batches keep the order and all rows
    min_threshold, strict : as in ``CTRDataset``. If rows are left out, a line on standard error
        names the first of them
    quiet : if True, show no progress bar

    The feature mapper of the training set also encodes the test set. A value that occurs only in
    the test set gets the default id of its field. Raises SettingError if ``dataset`` is unknown.
    Raises DataError if there is no data, or if the training set or the test set has labels of only
    one class. Also raises the errors of ``CTRDataset``.
    """
    choice = as_choice(ClickDataset, "dataset", dataset)
    folder = data_folder(data_dir)
    if choice is ClickDataset.book:
        try:
            found = find_book(folder)
        except NoSourceError as error:
            print(
                f"{error}; using substitute data: MovieLens-100K recast as clicks", file=sys.stderr
            )
            found = recast_movielens(data_dir)
    elif choice is ClickDataset.movielens:
        found = recast_movielens(data_dir)
    else:
        found = find_downloaded(choice, folder)

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
                f"{rows.skipped.name}: all {len(rows)} rows have the label "
                f"{int(rows.num_clicks > 0)}; use a file with both labels, 0 and 1"
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
    """Returns batches of features and labels; ``options`` are the options of the loader.

    The loader is a ``MappedLoader`` if the arrays are memory-mapped files, else a ``BatchLoader``.
    """
    mapped = isinstance(rows.features, np.memmap)
    loader = MappedLoader if mapped else BatchLoader
    return loader(rows.features, rows.labels, batch_size=batch_size, **options)


def _sha256(*datasets: CTRDataset) -> str:
    """Returns the SHA-256 of one file; for two files, the SHA-256 of both digests joined."""
    digests = list(dict.fromkeys(rows.sha256 for rows in datasets))
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
