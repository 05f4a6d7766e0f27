"""Rung 3: what is minimised, and its gradients."""

from typing import Any, Tuple

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS, MODELS, PAIRS, RATINGS
from d2l_recsys.baseline.mistakes.mistake import (
    DEFINED,
    PRINTED,
    TABLES,
    WITH_TABLES,
    Mistaken,
    Mistakes,
)
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.models import MODELS as NETS
from d2l_recsys.baseline.oracle.models import Outputs, sigmoid
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()

# Rung 3


def _times(losses: Outputs, factor: Any) -> Outputs:
    values, pull = losses
    return values * factor, lambda: {name: g * factor for name, g in pull().items()}


@MADE.add(3, RATINGS, method="losses")
def squared_error_not_halved(port: Port, batch: Arrays) -> Outputs:
    """The loss is half the squared error; here it is the whole."""
    return _times(Port.losses(port, batch), 2)


@MADE.add(3, MODELS)
class MeanOverTheBatch(Mistaken):
    """The loss and its gradients are summed over a batch, and divided in the step; here before."""

    def loss(self, batch: Arrays) -> float:
        return float(self.losses(batch)[0].mean())

    def gradients(self, batch: Arrays) -> Arrays:
        losses, pull = self.losses(batch)
        return {name: gradient / len(losses) for name, gradient in pull().items()}


@MADE.add(3, ("autorec",), method="losses")
def sum_over_a_row(port: Port, batch: Arrays) -> Outputs:
    """The loss of a row is the mean over its cells, here the sum."""
    return _times(Port.losses(port, batch), batch["ratings"].shape[1])


@MADE.add(3, ("autorec",), method="l2_loss")
def mean_over_observed_cells(port: Port, outputs: Outputs, ratings: np.ndarray) -> Outputs:
    """The loss of a row is the mean over all its cells, here over those that are observed."""
    predicted, pull = outputs
    share = 1 / np.maximum((ratings > 0).sum(axis=1), 1)
    error = (predicted - ratings) * (ratings > 0)
    return (error**2 / 2).sum(axis=1) * share, lambda: pull(error * share[:, None])


@MADE.add(3, ("autorec",))
class UnobservedCellsLearned(Mistaken):
    """Cells without a rating have no part in the loss; here they are learned as 0."""

    @staticmethod
    def mask(rows: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return rows


@MADE.add(3, PAIRS, method="bpr_loss")
def sign_reversed(port: Port, batch: Arrays) -> Outputs:
    """The positive item is to score higher; here the loss takes the negative one's side."""
    swapped = {**batch, "item_id": batch["negative_id"], "negative_id": batch["item_id"]}
    return Port.bpr_loss(port, swapped)


@MADE.add(3, PAIRS, method="pair_loss")
def no_logarithm(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The loss is -ln sigmoid(x), here -sigmoid(x)."""
    s = sigmoid(-lag)
    return -s, s * (1 - s)


@MADE.add(3, PAIRS, method="pair_loss")
def hinge_loss(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The loss is that of BPR, -ln sigmoid(x), here the hinge max(1 - x, 0)."""
    return np.maximum(1 + lag, 0), (1 + lag > 0) * 1.0


@MADE.add(3, PAIRS, method="bpr_loss")
def no_gradient_through_the_negative(port: Port, batch: Arrays) -> Outputs:
    """The gradient goes through both scores; here the negative one is held fixed."""
    positive, pull_positive = port.net(batch)
    negative, _ = port.net({**batch, "item_id": batch["negative_id"]})
    lag = negative - positive
    return np.logaddexp(0, lag), lambda: pull_positive(-sigmoid(lag))


def _click_loss_of(protocol: str, port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    own, port.protocol = port.protocol, protocol
    try:
        return Port.click_loss(port, outputs, labels)
    finally:
        port.protocol = own


@MADE.add(3, CLICKS, PRINTED, method="click_loss")
def one_sigmoid_as_printed(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """As printed the loss takes the sigmoid of what has been through one; here there is one."""
    return _click_loss_of("defined", port, outputs, labels)


@MADE.add(3, CLICKS, DEFINED, method="click_loss")
def two_sigmoids_as_defined(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """As defined the loss takes one sigmoid, that of the log odds; here it takes two."""
    return _click_loss_of("printed", port, outputs, labels)


@MADE.add(3, WITH_TABLES, method="net")
def gradients_of_duplicates_overwritten(port: Port, batch: Arrays) -> Outputs:
    """An id that is in a batch twice gets the sum of both gradients, here the last one."""
    p, ids = dict(port.p), dict(batch)
    # With a row of its own for each time that it is looked up, its gradients come apart.
    for name, of_table in TABLES[port.model].items():
        p[f"{name}.weight"] = port.p[f"{name}.weight"][batch[of_table].ravel()]
        ids[of_table] = np.arange(batch[of_table].size).reshape(batch[of_table].shape)
    outputs, pull = NETS[port.model](p, ids, port.drop)

    def pull_last(d: np.ndarray) -> Arrays:
        gradients = pull(d)
        for name, of_table in TABLES[port.model].items():
            of_times = gradients[f"{name}.weight"]
            gradients[f"{name}.weight"] = np.zeros_like(port.p[f"{name}.weight"])
            gradients[f"{name}.weight"][batch[of_table].ravel()] = of_times
        return gradients

    return outputs, pull_last
