"""Made-up ratings and clicks that rungs 0 to 5 ask about.

The baseline may not carry MovieLens, so it needs ratings and clicks of its own. They contain what
the chapter's data has many times, and what ports get wrong: ties in time, also at a user's latest
rating; users with hardly any rating; more items than users; ids in another order than the file's;
values of clicks that are rare, that only test rows have, or that differ by a leading zero alone.
"""

from typing import Any, Dict, List

import numpy as np

# Of all that the baseline draws.
SEED = 2021
NUM_USERS, NUM_ITEMS = 113, 179
# Users with so few ratings that their windows (L = 3) have to be filled up, or are one.
SHORT = {5: 2, 17: 4, 60: 5}
FIELD_SIZES = (40, 3, 12, 25, 7, 400)
NUM_TRAIN, NUM_TEST = 3000, 401
MIN_THRESHOLD = 4

# The chapter's, but for batches and a hidden layer that are smaller, and dropout, which is random.
SETTINGS: Dict[str, Dict[str, Any]] = {
    "mf": {"num_factors": 30, "lr": 0.002, "wd": 1e-5, "batch_size": 256},
    "autorec": {"num_hidden": 50, "dropout": 0.0, "lr": 0.002, "wd": 1e-5, "batch_size": 64},
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
    """Lines of user, item, rating and timestamp, int64 (n, 4), in no order; ids count from 1."""
    taste, kind = rng.normal(size=(NUM_USERS, 4)), rng.normal(size=(NUM_ITEMS, 4))
    popularity = 1 / np.arange(1, NUM_ITEMS + 1) ** 0.7
    popularity = rng.permutation(popularity / popularity.sum())
    lines: List[List[int]] = []
    for user in range(NUM_USERS):
        count = SHORT.get(user, int(rng.integers(12, 70)))
        items = rng.choice(NUM_ITEMS, size=count, replace=False, p=popularity)
        liking = 3.5 + taste[user] @ kind[items].T + rng.normal(0, 0.5, count)
        # A third of the ratings fall on the second of another one.
        times = 880_000_000 + 1000 * user + rng.integers(0, 2 * count, size=count) // 3 * 20
        for item, rating, time in zip(items, np.clip(np.rint(liking), 1, 5), times):
            lines.append([user + 1, int(item) + 1, int(rating), int(time)])
    rated = {line[1] for line in lines}
    for item in range(1, NUM_ITEMS + 1):
        if item not in rated:
            lines.append([1, item, 3, 880_000_000])
    return rng.permutation(np.array(lines, dtype=np.int64))


def clicks(rng: np.random.Generator) -> Dict[str, np.ndarray]:
    """``train_tsv`` and ``test_tsv``, the bytes (uint8) of lines of a label and values."""
    weights = [rng.normal(0, 1.0, size) for size in FIELD_SIZES]
    names = [[f"{field}{value:x}" for value in range(n)] for field, n in zip("abcdef", FIELD_SIZES)]
    # Two values of a field that differ only where a number would not.
    names[1][:2] = ["7", "007"]
    tables = []
    for rows, first_unseen in ((NUM_TRAIN, 2), (NUM_TEST, 0)):
        lines = []
        for _ in range(rows):
            # Skewed, so that some values are rare; a field's last ones are in the test rows alone.
            chosen = [
                min(int(size * rng.uniform() ** 3), size - 1 - (first_unseen if size > 10 else 0))
                for size in FIELD_SIZES
            ]
            score = sum(w[value] for w, value in zip(weights, chosen))
            label = int(rng.uniform() < 1 / (1 + np.exp(-score)))
            lines.append("\t".join([str(label), *(n[c] for n, c in zip(names, chosen))]))
        tables.append(np.frombuffer(("\n".join(lines) + "\n").encode(), dtype=np.uint8))
    return {"train_tsv": tables[0], "test_tsv": tables[1]}
