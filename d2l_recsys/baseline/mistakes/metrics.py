"""Rung 1: what becomes of scores and losses."""

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
    """The printed RMSE averages a running mean over batches; here it is one over all ratings."""
    exact = as_type(np.float64, given)
    numbers = Port.metrics(port, given)
    return {**numbers, "test_rmse": rmse(exact["labels"], exact["predictions"])}


def _mean_of_batches(port: Port, given: Given) -> Numbers:
    exact, size = as_type(np.float64, given), int(given["test_batch_size"])
    values = rmse_of_batches(exact["labels"], exact["predictions"], size)
    return {**Port.metrics(port, given), "test_rmse": float(np.mean(values))}


@MADE.add(1, ("mf",), PRINTED, method="metrics")
def plain_mean_of_batches_as_printed(port: Port, given: Given) -> Numbers:
    """The printed RMSE averages the running means of the batches' RMSEs, here these themselves."""
    return _mean_of_batches(port, given)


@MADE.add(1, ("mf",), DEFINED, method="metrics")
def mean_of_batches_as_defined(port: Port, given: Given) -> Numbers:
    """The defined RMSE is one over all ratings; here it is the mean of the batches' RMSEs."""
    return _mean_of_batches(port, given)


@MADE.add(1, ("autorec",), method="metrics")
def rmse_over_all_cells(port: Port, given: Given) -> Numbers:
    """The RMSE is over the observed test ratings; here over all cells, 0 where there is none."""
    exact = as_type(np.float64, given)
    predicted = np.where(exact["test_matrix"] > 0, exact["completed"], 0)
    return {**Port.metrics(port, given), "test_rmse": rmse(exact["test_matrix"], predicted)}


@MADE.add(1, RATINGS, method="metrics")
def no_square_root(port: Port, given: Given) -> Numbers:
    """RMSE is the root of the mean squared error; here the root is not taken."""
    numbers = Port.metrics(port, given)
    return {**numbers, "test_rmse": numbers["test_rmse"] ** 2}


# Rung 1: training loss


def _train_loss(port: Port, given: Given, protocol: str) -> Numbers:
    losses = as_type(np.float64, given)["losses"]
    if port.model in PAIRS:
        losses, examples = losses[:, None], len(losses) * int(given["batch_size"])
    else:
        examples = losses.size
    return {**Port.metrics(port, given), "train_loss": train_loss(protocol, losses, examples)}


@MADE.add(1, WITH_DECAY, PRINTED, method="metrics")
def mean_loss_as_printed(port: Port, given: Given) -> Numbers:
    """The printed loss adds the running sum again at each batch; here it is an example's mean."""
    return _train_loss(port, given, "defined")


@MADE.add(1, WITH_DECAY, DEFINED, method="metrics")
def running_sum_of_losses_as_defined(port: Port, given: Given) -> Numbers:
    """The defined loss is the mean of an example; here the running sum is added at each batch."""
    return _train_loss(port, given, "printed")


# Rung 1: ranking


def _ranking(
    port: Port, given: Given, *, num_ranked: int = 0, observed_too: bool = False,
    of_ties: Optional[Callable[[np.ndarray, np.ndarray], np.ndarray]] = None,
    discount: Callable[[np.ndarray], np.ndarray] = lambda rank: np.log2(rank + 2),
    first: int = 1, list_length: int = 10, also: int = 0,
) -> Numbers:  # fmt: skip
    """The oracle's numbers, but for what is said.

    ``of_ties``: by how much the ties before and those after the held-out item move it down;
    ``first``: what position the reciprocal rank counts from; ``also``: more items in the AUC.
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
        **Port.metrics(port, given),
        **{name: float(np.mean(of_users)) for name, of_users in found.items()},
    }


def _half(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before + after) / 2


@MADE.add(1, PAIRS, PRINTED, method="metrics")
def all_items_ranked_as_printed(port: Port, given: Given) -> Numbers:
    """As printed only the first num_users items are ranked, and others are a miss; here all are."""
    return _ranking(port, given, num_ranked=given["scores"].shape[1])


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def first_items_ranked_as_defined(port: Port, given: Given) -> Numbers:
    """As defined all items are ranked; here only the first num_users, as printed."""
    return _ranking(port, given, num_ranked=given["scores"].shape[0])


@MADE.add(1, PAIRS, method="metrics")
def observed_items_ranked(port: Port, given: Given) -> Numbers:
    """Items that a user has in the training set are not ranked; here they are."""
    return _ranking(port, given, observed_too=True)


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ties_for_the_held_out_item(port: Port, given: Given) -> Numbers:
    """As defined a tie counts half; here the held-out item wins it."""
    return _ranking(port, given, of_ties=lambda before, after: 0)


@MADE.add(1, PAIRS, method="metrics")
def ties_against_the_held_out_item(port: Port, given: Given) -> Numbers:
    """A tie counts half as defined, and goes to the lower item as printed; here it is lost."""
    return _ranking(port, given, of_ties=lambda before, after: before + after)


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ties_to_the_lower_item_as_defined(port: Port, given: Given) -> Numbers:
    """As defined a tie counts half; here the lower item wins it, as printed."""
    return _ranking(port, given, of_ties=lambda before, after: before)


@MADE.add(1, PAIRS, PRINTED, method="metrics")
def ties_half_as_printed(port: Port, given: Given) -> Numbers:
    """As printed the lower item wins a tie; here a tie counts half, as defined."""
    return _ranking(port, given, of_ties=_half)


@MADE.add(1, PAIRS, PRINTED, method="metrics")
def ties_to_the_higher_item(port: Port, given: Given) -> Numbers:
    """As printed the lower item wins a tie; here the sort leaves the higher one in front."""
    return _ranking(port, given, of_ties=lambda before, after: after)


@MADE.add(1, PAIRS, method="metrics")
def auc_over_the_held_out_item_too(port: Port, given: Given) -> Numbers:
    """The AUC is over the other items that are ranked; here the held-out one is counted too."""
    return _ranking(port, given, also=1)


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ndcg_one_position_late(port: Port, given: Given) -> Numbers:
    """NDCG of the first position is 1, being 1 / log2(2); here the first counts as the second."""
    return _ranking(port, given, discount=lambda rank: np.log2(rank + 3))


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ndcg_with_natural_logarithm(port: Port, given: Given) -> Numbers:
    """NDCG has the logarithm to the base of 2, here the natural one."""
    return _ranking(port, given, discount=lambda rank: np.log(rank + 2))


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def ndcg_of_the_whole_list(port: Port, given: Given) -> Numbers:
    """NDCG is 0 from position 11 on; here it goes on to the end of the list."""
    return _ranking(port, given, list_length=given["scores"].shape[1])


@MADE.add(1, PAIRS, DEFINED, method="metrics")
def reciprocal_rank_one_position_late(port: Port, given: Given) -> Numbers:
    """The reciprocal rank of the first position is 1; here it is 1/2."""
    return _ranking(port, given, first=2)


# Rung 1: clicks


@MADE.add(1, CLICKS, PRINTED, method="metrics")
def threshold_of_one_half_as_printed(port: Port, given: Given) -> Numbers:
    """As printed a click is predicted where float32 rounds to 1; here from 1/2 on, as defined."""
    rows = rolled_over_rows(
        len(given["test_labels"]), int(given["batch_size"]), int(given["epoch"])
    )
    test = (given["test_log_odds"] > 0) == given["test_labels"]
    train_rows = (given["train_log_odds"] > 0) == given["train_labels"]
    accuracies = {"test_acc": float(test[rows].mean()), "train_acc": float(train_rows.mean())}
    return {**Port.metrics(port, given), **accuracies}


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def truncated_scores_as_defined(port: Port, given: Given) -> Numbers:
    """As defined a score above 1/2 predicts a click; here scores are cut to whole numbers."""
    accuracies = {}
    for part in ("test", "train"):
        predicted = given[f"{part}_scores"].astype(int)
        accuracies[f"{part}_acc"] = float(np.mean(predicted == given[f"{part}_labels"]))
    return {**Port.metrics(port, given), **accuracies}


@MADE.add(1, CLICKS, PRINTED, method="metrics")
def all_test_rows_as_printed(port: Port, given: Given) -> Numbers:
    """Printed accuracies are over the test rows that roll over; here over each row once."""
    every_row = {"epoch": np.array(1), "batch_size": np.array(1)}
    return Port.metrics(port, {**given, **every_row})


@MADE.add(1, CLICKS, PRINTED, method="metrics")
def test_rows_of_the_first_epoch(port: Port, given: Given) -> Numbers:
    """Test rows that fill no batch lead the next epoch; here each epoch leaves them out."""
    return Port.metrics(port, {**given, "epoch": np.array(1)})


def _auc(port: Port, given: Given, of_tie: float) -> Numbers:
    log_odds, clicked = given["test_log_odds"], given["test_labels"] > 0
    gap = log_odds[clicked][:, None] - log_odds[~clicked]
    return {
        **Port.metrics(port, given),
        "test_auc": float(np.mean((gap > 0) + of_tie * (gap == 0))),
    }


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def auc_where_ties_count_nothing(port: Port, given: Given) -> Numbers:
    """In the AUC a tie counts half, here nothing."""
    return _auc(port, given, 0)


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def auc_where_ties_count_whole(port: Port, given: Given) -> Numbers:
    """In the AUC a tie counts half; here it is counted as won."""
    return _auc(port, given, 1)


@MADE.add(1, CLICKS, DEFINED, method="metrics")
def log_loss_of_clipped_scores(port: Port, given: Given) -> Numbers:
    """The log loss is that of the log odds; here of probabilities, cut off 1e-7 from 0 and 1."""
    numbers = Port.metrics(port, given)
    for part, name in (("test", "test_log_loss"), ("train", "train_loss")):
        scores = np.clip(as_type(np.float64, given)[f"{part}_scores"], 1e-7, 1 - 1e-7)
        numbers[name] = log_loss(given[f"{part}_labels"], np.log(scores) - np.log1p(-scores))
    return numbers
