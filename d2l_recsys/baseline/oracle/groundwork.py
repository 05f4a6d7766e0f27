"""The parts of a port that need no framework, as a base class for ports."""

from typing import Any, Dict, Mapping

import numpy as np

from d2l_recsys.baseline.oracle.data import DATA, roll_over
from d2l_recsys.baseline.oracle.metrics import METRICS
from d2l_recsys.baseline.oracle.training import Learner, as_type, draw_negatives, seen_items, train
from d2l_recsys.baseline.port import Arrays


class Groundwork:
    """Data, batches, metrics, negative items and the training loop, in numpy.

    A port may inherit from this class and define ``learner()`` and the methods of
    ``d2l_recsys.baseline.port.Port`` that this class lacks. To port one of these parts as well,
    override its method. ``dtype`` is the type of the floating-point numbers.
    """

    dtype: type = np.float64

    def __init__(self, model: str, protocol: str) -> None:
        self.model, self.protocol = model, protocol

    def data(self, given: Mapping[str, np.ndarray]) -> Arrays:
        """Rung 0: the arrays that training reads (``oracle.data``)."""
        return DATA[self.model](given)

    def batches(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Rung 0: the row numbers of the full batches, (batches, batch_size)."""
        return roll_over(given["orders"], int(given["batch_size"]))

    def metrics(self, given: Mapping[str, np.ndarray]) -> Dict[str, float]:
        """Rung 1: the metrics of the protocol by name (``oracle.metrics``)."""
        return METRICS[self.model](self.protocol, as_type(self.dtype, given))

    def negatives(self, given: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        """Rung 6: a negative item for each of ``given["users"]``, (n,).

        The item is drawn uniformly from the items that the user does not have in
        ``given["train"]``, rows of user and item.
        """
        seen = seen_items(given["train"], int(given["num_users"]), int(given["num_items"]))
        return draw_negatives(np.random.default_rng(seed), given["users"], seen)

    def learner(self) -> Learner:
        """A new, untrained learner for ``train``; see ``oracle.training.Learner``."""
        raise NotImplementedError("the port has no learner")

    def train(
        self, given: Mapping[str, np.ndarray], settings: Mapping[str, Any], seed: int
    ) -> Dict[str, Dict[str, float]]:
        """Rung 6: train a new learner; returns its metrics by protocol and name."""
        return train(self.model, self.learner(), given, settings, seed)
