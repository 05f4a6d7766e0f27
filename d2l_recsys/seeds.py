"""One seed, split into independent streams, so that no part of a run shifts another's draws."""

from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """A generator for each use of randomness on the host (MXNet's own is seeded apart)."""

    split: np.random.Generator
    shuffle: np.random.Generator
    negatives: np.random.Generator


def seed_streams(seed: int) -> Streams:
    """The streams of ``seed``, a non-negative integer: children of one ``SeedSequence``."""
    children = np.random.SeedSequence(seed).spawn(len(Streams._fields))
    return Streams(*map(np.random.default_rng, children))


def epoch_seed(seed: int, epoch: int) -> int:
    """What MXNet's own generator, whose state cannot be read, is seeded with for ``epoch``."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)
