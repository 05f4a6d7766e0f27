"""The parts that all measurements share: the data, the reference run and the trainings."""

import functools
import importlib
import pathlib
import tempfile
from types import ModuleType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from unittest import mock

from benchmarks.against_d2l import BATCH_SIZE, GENERATED_BATCH_SIZE
from benchmarks.errata.figures import BOOK, Figures, mean_sd
from d2l_recsys.backend import gluon
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.sections.registry import CHAPTERS, SYSTEMS, VARIANTS, Kind
from d2l_recsys.training.history import History

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The book ran the chapter on two GPUs.
BOOKS_DEVICES = 2
# Number of seeds for trainings on the book's clicks.
BOOK_SEEDS = 5
# The chapter's training loop for clicks fails if an epoch has fewer batches.
BATCHES_NEEDED = 5
TRAINERS = {
    Kind.ratings: "train_recsys_rating",
    Kind.ranking: "train_ranking",
    Kind.clicks: "train_ctr",
}

# Numbers of a result. For each: its name in a figure, its protocol and its name in the result.
Numbers = Sequence[Tuple[str, str, str]]


class Trainings(NamedTuple):
    """Trainings that differ only in their seed.

    ``options`` are the options of ``section`` that differ from the chapter's settings. ``seeds`` is
    the number of seeds; None means the value of ``--seeds``.
    """

    section: str
    options: Mapping[str, Any]
    seeds: Optional[int] = None


def all_trainings() -> Dict[str, Trainings]:
    """Returns all trainings by name: the registry's variants, and those that only this file has."""
    rows_of_the_book = {"dataset": "book", "num_devices": 1, "seeds": BOOK_SEEDS}
    return {
        **{v.name: _trainings(v.section.name, **v.options) for v in VARIANTS.values()},
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


def _trainings(section: str, seeds: Optional[int] = None, **options: Any) -> Trainings:
    clicks = {"dataset": "movielens"} if SYSTEMS[section].on_clicks else {}
    return Trainings(section, {"num_devices": BOOKS_DEVICES, **clicks, **options}, seeds)


def outcome(function: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Returns the name of the exception that ``function`` raises, or ``no error``."""
    try:
        function(*arguments, **options)
    except Exception as error:
        return type(error).__name__
    return "no error"


class Trained(NamedTuple):
    """A finished run of a section: its result, history, net, and training and test data."""

    result: Dict[str, Any]
    history: History
    net: gluon.Block
    train_iter: BatchLoader
    test_iter: Any


class Lab:
    """Gives each entry the data, the numbers of the reference run, and new trainings.

    Parameters
    ----------
    data_dir, clicks_dir : folders of MovieLens-100K and of the book's clicks
    seeds : number of seeds for each variant that the reference run does not have
    reference : content of ``reference.json``, or {}
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
        self._results: Dict[str, List[Dict[str, Any]]] = {}
        self.book_rows: Dict[str, int] = {}
        if clicks_dir is not None:
            for name in ("train.csv", "test.csv"):
                # Count lines with splitlines: the last line may have no newline.
                self.book_rows[name] = len((clicks_dir / name).read_bytes().splitlines())

    @functools.cached_property
    def ranking(self) -> RankingData:
        """The ratings, split as in sections 15.6 and 15.7."""
        return load_ranking_ml100k(self.data_dir)

    @property
    def book_batch_size(self) -> int:
        """The batch size for the book's clicks.

        It is the chapter's batch size if an epoch then has enough batches for the chapter's loop.
        Otherwise it is smaller.
        """
        enough = self.book_rows["train.csv"] >= BATCHES_NEEDED * BATCH_SIZE
        return BATCH_SIZE if enough else GENERATED_BATCH_SIZE

    @property
    def click_sets(self) -> List[Tuple[str, str]]:
        """For each set of clicks: the prefix of its figures and the prefix of its variants."""
        return [("", ""), (BOOK, "book-")] if self.clicks_dir else [("", "")]

    def train(self, section: str, seed: int = 0, **options: Any) -> Trained:
        """Runs the section's ``main`` with its own ``options``; the default is one device."""
        chapter = _chapter(section)
        options.setdefault("data_dir", self.data_dir)
        if options.get("dataset") == "book":
            options.update(data_dir=self.clicks_dir, batch_size=self.book_batch_size)
        trainer = TRAINERS[SYSTEMS[section].kind]
        with tempfile.TemporaryDirectory() as out, mock.patch.object(
            chapter, trainer, wraps=getattr(chapter, trainer)
        ) as called:
            result = chapter.main(seed=seed, out=out, quiet=True, **options)
            history = History.from_csv(pathlib.Path(out) / "history.csv")
        return Trained(result, history, *called.call_args[0][:3])

    def results(
        self, section: str, change: Callable[[gluon.Block], None] = lambda net: None, **options: Any
    ) -> List[Dict[str, Any]]:
        """Trains a changed net on two devices and returns the results, seed by seed.

        ``change`` is called with each net before the net is initialized. ``options`` are options of
        the section. The seeds are 0, 1, ... up to ``self.seeds - 1``.
        """
        chapter, name = _chapter(section), SYSTEMS[section].class_name
        net_class = getattr(chapter, name)

        def make(*arguments: Any) -> gluon.Block:
            net = net_class(*arguments)
            change(net)
            return net

        with mock.patch.object(chapter, name, make):
            options["num_devices"] = BOOKS_DEVICES
            return [self.train(section, seed, **options).result for seed in range(self.seeds)]

    def values(self, variant: str, protocol: str, name: str) -> List[float]:
        """Returns one number of a variant, seed by seed.

        The values come from the reference run. If the reference run does not have the variant, it
        is trained here, once.
        """
        if variant in self.reference:
            return self.reference[variant][protocol][name]["values"]
        if variant not in self._results:
            section, options, seeds = self.trainings[variant]
            self._results[variant] = [
                self.train(section, seed, **options).result for seed in range(seeds or self.seeds)
            ]
        return [result[protocol][name] for result in self._results[variant]]

    def mean_sd(self, name: str, variant: str, protocol: str, number: str) -> Figures:
        """Returns the mean and standard deviation of ``values``, as figures called ``name``."""
        return mean_sd(name, self.values(variant, protocol, number))

    def numbers(self, name: str, variant: str, numbers: Numbers) -> Figures:
        """Returns the mean and standard deviation of several numbers of a variant.

        The names of the figures begin with ``name``.
        """
        figures: Figures = {}
        for label, protocol, number in numbers:
            figures.update(self.mean_sd(f"{name}, {label}", variant, protocol, number))
        return figures


def _chapter(section: str) -> ModuleType:
    return importlib.import_module(f"{CHAPTERS}.{section}")


class Rows(Dict[str, Callable[[Lab], Figures]]):
    """The functions that measure the entries of ``ERRATA.md``, by the entry's number."""

    def row(self, number: str) -> Callable:
        """Registers the function that measures the entry ``number`` of ``ERRATA.md``."""

        def register(function: Callable[[Lab], Figures]) -> Callable[[Lab], Figures]:
            self[number] = function
            return function

        return register
