"""What all kinds of runs share: options, data, folder and result files; needs no MXNet."""

import contextlib
import enum
import pathlib
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from matplotlib.figure import Figure

from d2l_recsys.data import CTRData, load_data_ctr, load_ranking_ml100k
from d2l_recsys.runs.plots import png
from d2l_recsys.runs.reported import beside_the_book, reported_numbers
from d2l_recsys.runs.results import leave_files, make_result, refuse_another_result
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections.registry import SYSTEMS, defaults_of
from d2l_recsys.seeds import seed_streams
from d2l_recsys.settings import ClickDataset, Protocol, Scores, TimeSplit
from d2l_recsys.storage.files import as_json, default_folder
from d2l_recsys.storage.in_use import alone_in, refuse_if_in_use


class SectionRun:
    """One run of a section, from its options to its files. It is the base of all kinds of runs.

    Parameters
    ----------
    name : name of the section in the registry
    settings : the section's own options and their values; they go to ``result.json``
    data_dir, out, force, quiet, seed : options of the same names; ``seed`` is None if the section
        draws no random numbers
    changed : the options whose values are not the defaults; they name the default folder

    Attributes: ``streams`` are the random generators of the seed, and ``dataset`` describes the
    data. The run is a context manager: leave it to let other processes use the folder. Raises
    OutputError if another process uses the folder.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        data_dir: Optional[pathlib.Path],
        out: Optional[pathlib.Path],
        quiet: bool,
        seed: Optional[int] = None,
        force: bool = False,
        changed: Mapping[str, Any] = {},
    ) -> None:
        self._started = time.perf_counter()
        self.name, self.seed = name, seed
        self.data_dir, self.quiet, self.force = data_dir, quiet, force
        self._changed, self._is_default_folder = changed, out is None
        self._folder = pathlib.Path(out or default_folder(name, seed, changed))
        # Loading can take long, so do not wait for its end.
        refuse_if_in_use(self._folder)
        self._held = contextlib.ExitStack()
        # result.json lists numbers first, then choices.
        ordered = sorted(settings.items(), key=lambda item: isinstance(item[1], enum.Enum))
        self.settings = {n: list(v) if isinstance(v, tuple) else v for n, v in ordered}
        self.streams = seed_streams(seed or 0)
        self.dataset: Dict[str, Any] = {}

    def __enter__(self) -> "SectionRun":
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def say(self, line: str) -> None:
        """Print ``line``, unless the run is quiet."""
        if not self.quiet:
            print(line)

    def data_loaded(self, dataset: Optional[Mapping[str, Any]] = None) -> None:
        """Note the time, and make and lock the folder for the results: a bad one fails early.

        ``dataset`` describes the data, if the run does not know it yet. Raises OutputError if the
        folder cannot be made or written, if another process writes to it, or if it has a result of
        another run and ``force`` is False.
        """
        if dataset is not None:
            self.dataset = dict(dataset)
        self._held.enter_context(alone_in(self._folder))
        if not self.force:
            refuse_another_result(self._folder, self._same_run, defaults_of(self.name))
        self._loaded = time.perf_counter()

    @property
    def _same_run(self) -> Dict[str, Any]:
        """What the result in the folder must have, so that this run may replace it."""
        return {
            "chapter": self.name,
            "seed": self.seed,
            **self.settings,
            "SHA-256 of the data": self.dataset["sha256"],
        }

    @property
    def title(self) -> str:
        """The title of the figure: a warning if the data is a substitute, else ""."""
        return f"{self.dataset['name']}, not the chapter's data" * self.dataset["substitute"]

    def _leave(
        self,
        scores: Scores,
        draw: Callable[[Dict[str, Any]], Figure],
        files: Mapping[str, bytes],
        *,
        seconds: Mapping[str, float],
        compares: bool = False,
        protocol: Protocol = Protocol.defined,
        more: Mapping[str, Any] = {},
        **measured: Any,
    ) -> Dict[str, Any]:
        """Write ``result.json``, the figure ``draw(result)`` and ``files``; return the result.

        Parameters
        ----------
        scores : the printed and the defined numbers
        draw : makes the figure from the result
        files : further files: names and contents
        seconds : wall time of each phase after loading
        compares : whether the book reports numbers of this variant; if not, ``reported`` is empty
        protocol : whose numbers are shown
        more : keys of the result that only some sections have
        measured : further arguments of ``make_result``

        Also prints the book's numbers. Raises OutputError if the files cannot be written.
        """
        result = make_result(
            chapter=self.name,
            protocol=protocol,
            seed=self.seed,
            scores=scores,
            reported=reported_numbers(self.name) if compares else {},
            dataset=self.dataset,
            settings=self.settings,
            seconds={"load": self._loaded - self._started, **seconds},
            **measured,
        )
        result.update(more)
        left = {
            SYSTEMS[self.name].figure: png(draw(result)),
            **files,
            "result.json": as_json(result),
        }
        if not self.quiet and compares:
            print(beside_the_book(result))
        leave_files(self._folder, left, self.dataset, self.quiet)
        return result


class OnClicks(SectionRun):
    """The base of runs on clicks. It holds the options that choose the clicks.

    Parameters
    ----------
    dataset, strict, min_threshold : options of the same names
    name, settings, options : as in ``SectionRun``
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        dataset: ClickDataset,
        strict: bool,
        min_threshold: int,
        **options: Any,
    ) -> None:
        super().__init__(name, settings, **options)
        self._clicks = {"dataset": dataset, "strict": strict, "min_threshold": min_threshold}

    def load_data(self, **options: Any) -> CTRData:
        """Load the clicks in batches, and keep their description in ``dataset``.

        ``options`` are further options of ``load_data_ctr``. Raises what ``load_data_ctr`` raises.
        """
        data = load_data_ctr(data_dir=self.data_dir, quiet=self.quiet, **self._clicks, **options)
        self.dataset = data.dataset
        self.settings["dataset"] = data.dataset["name"]
        return data


class OnRankings(SectionRun):
    """The base of runs that are tested by ranking. It loads the data.

    Parameters
    ----------
    split : which item of each user is held out
    cutoff : further cutoffs k of the metrics
    name, settings, options : as in ``SectionRun``

    Attribute ``data`` is what ``load_ranking_ml100k`` returns. Raises what that function raises.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        split: TimeSplit,
        cutoff: List[int],
        **options: Any,
    ) -> None:
        super().__init__(name, {"split": split, **settings, "cutoff": list(cutoff)}, **options)
        self.data = load_ranking_ml100k(self.data_dir, split)
        self._ids = RatingIds.consecutive(*self.data.sizes)


class DataRun(SectionRun):
    """The run of a section that describes a data set."""

    def finish(
        self,
        statistics: Mapping[str, float],
        figure: Figure,
        *,
        compares: bool = False,
        more: Mapping[str, Any] = {},
    ) -> Dict[str, Any]:
        """Write ``result.json`` and the figure; return the result.

        ``statistics`` are its numbers; printed and defined are the same. ``more`` are further keys
        of the result. ``compares`` says whether the book reports these numbers. Raises OutputError
        if the files cannot be written.
        """
        return self._leave(
            Scores(printed=dict(statistics), defined=dict(statistics)),
            lambda result: figure,
            {},
            seconds={"total": time.perf_counter() - self._started},
            compares=compares,
            more=more,
        )


class ClickDataRun(OnClicks, DataRun):
    """The run of a section that describes a data set of clicks."""

    def load_data(self, **options: Any) -> CTRData:
        """Load the clicks as ``OnClicks.load_data`` does, and make the folder for the results."""
        data = super().load_data(**options)
        self.settings["min_threshold"] = self._clicks["min_threshold"]
        self.data_loaded()
        return data
