"""Mistakes of rung 1: the metrics and the training loss."""

from typing import Callable, Optional

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS, PAIRS, RATINGS
from d2l_recsys.baseline.mistakes.mistake import DEFINED, PRINTED, WITH_DECAY, Mistakes
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.metrics import (
    Given,
    Numbers,
    log_loss,
    rmse,
    rmse_of_batches,
    rolled_over_rows,
    train_loss,
)
from d2l_recsys.baseline.oracle.training import as_type, seen_items

MADE = Mistakes()

# Rung 1: rating


@MADE.add(1, ("mf",), PRINTED, method="metrics")
def one_rmse_as_printed(port: Port, given: Given) -> Numbers:
    """The printed RMSE must be the mean of the running means of the batches' RMSEs.

    The port computes one RMSE over all ratings, as defined.
    """
    exact = as_type(np.float64, given)
    numbers = port.metrics(given)
    return {**numbers, "test_rmse": rmse(exact["labels"], exact["predictions"])}


def _mean_of_batches(port: Port, given: Given) -> Numbers:
    exact, size = as_type(np.float64, given), int(given["test_batch_size"])
    values = rmse_of_batches(exact["labels"], exact["predictions"], size)
    return {**port.metrics(given), "test_rmse": float(np.mean(values))}


@MADE.add(1, ("mf",), PRINTED, method="metrics")
def plain_mean_of_batches_as_printed(port: Port, given: Given) -> Numbers:
    """The printed RMSE must be the mean of the running means of the batches' RMSEs.

    The port computes the mean of the batches' RMSEs without running means.
    """
    return _mean_of_batches(port, given)


@MADE.add(1, ("mf",), DEFINED, method="metrics")
def mean_of_batches_as_defined(port: Port, given: Given) -> Numbers:
    """The defined RMSE must be one RMSE over all ratings.

    The port computes the mean of the batches' RMSEs.
    """
    return _mean_of_batches(port, given)


@MADE.add(1, ("autorec",), method="metrics")
def rmse_over_all_cells(port: Port, given: Given) -> Numbers:
    """The RMSE must average over the observed test ratings only.

    The port averages over all cells and counts an error of 0 for each unobserved cell.
    """
    exact = as_type(np.float64, given)
    predicted = np.where(exact["test_matrix"] > 0, exact["completed"], 0)
    return {**port.metrics(given), "test_rmse": rmse(exact["test_matrix"], predicted)}


@MADE.add(1, RATINGS, method="metrics")
def no_square_root(port: Port, given: Given) -> Numbers:
    """The RMSE must be the square root of the mean squared error.

    The port omits the square root.
    """
    numbers = port.metrics(given)
    return {**numbers, "test_rmse": numbers["test_rmse"] ** 2}


# Rung 1: training loss


def _train_loss(port: Port, given: Given, protocol: str) -> Numbers:
    losses = as_type(np.float64, given)["losses"]
    if port.model in PAIRS:
        losses, examples = losses[:, None], len(losses) * int(given["batch_size"])
    else:
        examples = losses.size
    return {**port.metrics(given), "train_loss": train_loss(protocol, losses, examples)}


@MADE.add(1, WITH_DECAY, PRINTED, method="metrics")
def mean_loss_as_printed(port: Port, given: Given) -> Numbers:
    """The printed loss must add the running sum of the batch losses again at each batch.

    The port computes the mean loss per example, as defined.
    """
    return _train_loss(port, given, "defined")


@MADE.add(1, WITH_DECAY, DEFINED, method="metrics")
def running_sum_of_losses_as_defined(port: Port, given: Given) -> Numbers:
    """The defined loss must be the mean loss per example.

    The port adds the running sum of the batch losses again at each batch, as printed.
    """
    return _train_loss(port, given, "printed")


# Rung 1: ranking


def _ranking(
    port: Port, given: Given, *, num_ranked: int = 0, observed_too: bool = False,
    of_ties: Optional[Callable[[np.ndarray, np.ndarray], np.ndarray]] = None,
    discount: Callable[[np.ndarray], np.ndarray] = lambda rank: np.log2(rank + 2),
    first: int = 1, list_length: int = 10, also: int = 0,
) -> Numbers:  # fmt: skip
    """The metrics of the oracle, computed with the given changes.

    ``num_ranked``: rank only the items below this id (0: as the protocol does).
    ``observed_too``: also rank the user's training items.
    ``of_ties(before, after)``: what ties add to the rank; ``before`` and ``after`` count the tied
    items with a lower and with a higher id than the held-out item (None: as the protocol does).
    ``discount(rank)``: what NDCG divides by; the first position has rank 0.
    ``list_length``: the number of positions that NDCG counts.
    ``first``: what the reciprocal rank divides by at the first position.
    ``also``: what to add to the number of other items that the AUC divides by.
    """
    scores, items = given["scores"], given["test_items"]
    num_users, num_items = scores.shape
    printed = port.protocol == "printed"
    num_ranked = num_ranked or (num_users if printed else num_items)
    if of_ties is None:
        of_ties = (lambda before, after: before) if printed else _half
    numbers = np.arange(num_items)
    others = np.broadcast_to(numbers < num_ranked, scores.shape).copy()
    if not observed_too:
        others &= ~seen_items(given["train"], num_users, num_items)
    others &= numbers != items[:, None]
    own = scores[np.arange(num_users), items][:, None]
    ties, before = others & (scores == own), numbers < items[:, None]
    rank = (others & (scores > own)).sum(axis=1)
    rank = rank + of_ties((ties & before).sum(axis=1), (ties & ~before).sum(axis=1))
    listed = items < num_ranked
    found = {
        "test_hit_rate": listed & (rank < 50),
        "test_auc": listed * (1 - rank / (others.sum(axis=1) + also)),
    }
    if not printed:
        found["test_ndcg"] = listed * (rank < list_length) / discount(rank)
        found["test_mrr"] = listed / (rank + first)
    return {
        **port.metrics(given),
        **{name: float(np.mean(of_users)) for name, of_users in found.items()},
    }


def _half(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before + after) / 2


@MADE.add(1, PAIRS, PRINTED, method="metrics")
def all_items_ranked_as_printed(port: Port, given: Given) -> Numbers:
    """Printed metrics must rank only the first num_users items; other held-out items are misses.

    The port ranks all items, as defined.
    """
    return _ranking(port, given, num_ranked=given["scores"].shape[1])


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def first_items_ranked_as_defined(port: Port, given: Given) -> Numbers:
    """Defined metrics must rank all items.

    The port ranks only the first num_users items, as printed.
    """
    return _ranking(port, given, num_ranked=given["scores"].shape[0])


@MADE.add(1, PAIRS, method="metrics")
def observed_items_ranked(port: Port, given: Given) -> Numbers:
    """A user's training items must not be ranked. The port ranks these items as well."""
    return _ranking(port, given, observed_too=True)


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ties_for_the_held_out_item(port: Port, given: Given) -> Numbers:
    """In the defined metrics, a tie must count half.

    The port lets the held-out item win every tie.
    """
    return _ranking(port, given, of_ties=lambda before, after: 0)


@MADE.add(1, PAIRS, method="metrics")
def ties_against_the_held_out_item(port: Port, given: Given) -> Numbers:
    """A tie must count half (defined), or the item with the lower id must win it (printed).

    The port lets the held-out item lose every tie.
    """
    return _ranking(port, given, of_ties=lambda before, after: before + after)


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ties_to_the_lower_item_as_defined(port: Port, given: Given) -> Numbers:
    """In the defined metrics, a tie must count half.

    The port lets the item with the lower id win, as printed.
    """
    return _ranking(port, given, of_ties=lambda before, after: before)


@MADE.add(1, PAIRS, PRINTED, method="metrics")
def ties_half_as_printed(port: Port, given: Given) -> Numbers:
    """In the printed metrics, the item with the lower id must win a tie.

    The port counts a tie half, as defined.
    """
    return _ranking(port, given, of_ties=_half)


@MADE.add(1, PAIRS, PRINTED, method="metrics")
def ties_to_the_higher_item(port: Port, given: Given) -> Numbers:
    """In the printed metrics, the item with the lower id must win a tie.

    The port sorts the item with the higher id first.
    """
    return _ranking(port, given, of_ties=lambda before, after: after)


@MADE.add(1, PAIRS, method="metrics")
def auc_over_the_held_out_item_too(port: Port, given: Given) -> Numbers:
    """The AUC must divide by the number of ranked items without the held-out item.

    The port counts the held-out item, too.
    """
    return _ranking(port, given, also=1)


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ndcg_one_position_late(port: Port, given: Given) -> Numbers:
    """The NDCG of the first position must be 1 / log2(2) = 1. The port computes 1 / log2(3)."""
    return _ranking(port, given, discount=lambda rank: np.log2(rank + 3))


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ndcg_with_natural_logarithm(port: Port, given: Given) -> Numbers:
    """NDCG must use the logarithm to base 2. The port uses the natural logarithm."""
    return _ranking(port, given, discount=lambda rank: np.log(rank + 2))


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ndcg_of_the_whole_list(port: Port, given: Given) -> Numbers:
    """NDCG must be 0 from position 11 on. The port computes NDCG for the whole list."""
    return _ranking(port, given, list_length=given["scores"].shape[1])


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def reciprocal_rank_one_position_late(port: Port, given: Given) -> Numbers:
    """The reciprocal rank of the first position must be 1. The port computes 1/2."""
    return _ranking(port, given, first=2)


# Rung 1: clicks


@MADE.add(1, CLICKS, PRINTED, method="metrics")
def threshold_of_one_half_as_printed(port: Port, given: Given) -> Numbers:
    """Printed accuracy must predict a click only if the float32 score rounds to 1.

    The port predicts a click if the score is above 1/2, as defined.
    """
    rows = rolled_over_rows(
        len(given["test_labels"]), int(given["batch_size"]), int(given["epoch"])
    )
    test = (given["test_log_odds"] > 0) == given["test_labels"]
    train_rows = (given["train_log_odds"] > 0) == given["train_labels"]
    accuracies = {"test_acc": float(test[rows].mean()), "train_acc": float(train_rows.mean())}
    return {**port.metrics(given), **accuracies}


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def truncated_scores_as_defined(port: Port, given: Given) -> Numbers:
    """Defined accuracy must predict a click if the score is above 1/2.

    The port truncates scores to whole numbers, as printed.
    """
    accuracies = {}
    for part in ("test", "train"):
        predicted = given[f"{part}_scores"].astype(int)
        accuracies[f"{part}_acc"] = float(np.mean(predicted == given[f"{part}_labels"]))
    return {**port.metrics(given), **accuracies}


@MADE.add(1, CLICKS, PRINTED, method="metrics")
def all_test_rows_as_printed(port: Port, given: Given) -> Numbers:
    """Printed test accuracy must use only the full batches that the chapter's loader yields.

    The port uses every test row once.
    """
    every_row = {"epoch": np.array(1), "batch_size": np.array(1)}
    return port.metrics({**given, **every_row})


@MADE.add(1, CLICKS, PRINTED, method="metrics")
def test_rows_of_the_first_epoch(port: Port, given: Given) -> Numbers:
    """Test rows left over after the last full batch must come first in the next epoch.

    The port drops these rows in every epoch.
    """
    return port.metrics({**given, "epoch": np.array(1)})


def _auc(port: Port, given: Given, of_tie: float) -> Numbers:
    log_odds, clicked = given["test_log_odds"], given["test_labels"] > 0
    gap = log_odds[clicked][:, None] - log_odds[~clicked]
    return {
        **port.metrics(given),
        "test_auc": float(np.mean((gap > 0) + of_tie * (gap == 0))),
    }


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def auc_where_ties_count_nothing(port: Port, given: Given) -> Numbers:
    """In the AUC, a tie must count 1/2. The port counts a tie as 0."""
    return _auc(port, given, 0)


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def auc_where_ties_count_whole(port: Port, given: Given) -> Numbers:
    """In the AUC, a tie must count 1/2. The port counts a tie as 1."""
    return _auc(port, given, 1)


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def log_loss_of_clipped_scores(port: Port, given: Given) -> Numbers:
    """The log loss must be computed from the logits.

    The port computes the loss from probabilities that are clipped to [1e-7, 1 - 1e-7].
    """
    numbers = port.metrics(given)
    for part, name in (("test", "test_log_loss"), ("train", "train_loss")):
        scores = np.clip(as_type(np.float64, given)[f"{part}_scores"], 1e-7, 1 - 1e-7)
        numbers[name] = log_loss(given[f"{part}_labels"], np.log(scores) - np.log1p(-scores))
    return numbers
