"""The leaderboard as a table for the terminal, as Markdown, and as a figure."""

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
    "95 % of NDCG@10",
    "lead over popularity",
    "sd of seeds",
    "seconds",
    "parameters",
    "top ten's ratings",
]
INTRODUCTION = (
    "Every system on one protocol: of each user the last item is held out and ranked against all "
    "that the user has not seen. The one before it chose the settings, by NDCG@10, and then was "
    "trained on as well. `d2l-recsys leaderboard` makes this page, here with {}."
)
CONTROL = (
    "The control: the items of all training ratings were dealt out anew (`--shuffled`), so that "
    "who rated how much and how often each item was rated are as they were, and who rated what is "
    "chance. The held-out items are the real ones. Settings are those of the leaderboard, here "
    "with {}. What leads popularity by more than its uncertainty knows more of the held-out items "
    "than it should: by chance, one system in forty would."
)
READ = (
    "**NDCG@10** orders the table. Its 95 % interval, and that of the lead over popularity, are "
    "bootstrapped over users (9,999 resamples; of a lead, both systems' users are the same). A "
    "lead in bold is larger than its uncertainty; = marks what cannot be told apart from the "
    "first. **Sd of seeds** is the standard deviation of NDCG@10 over seeds, empty where nothing "
    "is drawn; **seconds** are of training alone, on one core; **top ten's ratings** is how many "
    "training ratings an item has that stands among a user's first ten, the median: it tells who "
    "recommends what hardly anyone has seen. \\* learns from the ratings how a movie is rated, not "
    "from all pairs which ones are seen."
)

SETTINGS = (
    "What was tried was tried on the validation items, with seed 0 and all values of one option "
    "with all of another; the best of the epochs counts where a number is given up to which they "
    "go. Whatever is not named has the default of the system's `main`, given by its paper or set "
    "beforehand. Minutes are those of the whole runs of the search."
)


def cells(standings: Sequence[Standing]) -> List[List[str]]:
    """The rows of the table, as text."""
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
    """For the terminal."""
    rows = [[cell.replace("**", "") for cell in row] for row in cells(standings)]
    return aligned(HEADERS, rows, left=1)


def search_table(trials: Mapping[str, Sequence[Trial]]) -> str:
    """For the terminal: of each entry the best trials, and how many there were."""
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
    """The page of the leaderboard, or of its control; its figure is beside it."""
    source = f"{dataset['name']} from {dataset['source']}, SHA-256 {dataset['sha256'][:16]}"
    made_with = [f"{name} {value}" for name, value in environment.items() if name != "devices"]
    made_with += [f"data: {source}", f"{wall / 60:.0f} minutes of one core for all runs"]
    parts = [
        "# Leaderboard" + ": the control" * shuffled,
        (CONTROL if shuffled else INTRODUCTION).format(
            count(seeds, "seed") + " of each system that draws"
        ),
        f"![quality against seconds]({FIGURE})",
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
    headers = ["", "settings", "tried, all with all", "trials", "validation NDCG@10", "minutes"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
