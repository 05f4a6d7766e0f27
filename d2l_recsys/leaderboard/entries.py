"""The entries of the leaderboard: each system with the settings that the search has chosen."""

import itertools
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence

from d2l_recsys.errors import SettingError
from d2l_recsys.sections.registry import SYSTEMS, Kind, Section
from d2l_recsys.settings import nearest

POPULARITY = "popularity"


class Entry(NamedTuple):
    """A system on the leaderboard.

    ``options`` are the options of the system's ``main`` that differ from their defaults. An option
    distinguishes the entry from others, or was chosen by the search. ``space`` has the values
    of each option in the search, which tries all combinations. If ``num_epochs`` has only one
    value, each trial runs for that many epochs, and its best epoch counts. ``on_ratings`` is True
    if the system learns how a movie is rated, not whether it is seen.
    """

    name: str
    section: Section
    options: Mapping[str, Any]
    space: Mapping[str, Sequence[Any]]
    on_ratings: bool = False

    @property
    def chooses_epoch(self) -> bool:
        """Whether the search takes the best number of epochs from the history of each trial."""
        return len(self.space.get("num_epochs", ())) == 1

    def trials(self) -> Iterator[Dict[str, Any]]:
        """Yield the options of each trial of the search, without the options in ``identity``."""
        names = list(self.space)
        for values in itertools.product(*self.space.values()):
            yield dict(zip(names, values))

    @property
    def titled(self) -> str:
        """The system's title, and the entry's own options."""
        own = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return self.section.title + (f", with {own}" if own else "")

    @property
    def identity(self) -> Dict[str, Any]:
        """The options that define this entry; the search does not change them."""
        return {name: v for name, v in self.options.items() if name not in self.space}


def _entry(
    name: str, system: str = "", on_ratings: bool = False, space: Any = (), **options: Any
) -> Entry:
    return Entry(name, SYSTEMS[system or name], options, dict(space), on_ratings)


# Search spaces of systems that learn from pairs of a seen and an unseen item.
PAIRS = {"num_epochs": (30,), "loss": ("bpr", "log"), "lr": (0.002, 0.01)}
FEWER = {"num_epochs": (30,), "loss": ("bpr", "log"), "num_factors": (10, 32)}

ENTRIES: Dict[str, Entry] = {
    entry.name: entry
    for entry in [
        _entry("popularity"),
        _entry("bias", on_ratings=True, space={"damping": (0, 5, 25)}),
        _entry("itemknn", space={"num_neighbors": (20, 50, 100, 200), "shrink": (0, 10, 100)}),
        _entry("ease", space={"l2": (50, 100, 200, 500, 1000, 2000)}),
        _entry(
            "ordered_ease",
            space={
                "l2": (100, 300),
                "window": (10, 50),
                "alpha": (0, 1, 4),
                "recency": (0.8, 0.9, 0.95),
            },
        ),
        _entry("svd", on_ratings=True),
        _entry(
            "svd-zero",
            "svd",
            space={"num_factors": (10, 20, 30, 50, 100)},
            fill="zero",
            num_factors=20,
        ),
        _entry(
            "als-explicit",
            "als",
            on_ratings=True,
            space={"num_factors": (8, 32), "reg": (0.02, 0.05, 0.1, 0.2)},
            feedback="explicit",
            num_factors=32,
            reg=0.1,
        ),
        _entry(
            "als",
            space={"num_factors": (16, 64), "alpha": (1, 10, 40), "reg": (1, 10, 50)},
        ),
        _entry("mf", on_ratings=True, space={"num_epochs": (5, 20), "wd": (1e-5, 1e-3)}, wd=1e-3),
        _entry(
            "autorec",
            on_ratings=True,
            space={"num_epochs": (10, 25), "variant": ("item", "user")},
            split="seq-aware",
        ),
        _entry("neumf_ratings", on_ratings=True),
        _entry("gmf", space={**PAIRS, "num_factors": (16, 64)}),
        _entry("mlp", space={**PAIRS, "num_factors": (16, 64)}),
        _entry("neumf", space=FEWER, num_epochs=18, loss="log", num_factors=32),
        _entry("fm-ranking", "fm_ranking", space=FEWER),
        _entry("deepfm-ranking", "fm_ranking", space=FEWER, model="deepfm", num_epochs=29),
        _entry("autoencoder"),
        _entry(
            "cdae",
            space={
                "num_epochs": (60,),
                "loss": ("log", "square"),
                "num_hidden": (50, 200),
                "corruption": (0.2, 0.5),
            },
        ),
        _entry(
            "multvae",
            space={"num_epochs": (120,), "beta": (0.05, 0.2, 1)},
        ),
        _entry("ngcf", space={"num_epochs": (30,), "num_layers": (1, 2), "lr": (0.01, 0.03)}),
        _entry(
            "lightgcn",
            space={"num_epochs": (50,), "num_layers": (1, 2, 3)},
        ),
        _entry(
            "caser",
            space={
                "num_epochs": (15,),
                "L": (3, 5),
                "lr": (0.01, 0.04),
            },
            num_epochs=14,
            L=5,
        ),
        _entry(
            "sasrec",
            space={"num_epochs": (30,), "loss": ("bce", "softmax"), "dropout": (0.2, 0.5)},
        ),
    ]
}


# The names of the entries, from the highest to the lowest on the leaderboard in ``docs``.
STANDING = (
    "ordered_ease",
    "sasrec",
    "caser",
    "cdae",
    "ease",
    "als",
    "multvae",
    "lightgcn",
    "autoencoder",
    "svd-zero",
    "deepfm-ranking",
    "gmf",
    "fm-ranking",
    "neumf",
    "ngcf",
    "itemknn",
    "mlp",
    "popularity",
    "mf",
    "svd",
    "autorec",
    "bias",
    "neumf_ratings",
    "als-explicit",
)


def as_entries(names: str) -> List[Entry]:
    """Return the entries with these ``names``, separated by commas, or all for an empty string.

    The result always includes popularity, because every entry is compared with it. Raises
    SettingError if there is no entry with one of the names.
    """
    if not names.strip():
        return list(ENTRIES.values())
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in ENTRIES:
            raise SettingError(f"--only has {name!r}; {nearest(name, ENTRIES)}")
    return [entry for name, entry in ENTRIES.items() if name in {POPULARITY, *chosen}]


def predicts_ratings(section: Section, settings: Mapping[str, Any]) -> bool:
    """Whether a model of ``section`` with these ``settings`` predicts ratings, not mere scores.

    The entry of the leaderboard that is most like the model decides.
    """
    if section.kind is Kind.ratings:
        return True
    alike = [
        entry
        for entry in ENTRIES.values()
        if entry.section == section
        and all(settings.get(name) == value for name, value in entry.identity.items())
    ]
    return max(alike, key=lambda entry: len(entry.identity)).on_ratings if alike else False
