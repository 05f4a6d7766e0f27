"""Made-up ratings and clicks for the questions of rungs 0 to 5.

MovieLens-100K may not be redistributed, so the baseline contains made-up data. The made-up data has
the difficult cases of the chapter's data, which ports often get wrong:

- ratings of a user with equal times, also at the latest time
- users with very few ratings
- more items than users
- ratings in no order of users, items or times
- click values that are rare, that occur only in the test rows, or that differ only by leading zeros
"""

from typing import Any, Dict, List

import numpy as np

# The seed of everything that the baseline draws.
SEED = 2021
NUM_USERS, NUM_ITEMS = 113, 179
# Rows of users with few ratings: for L = 3 they have no complete window, or exactly one.
SHORT = {5: 2, 17: 4, 60: 5}
FIELD_SIZES = (40, 3, 12, 25, 7, 400)
NUM_TRAIN, NUM_TEST = 3000, 401
MIN_THRESHOLD = 4

# The settings of the chapter, except: batches and AutoRec's hidden layer are smaller, and dropout
# is off because it is random. A variant that is missing here has those of its model.
SETTINGS: Dict[str, Dict[str, Any]] = {
    "mf": {"num_factors": 30, "lr": 0.002, "wd": 1e-5, "batch_size": 256},
    "autorec": {"num_hidden": 50, "dropout": 0.0, "lr": 0.002, "wd": 1e-5, "batch_size": 64},
    # There are more items than users, so the rows are longer. Small batches keep the files small.
    "autorec-user": {"num_hidden": 50, "dropout": 0.0, "lr": 0.002, "wd": 1e-5, "batch_size": 16},
    "neumf": {
        "num_factors": 10, "nums_hiddens": [10, 10, 10], "lr": 0.01, "wd": 1e-5, "batch_size": 256,
    },
    "caser": {
        "num_factors": 10, "L": 3, "d": 16, "d_prime": 4, "dropout": 0.0, "lr": 0.04, "wd": 1e-5,
        "batch_size": 256,
    },
    "fm": {"num_factors": 20, "lr": 0.02, "batch_size": 256},
    "deepfm": {
        "num_factors": 10, "mlp_dims": [30, 20, 10], "dropout": 0.0, "lr": 0.01, "batch_size": 256,
    },
}  # fmt: skip


def ratings(rng: np.random.Generator) -> np.ndarray:
    """Rows of user, item, rating and timestamp, int64 (n, 4), shuffled; ids count from 1."""
    taste, kind = rng.normal(size=(NUM_USERS, 4)), rng.normal(size=(NUM_ITEMS, 4))
    popularity = 1 / np.arange(1, NUM_ITEMS + 1) ** 0.7
    popularity = rng.permutation(popularity / popularity.sum())
    lines: List[List[int]] = []
    for user in range(NUM_USERS):
        count = SHORT.get(user, int(rng.integers(12, 70)))
        items = rng.choice(NUM_ITEMS, size=count, replace=False, p=popularity)
        liking = 3.5 + taste[user] @ kind[items].T + rng.normal(0, 0.5, count)
        # Few distinct times, so that many ratings of a user have the same time.
        times = 880_000_000 + 1000 * user + rng.integers(0, 2 * count, size=count) // 3 * 20
        for item, rating, time in zip(items, np.clip(np.rint(liking), 1, 5), times):
            lines.append([user + 1, int(item) + 1, int(rating), int(time)])
    rated = {line[1] for line in lines}
    for item in range(1, NUM_ITEMS + 1):
        if item not in rated:
            lines.append([1, item, 3, 880_000_000])
    return rng.permutation(np.array(lines, dtype=np.int64))


def clicks(rng: np.random.Generator) -> Dict[str, np.ndarray]:
    """``train_tsv`` and ``test_tsv``: lines of a label and values between tabs, as uint8 bytes."""
    weights = [rng.normal(0, 1.0, size) for size in FIELD_SIZES]
    names = [[f"{field}{value:x}" for value in range(n)] for field, n in zip("abcdef", FIELD_SIZES)]
    # These two values of a field are equal as numbers but differ as text.
    names[1][:2] = ["7", "007"]
    tables = []
    for rows, first_unseen in ((NUM_TRAIN, 2), (NUM_TEST, 0)):
        lines = []
        for _ in range(rows):
            # The draw is skewed, so that some values are rare. In fields with more than 10 values,
            # only the test rows can have the last two.
            chosen = [
                min(int(size * rng.uniform() ** 3), size - 1 - (first_unseen if size > 10 else 0))
                for size in FIELD_SIZES
            ]
            score = sum(w[value] for w, value in zip(weights, chosen))
            label = int(rng.uniform() < 1 / (1 + np.exp(-score)))
            lines.append("\t".join([str(label), *(n[c] for n, c in zip(names, chosen))]))
        tables.append(np.frombuffer(("\n".join(lines) + "\n").encode(), dtype=np.uint8))
    return {"train_tsv": tables[0], "test_tsv": tables[1]}
