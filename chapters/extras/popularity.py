"""Popularity: recommend the items that most users have seen.

The score of an item is the number of users who have seen it. It is the same for every user, so the
model learns nothing about a user. It is hard to beat all the same (Cremonesi et al. 2010), so every
other system should be compared with it.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/extras/popularity.py
"""

import dataclasses
from typing import Any, Dict, Optional

import numpy as np

from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.runs.closed_form_run import ClosedFormRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@dataclasses.dataclass(frozen=True)
class Popularity(ClosedForm):
    """The number of users who have seen each item."""

    counts: np.ndarray = axes("items")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the same scores for each of ``users``, float32 (len(users), num_items)."""
        return np.broadcast_to(self.counts, (len(users), len(self.counts)))


def fit(data: RankingData) -> Popularity:
    """Count the users who have seen each item in the training data."""
    return Popularity(np.bincount(data.items, minlength=data.num_items).astype(np.float32))


@section("popularity")
def main(
    run: ClosedFormRun,
) -> Dict[str, Any]:
    """Recommend the items that most users of MovieLens-100K have seen."""
    return run.finish(run.fit(fit))


if __name__ == "__main__":
    command_line.run(main)
