"""Random generators for each part of a run, all made from one seed.

The generators are independent: if one part of a run draws more numbers, the other parts still draw
the same numbers.
"""

from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """The numpy generators of a run; ``epoch_seed`` seeds MXNet's own generator."""

    split: np.random.Generator
    shuffle: np.random.Generator
    negatives: np.random.Generator


def seed_streams(seed: int) -> Streams:
    """Returns the streams of ``seed``, a non-negative integer: children of one ``SeedSequence``."""
    children = np.random.SeedSequence(seed).spawn(len(Streams._fields))
    return Streams(*map(np.random.default_rng, children))


def epoch_seed(seed: int, epoch: int) -> int:
    """Returns the seed of MXNet's own generator in ``epoch``, a number from 0 to 2**31 - 1.

    The state of this generator cannot be saved. So each epoch seeds it again, and a resumed run
    draws the same numbers as a run without a stop.
    """
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)
