"""Popularity: everyone is recommended what most users have seen.

The score of an item is the number of users who have seen it, whoever asks. It learns nothing about
anyone, and is hard to beat all the same (Cremonesi et al. 2010): what a system adds must show
beside it. Run it, from the root of the checkout; needs no MXNet:

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
    """How many users have seen each item."""

    counts: np.ndarray = axes("items")

    def score_all(self, users: np.ndarray, read: Optional[np.ndarray] = None) -> np.ndarray:
        """The same scores for each of ``users``, (len(users), num_items)."""
        return np.broadcast_to(self.counts, (len(users), len(self.counts)))


def fit(data: RankingData) -> Popularity:
    """Count the users of each item of the training pairs."""
    return Popularity(np.bincount(data.items, minlength=data.num_items).astype(np.float32))


@section("popularity")
def main(
    run: ClosedFormRun,
) -> Dict[str, Any]:
    """Recommend what most users have seen, on MovieLens-100K."""
    return run.finish(run.fit(fit))


if __name__ == "__main__":
    command_line.run(main)
