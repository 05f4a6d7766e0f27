"""Show the leaderboard: as a table for the terminal, and as a page in Markdown."""

from typing import Any, List, Mapping, Sequence

from tabulate import tabulate

from d2l_recsys.leaderboard.entries import ENTRIES, POPULARITY
from d2l_recsys.leaderboard.scores import METRICS, Standing
from d2l_recsys.leaderboard.search import Trial
from d2l_recsys.reproduction.tables import aligned, count

FIGURE = "leaderboard.png"
HEADERS = [
    "",
    *METRICS,
    "95 % interval of NDCG@10",
    "lead over popularity",
    "sd over seeds",
    "seconds",
    "parameters",
    "ratings of top ten",
]
INTRODUCTION = (
    "This page compares every system under one protocol. The last item of each user is held out, "
    "and the system ranks it against all items that the user has not seen. The settings that a "
    "search chose have the best NDCG@10 on the item before the last. For the results on this page, "
    "the systems are trained on that item as well. The command `d2l-recsys leaderboard` makes this "
    "page, here with {}."
)
CONTROL = (
    "This page checks the leaderboard. The command `d2l-recsys leaderboard --shuffled` shuffles "
    "the items of the training ratings: each user and each item keeps the number of ratings, but "
    "which user has rated which item is random. The held-out items are the real ones. The settings "
    "are the same as on the leaderboard, here with {}. No system can learn a user's taste from "
    "this data, so no system should beat popularity. If the whole interval of a lead over "
    "popularity is above 0, the system may know more about the held-out items than it should. By "
    "chance, this happens to one system in forty."
)
READ = (
    "- The table is sorted by **NDCG@10**.\n"
    "- **95 % interval of NDCG@10** comes from a bootstrap over users (9,999 resamples).\n"
    "- **lead over popularity** is the same kind of interval, for NDCG@10 minus the NDCG@10 of "
    "popularity. Each resample has the same users for both systems. A lead is in bold if its whole "
    "interval is above 0.\n"
    "- **=** after a name means that the system is the first one, or cannot be told apart from it: "
    "the interval of their difference in NDCG@10 includes 0.\n"
    "- **\\*** after a name means that the system learns how a movie is rated. The other systems "
    "learn which movies are seen.\n"
    "- **sd over seeds** is the standard deviation of NDCG@10. It is empty for a system with one "
    "run.\n"
    "- **seconds** is the time of training on one core, without evaluation.\n"
    "- **parameters** is the number of trained numbers.\n"
    "- **ratings of top ten** shows whether a system recommends popular items. It is the median "
    "number of training ratings of the ten items that the system ranks first for each user."
)

SETTINGS = (
    "We searched a full grid on the validation items (the last but one of each user) with seed 0: "
    "every value of one option with every value of the others. For an entry such as `num_epochs up "
    "to 30`, each trial ran for 30 epochs, and its best epoch counts. An option that the table "
    "does not name has its default value. This value comes from the paper or was set before the "
    "search. **minutes** is the time of all runs of the search, with evaluation."
)


def cells(standings: Sequence[Standing]) -> List[List[str]]:
    """Return the rows of the table as text, in Markdown."""
    rows = []
    for s in standings:
        lead = f"{s.lead[0]:+.3f} to {s.lead[1]:+.3f}"
        if s.name == POPULARITY:
            lead = ""
        elif s.beats_popularity:
            lead = f"**{lead}**"
        rows.append(
            [
                s.name + " =" * s.ties_with_first + " *" * ENTRIES[s.name].on_ratings,
                *(f"{s.means[metric]:.3f}" for metric in METRICS),
                f"{s.interval[0]:.3f} to {s.interval[1]:.3f}",
                lead,
                f"{s.sds['NDCG@10']:.4f}" if s.seeds > 1 else "",
                f"{s.seconds:.2f}" if s.seconds < 1 else f"{s.seconds:.0f}",
                f"{s.parameters:,}",
                f"{s.median_count:.0f}",
            ]
        )
    return rows


def table(standings: Sequence[Standing]) -> str:
    """Return the table for the terminal, without Markdown."""
    rows = [[cell.replace("**", "") for cell in row] for row in cells(standings)]
    return aligned(HEADERS, rows, left=1)


def search_table(trials: Mapping[str, Sequence[Trial]]) -> str:
    """Return a table for the terminal: the three best trials of each entry, and their number."""
    rows = []
    for name, of_entry in trials.items():
        for trial in of_entry[:3]:
            options = ", ".join(f"{n} {v}" for n, v in trial.options.items())
            count = f"{len(of_entry)} trials" if trial is of_entry[0] else ""
            rows.append([name if count else "", count, f"{trial.ndcg:.4f}", options])
    return tabulate(rows, ["", "", "NDCG@10", "options"], disable_numparse=True)


def markdown(
    standings: Sequence[Standing],
    seeds: int,
    trials: Mapping[str, Sequence[Trial]],
    environment: Mapping[str, Any],
    dataset: Mapping[str, Any],
    wall: float,
    shuffled: bool = False,
) -> str:
    """Return the page of the leaderboard, or of its control if ``shuffled``, in Markdown.

    The page shows the figure ``FIGURE``, which must be in the same folder. ``seeds`` is the number
    of seeds, and ``wall`` the seconds that all runs took.
    """
    source = f"{dataset['name']} from {dataset['source']}, SHA-256 {dataset['sha256'][:16]}"
    made_with = [f"{name} {value}" for name, value in environment.items() if name != "devices"]
    made_with += [f"data: {source}", f"{wall / 60:.0f} minutes of one core for all runs"]
    parts = [
        "# Leaderboard" + ": the control" * shuffled,
        (CONTROL if shuffled else INTRODUCTION).format(
            count(seeds, "seed") + " of each system that uses random numbers"
        ),
        f"![NDCG@10 against seconds of training]({FIGURE})",
        aligned(HEADERS, cells(standings), left=1, style="pipe"),
        READ,
        "## Settings",
        _settings(trials),
        SETTINGS,
        "## Made with",
        "; ".join(made_with) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _settings(trials: Mapping[str, Sequence[Trial]]) -> str:
    rows = []
    for name, of_entry in trials.items():
        entry = ENTRIES[name]
        chosen = {**entry.identity, **(of_entry[0].options if of_entry else {})}
        tried = {n: ", ".join(map(str, values)) for n, values in entry.space.items()}
        if entry.chooses_epoch:
            tried["num_epochs"] = f"up to {tried['num_epochs']}"
        rows.append(
            [
                name,
                ", ".join(f"{n} {value}" for n, value in chosen.items()),
                "; ".join(f"{n} {values}" for n, values in tried.items()),
                str(len(of_entry)) if tried else "",
                f"{of_entry[0].ndcg:.3f}" if of_entry else "",
                f"{sum(t.seconds for t in of_entry) / 60:.1f}" if tried else "",
            ]
        )
    headers = ["", "settings", "values tried", "trials", "validation NDCG@10", "minutes"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
