"""The chapter's numbers as printed and as defined, one plain sum at a time."""

from typing import Callable, Dict, List, Mapping

import numpy as np

Given = Mapping[str, np.ndarray]
Numbers = Dict[str, float]


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Root mean squared error (eq. 15.3.4)."""
    return float(np.sqrt(np.mean((labels - predictions) ** 2)))


def rmse_of_batches(labels: np.ndarray, predictions: np.ndarray, batch_size: int) -> List[float]:
    """The RMSE of each batch; the last may be smaller."""
    starts = range(0, len(labels), batch_size)
    return [rmse(labels[i : i + batch_size], predictions[i : i + batch_size]) for i in starts]


def train_loss(protocol: str, losses: np.ndarray, examples: int) -> float:
    """Loss of an epoch, from what the loss function gave for each batch, (batches, values).

    Defined: the mean over the examples. Printed: the running sum of the batches' means is added
    again at each batch, and the whole divided by the number of examples.
    """
    if protocol == "defined":
        return float(losses.sum() / examples)
    running = total = 0.0
    for of_batch in losses:
        running += of_batch.mean()
        total += running
    return float(total / examples)


def mf(protocol: str, given: Given) -> Numbers:
    """Printed RMSE: the running mean of the batches' RMSEs, averaged over the batches."""
    labels, predictions = given["labels"], given["predictions"]
    losses, batch_size = given["losses"], int(given["test_batch_size"])
    if protocol == "defined":
        test = rmse(labels, predictions)
    else:
        values = rmse_of_batches(labels, predictions, batch_size)
        test = float(np.mean([np.mean(values[: i + 1]) for i in range(len(values))]))
    return {"test_rmse": test, "train_loss": train_loss(protocol, losses, losses.size)}


def autorec(protocol: str, given: Given) -> Numbers:
    """One RMSE over the test ratings under both protocols."""
    observed = given["test_matrix"] > 0
    test = rmse(given["test_matrix"][observed], given["completed"][observed])
    losses = given["losses"]
    return {"test_rmse": test, "train_loss": train_loss(protocol, losses, losses.size)}


def ranking(protocol: str, given: Given) -> Numbers:
    """Where each user's held-out item stands among what the user has not seen.

    Printed: only the first num_users items are ranked, and the lower item wins a tie; a held-out
    item beyond them is a miss with the AUC 0. Defined: all items, a tie counted half.
    """
    scores, train = given["scores"], given["train"]
    num_users, num_items = scores.shape
    num_ranked = num_users if protocol == "printed" else num_items
    numbers: Dict[str, float] = dict.fromkeys(("test_hit_rate", "test_auc"), 0.0)
    if protocol == "defined":
        numbers.update(test_ndcg=0.0, test_mrr=0.0)
    order = np.argsort(train[:, 0], kind="stable")
    starts = np.searchsorted(train[order, 0], np.arange(num_users + 1))
    for user, item in enumerate(given["test_items"].tolist()):
        if item >= num_ranked:
            continue
        unseen = np.ones(num_items, dtype=bool)
        unseen[train[order[starts[user] : starts[user + 1]], 1]] = False
        unseen[num_ranked:] = False
        unseen[item] = False
        of_others, own = scores[user, unseen], scores[user, item]
        higher, ties = (of_others > own).sum(), of_others == own
        if protocol == "printed":
            rank = higher + ties[np.flatnonzero(unseen) < item].sum()
        else:
            rank = higher + ties.sum() / 2
            numbers["test_ndcg"] += (rank < 10) / np.log2(rank + 2)
            numbers["test_mrr"] += 1 / (rank + 1)
        numbers["test_hit_rate"] += rank < 50
        numbers["test_auc"] += 1 - rank / len(of_others)
    numbers = {name: float(value / num_users) for name, value in numbers.items()}
    losses = given["losses"][:, None]
    examples = len(losses) * int(given["batch_size"])
    return {**numbers, "train_loss": train_loss(protocol, losses, examples)}


def rolled_over_rows(num_rows: int, batch_size: int, epoch: int) -> np.ndarray:
    """The test rows that the chapter's loader yields in an epoch (from 1): full batches alone."""
    waiting = np.arange(0)
    for _ in range(epoch):
        waiting = np.concatenate([waiting, np.arange(num_rows)])
        full = len(waiting) - len(waiting) % batch_size
        rows, waiting = waiting[:full], waiting[full:]
    return rows


def clicks(protocol: str, given: Given) -> Numbers:
    """Printed: a click is predicted where float32 rounds its probability to 1."""
    labels, train_labels = given["test_labels"], given["train_labels"]
    if protocol == "printed":
        rows = rolled_over_rows(len(labels), int(given["batch_size"]), int(given["epoch"]))
        scores = given["test_scores"]
        return {
            "test_acc": float(np.mean(scores[rows].astype(int) == labels[rows])),
            "test_acc_exact": float(np.mean(scores[rows] == labels[rows])),
            "train_acc": float(np.mean(given["train_scores"].astype(int) == train_labels)),
            "train_acc_exact": float(np.mean(given["train_scores"] == train_labels)),
            "train_loss": float(given["train_losses"].mean()),
        }
    log_odds, train_log_odds = given["test_log_odds"], given["train_log_odds"]
    return {
        "test_acc": float(np.mean((log_odds > 0) == labels)),
        "test_log_loss": log_loss(labels, log_odds),
        "test_auc": auc(labels, log_odds),
        "train_acc": float(np.mean((train_log_odds > 0) == train_labels)),
        "train_loss": log_loss(train_labels, train_log_odds),
    }


def log_loss(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Mean of -ln sigmoid(z) where there is a click, -ln(1 - sigmoid(z)) where there is none."""
    z = np.where(labels > 0, log_odds, -log_odds)
    return float(np.mean(np.logaddexp(0, -z)))


def auc(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """How often a click scores higher than what is none; a tie counts half."""
    clicked, other = log_odds[labels > 0], np.sort(log_odds[labels <= 0])
    lower = np.searchsorted(other, clicked, side="left")
    not_higher = np.searchsorted(other, clicked, side="right")
    return float(np.mean((lower + not_higher) / 2) / len(other))


METRICS: Dict[str, Callable[[str, Given], Numbers]] = {
    "mf": mf, "autorec": autorec, "neumf": ranking, "caser": ranking, "fm": clicks,
    "deepfm": clicks,
}  # fmt: skip
