"""Evaluate a Gluon net on held-out data: ratings, clicks or rankings."""

from collections import deque
from typing import Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy

from d2l_recsys.backend import gluon, mx, np, npx
from d2l_recsys.devices import split_and_load, try_all_gpus
from d2l_recsys.errors import DataError
from d2l_recsys.evaluation.click_metrics import click_scores
from d2l_recsys.evaluation.rating_metrics import rating_scores
from d2l_recsys.model_bases.contract import ClickModel, Recommender
from d2l_recsys.ranking import HeldOut
from d2l_recsys.settings import Scores

# A block of users has about this many pairs of a user and an item: enough to keep MXNet busy, few
# enough to bound memory. The printed metrics rank num_users items, the defined ones num_items, so
# the larger of the two numbers sets the size of a block.
PAIRS_PER_BLOCK = 2**17
# At most this many parts of batches wait in MXNet before their scores are copied to numpy.
SHARES_UNDER_WAY = 16


def evaluate_rating(net: gluon.Block, test_iter: Iterable, devices: Sequence[mx.Context]) -> Scores:
    """``test_rmse`` of ``net`` (eq. 15.3.4), printed and defined, from one pass over ``test_iter``.

    This is the chapter's ``evaluator`` of section 15.3. A batch has the inputs of the net followed
    by the ratings, and is split across ``devices``.

    Raises DataError if there is no batch.
    """
    batches = [
        [(share[-1], net(*share[:-1])) for share in shares]
        for shares in split_and_load(devices, test_iter)
    ]
    # MXNet computes while Python continues, so start all batches before fetching results.
    return rating_scores([[(r.asnumpy(), r_hat.asnumpy()) for r, r_hat in b] for b in batches])


def evaluate_clicks(
    net: gluon.Block,
    test_iter: Iterable,
    devices: Sequence[mx.Context],
    rows: Optional[numpy.ndarray] = None,
) -> Scores:
    """Accuracy, log loss and AUC of ``net``: ``click_scores`` of one pass over ``test_iter``.

    A batch has features and labels, and is split across ``devices``. ``net`` maps features to
    probabilities of a click, (n, 1). A ``ClickModel`` is asked for its ``logits`` instead, and the
    probabilities are their sigmoid. ``rows`` are the rows that the printed accuracies count. The
    chapter's loop calls ``evaluate_accuracy_gpus`` for this.

    Raises DataError if there are no test rows.
    """
    outputs: List[List[numpy.ndarray]] = []
    under_way: deque = deque()

    def read_back() -> None:
        outputs.append([part.asnumpy().ravel() for part in under_way.popleft()])

    for shares in split_and_load(devices, test_iter):
        for features, labels in shares:
            if isinstance(net, ClickModel):
                log_odds = net.logits(mx.nd, features)
                under_way.append((labels, npx.sigmoid(log_odds), log_odds))
            else:
                under_way.append((labels, net(features)))
        # Pending results keep their features in memory, so bound their number.
        while len(under_way) > SHARES_UNDER_WAY:
            read_back()
    while under_way:
        read_back()
    columns = zip(*outputs)
    arrays = [numpy.concatenate(column) for column in columns] or [numpy.empty(0), numpy.empty(0)]
    labels, scores, *log_odds = arrays
    return click_scores(labels, scores, *(log_odds or [None]), rows=rows)


def evaluate_reconstruction(
    net: gluon.Block, rows: Iterable, test_matrix: numpy.ndarray, devices: Sequence[mx.Context]
) -> Scores:
    """``test_rmse`` of an autoencoder over the test ratings; printed and defined are equal.

    ``rows`` yields the rows of the training matrix in batches and in order. ``net`` predicts all
    ratings of a row. ``test_matrix`` has the shape of the training matrix, and 0 for each pair
    without a test rating. This is the chapter's ``evaluator`` of section 15.4.

    Raises DataError if there is no test rating.
    """
    completed = [net(*share) for shares in split_and_load(devices, rows) for share in shares]
    predictions = numpy.concatenate([part.asnumpy() for part in completed])
    observed = test_matrix > 0
    return rating_scores(
        [[(test_matrix[observed], predictions[observed])]] if observed.any() else []
    )


def evaluate_ranking(
    net: gluon.Block,
    test_input: Mapping[int, Iterable[int]],
    seq: Optional[object],
    candidates: Mapping[int, Iterable[int]],
    num_users: int,
    num_items: int,
    devices: Sequence[mx.Context],
) -> Tuple[float, float]:
    """Hit@50 and AUC of ``net`` as printed, computed as the chapter's function of this name does.

    The arguments and errors are those of ``score_ranking``, which also returns the defined metrics.
    """
    scores = score_ranking(net, test_input, seq, candidates, num_users, num_items, devices)
    return scores.printed["test_hit_rate"], scores.printed["test_auc"]


def score_ranking(
    net: gluon.Block,
    test_input: Mapping[int, Iterable[int]],
    seq: Optional[object],
    candidates: Mapping[int, Iterable[int]],
    num_users: int,
    num_items: int,
    devices: Sequence[mx.Context],
    cutoffs: Iterable[int] = (),
) -> Scores:
    """Rank each user's held-out items among the items that the user has not seen.

    Parameters
    ----------
    net : maps (users, items), or (users, sequences, items), to scores. For a ``Recommender``, the
        method ``score_all`` gives the scores
    test_input : the held-out items of each user, zero-based
    seq : None, or an integer array (num_users, L) with the last items of each user
    candidates : the training items of each user; they are not ranked
    devices : the blocks of users go to the devices in turn
    cutoffs : further cut-offs k of the defined metrics

    Returns the metrics of ``HeldOut.scores``, printed and defined, from the same scores. Memory is
    bounded by the size of a block. If a score of any user is NaN, all metrics are NaN.

    Raises what ``HeldOut`` raises. Raises DataError if ``seq`` does not have one row per user or
    has an item outside the table, or if the net does not return scores of ``num_items`` items.
    """
    held_out = HeldOut(test_input, candidates, num_users, num_items)
    return score_held_out(net, held_out, seq, devices, cutoffs)


def score_held_out(
    net: gluon.Block,
    held_out: HeldOut,
    seq: Optional[object],
    devices: Sequence[mx.Context],
    cutoffs: Iterable[int] = (),
) -> Scores:
    """``score_ranking`` for many evaluations: the caller makes ``held_out`` only once."""
    sizes = held_out.num_users, held_out.num_items
    blocks = score_blocks(net, seq, *sizes, devices)
    return held_out.scores([held_out.ranks(first, scores) for first, scores in blocks], cutoffs)


def score_blocks(
    net: gluon.Block,
    seq: Optional[object],
    num_users: int,
    num_items: int,
    devices: Optional[Sequence[mx.Context]] = None,
) -> Iterator[Tuple[int, numpy.ndarray]]:
    """Yield the first user of each block, and the scores of all items for the users of the block.

    The scores are a float32 array with a row per user and a column per item. The arguments are
    those of ``score_ranking``; the default of ``devices`` is all GPUs or one CPU. For a net with
    ``reads_rows``, ``seq`` has a row of floating-point numbers for each user. Raises DataError if
    ``seq`` or the scores do not fit, like ``score_ranking``.
    """
    devices = list(devices or try_all_gpus())
    model = as_recommender(net, num_items)
    inputs = [numpy.arange(num_users, dtype="int32")]
    if seq is not None:
        seq = seq.asnumpy() if isinstance(seq, np.ndarray) else numpy.asarray(seq)
        if len(seq) != num_users:
            raise DataError(f"there are {len(seq)} sequences for {num_users} users")
        outside = ~((seq >= 0) & (seq < num_items))
        # The padding of the model stands for no item, so it may lie outside the table.
        if model.padding is not None:
            outside &= seq != model.padding
        if not model.reads_rows and outside.any():
            raise DataError(
                f"item {seq[outside][0]} of a sequence is beyond the table of {num_items} items "
                f"(0 to {num_items - 1})"
            )
        inputs.append(seq.astype("float32" if model.reads_rows else "int32"))
    # Copy all inputs once, in advance: a copy to a device waits for the pending work of the device.
    placed = [[np.array(a, ctx=device, dtype=a.dtype) for a in inputs] for device in devices]
    size = max(1, PAIRS_PER_BLOCK // max(num_users, num_items))
    under_way: deque = deque()

    def read_back() -> Tuple[int, numpy.ndarray]:
        first, scores = under_way.popleft()
        expected = (min(size, num_users - first), num_items)
        if scores.shape != expected:
            raise DataError(f"the net returns scores of shape {scores.shape}, not {expected}")
        return first, scores.asnumpy()

    for block, first in enumerate(range(0, num_users, size)):
        on_device = placed[block % len(devices)]
        under_way.append((first, model.score_all(*(a[first : first + size] for a in on_device))))
        # While the caller ranks one block, each device computes another.
        if len(under_way) > len(devices):
            yield read_back()
    while under_way:
        yield read_back()


def as_recommender(net: gluon.Block, num_items: int) -> Recommender:
    """``net`` if it is a ``Recommender``, else a wrapper that scores each user with each item."""
    return net if isinstance(net, Recommender) else _PairByPair(net, num_items)


class _PairByPair(Recommender):
    """Wraps a net that scores pairs, so that it scores all items of a user."""

    def __init__(self, net: gluon.Block, num_items: int) -> None:
        self.net, self.num_items = net, num_items

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, of shape (len(users), num_items)."""
        items = np.arange(self.num_items, dtype="int32", ctx=users.ctx)
        inputs = [np.repeat(a, self.num_items, axis=0) for a in (users, read) if a is not None]
        scores = self.net(*inputs, np.tile(items, len(users)))
        return scores.reshape(len(users), self.num_items)
