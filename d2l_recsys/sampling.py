"""Negative sampling for the pairwise losses (section 15.5); numpy alone."""

from typing import Iterable, Iterator, List, Mapping, Sequence, Tuple, Union

import numpy as np

from d2l_recsys.errors import DataError
from d2l_recsys.loaders.batches import BATCHES_PER_BLOCK, BatchLoader
from d2l_recsys.loaders.interactions import RankingData, user_items
from d2l_recsys.seeds import Streams

__all__ = ["NegativeSampler", "PairwiseLoader", "pairwise_loader"]


class NegativeSampler:
    """Draws, for each of many users at once, one of the items that the user has not seen.

    Every unobserved item of a user is equally likely. The r-th of them, counted from 0, is
    ``r + c``, where c is how many of the user's observed items i have at most r unobserved ones
    before them: ``i - (its place among the observed) <= r``. One binary search finds c.

    Parameters
    ----------
    candidates : the observed items of each user, as ``load_data_ml100k`` returns them. As in the
        chapter they are those of the training set, so the held-out item can be drawn: not to know
        it is what makes the test honest
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
        """One unobserved item (int32) for each of ``users``, an integer array of shape (n,).

        Raises DataError naming the first user among them who has seen every item, and for users
        outside the table.
        """
        users = np.asarray(users, dtype=np.int64)
        num_users = len(self._starts)
        if len(users) and not (users.min() >= 0 and users.max() < num_users):
            raise DataError(f"users must lie between 0 and {num_users - 1}")
        choices = self._num_unobserved[users]
        if not choices.all():
            raise DataError(
                f"user {users[choices == 0][0]} (counted from 0) has seen all {self.num_items} "
                "items: there is no negative to draw; leave that user out"
            )
        place = self.rng.integers(choices)
        passed = np.searchsorted(self._keys, users * self.num_items + place, side="right")
        return (place + passed - self._starts[users]).astype(np.int32)


class PairwiseLoader(BatchLoader):
    """A ``BatchLoader`` whose batches end with a negative item for each row, new in each epoch.

    The first of ``arrays`` holds the users; ``sampler`` draws.
    """

    def __init__(self, *arrays: np.ndarray, sampler: NegativeSampler, **options: object) -> None:
        super().__init__(*arrays, **options)
        self.sampler = sampler

    @property
    def generators(self) -> List[np.random.Generator]:
        """What order and negatives are drawn with."""
        return [self.rng, self.sampler.rng]

    def blocks(
        self, batches: int = BATCHES_PER_BLOCK
    ) -> Iterator[Tuple[List[np.ndarray], List[Tuple[int, int]]]]:
        """One epoch as blocks of up to ``batches`` batches, as in ``BatchLoader``."""
        for arrays, bounds in super().blocks(batches):
            yield [*arrays, self.sampler.draw(arrays[0])], bounds


def pairwise_loader(
    data: RankingData, arrays: Sequence[np.ndarray], batch_size: int, streams: Streams
) -> PairwiseLoader:
    """The training batches of sections 15.6 and 15.7: shuffled, the last rolled over.

    ``arrays`` hold users, what the net needs beside them, and items; negatives come last.
    """
    sampler = NegativeSampler(data.candidates, *data.sizes, streams.negatives)
    return PairwiseLoader(
        *arrays,
        sampler=sampler,
        batch_size=batch_size,
        shuffle=True,
        last_batch="rollover",
        rng=streams.shuffle,
    )
