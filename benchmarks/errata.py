"""How large the effect of each erratum is: the figures of ``ERRATA.md``.

    python -m benchmarks.errata [--data-dir DIR] [--clicks-dir DIR] [--only R1,K2] [--seeds 3]

Each entry of ``ERRATA.md`` is a function below, and what it measures goes to ``docs/errata.json``.
What the reference run holds (``docs/reference/reference.json``) is taken from there; the rest is
trained here, with the chapter's settings, on two devices as in the book unless an entry says
otherwise. The chapter's own functions are d2l 1.0.3's.

``--only`` measures some entries and keeps the others. Rows of the book's clicks (``train.csv`` and
``test.csv`` in ``--clicks-dir``) add to the entries on clicks; without them, what was measured on
such rows before stays as it is.
"""

import contextlib
import functools
import importlib
import io
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union
from unittest import mock

import numpy
import pandas as pd
from d2l import mxnet as d2l
from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from benchmarks import tie_rule
from benchmarks.against_d2l import GENERATED, GENERATED_BATCH_SIZE, GENERATED_FIELDS, ClicksDir
from benchmarks.generated_clicks import GeneratedClicks
from benchmarks.printed_accuracy import first_certain
from chapters import autorec, caser, fm, neumf
from d2l_recsys.backend import autograd, gluon, init, mx, nn, np, npx
from d2l_recsys.batches import BatchLoader
from d2l_recsys.command_line import DataDir, run
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import COLUMNS, RankingData, load_ranking_ml100k, read_data_ml100k
from d2l_recsys.devices import pick_devices, share_bounds, try_all_gpus
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.evaluation import evaluate_clicks
from d2l_recsys.history import History
from d2l_recsys.losses import BPRLoss
from d2l_recsys.metrics import Scores, rating_scores
from d2l_recsys.movielens_clicks import MOVIELENS, movielens_clicks
from d2l_recsys.registry import VARIANTS
from d2l_recsys.results import as_json, environment, reported_numbers, write_files
from d2l_recsys.sampling import NegativeSampler, pairwise_loader
from d2l_recsys.seeds import seed_streams
from d2l_recsys.summary import spread

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = ROOT / "ERRATA.md"
FIGURES = ROOT / "docs" / "errata.json"
REFERENCE = ROOT / "docs" / "reference" / "reference.json"

Number = Union[int, float, str]
Figures = Dict[str, Number]

# The chapter's numbers come from a machine with two GPUs.
BOOKS_DEVICES = 2
# Figures on rows of the book's clicks, which need --clicks-dir, begin so.
BOOK = "book's rows: "
BOOK_SEEDS = 5
# The book's rows of clicks, and its batches of them.
BOOK_TEST_ROWS, BOOK_TRAIN_ROWS, BOOK_BATCH_SIZE = 3000, 15000, 2048
# The chapter's training loop for clicks needs this many batches in an epoch.
BATCHES_NEEDED = 5
TIE_RULE_SPLITS = 10

RANKING_METRICS = {"Hit@50": "test_hit_rate", "AUC": "test_auc"}
ON_CLICKS = ("fm", "deepfm")
TRAINERS = {
    "mf": "train_recsys_rating",
    "autorec": "train_recsys_rating",
    "neumf": "train_ranking",
    "caser": "train_ranking",
    "fm": "train_ctr",
    "deepfm": "train_ctr",
}


class Trainings(NamedTuple):
    """Trainings that differ in their seed alone.

    ``options`` are those of the ``section`` beside the chapter's. ``seeds`` says how many there
    are; None stands for as many as the command asks for.
    """

    section: str
    options: Mapping[str, Any]
    num_devices: int = BOOKS_DEVICES
    seeds: Optional[int] = None


def _beside_the_reference() -> Dict[str, Trainings]:
    """What is trained here although no reference run holds it."""
    rows_of_the_book = {"dataset": "book", "num_devices": 1, "seeds": BOOK_SEEDS}
    return {
        "mf-one-device": _trainings("mf", num_devices=1),
        "neumf-one-device": _trainings("neumf", num_devices=1),
        "neumf-sigmoid-wd-0": _trainings("neumf", head="sigmoid", wd=0.0),
        "caser-one-device": _trainings("caser", num_devices=1),
        "caser-d-0": _trainings("caser", d=0),
        "caser-d-prime-0": _trainings("caser", d_prime=0),
        "fm-lr-0.01": _trainings("fm", lr=0.01),
        "book-fm": _trainings("fm", **rows_of_the_book),
        "book-fm-defined": _trainings("fm", protocol="defined", **rows_of_the_book),
        "book-fm-lr-0.01": _trainings("fm", lr=0.01, **rows_of_the_book),
        "book-deepfm": _trainings("deepfm", **rows_of_the_book),
        "book-deepfm-defined": _trainings("deepfm", protocol="defined", **rows_of_the_book),
    }


def _trainings(
    section: str, num_devices: int = BOOKS_DEVICES, seeds: Optional[int] = None, **options: Any
) -> Trainings:
    if section in ON_CLICKS:
        options = {"dataset": "movielens", **options}
    return Trainings(section, options, num_devices, seeds)


def all_trainings() -> Dict[str, Trainings]:
    """The variants of the registry under their names, and those that only this script trains."""
    registered = {v.name: _trainings(v.section.name, **v.options) for v in VARIANTS.values()}
    return {**registered, **_beside_the_reference()}


# Figures: how they are made, kept and shown


# Decimals of the figures, by name, that do not have three.
DIGITS = {
    "log odds from which a float32 sigmoid is 1": 4,
    "NeuMF: AUC by eq. 15.6.5 to the letter, lower by": 4,
    "one net, printed on one device": 4,
    "one net, printed on two": 4,
    "one net, defined": 4,
    "d2l's loss is infinite from a distance of": 2,
    "our loss there": 2,
    "our gradient there": 0,
    "smallest distance in training, NeuMF": 1,
    "smallest distance in training, Caser": 1,
    "sum head: gradient of the loss over the decay's": 2,
    "linear head: gradient of the loss over the decay's": 2,
    "sigmoid head: gradient of the loss over the decay's": 2,
    "training ratings of an item that is ranked": 1,
    "training ratings of another": 1,
    "share of draws, %": 2,
    "factor after training": 2,
    "printed over true examples/sec": 1,
    "last point of an epoch's curve, in epochs": 2,
    "the timer's sum over the time that passed, NeuMF": 1,
    "the timer's sum over the time that passed, Caser": 1,
    "NeuMF: reported rate": 1,
    "Caser: reported rate": 1,
}


def mean_sd(name: str, values: Sequence[float]) -> Figures:
    """The mean of ``values`` as ``name``, their standard deviation (n - 1) as ``name sd``."""
    of_values = spread(values)
    return {name: of_values.mean, f"{name} sd": of_values.sd}


def differences(first: Sequence[float], second: Sequence[float]) -> List[float]:
    """``first - second`` seed by seed, for the seeds that both have (both start with seed 0)."""
    return [float(a) - float(b) for a, b in zip(first, second)]


def percent(part: float, whole: float) -> float:
    """``part`` of ``whole`` in percent."""
    return 100 * part / whole


def tidy(figures: Figures) -> Figures:
    """The figures as they are kept: Python's own numbers, of six digits where they are fractions.

    What is not finite becomes a string, which JSON has.
    """
    kept: Figures = {}
    for name, value in figures.items():
        if isinstance(value, (float, numpy.floating)):
            value = float(f"{value:.6g}") if math.isfinite(value) else str(value)
        elif isinstance(value, numpy.integer):
            value = int(value)
        kept[name] = value
    return kept


def text_of(name: str, value: Number) -> str:
    """One figure as ``ERRATA.md`` has it.

    Whole numbers with commas, others with three decimals or what ``DIGITS`` says; what rounds to 0
    but is not 0 with one digit and an exponent. A name that ends in ``%`` adds that sign.
    """
    if isinstance(value, str):
        return value
    is_percent = name.endswith("%")
    digits = DIGITS.get(name, 1 if is_percent else 3)
    if isinstance(value, int):
        text = f"{value:,}"
    elif value and abs(value) < 0.5 * 10**-digits:
        text = f"{value:.0e}"
    else:
        text = f"{value:,.{digits}f}"
    return text + " %" * is_percent


def texts(figures: Figures) -> Dict[str, str]:
    """The figures of an entry as ``ERRATA.md`` has them; a mean together with its deviation."""
    shown = {}
    for name, value in figures.items():
        if name.endswith(" sd"):
            continue
        if f"{name} sd" in figures:
            digits = DIGITS.get(name, 3)
            mean, deviation = (f"{figures[n]:.{digits}f}" for n in (name, f"{name} sd"))
            # What rounds to 0 has no sign.
            shown[name] = f"{mean.lstrip('-') if float(mean) == 0 else mean} ± {deviation}"
        else:
            shown[name] = text_of(name, value)
    return shown


def merged(before: Figures, measured: Figures) -> Figures:
    """``measured``; where it has nothing on rows of the book, what ``before`` had on them as well.

    Figures on the book's rows are those whose names begin with ``BOOK``.
    """
    if any(name.startswith(BOOK) for name in measured):
        return dict(measured)
    return {**measured, **{n: value for n, value in before.items() if n.startswith(BOOK)}}


def entries(markdown: str) -> Dict[str, str]:
    """The text of each entry of ``ERRATA.md`` by its number, white space made one blank.

    An entry begins with a heading of its number, a dot in the middle and its title, and ends at the
    next heading.
    """
    parts = re.split(r"^#+ (?:([A-Z]\d+) · )?", markdown, flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2])
    return {number: " ".join(text.split()) for number, text in found if number}


def unsaid(entry: str, figures: Figures) -> List[str]:
    """The names of the figures whose text (``texts``) does not stand in the text of an entry.

    A number does not stand in a longer one: 0.75 not in 10.75 or 0.753.
    """
    return [
        name
        for name, text in texts(figures).items()
        if not re.search(rf"(?<![\w.,-]){re.escape(text)}(?!\w|[.,]\d)", entry)
    ]


# Effects that follow from a rule


def rmse_on(
    labels: numpy.ndarray, predictions: numpy.ndarray, batch_size: int, devices: int
) -> Scores:
    """Printed and defined RMSE (``rating_scores``) of a test set in batches spread over devices.

    ``labels`` and ``predictions`` are one-dimensional, in the order of the test set.
    """
    batches = []
    for start in range(0, len(labels), batch_size):
        bounds = share_bounds(start, min(start + batch_size, len(labels)), devices)
        batches.append([(labels[a:b], predictions[a:b]) for a, b in bounds])
    return rating_scores(batches)


def timer_sum(
    seconds_train: Sequence[float], seconds_evaluate: Sequence[float], batches: float
) -> float:
    """What d2l's Timer adds up in ``train_ranking``, which starts it once and stops it every batch.

    Each of ``batches`` equally long batches of an epoch then counts the time since the start of
    the run. Both arguments are in seconds, one value an epoch; evaluation follows training.
    """
    started = total = 0.0
    for train, evaluate in zip(seconds_train, seconds_evaluate):
        total += batches * started + train * (batches + 1) / 2
        started += train + evaluate
    return total


def times_counted(batches: int) -> float:
    """How often that timer counts the time of a run of so many equally long batches."""
    return (batches + 1) / 2


def rows_scored(rows: int, batch_size: int, evaluations: int) -> List[int]:
    """Rows that a test loader with ``last_batch="rollover"`` yields in each evaluation."""
    loader = BatchLoader(numpy.arange(rows), batch_size=batch_size, last_batch="rollover")
    return [sum(len(batch) for batch in loader) for _ in range(evaluations)]


def curve_ends(rows: int, batch_size: int, num_epochs: int) -> List[float]:
    """Where ``train_ch13`` puts the last point of each epoch's curve, in epochs from its start.

    It takes the first epoch's number of batches for that of all; with rollover, some have one more.
    """
    scored = rows_scored(rows, batch_size, num_epochs)
    return [count // batch_size / (rows // batch_size) for count in scored]


def loss_floor(click_share: float) -> float:
    """The least mean loss of scores in (0, 1) that go through the sigmoid once more.

    A click costs at least ln(1 + 1/e), any other row at least ln 2; ``click_share`` is in [0, 1].
    """
    return click_share * math.log1p(math.exp(-1)) + (1 - click_share) * math.log(2)


def different_ids(first: Dict[str, Dict[str, int]], second: Dict[str, Dict[str, int]]) -> float:
    """The share of values, over all fields, that two mappers give different ids."""
    same = [first[field][value] == i for field, ids in second.items() for value, i in ids.items()]
    return 1 - sum(same) / len(same)


def tied_users(scores: numpy.ndarray, unobserved: numpy.ndarray, held_out: numpy.ndarray) -> int:
    """For how many users (rows) another unobserved item scores just as the held-out one.

    ``scores`` is (users, items), ``unobserved`` says which of them count, ``held_out`` is an item a
    user.
    """
    own = scores[numpy.arange(len(scores)), held_out][:, None]
    others = unobserved.copy()
    others[numpy.arange(len(scores)), held_out] = False
    return int(((scores == own) & others).any(axis=1).sum())


def order_breaks_below(num_items: int, tries: int = 20) -> int:
    """Longest list that CPython's ``list(set(range(num_items)) - seen)`` gives out of order.

    The longest found among ``tries`` random choices of ``seen`` for each length.
    """
    rng, everything = numpy.random.default_rng(0), set(range(num_items))
    for length in range(num_items, 0, -1):
        for _ in range(tries):
            listed = list(everything - set(rng.permutation(num_items)[length:].tolist()))
            if listed != sorted(listed):
                return length
    return 0


def outcome(function: Callable[[], object]) -> str:
    """The name of the exception that ``function`` raises, or ``no error``."""
    try:
        function()
    except Exception as error:
        return type(error).__name__
    return "no error"


# Trainings


class Trained(NamedTuple):
    """A run of a section: its result, its history, and what was trained and tested."""

    result: Dict[str, Any]
    history: History
    net: gluon.Block
    train_iter: BatchLoader
    test_iter: Any


class Lab:
    """What the entries share: the data, the reference run, and what has been trained for them.

    Parameters
    ----------
    data_dir, clicks_dir : folders of MovieLens-100K and of rows of the book's clicks
    seeds : how many trainings of a variant that the reference run does not hold
    reference : the content of ``reference.json``, or {}
    """

    def __init__(
        self,
        data_dir: Optional[pathlib.Path],
        clicks_dir: Optional[pathlib.Path],
        seeds: int,
        reference: Dict[str, Any],
    ) -> None:
        self.data_dir, self.clicks_dir, self.seeds = data_dir, clicks_dir, seeds
        self.reference = reference.get("variants", {})
        self.trainings = all_trainings()
        self._results: Dict[Tuple[str, int], Dict[str, Any]] = {}
        self._ranking: Optional[RankingData] = None
        self.book_rows: Dict[str, int] = {}
        if clicks_dir is not None:
            for name in ("train.csv", "test.csv"):
                # A last line may lack its end.
                self.book_rows[name] = len((clicks_dir / name).read_bytes().splitlines())

    @property
    def ranking(self) -> RankingData:
        """The ratings as sections 15.6 and 15.7 split them."""
        if self._ranking is None:
            self._ranking = load_ranking_ml100k(self.data_dir)
        return self._ranking

    @property
    def book_batch_size(self) -> int:
        """The chapter's, where its training loop can do with it; else a smaller one."""
        enough = self.book_rows["train.csv"] >= BATCHES_NEEDED * BOOK_BATCH_SIZE
        return BOOK_BATCH_SIZE if enough else GENERATED_BATCH_SIZE

    def train(self, section: str, seed: int = 0, **options: Any) -> Trained:
        """Run the section's ``main``; ``options`` are its own, the default is one device."""
        chapter = importlib.import_module(f"chapters.{section}")
        options.setdefault("data_dir", self.data_dir)
        if options.get("dataset") == "book":
            options.update(data_dir=self.clicks_dir, batch_size=self.book_batch_size)
        trainer = TRAINERS[section]
        with tempfile.TemporaryDirectory() as out, mock.patch.object(
            chapter, trainer, wraps=getattr(chapter, trainer)
        ) as called:
            result = chapter.main(seed, out=out, quiet=True, **options)
            history = History.from_csv(pathlib.Path(out) / "history.csv")
        return Trained(result, history, *called.call_args[0][:3])

    def values(self, variant: str, protocol: str, name: str) -> List[float]:
        """A number of a variant, seed by seed, from the reference run or from trainings here."""
        if variant in self.reference:
            return self.reference[variant][protocol][name]["values"]
        how = self.trainings[variant]
        numbers = []
        for seed in range(how.seeds or self.seeds):
            if (variant, seed) not in self._results:
                options = {"num_devices": how.num_devices, **how.options}
                self._results[variant, seed] = self.train(how.section, seed, **options).result
            numbers.append(self._results[variant, seed][protocol][name])
        return numbers

    def mean_sd(self, name: str, variant: str, protocol: str, number: str) -> Figures:
        """Mean and deviation of ``values``, as figures called ``name``."""
        return mean_sd(name, self.values(variant, protocol, number))

    def ranking_metrics(self, name: str, variant: str) -> Figures:
        """Hit@50 and AUC of ``variant``, printed and defined, as figures of ``name``."""
        figures: Figures = {}
        for label, number in RANKING_METRICS.items():
            for protocol in ("printed", "defined"):
                figures.update(
                    self.mean_sd(f"{name}, {label} {protocol}", variant, protocol, number)
                )
        return figures


ROWS: Dict[str, Callable[[Lab], Figures]] = {}


def row(number: str) -> Callable:
    """Register the function that measures the entry ``number`` of ``ERRATA.md``."""

    def register(function: Callable[[Lab], Figures]) -> Callable[[Lab], Figures]:
        ROWS[number] = function
        return function

    return register


# Ratings


@row("R1")
def two_test_sets(lab: Lab) -> Figures:
    """MF and AutoRec as the chapter compares them, and on one test set."""
    reported = [reported_numbers(section)["test_rmse"] for section in ("mf", "autorec")]
    on_one = [lab.values(name, "defined", "test_rmse") for name in ("mf-random", "autorec")]
    leads = differences(*on_one)
    return {
        "MF, reported": reported[0],
        "AutoRec, reported": reported[1],
        "AutoRec's lead, reported": reported[0] - reported[1],
        **lab.mean_sd("MF, last ratings, printed", "mf", "printed", "test_rmse"),
        **lab.mean_sd("MF, last ratings, defined", "mf", "defined", "test_rmse"),
        **lab.mean_sd("MF, random tenth, printed", "mf-random", "printed", "test_rmse"),
        **lab.mean_sd("MF, random tenth, defined", "mf-random", "defined", "test_rmse"),
        **lab.mean_sd("AutoRec, random tenth, printed", "autorec", "printed", "test_rmse"),
        **lab.mean_sd("AutoRec, random tenth, defined", "autorec", "defined", "test_rmse"),
        **mean_sd("AutoRec's lead on one test set", leads),
        "seeds": len(leads),
        "seeds in which AutoRec leads": sum(lead > 0 for lead in leads),
    }


@row("R2")
def mean_of_running_means(lab: Lab) -> Figures:
    """The RMSE of MF: the chapter's evaluator against one RMSE, and on one device or two."""
    figures: Figures = {}
    for name, variant in (("last ratings", "mf"), ("random tenth", "mf-random")):
        both = [lab.values(variant, protocol, "test_rmse") for protocol in ("printed", "defined")]
        figures.update(mean_sd(f"printed less defined, {name}", differences(*both)))
    trained = lab.train("mf")
    devices = [mx.cpu()]
    batches = [[np.array(part, ctx=devices[0]) for part in batch] for batch in trained.test_iter]
    labels = numpy.concatenate([batch[-1].asnumpy() for batch in batches])
    predictions = numpy.concatenate([trained.net(*batch[:-1]).asnumpy() for batch in batches])
    sizes = trained.result["settings"]["batch_size"]
    one, two = (rmse_on(labels, predictions, sizes, number) for number in (1, 2))
    return {
        **figures,
        "test ratings": len(labels),
        "one net, printed on one device": one.printed["test_rmse"],
        "one net, printed on two": two.printed["test_rmse"],
        "one net, defined": one.defined["test_rmse"],
    }


@row("R3")
def user_20_item_30(lab: Lab) -> Figures:
    """The rating that the chapter asks for, and the one that it reads."""
    name = "score_user20_item30"
    return {
        "reported": reported_numbers("mf")[name],
        **lab.mean_sd("printed, that of user 21 and item 31", "mf", "printed", name),
        **lab.mean_sd("defined, that of user 20 and item 30", "mf", "defined", name),
    }


def _without_decay_of_biases(net_class: Callable, *args: Any, **kwargs: Any) -> gluon.Block:
    net = net_class(*args, **kwargs)
    for parameter in net.collect_params(".*bias").values():
        parameter.wd_mult = 0.0
    return net


@row("R4")
def decay_of_biases(lab: Lab) -> Figures:
    """AutoRec with the biases left out of the weight decay, as in eq. 15.4.2."""
    make = functools.partial(_without_decay_of_biases, autorec.AutoRec)
    with mock.patch.object(autorec, "AutoRec", make):
        runs = [lab.train("autorec", s, num_devices=BOOKS_DEVICES) for s in range(lab.seeds)]
    without = [trained.result["defined"]["test_rmse"] for trained in runs]
    with_decay = lab.values("autorec", "defined", "test_rmse")[: len(without)]
    return {
        **mean_sd("RMSE, decay of all parameters", with_decay),
        **mean_sd("RMSE, decay of W and V", without),
        **mean_sd("difference by seed", differences(with_decay, without)),
        "seeds": len(without),
    }


# Ranking


@row("K1")
def heads(lab: Lab) -> Figures:
    """NeuMF with each head; how the sigmoid's ends up, and what it starts with."""
    figures: Figures = {}
    for name, variant in (
        ("sum", "neumf"),
        ("linear", "neumf-linear"),
        ("sigmoid", "neumf-sigmoid"),
        ("sigmoid, --wd 0", "neumf-sigmoid-wd-0"),
    ):
        figures.update(lab.ranking_metrics(name, variant))
    net = lab.train("neumf", head="sigmoid").net
    scores = net.score_all(np.arange(lab.ranking.num_users, dtype="int32")).asnumpy()
    return {
        **figures,
        "largest weight after training": _largest(net, ".*weight"),
        "largest bias after training": _largest(net, ".*bias"),
        "highest less lowest score": float(scores.max() - scores.min()),
        "seeds of --wd 0": lab.seeds,
        **{
            f"{head} head: gradient of the loss over the decay's": loss_over_decay(lab, head)
            for head in ("sum", "linear", "sigmoid")
        },
    }


def _largest(net: gluon.Block, names: str) -> float:
    """The largest absolute value among the parameters whose names match."""
    return max(float(np.abs(p.data()).max()) for p in net.collect_params(names).values())


def loss_over_decay(lab: Lab, head: str, wd: float = 1e-5) -> float:
    """Size of the loss's gradient over that of ``wd * w``, for a new NeuMF and its first batch.

    Both are root mean squares over all parameters, of the mean loss of the batch's pairs.
    """
    data = lab.ranking
    npx.set_np()
    mx.random.seed(0)
    net = neumf.NeuMF(10, data.num_users, data.num_items, (10, 10, 10), head)
    net.initialize(init=init.Normal(0.01))
    loader = pairwise_loader(data, [data.users, data.items], 1024, seed_streams(0))
    users, items, negatives = (np.array(part, dtype="int32") for part in next(iter(loader)))
    with autograd.record():
        loss = BPRLoss()(net(users, items), net(users, negatives))
    loss.backward()
    parameters = [p for p in net.collect_params().values() if "bias" not in p.name]
    gradient, decay = (
        math.sqrt(sum(float(np.square(part(p)).sum()) for p in parameters))
        for part in (lambda p: p.grad() / len(users), lambda p: wd * p.data())
    )
    return gradient / decay


@row("K2")
def items_beyond_users(lab: Lab) -> Figures:
    """Held-out items that the chapter never ranks, and what that does to the metrics."""
    data = lab.ranking
    beyond = sum(items[0] >= data.num_users for items in data.test_items.values())
    times_rated = numpy.bincount(data.items, minlength=data.num_items)
    figures: Figures = {
        "items": data.num_items,
        "items that are ranked": data.num_users,
        "users whose held-out item is not": beyond,
        "users whose held-out item is not, %": percent(beyond, data.num_users),
        "most that either metric can reach": 1 - beyond / data.num_users,
        "training ratings of an item that is ranked": times_rated[: data.num_users].mean(),
        "training ratings of another": times_rated[data.num_users :].mean(),
    }
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser")):
        for label, number in RANKING_METRICS.items():
            figures[f"{name}, {label} reported"] = reported_numbers(section)[number]
        figures.update(lab.ranking_metrics(name, section))
    return figures


def _unobserved(data: RankingData) -> numpy.ndarray:
    """Which items are not a user's own in the training set, (num_users, num_items)."""
    unobserved = numpy.ones((data.num_users, data.num_items), dtype=bool)
    unobserved[data.users, data.items] = False
    return unobserved


@row("K3")
def ties(lab: Lab) -> Figures:
    """Ties of a trained NeuMF, the order of the chapter's lists, and the AUC's denominator."""
    data = lab.ranking
    unobserved = _unobserved(data)
    held_out = numpy.array([data.test_items[user][0] for user in range(data.num_users)])
    users = np.arange(data.num_users, dtype="int32")
    tied = {
        head: tied_users(
            lab.train("neumf", head=head).net.score_all(users).asnumpy(), unobserved, held_out
        )
        for head in ("sum", "sigmoid")
    }
    everything = set(range(data.num_users))
    lists = [list(everything - set(data.candidates[user])) for user in range(data.num_users)]
    # A mean of AUC x (n - 1) / n, where the AUC is independent of n closely enough.
    denominators = numpy.mean(1 / unobserved.sum(axis=1))
    auc = statistics.mean(lab.values("neumf", "defined", "test_auc"))
    return {
        "users": data.num_users,
        "users whose held-out item ties, sum": tied["sum"],
        "users whose held-out item ties, sigmoid": tied["sigmoid"],
        **lab.mean_sd("all tied: Hit@50 printed", "neumf-sigmoid", "printed", "test_hit_rate"),
        **lab.mean_sd("all tied: AUC printed", "neumf-sigmoid", "printed", "test_auc"),
        **lab.mean_sd("all tied: Hit@50 defined", "neumf-sigmoid", "defined", "test_hit_rate"),
        **lab.mean_sd("all tied: AUC defined", "neumf-sigmoid", "defined", "test_auc"),
        "shortest list": min(map(len, lists)),
        "longest list out of order": order_breaks_below(data.num_users),
        "users whose list is out of order": sum(listed != sorted(listed) for listed in lists),
        "NeuMF: AUC by eq. 15.6.5 to the letter, lower by": float(auc * denominators),
    }


class _Distances(BPRLoss):
    """BPR that notes the smallest distance it has met."""

    smallest = math.inf

    def forward(self, positive: Any, negative: Any) -> Any:
        self.smallest = min(self.smallest, float((positive - negative).min()))
        return super().forward(positive, negative)


def _losses_at(distance: float) -> List[Tuple[float, float]]:
    """Loss and gradient at ``distance``, of d2l's BPRLoss and of ours."""
    results = []
    for loss in (d2l.BPRLoss(), BPRLoss()):
        positive = np.array([distance], dtype="float32")
        positive.attach_grad()
        with autograd.record():
            value = loss(positive, np.zeros(1))
        value.backward()
        results.append((float(value), float(positive.grad)))
    return results


def infinite_from() -> float:
    """The largest float32 distance at which d2l's BPRLoss is infinite."""
    low, high = numpy.float32(-200), numpy.float32(0)
    while numpy.nextafter(low, high) < high:
        middle = (low + high) / numpy.float32(2)
        if math.isinf(_losses_at(middle)[0][0]):
            low = middle
        else:
            high = middle
    return float(low)


@row("K4")
def log_of_sigmoid(lab: Lab) -> Figures:
    """Where the chapter's BPR loss is infinite, and whether training comes near."""
    npx.set_np()
    infinite = infinite_from()
    theirs, ours = _losses_at(infinite)
    smallest = {}
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser")):
        recorder = mock.Mock(return_value=_Distances())
        with mock.patch.object(caser, "BPRLoss", recorder), mock.patch.dict(
            neumf.PAIRWISE_LOSSES, {neumf.PairwiseLoss.bpr: recorder}
        ):
            lab.train(section)
        smallest[name] = recorder.return_value.smallest
    return {
        "one net, printed on one device": 4,
        "one net, printed on two": 4,
        "one net, defined": 4,
        "d2l's loss is infinite from a distance of": infinite,
        "d2l's gradient there": str(theirs[1]),
        "our loss there": ours[0],
        "our gradient there": ours[1],
        **{f"smallest distance in training, {name}": d for name, d in smallest.items()},
    }


@row("K5")
def length_of_sequences(lab: Lab) -> Figures:
    """Caser with sequences of 3 and of 5 items."""
    figures: Figures = {}
    for label, number in RANKING_METRICS.items():
        figures[f"{label} reported"] = reported_numbers("caser")[number]
        both = []
        for L, variant in ((3, "caser"), (5, "caser-L5")):
            figures.update(lab.mean_sd(f"{label} printed, L {L}", variant, "printed", number))
            figures.update(lab.mean_sd(f"{label} defined, L {L}", variant, "defined", number))
            both.append(lab.values(variant, "printed", number))
        figures.update(mean_sd(f"{label} printed, L 3 less L 5", differences(*both)))
    return figures


def filters_of(d: int, d_prime: int) -> None:
    """The chapter's two kinds of filters, as its class makes and joins them, on a picture."""
    picture = np.zeros((2, 1, 3, 10))
    vertical, horizontal = nn.Conv2D(d_prime, (3, 1), in_channels=1), nn.Conv2D(d, (1, 10))
    for conv in (vertical, horizontal):
        conv.initialize()
    out_v = vertical(picture).reshape(2, -1) if d_prime else None
    out_h = horizontal(picture).reshape(2, -1) if d else None
    np.concatenate([out_v, out_h], axis=1)


@row("K6")
def without_filters(lab: Lab) -> Figures:
    """The ablation exercise: what the chapter's layers say, and what comes out here."""
    npx.set_np()
    both = np.zeros((2, 3))
    figures: Figures = {
        "filters of number 0": outcome(lambda: filters_of(0, 4)),
        "None beside an array": outcome(lambda: np.concatenate([both, None], axis=1)),
        "seeds": lab.seeds,
    }
    for option, variant in (("--d 0", "caser-d-0"), ("--d-prime 0", "caser-d-prime-0")):
        figures.update(lab.ranking_metrics(option, variant))
    return figures


@row("K7")
def ties_in_time(lab: Lab) -> Figures:
    """How many users tie at their last timestamp, and what another choice among them changes."""
    data, num_users, _ = read_data_ml100k(lab.data_dir)
    last = data.groupby("user_id")["timestamp"].transform("max") == data["timestamp"]
    tied = int((data[last].groupby("user_id").size() > 1).sum())
    with mock.patch.object(
        tie_rule, "spread", wraps=tie_rule.spread
    ) as cells, contextlib.redirect_stdout(io.StringIO()):
        tie_rule.main(TIE_RULE_SPLITS, lab.data_dir)
    runs = [call[0][0] for call in cells.call_args_list]
    figures: Figures = {
        "users": num_users,
        "users who tie": tied,
        "users who tie, %": percent(tied, num_users),
        "splits": TIE_RULE_SPLITS,
    }
    names = [(s, what) for s in ("NeuMF", "Caser") for what in ("ties at random", "seeds")]
    for (section, what), results in zip(names, runs):
        for label, number in RANKING_METRICS.items():
            for protocol in ("printed", "defined"):
                values = [result[protocol][number] for result in results]
                figures.update(mean_sd(f"{section}, {what}, {label} {protocol}", values))
    return figures


def _without_held_out(data: RankingData, *args: Any) -> BatchLoader:
    """Training batches whose negatives are never the held-out item."""
    known = {user: [*items, *data.test_items[user]] for user, items in data.candidates.items()}
    return pairwise_loader(data._replace(candidates=known), *args)


@row("K8")
def held_out_as_negative(lab: Lab, num_epochs: int = 10) -> Figures:
    """How often the held-out item is drawn as a negative, and what it costs NeuMF."""
    data = lab.ranking
    held_out = numpy.array([data.test_items[user][0] for user in range(data.num_users)])
    sampler = NegativeSampler(data.candidates, data.num_users, data.num_items, rng=0)
    drawn = [sampler.draw(data.users) == held_out[data.users] for _ in range(num_epochs)]
    met = numpy.unique(data.users[numpy.any(drawn, axis=0)])
    figures: Figures = {
        "draws of an epoch": len(data.users),
        "of them the held-out item": round(float(numpy.sum(drawn)) / num_epochs),
        "share of draws, %": percent(float(numpy.mean(drawn)), 1),
        "epochs": num_epochs,
        "users who meet it in them, %": percent(len(met), data.num_users),
        "seeds": lab.seeds,
    }
    with mock.patch.object(neumf, "pairwise_loader", _without_held_out):
        spared = [
            lab.train("neumf", seed, num_devices=BOOKS_DEVICES).result for seed in range(lab.seeds)
        ]
    for label, number in RANKING_METRICS.items():
        values = [result["defined"][number] for result in spared]
        change = differences(values, lab.values("neumf", "defined", number))
        figures.update(mean_sd(f"{label} defined, gained where it is never drawn", change))
    return figures


# Clicks


def _accuracies(lab: Lab, prefix: str, variants: Sequence[Tuple[str, str]]) -> Figures:
    """Printed accuracy, d2l 1.0.3's, the defined one and the AUC of each (name, variant)."""
    figures: Figures = {}
    for name, variant in variants:
        for label, protocol, number in (
            ("printed accuracy", "printed", "test_acc"),
            ("accuracy of d2l 1.0.3", "printed", "test_acc_exact"),
            ("defined accuracy", "defined", "test_acc"),
            ("AUC", "defined", "test_auc"),
        ):
            figures.update(lab.mean_sd(f"{prefix}{name}, {label}", variant, protocol, number))
    return figures


@row("C1")
def printed_accuracy(lab: Lab) -> Figures:
    """What the accuracies of FM and DeepFM say of the two, printed and defined."""
    npx.set_np()
    figures: Figures = {
        "FM, reported": reported_numbers("fm")["test_acc"],
        "DeepFM, reported": reported_numbers("deepfm")["test_acc"],
        "log odds from which a float32 sigmoid is 1": float(first_certain()),
        **_accuracies(lab, "", [("FM", "fm"), ("DeepFM", "deepfm")]),
    }
    if lab.clicks_dir is not None:
        figures[f"{BOOK}training"] = lab.book_rows["train.csv"]
        figures[f"{BOOK}test"] = lab.book_rows["test.csv"]
        figures[f"{BOOK}batch size"] = lab.book_batch_size
        figures[f"{BOOK}seeds"] = BOOK_SEEDS
        figures.update(_accuracies(lab, BOOK, [("FM", "book-fm"), ("DeepFM", "book-deepfm")]))
    return figures


@row("C2")
def sigmoid_twice(lab: Lab) -> Figures:
    """The loss on the sigmoid's output: its floor, and what it does to the net."""
    train, _ = movielens_clicks(lab.data_dir)
    clicks = [line.startswith(b"1") for line in train.splitlines()]
    figures: Figures = {
        "FM, loss reported": reported_numbers("fm")["train_loss"],
        "DeepFM, loss reported": reported_numbers("deepfm")["train_loss"],
        "least loss of a click": loss_floor(1),
        "least loss of any other row": loss_floor(0),
        "least mean loss where half are clicks": loss_floor(0.5),
        "clicks among the training rows, %": percent(sum(clicks), len(clicks)),
        "least mean loss": loss_floor(sum(clicks) / len(clicks)),
    }
    prefixes = [("", "")]
    if lab.clicks_dir is not None:
        lines = (lab.clicks_dir / "train.csv").read_bytes().splitlines()
        share = sum(line.startswith(b"1") for line in lines) / len(lines)
        figures[f"{BOOK}least mean loss"] = loss_floor(share)
        prefixes.append((BOOK, "book-"))
    for prefix, variants in prefixes:
        for name, section in (("FM", "fm"), ("DeepFM", "deepfm")):
            figures.update(
                lab.mean_sd(
                    f"{prefix}{name}, loss printed", variants + section, "printed", "train_loss"
                )
            )
            for how, suffix in (("on scores", ""), ("on logits", "-defined")):
                for label, number in (("log loss", "test_log_loss"), ("AUC", "test_auc")):
                    figures.update(
                        lab.mean_sd(
                            f"{prefix}{name} {how}, {label}",
                            f"{variants}{section}{suffix}",
                            "defined",
                            number,
                        )
                    )
    return figures


@row("C3")
def learning_rate(lab: Lab) -> Figures:
    """FM with the learning rate of the text and with that of the code."""
    prefixes = [("", "")] if lab.clicks_dir is None else [("", ""), (BOOK, "book-")]
    figures: Figures = {"seeds": lab.seeds}
    for prefix, variants in prefixes:
        for lr, variant in (("0.01", "fm-lr-0.01"), ("0.02", "fm")):
            for label, protocol, number in (
                ("loss printed", "printed", "train_loss"),
                ("accuracy printed", "printed", "test_acc"),
                ("accuracy defined", "defined", "test_acc"),
                ("AUC", "defined", "test_auc"),
            ):
                figures.update(
                    lab.mean_sd(
                        f"{prefix}lr {lr}, {label}", f"{variants}{variant}", protocol, number
                    )
                )
    return figures


@row("C4")
def test_rows_rolled_over(lab: Lab) -> Figures:
    """Test rows that the chapter's first evaluation leaves out, and what it does to a number."""
    trained = lab.train("fm", dataset="movielens")
    labels = trained.test_iter.arrays[1]
    batch_size, num_epochs = (
        trained.result["settings"][name] for name in ("batch_size", "num_epochs")
    )
    scored = rows_scored(len(labels), batch_size, num_epochs)
    everything = evaluate_clicks(trained.net, trained.test_iter, [mx.cpu()])
    return {
        "book's test rows": BOOK_TEST_ROWS,
        "scored at the first evaluation": rows_scored(BOOK_TEST_ROWS, BOOK_BATCH_SIZE, 1)[0],
        "MovieLens: test rows": len(labels),
        "MovieLens: scored at the first evaluation": scored[0],
        "MovieLens: scored at the last": scored[-1],
        "accuracy printed, rows of the last evaluation": trained.result["printed"]["test_acc"],
        "accuracy printed, all rows": everything.printed["test_acc"],
    }


# Prints the mapper of the file in its first argument, with the number of fields in the second.
MAPPER_CODE = """
import json, sys
from d2l import mxnet as d2l
clicks = d2l.CTRDataset(sys.argv[1], num_feat=int(sys.argv[2]))
print(json.dumps(clicks.feat_mapper))
"""


@row("C5")
def ids_of_two_processes(lab: Lab) -> Figures:
    """Feature ids of one file in two processes that hash strings differently."""
    train, _ = movielens_clicks(lab.data_dir)
    num_fields = len(MOVIELENS.fields)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "train.csv"
        file.write_bytes(train)
        command = [sys.executable, "-c", MAPPER_CODE, str(file), str(num_fields)]
        mappers = []
        for hash_seed in ("1", "2"):
            changed = {**os.environ, "PYTHONHASHSEED": hash_seed}
            printed = subprocess.run(command, env=changed, check=True, capture_output=True).stdout
            mappers.append(json.loads(printed.splitlines()[-1]))
    return {
        "values": sum(map(len, mappers[0].values())),
        "with another id in the second process, %": percent(different_ids(*mappers), 1),
    }


@row("C6")
def lines_that_vanish(lab: Lab) -> Figures:
    """A file in which some lines have lost a column."""
    rows, broken = 1000, 10
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "train.csv"
        GeneratedClicks(GENERATED_FIELDS).write(file, rows)
        lines = file.read_text().splitlines()
        for number in range(0, rows, rows // broken):
            lines[number] = lines[number].rpartition("\t")[0]
        file.write_text("\n".join(lines) + "\n")
        theirs, ours = d2l.CTRDataset(str(file)), CTRDataset(file)
        strict = outcome(lambda: CTRDataset(file, strict=True))
    return {
        "lines": rows,
        "broken": broken,
        "rows of d2l": len(theirs),
        "rows of ours": len(ours),
        "counted and named by ours": ours.skipped.count,
        "with --strict": strict,
    }


def _without_scale(net_class: Callable, *args: Any, **kwargs: Any) -> gluon.Block:
    net = net_class(*args, **kwargs)
    scale = net.linear_layer.weight
    scale.init, scale.grad_req = init.One(), "null"
    return net


@row("C7")
def scale_of_the_linear_part(lab: Lab) -> Figures:
    """FM without the factor that the chapter puts before the sum of the weights."""
    options = {"num_devices": BOOKS_DEVICES, "dataset": "movielens"}
    with mock.patch.object(fm, "FM", functools.partial(_without_scale, fm.FM)):
        without = [lab.train("fm", seed, **options).result for seed in range(lab.seeds)]
    figures: Figures = {
        "factor after training": float(
            lab.train("fm", dataset="movielens").net.linear_layer.weight.data()
        ),
        "seeds": lab.seeds,
    }
    for label, protocol, number in (
        ("accuracy printed", "printed", "test_acc"),
        ("accuracy defined", "defined", "test_acc"),
        ("AUC", "defined", "test_auc"),
    ):
        values = [result[protocol][number] for result in without]
        change = differences(lab.values("fm", protocol, number), values)
        figures.update(mean_sd(f"{label} with it, less without", change))
    return figures


@row("C8")
def loop_for_images(lab: Lab) -> Figures:
    """What the loop for images does with the rollover of clicks, and what it times."""
    ends = curve_ends(BOOK_TRAIN_ROWS, BOOK_BATCH_SIZE, 30)
    npx.set_np()
    net = nn.Dense(1)
    net.initialize()
    rows = gluon.data.ArrayDataset(np.ones((8, 3)), np.ones((8, 1)))
    short = gluon.data.DataLoader(rows, 16, last_batch="rollover")
    with tempfile.TemporaryDirectory() as folder:
        clicks = GeneratedClicks(GENERATED_FIELDS)
        for name, count in GENERATED.items():
            clicks.write(pathlib.Path(folder) / name, count)
        script = ROOT / "benchmarks" / "chapter" / "fm.py"
        command = [sys.executable, str(script), folder, "quiet", str(GENERATED_BATCH_SIZE)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(re.search(r"([\d.]+) examples/sec", printed).group(1))
    seconds = json.loads(printed.splitlines()[-1])["seconds"]["train"]
    scored = rows_scored(GENERATED["train.csv"], GENERATED_BATCH_SIZE, 30)
    return {
        "a test set smaller than a batch": outcome(lambda: d2l.evaluate_accuracy_gpus(net, short)),
        "epochs of 30 whose curve runs past their end": sum(end > 1 for end in ends),
        "last point of an epoch's curve, in epochs": max(ends),
        "FM, examples/sec printed": round(rate),
        "FM, examples/sec with the loader": round(sum(scored) / seconds),
        "printed over true examples/sec": rate * seconds / sum(scored),
    }


@row("C9")
def too_few_batches(lab: Lab) -> Figures:
    """d2l's training loop on an epoch of four batches."""
    npx.set_np()
    net = nn.Dense(1)
    net.initialize()
    rows = gluon.data.ArrayDataset(np.ones((8, 3)), np.ones((8, 1)))
    trainer = gluon.Trainer(net.collect_params(), "adam")

    def train(batch_size: int) -> None:
        loader = gluon.data.DataLoader(rows, batch_size)
        with mock.patch.object(d2l, "Animator"), contextlib.redirect_stdout(io.StringIO()):
            d2l.train_ch13(net, loader, loader, gluon.loss.L2Loss(), trainer, 1, [mx.cpu()])

    return {
        "four batches": outcome(lambda: train(2)),
        "eight batches": outcome(lambda: train(1)),
        "rows that the chapter's batches need": BATCHES_NEEDED * BOOK_BATCH_SIZE,
    }


@row("C10")
def ids_in_float32(lab: Lab) -> Figures:
    """Ids beyond 2^24 in d2l's arrays, and labels that are not quite 0 or 1."""
    npx.set_np()
    first = 2**24 + 1
    lines = ["0\ta\tb\n", " 1\ta\tb\n", "01\ta\tb\n"]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "train.csv"
        file.write_text("".join(lines))
        theirs, ours = d2l.CTRDataset(str(file), num_feat=2), CTRDataset(file, num_feat=2)
    return {
        "d2l's type of ids": str(theirs[0][0].dtype),
        "our type of ids": str(ours.features.dtype),
        "first id that is not exact": first,
        "it becomes": int(np.array([first]).item()),
        "labels 0, ' 1', '01': rows of d2l": len(theirs),
        "rows of ours": len(ours),
    }


# Training loops, data and tools


@row("D1")
def training_loss(lab: Lab) -> Figures:
    """The printed training loss against the mean of an example, on one device and on two."""
    figures: Figures = {}
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser"), ("MF", "mf")):
        figures[f"{name}: reported"] = reported_numbers(section)["train_loss"]
        for devices, variant in (("two devices", section), ("one device", f"{section}-one-device")):
            figures.update(
                lab.mean_sd(f"{name}: printed, {devices}", variant, "printed", "train_loss")
            )
        figures.update(lab.mean_sd(f"{name}: defined", section, "defined", "train_loss"))
    figures["seeds of one device"] = lab.seeds
    figures["AutoRec: reported"] = reported_numbers("autorec")["train_loss"]
    figures.update(lab.mean_sd("AutoRec: printed", "autorec", "printed", "train_loss"))
    figures.update(lab.mean_sd("AutoRec: defined", "autorec", "defined", "train_loss"))
    return figures


@row("D2")
def examples_per_second(lab: Lab) -> Figures:
    """What the printed examples/sec count, and what the timer adds up."""
    num_users = lab.ranking.num_users
    reported = reported_numbers("autorec")["examples_per_sec"]
    ours = lab.train("autorec")
    figures: Figures = {
        "AutoRec: reported": round(reported),
        "AutoRec: cells of a row": num_users,
        "AutoRec: rows per second that it stands for": round(reported / num_users),
        "AutoRec: rows per second here": round(ours.result["examples_per_second"]),
    }
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser")):
        trained = lab.train(section)
        history = trained.history
        examples = history.total("examples")
        batches = round(examples / trained.result["settings"]["batch_size"])
        seconds = ([r[f"seconds_{part}"] for r in history.rows] for part in ("train", "evaluate"))
        total = timer_sum(*seconds, batches / len(history))
        rate = history.rows[-1]["examples"] * len(history) / total
        reported = reported_numbers(section)["examples_per_sec"]
        figures.update(
            {
                f"{name}: reported rate": reported,
                f"{name}: batches of the run": batches,
                f"the timer's sum over the time that passed, {name}": times_counted(batches),
                f"{name}: examples/sec that it stands for": round(
                    reported * times_counted(batches)
                ),
                f"{name}: as printed, of a run here": round(rate),
                f"{name}: examples/sec here": round(history.examples_per_second),
            }
        )
    return figures


@row("D3")
def drawn_training_loss(lab: Lab) -> Figures:
    """The training loss of the figure beside the one that is printed, seed 0."""
    figures: Figures = {}
    for name, section in (("MF", "mf"), ("AutoRec", "autorec")):
        last = lab.train(section).history.rows[-1]
        figures[f"{name}: printed"] = last["printed_train_loss"]
        figures[f"{name}: end of the curve"] = last["curve_train_loss"]
        figures[f"{name}: defined"] = last["defined_train_loss"]
    return figures


@row("D4")
def no_gpu(lab: Lab) -> Figures:
    """What both editions' ``try_all_gpus`` find, and what an empty list leads to."""
    devices = d2l.try_all_gpus()
    return {
        "d2l's devices": str(devices),
        "our devices": str(try_all_gpus()),
        "a batch spread over no device": outcome(
            lambda: gluon.utils.split_and_load(np.ones(4), [])
        ),
    }


@row("D5")
def squeezed_batch(lab: Lab) -> Figures:
    """Biases and score of a batch of one, squeezed as in the chapter."""
    npx.set_np()
    P, Q, bias = (np.random.normal(size=(1, size)) for size in (30, 30, 1))
    squeezed, kept = np.squeeze(bias), np.squeeze(bias, axis=-1)
    scores = [((P * Q).sum(axis=-1) + b + b).flatten() for b in (squeezed, kept)]
    return {
        "shape of the biases, squeezed": str(squeezed.shape),
        "shape with an axis": str(kept.shape),
        "shape of the scores": str(scores[0].shape),
        "difference of the scores": float(abs(scores[0] - scores[1]).max()),
    }


@row("D6")
def gaps_in_ids(lab: Lab) -> Figures:
    """The chapter's loaders on ratings in which a user or an item is missing, and ours."""
    users = pd.DataFrame([(u, i, 3, u + i) for u in (1, 2, 4) for i in (1, 2)], columns=COLUMNS)
    items = pd.DataFrame([(u, i, 3, u + i) for u in (1, 2) for i in (1, 2, 4)], columns=COLUMNS)
    figures: Figures = {}
    for what, ratings in (("user", users), ("item", items)):
        counts = ratings["user_id"].nunique(), ratings["item_id"].nunique()
        for name, function in (
            ("rating matrix", lambda r=ratings, c=counts: d2l.load_data_ml100k(r, *c)),
            (
                "implicit feedback",
                lambda r=ratings, c=counts: d2l.load_data_ml100k(r, *c, "implicit"),
            ),
            (
                "seq-aware split",
                lambda r=ratings, c=counts: d2l.split_data_ml100k(r, *c, "seq-aware"),
            ),
        ):
            figures[f"no {what} 3, {name}"] = outcome(function)
        with tempfile.TemporaryDirectory() as folder:
            ratings.to_csv(pathlib.Path(folder) / "u.data", sep="\t", header=False, index=False)
            figures[f"no {what} 3, ours"] = outcome(lambda f=folder: read_data_ml100k(f))
    embedding = nn.Embedding(3, 2)
    embedding.initialize()
    beyond, last = (embedding(np.array([index])) for index in (3, 2))
    figures["row 3 of an embedding of 3 rows"] = (
        "the last row" if (beyond == last).all() else "another row"
    )
    return figures


# The command


def read_json(file: pathlib.Path) -> Dict[str, Any]:
    """The content of ``file``, {} where it is not there. Raises DataError where it is not JSON."""
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); delete it, or make it anew") from None


def chosen_rows(only: Optional[str]) -> List[str]:
    """The entries of ``--only``, in the order of ``ROWS``; all where it is None.

    Raises SettingError for an entry that there is not.
    """
    if only is None:
        return list(ROWS)
    numbers = only.split(",")
    for number in numbers:
        if number not in ROWS:
            raise SettingError(f"--only has {number!r}; choose from: {', '.join(ROWS)}")
    return [number for number in ROWS if number in numbers]


def provenance(seeds: int, reference: Dict[str, Any]) -> Dict[str, Any]:
    """What stands at the top of ``docs/errata.json``: how its figures were made."""
    return {
        "command": "python -m benchmarks.errata",
        "seeds": seeds,
        "num_devices": BOOKS_DEVICES,
        "reference": {
            "file": REFERENCE.relative_to(ROOT).as_posix(),
            "seeds": len(reference["seeds"]),
            "num_devices": reference["num_devices"],
        }
        if reference
        else None,
        "environment": environment(pick_devices(BOOKS_DEVICES)),
    }


def main(
    data_dir: DataDir = None,
    clicks_dir: ClicksDir = None,
    only: Annotated[
        Optional[str], Option(help="Entries of ERRATA.md, separated by commas. Default: all.")
    ] = None,
    seeds: Annotated[
        int, Option(min=1, help="Trainings of what the reference run does not hold.")
    ] = 3,
    reference: Annotated[
        pathlib.Path,
        Option(
            help="File of the reference run; it need not be there.",
            show_default="docs/reference/reference.json",
        ),
    ] = REFERENCE,
    json_file: Annotated[
        pathlib.Path, Option(help="Where the figures go.", show_default="docs/errata.json")
    ] = FIGURES,
) -> None:
    """Measure the entries of ERRATA.md."""
    numbers = chosen_rows(only)
    held = read_json(reference)
    before = read_json(json_file)
    if only is not None and before.get("seeds", seeds) != seeds:
        raise SettingError(
            f"--seeds is {seeds}, but the other entries of {json_file} have "
            f"{before['seeds']}; choose that, or leave --only out"
        )
    lab = Lab(data_dir, clicks_dir, seeds, held)
    rows: Dict[str, Figures] = {
        number: figures for number, figures in before.get("rows", {}).items() if number in ROWS
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(numbers, disable=None)
    for number in bar:
        bar.set_description(number)
        rows[number] = merged(rows.get(number, {}), tidy(ROWS[number](lab)))
        # In the order of the entries, whichever were measured first.
        content = {**provenance(seeds, held), "rows": {n: rows[n] for n in ROWS if n in rows}}
        write_files(json_file.parent, {json_file.name: as_json(content)})
    told = entries(TEXT.read_text(encoding="utf-8")) if TEXT.is_file() else {}
    for number in numbers:
        missing = unsaid(told.get(number, ""), rows[number])
        print(number)
        for name, text in texts(rows[number]).items():
            print(f"    {name}: {text}{f'   (not in {TEXT.name})' * (name in missing)}")


if __name__ == "__main__":
    run(main)
