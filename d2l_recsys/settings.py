"""The options that sections share: what each means, which values it takes; no MXNet.

A number's help and range stand in ``SETTINGS``, once. The words and the help of a choice are those
of its enumeration.
"""

import enum
from typing import Dict, NamedTuple, Optional, Sequence, Type, TypeVar, Union

from d2l_recsys.errors import SettingError

# The largest values keep out what MXNet cannot hold: float32 rates, 32-bit seeds, tables of 2^31
# numbers, and more CPU contexts than it can start threads for.
FLOAT32_MAX = 3.4e38
INT32_MAX = 2**31 - 1


class Setting(NamedTuple):
    """What an option means; of a number also the smallest and the largest value it takes."""

    help: str
    low: Optional[float] = None
    high: Optional[float] = None


SETTINGS = {
    "L": Setting("Items in a sequence; the chapter's text says 5, its numbers 3.", 1, 100),
    "alpha": Setting(
        "ALS: how much surer what was rated is. Ordered EASE: the weight of what comes next.",
        0,
        10**6,
    ),
    "anneal_epochs": Setting("Epochs in which the KL term's weight rises from 0.", 0, 10**6),
    "batch_size": Setting("Examples in a batch.", 1, INT32_MAX),
    "beta": Setting("Weight of the KL term in the end.", 0, 10**3),
    "corruption": Setting("Share of a row that is missing in training, q.", 0, 0.999),
    "cutoff": Setting(
        "Also cut Hit, NDCG and MRR off at this rank; may be repeated.", 1, INT32_MAX
    ),
    "d": Setting("Horizontal filters of each height; 0 for none.", 0, 10**5),
    "d_prime": Setting("Vertical filters, d'; 0 for none.", 0, 10**5),
    "damping": Setting("How many expected ratings each user and item is given besides.", 0, 10**6),
    "data_dir": Setting("Folder of the data. Default: $D2L_RECSYS_DATA, else data/."),
    "decay": Setting("Weight of an item in a state, relative to the next one.", 0, 1),
    "device": Setting("Where to compute. Default: on GPUs, if there are any, else CPUs."),
    "dropout": Setting("Share of what a layer gives that is dropped in training.", 0, 0.999),
    "edge_dropout": Setting("Share of edges dropped in training.", 0, 0.999),
    "eval_step": Setting("Evaluate after every so many epochs.", 1, 10**6),
    "item": Setting("Item, as in u.data, whose rating to predict.", 1, INT32_MAX),
    "jobs": Setting("Runs at once.", 1, 64),
    "l2": Setting("Regularization of the weights, lambda.", 1e-6, 1e12),
    "lr": Setting("Learning rate of Adam.", 0, FLOAT32_MAX),
    "max_length": Setting("Items that are read at once, n.", 1, 1000),
    "min_threshold": Setting(
        "How often a value must occur to be a feature of its own.", 1, INT32_MAX
    ),
    "mlp_dims": Setting("Units of a hidden layer of DeepFM; repeated, a layer each.", 1, 10**5),
    "num_blocks": Setting("Blocks of self-attention.", 1, 64),
    "num_devices": Setting("Devices to spread each batch over.", 1, 64),
    "num_epochs": Setting("Passes over the training set.", 1, 10**6),
    "num_factors": Setting("Length of the latent factors, k.", 1, 10**5),
    "num_feat": Setting("Fields of a row of clicks.", 1, 10**5),
    "num_heads": Setting("Heads of a block; divides the factors.", 1, 64),
    "num_hidden": Setting("Units of a hidden layer.", 1, 10**5),
    "num_layers": Setting("Layers of messages: steps along the graph.", 0, 64),
    "num_neighbors": Setting("Neighbours that each item keeps.", 1, 10**6),
    "nums_hiddens": Setting("Units of a layer of the MLP; once for each layer.", 1, 1000),
    "out": Setting("Folder for the results. Default: results/NAME/seed-S."),
    "quiet": Setting("No result lines, no progress."),
    "recency": Setting("The same as --decay, in the history that is ranked by.", 0, 1),
    "reg": Setting("Regularization, lambda.", 0, 1e12),
    "results": Setting("Folder of all results."),
    "resume": Setting("Go on from the checkpoint in the folder for the results."),
    "seed": Setting("Seed of everything random.", 0, INT32_MAX),
    "seeds": Setting("Runs of each: seeds 0, 1, ...", 1, 10**4),
    "shrink": Setting("How far similarities that rest on few users are shrunk.", 0, 10**6),
    "strict": Setting("Refuse rows that are not clicks."),
    "user": Setting("User, as in u.data, whose rating to predict.", 1, INT32_MAX),
    "wd": Setting("Weight decay, lambda.", 0, FLOAT32_MAX),
    "window": Setting("Items in a state, w.", 1, 10**4),
}


class Choice(str, enum.Enum):
    """A setting that is one of some words; the first line of its docstring is the option's help."""

    def __repr__(self) -> str:
        return repr(self.value)

    def __str__(self) -> str:
        return self.value


class Protocol(Choice):
    """Whose numbers to show: the chapter's code (printed) or its equations (defined).

    For clicks it also says what the loss is given: the probability (printed) or its logit.
    """

    printed = "printed"
    defined = "defined"


class Split(Choice):
    """Held out of each user: the last rating, or the last but one; or a random tenth of all.

    ``validation`` leaves the last rating of each user out altogether: what is chosen by it has not
    seen the test.
    """

    seq_aware = "seq-aware"
    random = "random"
    validation = "validation"


class TimeSplit(Choice):
    """Held out of each user: the last item; or the one before, to choose settings by."""

    seq_aware = "seq-aware"
    validation = "validation"


class Feedback(Choice):
    """Learn from ratings (explicit), or only from what was rated (implicit)."""

    explicit = "explicit"
    implicit = "implicit"


class RankingLoss(Choice):
    """The loss: of a pair of a seen and an unseen item, or of the log odds of each (log)."""

    bpr = "bpr"
    hinge = "hinge"
    log = "log"


class Device(Choice):
    """Where to compute. Default: on GPUs, if there are any, else CPUs."""

    cpu = "cpu"
    gpu = "gpu"


class ClickDataset(Choice):
    """Whose clicks. Where the book's cannot be had, MovieLens-100K takes their place."""

    book = "book"
    movielens = "movielens"
    criteo = "criteo"
    avazu = "avazu"


class Scores(NamedTuple):
    """One evaluation's numbers by name: as the chapter's code computes them, and as defined."""

    printed: Dict[str, float]
    defined: Dict[str, float]

    def of(self, protocol: str) -> Dict[str, float]:
        """Those of one of the two protocols."""
        return self.printed if protocol == Protocol.printed else self.defined


Chosen = TypeVar("Chosen", bound=enum.Enum)


def option(name: str) -> str:
    """The setting ``name`` as a user types it: ``num_epochs`` is ``--num-epochs``."""
    return "--" + name.replace("_", "-")


def as_choice(choices: Type[Chosen], name: str, value: object) -> Chosen:
    """``value`` as a member of ``choices``; SettingError naming the setting where it is none."""
    try:
        return choices(value)
    except ValueError:
        allowed = ", ".join(member.value for member in choices)
        raise SettingError(f"{option(name)} is {value!r}; choose one of: {allowed}") from None


def has_range(name: str) -> bool:
    """Whether the setting ``name`` is a number, or a list of numbers, with a range."""
    return name in SETTINGS and SETTINGS[name].low is not None


def check_settings(**settings: Union[float, Sequence[float]]) -> None:
    """Raise SettingError for the first setting outside its range in ``SETTINGS``, as NaN is.

    Of a sequence, each value is checked. Raises KeyError for a setting that has no range: a new one
    needs a line there.
    """
    for name, values in settings.items():
        _, low, high = SETTINGS[name]
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if not low <= value <= high:
                raise SettingError(
                    f"{option(name)} is {value}; it must lie between {low} and {high}"
                )
