"""The options that sections share: the help and the allowed values of each; needs no MXNet.

The help and the range of a number are in ``SETTINGS``. The words and the help of a choice are in
its enumeration.
"""

import difflib
import enum
from typing import Dict, Iterable, NamedTuple, Optional, Sequence, Type, TypeVar, Union

from d2l_recsys.errors import SettingError

# The upper limits of the ranges keep out values that MXNet cannot handle. Learning rates are
# float32, seeds have 32 bits, a table has fewer than 2^31 numbers, and every CPU context needs
# threads.
FLOAT32_MAX = 3.4e38
INT32_MAX = 2**31 - 1


class Setting(NamedTuple):
    """The help of an option and, for a number, its smallest and its largest value."""

    help: str
    low: Optional[float] = None
    high: Optional[float] = None


SETTINGS = {
    "L": Setting("Items in a sequence, L; the chapter's text says 5, its code has 3.", 1, 100),
    "alpha": Setting(
        "ALS (implicit): extra weight of the rated items. Ordered EASE: weight of the next item.",
        0,
        10**6,
    ),
    "anneal_epochs": Setting(
        "Epochs during which the weight of the KL term rises from 0.", 0, 10**6
    ),
    "batch_size": Setting("Examples in a batch.", 1, INT32_MAX),
    "beta": Setting("Final weight of the KL term.", 0, 10**3),
    "corruption": Setting("Share of each row that is left out in training, q.", 0, 0.999),
    "cutoff": Setting("Also report hit rate, NDCG and MRR at these ranks.", 1, INT32_MAX),
    "d": Setting("Horizontal filters of each height; 0 for none.", 0, 10**5),
    "d_prime": Setting("Vertical filters, d'; 0 for none.", 0, 10**5),
    "damping": Setting(
        "Average ratings to add for each user and item; more make biases smaller.", 0, 10**6
    ),
    "data_dir": Setting("Folder of the data. Default: $D2L_RECSYS_DATA, or else data/."),
    "decay": Setting("In training, an item counts this many times as much as its successor.", 0, 1),
    "device": Setting("Where to compute. Default: GPUs if there are any, or else CPUs."),
    "dropout": Setting("Share of numbers that dropout sets to 0 in training.", 0, 0.999),
    "edge_dropout": Setting("Share of the graph's edges left out in training.", 0, 0.999),
    "eval_step": Setting("Number of epochs from one evaluation to the next.", 1, 10**6),
    "force": Setting("Replace the result of another run in the folder for the results."),
    "idle": Setting("A session ends where a user pauses for more minutes than this.", 1, 10**7),
    "item": Setting("Id (as in u.data) of the item whose rating is predicted.", 1, INT32_MAX),
    "jobs": Setting("Number of runs at the same time.", 1, 64),
    "l2": Setting("Strength of the regularization of the weights, lambda.", 1e-6, 1e12),
    "lr": Setting("Learning rate of the optimizer.", 0, FLOAT32_MAX),
    "margin": Setting(
        "Lead that an item needs over a negative item, for the losses hinge and hardest.", 0, 10**6
    ),
    "max_length": Setting("Largest number of items that the model reads at once, n.", 1, 1000),
    "min_threshold": Setting(
        "How often a value must occur to become its own feature.", 1, INT32_MAX
    ),
    "mlp_dims": Setting("Units of each hidden layer of DeepFM.", 1, 10**5),
    "num_blocks": Setting("Number of self-attention blocks.", 1, 64),
    "num_devices": Setting("Number of devices; each batch is split across them.", 1, 64),
    "num_epochs": Setting("Number of passes over the training set.", 1, 10**6),
    "num_factors": Setting("Number of latent factors, k.", 1, 10**5),
    "num_feat": Setting("Number of fields in a row of clicks.", 1, 10**5),
    "num_heads": Setting("Attention heads of a block; must divide --num-factors.", 1, 64),
    "num_hidden": Setting("Units of each hidden layer.", 1, 10**5),
    "num_layers": Setting("Number of graph layers, each a step along the edges.", 0, 64),
    "num_negatives": Setting(
        "Negative items of each example, for the losses softmax and hardest.", 1, 1000
    ),
    "num_neighbors": Setting("Number of neighbors kept for each item.", 1, 10**6),
    "nums_hiddens": Setting("Units of each layer of the MLP.", 1, 10**5),
    "out": Setting(
        "Folder for the results. Default: results/NAME/seed-S, or results/NAME without a seed; "
        "with other settings than the defaults, results/NAME/lr=0.001/seed-S."
    ),
    "quiet": Setting("Print no result lines and no progress."),
    "recency": Setting(
        "For the scores, an item counts this many times as much as its successor.", 0, 1
    ),
    "reg": Setting("Strength of the regularization, lambda.", 0, 1e12),
    "results": Setting("Folder of all results."),
    "resume": Setting("Resume from the checkpoint in the folder for the results."),
    "seed": Setting("Seed of all random numbers.", 0, INT32_MAX),
    "seeds": Setting("Number of runs of each variant, with seeds 0, 1, ...", 1, 10**4),
    "shrink": Setting("How strongly similarities that come from few users are reduced.", 0, 10**6),
    "strict": Setting("Stop at a row that is not valid, instead of leaving it out."),
    "user": Setting("Id (as in u.data) of the user whose rating is predicted.", 1, INT32_MAX),
    "wd": Setting("Weight decay, lambda.", 0, FLOAT32_MAX),
    "window": Setting("Number of items in a state, w.", 1, 10**4),
}


# Options that have an effect only with some values of another option.
ONLY_WITH = {
    "margin": ("loss", ("hinge", "hardest")),
    "num_negatives": ("loss", ("softmax", "hardest")),
}


class Choice(str, enum.Enum):
    """A setting that is one of several words; its docstring's first line is the option's help."""

    def __repr__(self) -> str:
        return repr(self.value)

    def __str__(self) -> str:
        return self.value


class Protocol(Choice):
    """Show numbers of the code (printed) or the equations (defined); FM and DeepFM train so, too.

    The code and the equations are those of the chapter. FM and DeepFM pass the loss the scores,
    which are probabilities (printed), or the logits (defined). All other sections train in the same
    way for both.
    """

    printed = "printed"
    defined = "defined"


class Split(Choice):
    """Held out: each user's last rating, a random tenth, or each user's second-to-last rating.

    ``validation`` holds out the second-to-last rating, and leaves the last rating out of
    everything. So settings that are chosen on it have not seen the test ratings.
    """

    seq_aware = "seq-aware"
    random = "random"
    validation = "validation"


class TimeSplit(Choice):
    """Held out of each user: the last item, or the last but one (to choose settings)."""

    seq_aware = "seq-aware"
    validation = "validation"


class Feedback(Choice):
    """Learn from the ratings (explicit), or only from which items were rated (implicit)."""

    explicit = "explicit"
    implicit = "implicit"


class RankingLoss(Choice):
    """Loss of a seen and an unseen item (bpr, hinge, log), or of several (softmax, hardest).

    ``bpr`` and ``hinge`` compare a seen item with one negative item; ``log`` judges each of the two
    alone. ``softmax`` compares the seen item with several negative items at once. ``hardest``
    compares it with the one of them that has the highest score.
    """

    bpr = "bpr"
    hinge = "hinge"
    log = "log"
    softmax = "softmax"
    hardest = "hardest"


class SessionLoss(Choice):
    """Loss: against the other targets of the batch (top1, bpr), or all items (cross_entropy)."""

    top1 = "top1"
    bpr = "bpr"
    cross_entropy = "cross_entropy"


class Optimizer(Choice):
    """Optimizer. The default of --lr is meant for Adam; NAG has the momentum 0.9."""

    adam = "adam"
    sgd = "sgd"
    nag = "nag"
    adagrad = "adagrad"
    rmsprop = "rmsprop"


class Activation(Choice):
    """Activation of a layer."""

    identity = "identity"
    sigmoid = "sigmoid"
    tanh = "tanh"
    relu = "relu"


class Device(Choice):
    """Where to compute. Default: GPUs if there are any, or else CPUs."""

    cpu = "cpu"
    gpu = "gpu"


class ClickDataset(Choice):
    """Click data set. If the book's cannot be fetched, MovieLens-100K takes its place."""

    book = "book"
    movielens = "movielens"
    criteo = "criteo"
    avazu = "avazu"


class Scores(NamedTuple):
    """The numbers of one evaluation by name: of the chapter's code, and of its equations."""

    printed: Dict[str, float]
    defined: Dict[str, float]

    def of(self, protocol: str) -> Dict[str, float]:
        """The numbers of ``protocol``, "printed" or "defined"."""
        return self.printed if protocol == Protocol.printed else self.defined


Chosen = TypeVar("Chosen", bound=enum.Enum)


def option(name: str) -> str:
    """The setting ``name`` as the user types it: ``num_epochs`` is ``--num-epochs``."""
    return "--" + name.replace("_", "-")


def as_choice(choices: Type[Chosen], name: str, value: object) -> Chosen:
    """``value`` as a member of ``choices``. Raises SettingError if it is not a member."""
    try:
        return choices(value)
    except ValueError:
        allowed = ", ".join(member.value for member in choices)
        raise SettingError(f"{option(name)} is {value!r}; choose one of: {allowed}") from None


def has_range(name: str) -> bool:
    """Whether the setting ``name`` has a range: it is a number or a list of numbers."""
    return name in SETTINGS and SETTINGS[name].low is not None


def check_settings(**settings: Union[float, Sequence[float]]) -> None:
    """Raise SettingError for the first setting outside its range in ``SETTINGS``.

    NaN is outside every range. Each value of a list or tuple is checked. Raises KeyError for a name
    that is not in ``SETTINGS``, and TypeError for a setting without a range (see ``has_range``).
    """
    for name, values in settings.items():
        _, low, high = SETTINGS[name]
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if not low <= value <= high:
                raise SettingError(
                    f"{option(name)} is {value}; it must lie between {low} and {high}"
                )


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown ``name``: the most similar of ``names``, and all."""
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"choose from: {', '.join(names)}"
