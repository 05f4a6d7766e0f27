"""The control of the leaderboard: a copy of the ratings with shuffled items.

Each user keeps the number and the times of the ratings, and each item keeps its number of ratings.
Which user has rated which item is random. So a system that clearly beats popularity on this copy
may know something about the held-out items that it should not know.
"""

import pathlib
import shutil
from typing import Optional

import numpy as np

from d2l_recsys.data import read_data_ml100k, split_data_ml100k
from d2l_recsys.datasets.movielens import find_ml100k
from d2l_recsys.settings import Split
from d2l_recsys.storage.files import prepare_folder, write_files

# Proposed swaps per rating, on average.
ROUNDS = 20


def deal_anew(
    users: np.ndarray,
    items: np.ndarray,
    is_fixed: np.ndarray,
    rng: np.random.Generator,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """Return ``items`` (n,), swapped at random between ``users`` (n,).

    Both are zero-based. A pair with ``is_fixed`` keeps its item, and no user gets an item twice.
    Each step draws two ratings and swaps their items, unless one of the two users would then have
    the same item twice. A swap and the swap back are equally likely. So after many steps, all
    tables with the same number of ratings for each user and each item are equally likely.
    """
    free = np.flatnonzero(~is_fixed)
    # Use a plain loop, because each step depends on the steps before it.
    owners, dealt = users.tolist(), items.tolist()
    has = set(zip(owners, dealt))
    for a, b in rng.choice(free, size=(rounds * len(free) // 2, 2)).tolist() if len(free) else ():
        one, other = (owners[a], dealt[b]), (owners[b], dealt[a])
        if one in has or other in has:
            continue
        has -= {(owners[a], dealt[a]), (owners[b], dealt[b])}
        has |= {one, other}
        dealt[a], dealt[b] = dealt[b], dealt[a]
    return np.array(dealt, dtype=items.dtype)


def write_shuffled(
    data_dir: Optional[pathlib.Path], folder: pathlib.Path, seed: int, split: Split
) -> pathlib.Path:
    """Write MovieLens-100K with shuffled training items of ``split`` to ``folder``.

    Only the items of the training ratings change. The held-out ratings, and the ratings that
    ``split`` leaves out, stay as they are. The previous content of the folder is removed. Returns
    the folder. Raises what reading and writing raise.
    """
    location = find_ml100k(data_dir)
    data, num_users, num_items = read_data_ml100k(data_dir)
    train, _ = split_data_ml100k(data, num_users, num_items, split)
    keys = [frame["user_id"] * (num_items + 1) + frame["item_id"] for frame in (data, train)]
    is_fixed = ~np.isin(*keys)
    users, items = (data[name].to_numpy() - 1 for name in ("user_id", "item_id"))
    data = data.assign(item_id=deal_anew(users, items, is_fixed, np.random.default_rng(seed)) + 1)
    layout = location.layout
    header = "" if layout.ratings_header is None else layout.ratings_header + "\n"
    lines = header + data.to_csv(sep="\t", header=False, index=False)
    # Remove files of another source, because they would be found instead of the new ones.
    if folder.exists():
        shutil.rmtree(folder)
    prepare_folder(folder)
    for name in (layout.items, layout.users):
        if (location.folder / name).is_file():
            shutil.copyfile(location.folder / name, folder / name)
    write_files(folder, {layout.ratings: lines.encode("ascii")})
    return folder
