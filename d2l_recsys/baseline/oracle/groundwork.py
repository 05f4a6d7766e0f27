"""What of a port no framework has a hand in, for ports to build on."""

from typing import Any, Dict, Mapping

import numpy as np

from d2l_recsys.baseline.oracle.data import DATA, roll_over
from d2l_recsys.baseline.oracle.metrics import METRICS
from d2l_recsys.baseline.oracle.training import Learner, as_type, draw_negatives, seen_items, train
from d2l_recsys.baseline.port import Arrays


class Groundwork:
    """Data, batches, metrics, negatives and the epochs of a training, all in numpy.

    A port that inherits from it has a method ``learner()``; the rest of
    ``d2l_recsys.baseline.port`` is its own. Whoever ports these parts too leaves them out here.
    """

    dtype: type = np.float64

    def __init__(self, model: str, protocol: str) -> None:
        self.model, self.protocol = model, protocol

    def data(self, given: Mapping[str, np.ndarray]) -> Arrays:
        """As in ``Port``."""
        return DATA[self.model](given)

    def batches(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """As in ``Port``."""
        return roll_over(given["orders"], int(given["batch_size"]))

    def metrics(self, given: Mapping[str, np.ndarray]) -> Dict[str, float]:
        """As in ``Port``."""
        return METRICS[self.model](self.protocol, as_type(self.dtype, given))

    def negatives(self, given: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        """As in ``Port``."""
        seen = seen_items(given["train"], int(given["num_users"]), int(given["num_items"]))
        return draw_negatives(np.random.default_rng(seed), given["users"], seen)

    def learner(self) -> Learner:
        """A port in training, with weights of its own."""
        raise NotImplementedError("the port has no learner")

    def train(
        self, given: Mapping[str, np.ndarray], settings: Mapping[str, Any], seed: int
    ) -> Dict[str, Dict[str, float]]:
        """As in ``Port``."""
        return train(self.model, self.learner(), given, settings, seed)
