"""The table of a sweep: a row for each point, with mean and standard deviation over the seeds."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from d2l_recsys.reproduction.summary import Spread, spread
from d2l_recsys.reproduction.tables import ABSENT, aligned, formatted, mean_and_sd, words
from d2l_recsys.runs.reported import changed_settings
from d2l_recsys.sections.registry import SYSTEMS, Kind
from d2l_recsys.settings import Protocol
from d2l_recsys.sweeps.grid import as_text
from d2l_recsys.sweeps.runs import Outcome

# The numbers of each kind of system that a table and a figure show, as far as a run has them.
SHOWN = {
    Kind.ratings: ("test_rmse",),
    Kind.ranking: ("test_hit_rate", "test_auc", "test_ndcg"),
    Kind.clicks: ("test_acc", "test_auc", "test_log_loss"),
    Kind.sessions: ("test_hit_rate", "test_mrr"),
    Kind.all_ratings: ("train_loss",),
    Kind.losses: ("bpr_test_hit_rate", "hinge_test_hit_rate", "bpr_test_auc", "hinge_test_auc"),
    Kind.data: ("num_features", "train_ctr", "test_ctr", "num_ratings", "sparsity"),
}

# The end of a number's name, and which of its values are better.
BETTER = {
    **dict.fromkeys(("rmse", "loss"), "lower is better"),
    **dict.fromkeys(("hit_rate", "auc", "ndcg", "mrr", "acc"), "higher is better"),
}


class Row(NamedTuple):
    """One point of a sweep over its seeds.

    ``labels`` name the point. ``numbers`` has the spread of each number. ``reported`` has the
    book's numbers if the settings and the data are the book's. ``seconds`` is the mean time of a
    run. ``num_runs`` counts all runs, and ``num_failed`` those without numbers.
    """

    labels: Dict[str, Any]
    numbers: Dict[str, Spread]
    reported: Dict[str, float]
    seconds: float
    num_runs: int
    num_failed: int

    @property
    def all_failed(self) -> bool:
        """Whether no run has numbers."""
        return self.num_failed == self.num_runs


def row_of(outcome: Outcome, shown: Optional[Protocol] = None) -> Row:
    """The row of ``outcome`` with the numbers of ``shown``, by default those that its runs show."""
    results = outcome.results
    protocol = shown or (results[0]["protocol"] if results else Protocol.printed)
    names = results[0][protocol] if results else ()
    reported = {}
    if results and _is_the_books(results[0], protocol):
        reported = {n: v for n, v in results[0]["reported"].items() if n in names}
    seconds = spread([result["seconds"]["total"] for result in results]).mean if results else 0.0
    return Row(
        outcome.point.labels,
        {name: spread([result[protocol].get(name) for result in results]) for name in names},
        reported,
        seconds,
        len(outcome.runs),
        outcome.num_failed,
    )


def _is_the_books(result: Mapping[str, Any], protocol: str) -> bool:
    """Whether the book has the numbers of ``protocol`` for settings and data such as these."""
    same = not changed_settings(result["chapter"], result["settings"])
    shown = protocol == Protocol.printed or not SYSTEMS[result["chapter"]].trains
    return same and shown and not result["dataset"]["substitute"]


def shown_numbers(rows: Sequence[Row], kinds: Sequence[Kind]) -> List[str]:
    """The names of the numbers to show, in the order of ``SHOWN``, and of further cutoffs."""
    found = dict.fromkeys(name for row in rows for name in row.numbers)
    usual = dict.fromkeys(name for kind in kinds for name in SHOWN[kind] if name in found)
    return [*usual, *(name for name in found if "_at_" in name)]


def heading(name: str) -> str:
    """The name of a number as it stands in a table, with its unit."""
    return words(name) + " (%)" * name.endswith("_ctr")


def better(name: str) -> str:
    """Whether lower or higher values of a number are better; empty if neither is."""
    ending = name.partition("_at_")[0]
    return next((told for end, told in BETTER.items() if ending.endswith(end)), "")


def table_of(rows: Sequence[Row], numbers: Sequence[str], style: str = "simple") -> str:
    """The table of ``rows`` with the columns ``numbers``; ``style`` as in ``aligned``.

    A column beside a number has the book's number, in the rows that have the book's settings.
    """
    quoted = [name for name in numbers if any(name in row.reported for row in rows)]
    some_failed = any(row.num_failed for row in rows)
    labels = list(rows[0].labels)
    headers = [*map(words, labels)]
    for name in numbers:
        headers += [heading(name), *[f"book: {heading(name)}"] * (name in quoted)]
    headers += ["runs", *["failed"] * some_failed, "seconds a run"]
    cells = []
    for row in rows:
        line = [as_text(value) for value in row.labels.values()]
        for name in numbers:
            line.append(mean_and_sd(name, row.numbers.get(name)))
            if name in quoted:
                line.append(formatted(name, row.reported.get(name)))
        seconds = f"{row.seconds:.1f}" if row.numbers else ABSENT
        failed = str(row.num_failed) if row.num_failed else ABSENT
        cells.append([*line, str(row.num_runs), *[failed] * some_failed, seconds])
    return aligned(headers, cells, left=len(labels), style=style)
