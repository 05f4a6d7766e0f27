r"""Ranking metrics as numpy functions of the scores. Needs no MXNet.

A ranking metric measures where a model ranks the held-out item of a user. The training items of
this user are not ranked. The held-out item is compared with all items that the user has not seen.
Its **rank**, counted from 0, is the number of these items with a higher score, plus half the number
of these items with the same score.
"""

import math
from typing import Dict, Iterable, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.loaders.interactions import RankingData, UserItems, user_items, user_name
from d2l_recsys.settings import Scores

__all__ = ["HeldOut", "hit_and_auc", "rank_among", "ranking_metrics"]

# The default cut-offs: 50 is from the text of the section, 10 is usual in the literature.
HIT_CUTOFF = 50
NDCG_CUTOFF = 10


def hit_and_auc(rankedlist: Iterable[int], test_matrix: Iterable[int], k: int) -> Tuple[int, float]:
    """The chapter's metrics of one user: the hits among the first ``k`` items, and the AUC.

    ``rankedlist`` has distinct items, best first. ``test_matrix`` has the held-out items. The hits
    are the held-out items among the first ``k`` items of the list, or in the whole list if it is
    shorter. The AUC is the share of the other items that come after the best held-out item:
    ``(n - 1 - position) / (n - 1)`` in a list of n items. If the list has no held-out item, the AUC
    is 0.

    Raises SettingError if ``k`` is negative. Raises DataError if the list has only one item and
    this item is held out.
    """
    if k < 0:
        raise SettingError(f"k is {k}; it must be 0 or more")
    rankedlist, held_out = list(rankedlist), set(test_matrix)
    positions = [position for position, item in enumerate(rankedlist) if item in held_out]
    hits = sum(position < k for position in positions)
    if not positions:
        return hits, 0.0
    last = len(rankedlist) - 1
    if not last:
        raise DataError(
            "the list has only the held-out item; an AUC needs another item to compare with"
        )
    return hits, (last - positions[0]) / last


def rank_among(scores: np.ndarray, items: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The rank of one item in each row of ``scores``: (n,), counted from 0, ties count half.

    ``scores`` are (n, num_items) and ``items`` (n,). ``others``, bool (n, num_items), are the items
    that the item of each row is compared with; it is not one of them.
    """
    own = np.take_along_axis(scores, np.reshape(items, (-1, 1)), axis=1)
    return ((scores > own) & others).sum(axis=1) + ((scores == own) & others).sum(axis=1) / 2


class Ranks(NamedTuple):
    """The rank and the position of each held-out item of a block of users, counted from 0.

    ``rank`` is the defined rank. ``position`` is the position in the chapter's list, or infinity if
    the chapter does not rank the item. Both are NaN if a score of the user is NaN.
    """

    rank: np.ndarray
    position: np.ndarray


class HeldOut:
    """The held-out items of each user, and the items that they are ranked against.

    Parameters
    ----------
    test_input : the held-out items of each user, one or more per user
    candidates : the observed items of each user, which are not ranked; a list may be empty
    num_users, num_items : the sizes of the embedding tables; all users are evaluated

    If a held-out item is also an observed item, it is not in the chapter's list. The defined
    metrics rank it like any other held-out item. Raises DataError if a user is missing from
    ``test_input`` or ``candidates``, if an item is outside the table, or if a user has no held-out
    item or no other item to rank it against.
    """

    def __init__(
        self,
        test_input: Mapping[int, Iterable[int]],
        candidates: Mapping[int, Iterable[int]],
        num_users: int,
        num_items: int,
    ) -> None:
        self.num_users, self.num_items = num_users, num_items
        self.observed = user_items(candidates, num_users, num_items, "training item")
        self.held_out = user_items(test_input, num_users, num_items, "held-out item")
        if not np.diff(self.held_out.starts).all():
            user = int(np.argmin(np.diff(self.held_out.starts)))
            raise DataError(f"{user_name(user)} has no held-out item; leave this user out")
        observed, held_out = (
            part.users * num_items + part.items for part in (self.observed, self.held_out)
        )
        not_negative = np.union1d(observed, held_out) // num_items
        self._num_negatives = num_items - np.bincount(not_negative, minlength=num_users)
        in_list = self.observed.users[self.observed.items < num_users]
        self._list_length = num_users - np.bincount(in_list, minlength=num_users)
        self._is_listed = (self.held_out.items < num_users) & ~np.isin(held_out, observed)
        if not self._num_negatives.all():
            raise DataError(
                f"{user_name(int(np.argmin(self._num_negatives)))} has no unseen item to rank the "
                "held-out item against, so there is no AUC; leave this user out"
            )

    @classmethod
    def of(cls, data: RankingData) -> "HeldOut":
        """Returns the held-out items of ``data``; each is ranked against all unseen items."""
        return cls(data.test_items, data.candidates, *data.sizes)

    @property
    def num_negatives(self) -> np.ndarray:
        """For each held-out item, the number of other items that its user has not seen."""
        return self._num_negatives[self.held_out.users]

    def ranks(self, first: int, scores: np.ndarray) -> Ranks:
        """Returns the ranks of the held-out items of a block of users that starts at ``first``.

        ``scores`` has a row for each of these users and a column for each item.
        """
        stop = first + len(scores)
        observed, held_out = (_cut(part, first, stop) for part in (self.observed, self.held_out))
        rows = held_out.users - first
        unobserved = np.ones((len(scores), self.num_items), dtype=bool)
        unobserved[observed.users - first, observed.items] = False
        negatives = unobserved.copy()
        negatives[rows, held_out.items] = False
        of_user = scores[rows]
        rank = rank_among(of_user, held_out.items, negatives[rows])
        own = scores[rows, held_out.items][:, None]

        # The chapter ranks items 0 ... num_users - 1. If there are fewer items, MXNet's embedding
        # uses the last row of its table for every item that is not in the table.
        column = np.minimum(np.arange(self.num_users), self.num_items - 1)
        listed = unobserved[:, column]
        listed[:, self.num_items :] = True
        of_user, listed = of_user[:, column], listed[rows]
        position = ((of_user > own) & listed).sum(axis=1).astype(float)
        tied = (of_user == own) & listed
        is_listed = self._is_listed[self.held_out.starts[first] : self.held_out.starts[stop]]
        for pair in np.flatnonzero(is_listed & (tied.sum(axis=1) > 1)):
            item, user = held_out.items[pair], held_out.users[pair]
            position[pair] += self._ties_before(item, tied[pair], user)
        position[~is_listed] = np.inf

        broken = np.isnan(scores).any(axis=1)[rows]
        rank[broken] = position[broken] = np.nan
        return Ranks(rank, position)

    def _ties_before(self, item: int, tied: np.ndarray, user: int) -> int:
        """Returns how many of the items that tie with ``item`` the chapter lists before it.

        The chapter's sort is stable, so tied items stay in the order of its set of unobserved
        items. This order is ascending, unless the set has few items compared with the largest item
        number.
        """
        start, stop = self.observed.starts[user : user + 2]
        listed = list(set(range(self.num_users)) - set(self.observed.items[start:stop].tolist()))
        return int(tied[listed[: listed.index(item)]].sum())

    def scores(self, blocks: Sequence[Ranks], cutoffs: Iterable[int] = ()) -> Scores:
        """Returns the metrics over all users, from the ranks of all blocks in order.

        The printed metrics are the chapter's: ``test_hit_rate`` (the hits per user among the first
        50) and ``test_auc``. They rank only the first num_users items, and of tied items the lower
        id comes first. A user whose list has only the held-out item has no printed AUC and does not
        count in its mean: there, the chapter's code divides by zero. The defined metrics are those
        of ``ranking_metrics``. All users have the same weight, and so have all held-out items of
        one user.
        """
        rank, position = map(np.concatenate, zip(*blocks))
        users, starts = self.held_out.users, self.held_out.starts[:-1]
        hits = np.where(np.isnan(position), np.nan, position < HIT_CUTOFF)
        best, last = np.minimum.reduceat(position, starts), self._list_length - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = np.where(np.isinf(best), 0, (last - best) / last)
        auc = auc[(last > 0) | np.isinf(best)]
        share = 1 / (np.bincount(users)[users] * self.num_users)
        defined = ranking_metrics(rank, self.num_negatives, cutoffs)
        return Scores(
            printed={
                "test_hit_rate": float(hits.sum() / self.num_users),
                "test_auc": float(auc.mean()) if len(auc) else math.nan,
            },
            defined={name: float((values * share).sum()) for name, values in defined.items()},
        )


def _cut(part: UserItems, first: int, stop: int) -> UserItems:
    begin, end = part.starts[first], part.starts[stop]
    return UserItems(part.starts[first : stop + 1], part.users[begin:end], part.items[begin:end])


def ranking_metrics(
    rank: np.ndarray, num_negatives: np.ndarray, cutoffs: Iterable[int] = ()
) -> Dict[str, np.ndarray]:
    r"""Returns metrics of each held-out item from its rank among ``num_negatives`` other items.

    The rank counts from 0.

    - ``test_hit_rate`` (eq. 15.6.4): 1 if the item is in the first 50, :math:`rank < 50`, else 0
    - ``test_auc`` (eq. 15.6.5): the share of the other items that rank below it; a tie counts half,
      :math:`1 - rank / n`
    - ``test_ndcg`` (Järvelin and Kekäläinen 2002): :math:`1 / \log_2(rank + 2)` if the item is in
      the first 10, else 0; with one relevant item the ideal gain is 1
    - ``test_mrr``: the reciprocal rank :math:`1 / (rank + 1)`, over the whole list
    - ``test_hit_rate_at_k``, ``test_ndcg_at_k``, ``test_mrr_at_k`` for each k of ``cutoffs``: the
      same metrics if the item is in the first k, else 0. A k larger than the number of items
      changes nothing

    The metrics of a NaN rank are NaN. Raises SettingError if a cut-off is below 1.
    """
    hit = np.where(np.isnan(rank), np.nan, 1.0)
    gain, reciprocal = 1 / np.log2(rank + 2), 1 / (rank + 1)

    def within(k: int, values: np.ndarray) -> np.ndarray:
        return np.where(rank >= k, 0.0, values)

    metrics = {
        "test_hit_rate": within(HIT_CUTOFF, hit),
        "test_auc": 1 - rank / num_negatives,
        "test_ndcg": within(NDCG_CUTOFF, gain),
        "test_mrr": reciprocal,
    }
    for k in cutoffs:
        if k < 1:
            raise SettingError(f"--cutoff is {k}; it must be 1 or more")
        metrics[f"test_hit_rate_at_{k}"] = within(k, hit)
        metrics[f"test_ndcg_at_{k}"] = within(k, gain)
        metrics[f"test_mrr_at_{k}"] = within(k, reciprocal)
    return metrics
