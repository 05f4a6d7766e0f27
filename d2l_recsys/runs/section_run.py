"""What the run of every section does besides its section; no MXNet."""

import enum
import pathlib
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from matplotlib.figure import Figure

from d2l_recsys.data import CTRData, load_data_ctr, load_ranking_ml100k
from d2l_recsys.runs.plots import png
from d2l_recsys.runs.results import leave_files, make_result, reported_numbers
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.seeds import seed_streams
from d2l_recsys.settings import ClickDataset, Protocol, Scores, TimeSplit
from d2l_recsys.storage.files import as_json, prepare_folder


class SectionRun:
    """One run of a section, from its options to its files: the base of all kinds of runs.

    Parameters
    ----------
    name : the section's, as in the registry
    settings : the section's own options, as ``result.json`` will have them
    data_dir, out, quiet, seed : the options of that name; ``seed`` is None where nothing is drawn

    It has the ``streams`` of the seed, and ``dataset``, which describes the data.
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
    ) -> None:
        self._started = time.perf_counter()
        self.name, self.seed = name, seed
        self.data_dir, self.out, self.quiet = data_dir, out, quiet
        # Numbers stand first in a result, then choices.
        ordered = sorted(settings.items(), key=lambda item: isinstance(item[1], enum.Enum))
        self.settings = {n: list(v) if isinstance(v, tuple) else v for n, v in ordered}
        self.streams = seed_streams(seed or 0)
        self.dataset: Dict[str, Any] = {}

    def say(self, line: str) -> None:
        """Print a line, unless the run is quiet."""
        if not self.quiet:
            print(line)

    def data_loaded(self, dataset: Optional[Mapping[str, Any]] = None) -> None:
        """Note the time, and make the folder for the results before they cost any.

        ``dataset`` describes the data, where the run does not know it yet. Raises OutputError where
        the folder cannot be made.
        """
        if dataset is not None:
            self.dataset = dict(dataset)
        self._folder = prepare_folder(self.out, self.name, self.seed)
        self._loaded = time.perf_counter()

    @property
    def title(self) -> str:
        """What stands above a figure: a warning where the data is not the chapter's, or nothing."""
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
        """Leave ``result.json``, the figure that ``draw(result)`` makes, and ``files``; the result.

        ``compares`` says whether the chapter reports numbers of what was run: if not, none are
        quoted. ``seconds`` has the phases after loading, ``more`` what stands in the result beside
        what all have, ``measured`` further arguments of ``make_result``. Raises OutputError where
        the files cannot be written.
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
        leave_files(self._folder, left, self.dataset, self.quiet)
        return result


class OnClicks(SectionRun):
    """What the runs of sections on clicks have in common: the options that say which clicks.

    Parameters
    ----------
    dataset, strict, min_threshold : the options of that name
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
        """The clicks in batches; from here on the run can tell which they are.

        ``options`` are further ones of ``load_data_ctr``, whose errors are raised.
        """
        data = load_data_ctr(data_dir=self.data_dir, quiet=self.quiet, **self._clicks, **options)
        self.dataset = data.dataset
        self.settings["dataset"] = data.dataset["name"]
        return data


class OnRankings(SectionRun):
    """What the runs of systems that are tested by ranking have in common: options, and the data.

    Parameters
    ----------
    split : what is held out of each user's items
    cutoff : where else to cut the metrics off
    name, settings, options : as in ``SectionRun``

    It has the ``data``. Raises what ``load_ranking_ml100k`` raises.
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
    """The run of a section that describes data."""

    def finish(
        self,
        statistics: Mapping[str, float],
        figure: Figure,
        *,
        compares: bool = False,
        more: Mapping[str, Any] = {},
    ) -> Dict[str, Any]:
        """Leave ``result.json`` and the figure; return the result.

        ``statistics`` are its numbers, printed and defined alike, ``more`` what else stands in it.
        ``compares`` says whether the chapter reports them. Raises OutputError where the files
        cannot be written.
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
    """The run of a section that describes clicks."""

    def load_data(self, **options: Any) -> CTRData:
        """As ``OnClicks.load_data``; the folder for the results is there by then."""
        data = super().load_data(**options)
        self.settings["min_threshold"] = self._clicks["min_threshold"]
        self.data_loaded()
        return data
