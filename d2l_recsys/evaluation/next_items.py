"""The test of session-based recommendation: rank the next item at every place of a session.

For each held-out session and each of its items but the first, a model has read the items before,
and scores all items. The item that came next is compared with all other items that the session does
not have so far. An item without any training session is ranked like every other item; Hidasi et al.
(2016) leave such items out of the test. Needs no MXNet.
"""

from typing import Dict, Iterable, List

import numpy as np
import scipy.sparse

from d2l_recsys.loaders.interactions import cosine_similarities, interaction_matrix
from d2l_recsys.loaders.sessions import Sessions
from d2l_recsys.ranking import rank_among, ranking_metrics

__all__ = ["CUTOFF", "NextItems", "item_similarities", "num_sessions_of"]

# Hit rate and MRR count the first 20 items, as in the paper.
CUTOFF = 20
# A block of the test has about this many pairs of a place and an item, which bounds memory.
PAIRS_PER_BLOCK = 2**20


class NextItems:
    """The places of ``sessions`` at which a model predicts the next item.

    Attributes, each with one entry for each place, session by session: ``last`` is the item read
    last, ``target`` the item that came next, and ``num_read`` the number of items read.
    """

    def __init__(self, sessions: Sessions, num_items: int) -> None:
        self.num_items = num_items
        self.sessions = sessions
        steps = sessions.lengths - 1
        first = np.cumsum(steps) - steps
        self.num_read = np.arange(steps.sum()) - np.repeat(first, steps) + 1
        self._starts = np.repeat(sessions.starts[:-1], steps)
        self.last = sessions.items[self._starts + self.num_read - 1]
        self.target = sessions.items[self._starts + self.num_read]

    def __len__(self) -> int:
        """The number of places."""
        return len(self.target)

    def blocks(self) -> List[slice]:
        """The places in blocks of a size that bounds memory."""
        size = max(1, PAIRS_PER_BLOCK // self.num_items)
        return [slice(first, first + size) for first in range(0, len(self), size)]

    def ranks(self, block: slice, scores: np.ndarray) -> np.ndarray:
        """The rank of each target of a block, counted from 0; NaN if a score of its row is NaN.

        ``scores`` has a row for each place of the block, and a column for each item.
        """
        target, num_read = self.target[block], self.num_read[block]
        rows = np.repeat(np.arange(len(target)), num_read)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(num_read) - num_read, num_read)
        others = np.ones(scores.shape, dtype=bool)
        others[rows, self.sessions.items[np.repeat(self._starts[block], num_read) + within]] = False
        others[np.arange(len(target)), target] = False
        rank = rank_among(scores, target, others)
        rank[np.isnan(scores).any(axis=1)] = np.nan
        return rank

    def scores(self, ranks: Iterable[np.ndarray], cutoffs: Iterable[int] = ()) -> Dict[str, float]:
        """The metrics over all places, from the ranks of all blocks in order.

        ``test_hit_rate`` is the share of places whose target is among the first 20 items.
        ``test_mrr`` is the mean of 1 / (rank + 1) of these targets, and of 0 for the others. For
        each k of ``cutoffs`` there are the metrics of ``ranking_metrics`` at k.
        """
        rank = np.concatenate(list(ranks))
        metrics = ranking_metrics(rank, self.num_items, [CUTOFF, *cutoffs])
        means = {name: float(values.mean()) for name, values in metrics.items()}
        numbers = {name: means[f"{name}_at_{CUTOFF}"] for name in ("test_hit_rate", "test_mrr")}
        chosen = [name for name in means for k in cutoffs if name.endswith(f"_at_{k}")]
        return {**numbers, **{name: means[name] for name in chosen}}


def _sessions_by_item(sessions: Sessions, num_items: int) -> scipy.sparse.csr_matrix:
    """A matrix (sessions, num_items): 1 where a session has an item, else 0; float32."""
    pairs = np.unique(sessions.session_of_item * num_items + sessions.items)
    return interaction_matrix(*np.divmod(pairs, num_items), len(sessions), num_items)


def num_sessions_of(sessions: Sessions, num_items: int) -> np.ndarray:
    """The number of sessions that have each item, float64 (num_items,): the popularity."""
    return np.asarray(_sessions_by_item(sessions, num_items).sum(axis=0), np.float64).ravel()


def item_similarities(sessions: Sessions, num_items: int, shrink: float) -> np.ndarray:
    """How similar items are by the sessions that have them: ``cosine_similarities``."""
    return cosine_similarities(_sessions_by_item(sessions, num_items), shrink)
