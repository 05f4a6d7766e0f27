"""Rung 1 of the oracle: the metrics of each model, printed and defined, from scores and losses.

``losses`` has the values of the loss function for each batch of the last epoch: one per example,
(batches, batch_size), for MF and AutoRec; their sum, (batches,), for NeuMF and Caser.
"""

from typing import Callable, Dict, List, Mapping

import numpy as np

Given = Mapping[str, np.ndarray]
Numbers = Dict[str, float]


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Root mean squared error: sqrt(mean((labels - predictions)^2)) (eq. 15.3.4)."""
    return float(np.sqrt(np.mean((labels - predictions) ** 2)))


def rmse_of_batches(labels: np.ndarray, predictions: np.ndarray, batch_size: int) -> List[float]:
    """The RMSE of each batch of ``batch_size`` ratings in order; the last batch may be smaller."""
    starts = range(0, len(labels), batch_size)
    return [rmse(labels[i : i + batch_size], predictions[i : i + batch_size]) for i in starts]


def train_loss(protocol: str, losses: np.ndarray, examples: int) -> float:
    """The training loss of an epoch; ``losses`` is (batches, values per batch).

    With m_b the mean of the values of batch b, and n the number of examples:

    - Defined: (sum of all losses) / n, the mean loss per example.
    - Printed: (sum over b of (m_1 + ... + m_b)) / n. The chapter adds the running sum of the means
      again at each batch.
    """
    if protocol == "defined":
        return float(losses.sum() / examples)
    running = total = 0.0
    for of_batch in losses:
        running += of_batch.mean()
        total += running
    return float(total / examples)


def mf(protocol: str, given: Given) -> Numbers:
    """The metrics of MF: ``test_rmse`` and ``train_loss``.

    Defined RMSE: one RMSE over all test ratings. Printed RMSE, with e_1 ... e_B the RMSEs of the
    B test batches: the mean over b of the running means (e_1 + ... + e_b) / b.

    Given: ``labels`` and ``predictions``, (n,), ``test_batch_size``, and ``losses``.
    """
    labels, predictions = given["labels"], given["predictions"]
    losses, batch_size = given["losses"], int(given["test_batch_size"])
    if protocol == "defined":
        test = rmse(labels, predictions)
    else:
        values = rmse_of_batches(labels, predictions, batch_size)
        test = float(np.mean([np.mean(values[: i + 1]) for i in range(len(values))]))
    return {"test_rmse": test, "train_loss": train_loss(protocol, losses, losses.size)}


def autorec(protocol: str, given: Given) -> Numbers:
    """The metrics of AutoRec: ``test_rmse`` and ``train_loss``.

    The RMSE is the same under both protocols: one RMSE over all test ratings. Given:
    ``test_matrix``, 0 if there is no test rating, and ``completed``, both (num_items, num_users),
    and ``losses``.
    """
    observed = given["test_matrix"] > 0
    test = rmse(given["test_matrix"][observed], given["completed"][observed])
    losses = given["losses"]
    return {"test_rmse": test, "train_loss": train_loss(protocol, losses, losses.size)}


def ranking(protocol: str, given: Given) -> Numbers:
    """The metrics of NeuMF and Caser, from the rank of each user's held-out item.

    The others are the ranked items, except the user's training items and the held-out item.
    Ranks count from 0.

    - Defined: all items are ranked. rank = (others with a higher score) + (others that tie) / 2.
    - Printed: only items below num_users are ranked. rank = (others with a higher score) + (others
      that tie and have a lower id). A user whose held-out item is not ranked counts 0 in each
      metric.

    Each metric is a mean over the users:

    - ``test_hit_rate``: 1 if rank < 50, otherwise 0 (eq. 15.6.4)
    - ``test_auc``: 1 - rank / (number of others) (eq. 15.6.5)
    - ``test_ndcg``, only defined: 1 / log2(rank + 2) if rank < 10, otherwise 0
    - ``test_mrr``, only defined: 1 / (rank + 1)

    Given: ``scores`` (num_users, num_items), ``train`` (rows of user and item), ``test_items``
    (num_users,), and for ``train_loss`` also ``losses`` and ``batch_size``.
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
    """The numbers of the test rows that the chapter's loader yields in epoch ``epoch`` (from 1).

    The loader yields only full batches. Rows left over in an epoch come first in the next epoch.
    """
    waiting = np.arange(0)
    for _ in range(epoch):
        waiting = np.concatenate([waiting, np.arange(num_rows)])
        full = len(waiting) - len(waiting) % batch_size
        rows, waiting = waiting[:full], waiting[full:]
    return rows


def clicks(protocol: str, given: Given) -> Numbers:
    """The metrics of FM and DeepFM.

    A score s is the sigmoid of the logit z in float32, and y is the label. The ``train_`` arrays
    are from the last epoch, each batch before its step.

    - Defined: ``test_acc`` and ``train_acc`` are the shares of rows with (z > 0) == y,
      ``test_log_loss`` and ``train_loss`` are ``log_loss``, and ``test_auc`` is ``auc``.
    - Printed: ``test_acc`` and ``train_acc`` truncate s to a whole number, so a click is predicted
      only if s rounds to 1. ``test_acc_exact`` and ``train_acc_exact`` are the shares of rows with
      s == y. ``train_loss`` is the mean of ``train_losses``. The test rows are the rows that the
      chapter's loader yields in epoch ``epoch`` (``rolled_over_rows``).

    Given: ``test_labels``, ``test_scores``, ``test_log_odds`` (the logits), the same for ``train``,
    ``train_losses``, all (rows,), and ``batch_size`` and ``epoch``.
    """
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
    """Mean over the rows of -y ln sigmoid(z) - (1 - y) ln(1 - sigmoid(z)), from the logits z."""
    z = np.where(labels > 0, log_odds, -log_odds)
    return float(np.mean(np.logaddexp(0, -z)))


def auc(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """The share of pairs (a click, a row without click) whose click has the higher logit.

    A tie counts half.
    """
    clicked, other = log_odds[labels > 0], np.sort(log_odds[labels <= 0])
    lower = np.searchsorted(other, clicked, side="left")
    not_higher = np.searchsorted(other, clicked, side="right")
    return float(np.mean((lower + not_higher) / 2) / len(other))


METRICS: Dict[str, Callable[[str, Given], Numbers]] = {
    "mf": mf, "autorec": autorec, "neumf": ranking, "caser": ranking, "fm": clicks,
    "deepfm": clicks,
}  # fmt: skip
