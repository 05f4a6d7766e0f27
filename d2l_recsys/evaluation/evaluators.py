"""Score a trained model on held-out data."""

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

# Users are scored in blocks of about this many pairs (with an item, or with what the chapter takes
# for one): enough to keep MXNet busy, few enough to bound memory.
PAIRS_PER_BLOCK = 2**17
# Clicks are read back this many shares of batches late.
SHARES_UNDER_WAY = 16


def evaluate_rating(net: gluon.Block, test_iter: Iterable, devices: Sequence[mx.Context]) -> Scores:
    """``test_rmse`` of ``net`` (eq. 15.3.4), printed and defined, from one pass over ``test_iter``.

    Batches are the net's inputs followed by the ratings; each is spread over ``devices``.
    """
    batches = [
        [(share[-1], net(*share[:-1])) for share in shares]
        for shares in split_and_load(devices, test_iter)
    ]
    # MXNet computes on while Python goes ahead, so the results are fetched once all are under way.
    return rating_scores([[(r.asnumpy(), r_hat.asnumpy()) for r, r_hat in b] for b in batches])


def evaluate_clicks(
    net: gluon.Block,
    test_iter: Iterable,
    devices: Sequence[mx.Context],
    rows: Optional[numpy.ndarray] = None,
) -> Scores:
    """Accuracy, log loss and AUC of ``net``: ``click_scores`` of one pass over ``test_iter``.

    Batches are features and labels. ``net`` maps features to probabilities of a click, (n, 1);
    those of a ``ClickModel`` are the sigmoid of its ``logits``.
    ``rows`` are those that the printed accuracies are over.
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
        # What waits for MXNet keeps its features in memory.
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
    """``test_rmse`` of an autoencoder over the test ratings; printed and defined are the same.

    ``rows`` yields batches of the rows of the training matrix, in order; ``net`` completes them.
    ``test_matrix`` has the same shape, and 0 where there is no test rating. Raises DataError where
    it holds none.
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
    """Hit@50 and AUC of ``net`` as the chapter's function of this name computes them.

    ``score_ranking``, which explains the arguments, gives the defined numbers as well.
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
    """Where ``net`` ranks the held-out items among all that their users have not seen.

    Parameters
    ----------
    net : maps (users, items), or (users, sequences, items), to scores. The scores of a
        ``Recommender`` come from its ``score_all``
    test_input : the held-out items of each user (zero-based)
    seq : None, or an integer array (num_users, L) of what each user did last
    candidates : the items of each user in the training set; they are not ranked
    devices : blocks of users go to them in turn
    cutoffs : where else to cut the defined metrics off

    Returns the metrics of ``HeldOut.scores``: printed and defined, from the same scores. Memory is
    bounded by a block of users. A user with a score that is NaN makes all of them NaN, the printed
    ones too. Raises DataError as ``HeldOut`` does, where ``seq`` has not a row for each user or
    holds an item beyond the table, and where the net's scores are not for ``num_items`` items.
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
    """``score_ranking`` where ``held_out`` is made once and ``net`` is evaluated many times."""
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
    """The first user of each block, and the scores of all items for its users, float32.

    The arguments are those of ``score_ranking``. ``seq`` may also hold what a net with
    ``reads_rows`` wants to see of each user, floating-point numbers.
    """
    devices = list(devices or try_all_gpus())
    model = as_recommender(net, num_items)
    inputs = [numpy.arange(num_users, dtype="int32")]
    if seq is not None:
        seq = seq.asnumpy() if isinstance(seq, np.ndarray) else numpy.asarray(seq)
        if len(seq) != num_users:
            raise DataError(f"there are {len(seq)} sequences for {num_users} users")
        outside = ~((seq >= 0) & (seq < num_items))
        # What stands for no item, in a net that knows of that.
        if model.padding is not None:
            outside &= seq != model.padding
        if not model.reads_rows and outside.any():
            raise DataError(
                f"item {seq[outside][0]} of a sequence is beyond the table of {num_items} items "
                f"(0 to {num_items - 1})"
            )
        inputs.append(seq.astype("float32" if model.reads_rows else "int32"))
    # Placed once and whole: a copy to a device waits for what that device has under way.
    placed = [[np.array(a, ctx=device, dtype=a.dtype) for a in inputs] for device in devices]
    size = max(1, PAIRS_PER_BLOCK // max(num_users, num_items))
    under_way: deque = deque()

    def read_back() -> Tuple[int, numpy.ndarray]:
        first, scores = under_way.popleft()
        expected = (min(size, num_users - first), num_items)
        if scores.shape != expected:
            raise DataError(f"the net gives scores of shape {scores.shape}, {expected} are needed")
        return first, scores.asnumpy()

    for block, first in enumerate(range(0, num_users, size)):
        on_device = placed[block % len(devices)]
        under_way.append((first, model.score_all(*(a[first : first + size] for a in on_device))))
        # One block on each device computes while another is ranked.
        if len(under_way) > len(devices):
            yield read_back()
    while under_way:
        yield read_back()


def as_recommender(net: gluon.Block, num_items: int) -> Recommender:
    """``net``, or where it is no ``Recommender`` one that calls it on each user with each item."""
    return net if isinstance(net, Recommender) else _PairByPair(net, num_items)


class _PairByPair(Recommender):
    """A net that scores pairs, as one that scores all items of a user."""

    def __init__(self, net: gluon.Block, num_items: int) -> None:
        self.net, self.num_items = net, num_items

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of shape (len(users), num_items)."""
        items = np.arange(self.num_items, dtype="int32", ctx=users.ctx)
        inputs = [np.repeat(a, self.num_items, axis=0) for a in (users, read) if a is not None]
        scores = self.net(*inputs, np.tile(items, len(users)))
        return scores.reshape(len(users), self.num_items)
