"""The control of the leaderboard: ratings of which the items have been dealt out anew.

Who rated how much and when, and how often each item was rated, stay as they were; which user rated
which item is chance. What leads popularity there knows more of the held-out items than it should.
"""

import pathlib
import shutil
from typing import Optional

import numpy as np

from d2l_recsys.data import read_data_ml100k, split_data_ml100k
from d2l_recsys.datasets.movielens import find_ml100k
from d2l_recsys.settings import Split
from d2l_recsys.storage.files import prepare_folder, write_files

# How often, on average, each rating is proposed to swap its item.
ROUNDS = 20


def deal_anew(
    users: np.ndarray,
    items: np.ndarray,
    is_fixed: np.ndarray,
    rng: np.random.Generator,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """The ``items`` (n,), swapped at random between ``users`` (n,) who each keep distinct ones.

    Both are zero-based; pairs where ``is_fixed`` stay. Two ratings are drawn, and swap their items
    unless a user would then have one twice. A step back is as likely as the step, so after many
    all tables of the same margins are equally likely.
    """
    free = np.flatnonzero(~is_fixed)
    # A plain loop, since each step depends on the ones before it.
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
    """Put MovieLens-100K with the training items of ``split`` dealt anew into ``folder``.

    What is held out, and what is left out for that, stays; so does all else. What was in the
    folder is removed. Returns the folder; raises what reading and writing raise.
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
    # What another source of the data has left there would be found in place of this.
    if folder.exists():
        shutil.rmtree(folder)
    prepare_folder(folder, "")
    for name in (layout.items, layout.users):
        if (location.folder / name).is_file():
            shutil.copyfile(location.folder / name, folder / name)
    write_files(folder, {layout.ratings: lines.encode("ascii")})
    return folder
