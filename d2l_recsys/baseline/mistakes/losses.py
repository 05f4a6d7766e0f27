"""Mistakes of rung 3: the losses and their gradients."""

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
    net_with,
)
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.models import Outputs, sigmoid
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()
HINGE = ("neumf-hinge",)
# In these variants no difference of scores is large, or large differences need no care.
NEVER_LARGE = ("neumf-sigmoid", *HINGE)

# Rung 3


def _times(losses: Outputs, factor: Any) -> Outputs:
    values, pull = losses
    return values * factor, lambda: {name: g * factor for name, g in pull().items()}


@MADE.add(3, RATINGS, method="losses")
def squared_error_not_halved(port: Port, batch: Arrays) -> Outputs:
    """The loss must be half the squared error. The port omits the factor 1/2."""
    return _times(port.losses(batch), 2)


@MADE.add(3, ("mf",), method="l2_loss")
def each_prediction_with_all_ratings(port: Port, outputs: Outputs, ratings: np.ndarray) -> Outputs:
    """The error of a prediction must be that of its own rating.

    The port subtracts (n,) from (n, 1), which compares each prediction with all ratings.
    """
    predicted, pull = outputs
    error = predicted[:, None] - ratings
    return (error**2 / 2).sum(axis=1), lambda: pull(error.sum(axis=1))


@MADE.add(3, MODELS)
class MeanOverTheBatch(Mistaken):
    """Loss and gradients must be sums over the batch; only the step divides the gradients.

    The port returns means over the batch.
    """

    def loss(self, batch: Arrays) -> float:
        return float(self.losses(batch)[0].mean())

    def gradients(self, batch: Arrays) -> Arrays:
        losses, pull = self.losses(batch)
        return {name: gradient / len(losses) for name, gradient in pull().items()}


@MADE.add(3, ("autorec",), method="losses")
def sum_over_a_row(port: Port, batch: Arrays) -> Outputs:
    """The loss of a row must be the mean over its cells. The port sums over the cells."""
    return _times(port.losses(batch), batch["ratings"].shape[1])


@MADE.add(3, ("autorec",), method="l2_loss")
def mean_over_observed_cells(port: Port, outputs: Outputs, ratings: np.ndarray) -> Outputs:
    """The loss of a row must be divided by the number of all its cells.

    The port divides by the number of observed cells.
    """
    predicted, pull = outputs
    share = 1 / np.maximum((ratings > 0).sum(axis=1), 1)
    error = (predicted - ratings) * (ratings > 0)
    return (error**2 / 2).sum(axis=1) * share, lambda: pull(error * share[:, None])


@MADE.add(3, ("autorec",))
class UnobservedCellsLearned(Mistaken):
    """Cells without a rating must not contribute to the loss.

    The port treats these cells as ratings of 0.
    """

    @staticmethod
    def mask(rows: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return rows


@MADE.add(3, PAIRS, method="ranking_loss")
def sign_reversed(port: Port, batch: Arrays) -> Outputs:
    """A higher score of the positive item must lower the loss.

    The port swaps the two items.
    """
    swapped = {**batch, "item_id": batch["negative_id"], "negative_id": batch["item_id"]}
    return port.ranking_loss(swapped)


@MADE.add(3, PAIRS, method="bpr", but=HINGE)
def no_logarithm(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """With x = positive score - negative score, the loss must be -ln sigmoid(x).

    The port uses -sigmoid(x).
    """
    s = sigmoid(-lag)
    return -s, s * (1 - s)


@MADE.add(3, PAIRS, method="bpr", but=HINGE)
def hinge_loss(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """With x = positive score - negative score, the loss must be -ln sigmoid(x) (BPR).

    The port uses the hinge loss max(1 - x, 0).
    """
    return port.hinge(lag)


@MADE.add(3, HINGE, method="hinge")
def bpr_loss(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """With x = positive score - negative score, the hinge loss must be max(1 - x, 0).

    The port uses BPR, -ln sigmoid(x).
    """
    return port.bpr(lag)


@MADE.add(3, HINGE, method="hinge")
def no_margin(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """With x = positive score - negative score, the hinge loss must be max(1 - x, 0).

    The port has no margin: max(-x, 0).
    """
    return port.hinge(lag - 1)


@MADE.add(3, HINGE, method="hinge")
def hinge_squared(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """With x = positive score - negative score, the hinge loss must be max(1 - x, 0).

    The port squares it.
    """
    losses, slope = port.hinge(lag)
    return losses**2, 2 * losses * slope


@MADE.add(3, PAIRS, method="ranking_loss")
def no_gradient_through_the_negative(port: Port, batch: Arrays) -> Outputs:
    """Gradients must flow through both scores.

    The port treats the score of the negative item as a constant.
    """
    positive, pull_positive = port.net(batch)
    negative, _ = port.net({**batch, "item_id": batch["negative_id"]})
    losses, d = port.pair_loss(negative - positive)
    return losses, lambda: pull_positive(-d)


def _click_loss_of(protocol: str, port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    own, port.protocol = port.protocol, protocol
    try:
        return port.click_loss(outputs, labels)
    finally:
        port.protocol = own


@MADE.add(3, CLICKS, PRINTED, method="click_loss")
def one_sigmoid_as_printed(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """The printed loss must apply two sigmoids: one in the net and one in the loss.

    The port applies one sigmoid, as defined.
    """
    return _click_loss_of("defined", port, outputs, labels)


@MADE.add(3, CLICKS, DEFINED, method="click_loss")
def two_sigmoids_as_defined(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """The defined loss must apply one sigmoid, to the logits.

    The port applies two sigmoids, as printed.
    """
    return _click_loss_of("printed", port, outputs, labels)


@MADE.add(3, WITH_TABLES, method="net")
def gradients_of_duplicates_overwritten(port: Port, batch: Arrays) -> Outputs:
    """If an id occurs more than once in a batch, all its gradients must be added.

    The port keeps only the last gradient.
    """
    p, ids = dict(port.p), dict(batch)
    # Copy the row for each lookup, so that each lookup has its own gradient.
    for name, of_table in TABLES[port.model].items():
        p[f"{name}.weight"] = port.p[f"{name}.weight"][batch[of_table].ravel()]
        ids[of_table] = np.arange(batch[of_table].size).reshape(batch[of_table].shape)
    outputs, pull = net_with(port, p, ids)

    def pull_last(d: np.ndarray) -> Arrays:
        gradients = pull(d)
        for name, of_table in TABLES[port.model].items():
            of_times = gradients[f"{name}.weight"]
            gradients[f"{name}.weight"] = np.zeros_like(port.p[f"{name}.weight"])
            gradients[f"{name}.weight"][batch[of_table].ravel()] = of_times
        return gradients

    return outputs, pull_last


# Rung 3: losses that lose the largest errors


def _of_probabilities(
    outputs: Outputs, labels: np.ndarray, least: float, add: float, floor: float
) -> Outputs:
    """The cross entropy of float32 probabilities, as code computes it that knows no logits.

    ``least``: clip the probabilities to [least, 1 - least]. ``add``: add this to a probability
    before the logarithm. ``floor``: the smallest value of a logarithm. The gradients are those that
    automatic differentiation finds.
    """
    log_odds, pull = outputs
    with np.errstate(over="ignore"):
        whole = (1 / (1 + np.exp(-log_odds.astype(np.float32)))).astype(np.float64)
    p = np.clip(whole, np.float32(least), np.float32(1 - least))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.maximum(np.log(q + add), floor) for q in (p, 1 - p)]
        losses = -np.where(labels > 0, logs[0], logs[1])
        of_p = np.where(labels > 0, -1 / (p + add), 1 / (1 - p + add))
        # Where a logarithm is cut off, torch limits the denominator instead.
        of_p = np.clip(of_p, -1e12, 1e12) if np.isfinite(floor) else of_p
        d = np.where(whole == p, of_p * p * (1 - p), 0)
    return losses, lambda: pull(d)


@MADE.add(3, CLICKS, DEFINED, method="click_loss")
def cross_entropy_of_a_sigmoid(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """The loss must be computed from the logits.

    The port computes it from probabilities, which round to 0 or 1, and cuts their logarithms off at
    -100 (BCELoss in PyTorch).
    """
    port.log_odds = outputs[0]
    return _of_probabilities(outputs, labels, 0, 0, -100)


@MADE.add(3, CLICKS, DEFINED, method="click_loss")
def probabilities_clipped(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """The loss must be computed from the logits.

    The port computes it from probabilities that are clipped to [1e-7, 1 - 1e-7].
    """
    port.log_odds = outputs[0]
    return _of_probabilities(outputs, labels, 1e-7, 0, -np.inf)


@MADE.add(3, CLICKS, DEFINED, method="click_loss")
def cross_entropy_plus_a_little(port: Port, outputs: Outputs, labels: np.ndarray) -> Outputs:
    """The loss must be computed from the logits.

    The port adds 1e-7 to the probabilities before it takes their logarithm.
    """
    port.log_odds = outputs[0]
    return _of_probabilities(outputs, labels, 0, 1e-7, -np.inf)


def _of_sigmoid(lag: np.ndarray, add: float) -> Tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        s = (1 / (1 + np.exp(lag.astype(np.float32)))).astype(np.float64)
        return -np.log(s + add), s * (1 - s) / (s + add)


@MADE.add(3, PAIRS, method="bpr", but=NEVER_LARGE)
def logarithm_of_a_sigmoid(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """-ln sigmoid(x) must be computed as ln(1 + exp(-x)).

    The port takes the logarithm of the sigmoid, which rounds to 0 for a large difference.
    """
    return _of_sigmoid(lag, 0)


@MADE.add(3, PAIRS, method="bpr", but=NEVER_LARGE)
def logarithm_plus_a_little(port: Port, lag: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """-ln sigmoid(x) must be computed as ln(1 + exp(-x)).

    The port computes -ln(sigmoid(x) + 1e-7).
    """
    return _of_sigmoid(lag, 1e-7)
