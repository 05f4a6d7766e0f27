"""Negative sampling for the pairwise losses (section 15.5).

Needs numpy and scipy, but not MXNet.
"""

from typing import Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BATCHES_PER_BLOCK, BatchLoader
from d2l_recsys.loaders.interactions import RankingData, user_items, user_name
from d2l_recsys.seeds import Streams

__all__ = ["NegativeSampler", "PairwiseLoader", "pairwise_loader"]


class NegativeSampler:
    """Draws one unobserved item for each of many users at once.

    All unobserved items of a user are equally likely. A random number r selects the r-th
    unobserved item, counted from 0. To find it, skip the observed items with smaller numbers: if
    there are c of them, the item is ``r + c``. The observed item i, at place k among the observed
    items, has ``i - k`` unobserved items below it. So c counts the observed items with
    ``i - k <= r``; a binary search finds it. This does the work of ``negative_sampler``, a function
    in drafts of the chapter.

    Parameters
    ----------
    candidates : the observed items of each user, as ``load_data_ml100k`` returns them. As in the
        chapter, these are only the training items, so the held-out item can be drawn as a negative
        item: the training must not know the held-out item
    num_users, num_items : the sizes of the embedding tables
    rng : a numpy Generator, or a seed for one
    """

    def __init__(
        self,
        candidates: Mapping[int, Iterable[int]],
        num_users: int,
        num_items: int,
        rng: Union[np.random.Generator, int, None] = None,
    ) -> None:
        observed = user_items(candidates, num_users, num_items, "training item")
        self.rng = np.random.default_rng(rng)
        self.num_items = num_items
        self._starts = observed.starts[:-1]
        self._num_unobserved = num_items - np.diff(observed.starts)
        place = np.arange(len(observed.items)) - self._starts[observed.users]
        self._keys = observed.users * num_items + observed.items - place

    def draw(self, users: np.ndarray) -> np.ndarray:
        """Returns an unobserved item (int32) for each of ``users``, an integer array of shape (n,).

        Raises DataError if a user has seen all items (the message names the first such user), or if
        a user is outside the table.
        """
        users = np.asarray(users, dtype=np.int64)
        num_users = len(self._starts)
        if len(users) and not (users.min() >= 0 and users.max() < num_users):
            raise DataError(f"users must lie between 0 and {num_users - 1}")
        choices = self._num_unobserved[users]
        if not choices.all():
            raise DataError(
                f"{user_name(int(users[choices == 0][0]))} has seen all {self.num_items} "
                "items, so there is no negative item to draw; leave this user out"
            )
        place = self.rng.integers(choices)
        passed = np.searchsorted(self._keys, users * self.num_items + place, side="right")
        return (place + passed - self._starts[users]).astype(np.int32)


class PairwiseLoader(BatchLoader):
    """A ``BatchLoader`` that adds an array of negative items to the end of each batch.

    It takes the place of the chapter's ``PRDataset`` and of the loader around it.
    The first of ``arrays`` has the users. In each epoch ``sampler`` draws new negative items: one
    for each row, shape (n,), or ``num_negatives`` for each row, shape (n, num_negatives). The same
    item may be drawn twice for one row.
    """

    def __init__(
        self,
        *arrays: np.ndarray,
        sampler: NegativeSampler,
        num_negatives: Optional[int] = None,
        **options: object,
    ) -> None:
        super().__init__(*arrays, **options)
        self.sampler, self.num_negatives = sampler, num_negatives

    @property
    def generators(self) -> List[np.random.Generator]:
        """The random generators of the row order and of the negative items."""
        return [self.rng, self.sampler.rng]

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """Yields one epoch in blocks of up to ``batches`` batches, as in ``BatchLoader``."""
        # A block with many negative items for each row would take much memory.
        batches = max(1, batches // (self.num_negatives or 1))
        for arrays, bounds in super().blocks(batches):
            yield [*arrays, self._negatives(arrays[0])], bounds

    def _negatives(self, users: np.ndarray) -> np.ndarray:
        if self.num_negatives is None:
            return self.sampler.draw(users)
        drawn = self.sampler.draw(np.repeat(users, self.num_negatives))
        return drawn.reshape(len(users), self.num_negatives)


def pairwise_loader(
    data: RankingData,
    arrays: Sequence[np.ndarray],
    batch_size: int,
    streams: Streams,
    loss: Optional[object] = None,
) -> PairwiseLoader:
    """Returns the training batches of sections 15.6 and 15.7: shuffled, with negative items.

    Rows that do not fill a batch roll over into the next epoch. ``arrays`` are the users, further
    inputs of the net, and the items. The negative items are the last array of a batch: one item
    for each row, or as many as the attribute ``num_negatives`` of ``loss`` says, if it has one.
    """
    sampler = NegativeSampler(data.candidates, *data.sizes, streams.negatives)
    return PairwiseLoader(
        *arrays,
        sampler=sampler,
        num_negatives=getattr(loss, "num_negatives", None),
        batch_size=batch_size,
        shuffle=True,
        last_batch="rollover",
        rng=streams.shuffle,
    )
