"""Compute metrics from the ranks of the held-out items, and the uncertainty of the metrics."""

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import scipy.stats

from d2l_recsys.leaderboard.runs import Done
from d2l_recsys.ranking import ranking_metrics
from d2l_recsys.reproduction.summary import spread

# The names of the metrics on the leaderboard and in ``ranking_metrics``.
METRICS = {
    "Hit@10": "test_hit_rate_at_10",
    "NDCG@10": "test_ndcg",
    "MRR": "test_mrr",
    "Hit@50": "test_hit_rate",
    "AUC": "test_auc",
}
ORDER = "NDCG@10"
RESAMPLES = 9_999
CONFIDENCE = 0.95


class Standing(NamedTuple):
    """The results of an entry on the leaderboard.

    ``means`` has the mean of each metric over users and seeds. ``sds`` has the standard deviation
    over seeds (divided by n - 1; 0 for one seed). ``interval`` is the 95 % interval of the mean
    NDCG@10. ``lead`` is the 95 % interval of the difference in NDCG@10 to popularity, and
    ``behind`` that of the difference to the first entry. All intervals are over users. ``seconds``
    (of training) and ``median_count`` are medians over seeds.
    """

    name: str
    seeds: int
    means: Dict[str, float]
    sds: Dict[str, float]
    interval: Tuple[float, float]
    lead: Tuple[float, float]
    behind: Tuple[float, float]
    seconds: float
    parameters: int
    median_count: float

    @property
    def beats_popularity(self) -> bool:
        """Whether the whole interval of the lead over popularity is above 0."""
        return self.lead[0] > 0

    @property
    def ties_with_first(self) -> bool:
        """Whether the interval of the difference to the first entry includes 0."""
        return self.behind[1] >= 0


def by_user(done: Done) -> Dict[str, np.ndarray]:
    """Return the metrics of each user in one run, by their names on the leaderboard."""
    ranks = done.ranks.sort_values("user", kind="stable")
    values = ranking_metrics(
        ranks["rank"].to_numpy(), ranks["num_negatives"].to_numpy(), cutoffs=(10,)
    )
    return {name: values[key] for name, key in METRICS.items()}


def interval(values: np.ndarray) -> Tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of ``values``, which has one value per user.

    The method is the percentile method. If the values are the differences of two systems, the
    comparison is paired: each resample has the same users for both systems. All calls use the same
    resamples.
    """
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        batch=1000,
        random_state=np.random.default_rng(0),
    )
    return tuple(float(limit) for limit in found.confidence_interval)


def stand(runs: Dict[str, Sequence[Done]], bar: str) -> List[Standing]:
    """Return the standings of all entries, with the best NDCG@10 first.

    ``runs`` has the runs of each entry over seeds, by the entry's name. ``bar`` is the name of the
    entry that all entries are compared with. The value of a user is the mean over the seeds.
    """
    users = {name: [by_user(done) for done in of_entry] for name, of_entry in runs.items()}
    ndcg = {name: np.mean([u[ORDER] for u in of_seeds], axis=0) for name, of_seeds in users.items()}
    first = max(ndcg, key=lambda name: ndcg[name].mean())
    standings = []
    for name, of_entry in runs.items():
        over_seeds = {m: spread([float(u[m].mean()) for u in users[name]]) for m in METRICS}
        standings.append(
            Standing(
                name=name,
                seeds=len(of_entry),
                means={m: of_metric.mean for m, of_metric in over_seeds.items()},
                sds={m: of_metric.sd for m, of_metric in over_seeds.items()},
                interval=interval(ndcg[name]),
                lead=interval(ndcg[name] - ndcg[bar]),
                behind=interval(ndcg[name] - ndcg[first]),
                seconds=float(np.median([d.result["seconds"]["train"] for d in of_entry])),
                parameters=of_entry[0].parameters,
                median_count=float(np.median([d.median_count for d in of_entry])),
            )
        )
    return sorted(standings, key=lambda standing: -standing.means[ORDER])
