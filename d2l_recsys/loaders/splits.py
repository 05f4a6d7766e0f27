"""A random split of rows into training and test rows."""

from typing import Union

import numpy as np


def in_training(
    num_rows: int, test_ratio: float, rng: Union[np.random.Generator, int, None]
) -> np.ndarray:
    """Returns for each row whether it is a training row: bool (num_rows,).

    Each row is a test row with probability ``test_ratio``. ``rng`` is a numpy Generator or a seed.
    """
    return np.random.default_rng(rng).uniform(size=num_rows) < 1 - test_ratio
