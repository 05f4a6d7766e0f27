"""The run of a system that is computed, not trained: from its options to its files; no MXNet."""

import pathlib
import time
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import numpy as np

from d2l_recsys.closed_form import ClosedForm
from d2l_recsys.data import dataset_ml100k, load_ranking_ml100k
from d2l_recsys.ids import RatingIds
from d2l_recsys.metrics import Scores
from d2l_recsys.plots import draw_hits, png
from d2l_recsys.ranking import HeldOut
from d2l_recsys.registry import HITS
from d2l_recsys.results import as_json, leave_files, make_result, prepare_folder
from d2l_recsys.saved_models import MODEL, TrainedModel, model_bytes
from d2l_recsys.scoring import all_scores
from d2l_recsys.seeds import seed_streams
from d2l_recsys.settings import Split, as_choice, check_settings
from d2l_recsys.threads import fixed_num_threads

__all__ = ["ClosedFormRun"]


class ClosedFormRun:
    """One run of a system in closed form, tested by ranking.

    Parameters
    ----------
    name : the system's, as in the registry
    split : ``seq-aware`` or ``validation``; what is held out of each user's items
    data_dir, out, quiet : as for every section
    cutoff : where else to cut the metrics off
    settings : the system's own numbers, checked against their ranges
    choices : what else sets this run apart
    seed : of a system that draws; None for one that does not

    It then has the ``data`` and the ``streams`` of the seed. Raises SettingError for an option out
    of range, DataError where there is no data, OutputError where the folder cannot be made.
    """

    def __init__(
        self,
        name: str,
        *,
        split: str,
        data_dir: Optional[pathlib.Path],
        out: Optional[pathlib.Path],
        quiet: bool,
        cutoff: Sequence[int],
        settings: Mapping[str, Any],
        choices: Optional[Mapping[str, str]] = None,
        seed: Optional[int] = None,
    ) -> None:
        self._started = time.perf_counter()
        self.name, self.seed, self.quiet = name, seed, quiet
        split = as_choice(Split, "split", split)
        check_settings(seed=seed or 0, cutoff=list(cutoff), **settings)
        self.settings = {**settings, "cutoff": list(cutoff), "split": split, **(choices or {})}
        self.streams = seed_streams(seed or 0)
        self.dataset = dataset_ml100k(data_dir)
        self.data = load_ranking_ml100k(data_dir, split)
        data = self.data
        self._held_out = HeldOut(data.test_items, data.candidates, data.num_users, data.num_items)
        self._folder = prepare_folder(out, name, seed)
        self._loaded = time.perf_counter()
        self._seconds_train = 0.0

    def fit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function(data, *arguments)`` returns; its time is that of training."""
        started = time.perf_counter()
        with fixed_num_threads():
            fitted = function(self.data, *arguments)
        self._seconds_train += time.perf_counter() - started
        return fitted

    def finish(
        self,
        model: ClosedForm,
        scores: Mapping[str, float] = {},
        files: Mapping[str, bytes] = {},
    ) -> Dict[str, Any]:
        """Rank with ``model`` and leave ``result.json``, the figure and the model; the result.

        ``scores`` are numbers of it beside those of its ranking, ``files`` more to leave. Unless
        ``quiet``, lines tell the numbers and name the files. Raises OutputError where the files
        cannot be written.
        """
        started = time.perf_counter()
        with fixed_num_threads():
            blocks = [self._held_out.ranks(*block) for block in all_scores(model, self.data)]
        ranking = self._held_out.scores(blocks, self.settings["cutoff"])
        evaluated = time.perf_counter()
        result = make_result(
            chapter=self.name,
            protocol="defined",
            seed=self.seed,
            scores=Scores(*({**part, **scores} for part in ranking)),
            reported={},
            dataset=self.dataset,
            settings=self.settings,
            seconds={
                "load": self._loaded - self._started,
                "train": self._seconds_train,
                "evaluate": evaluated - started,
                "total": evaluated - self._started,
            },
        )
        ids = RatingIds.consecutive(self.data.num_users, self.data.num_items)
        ranks = np.concatenate([block.rank for block in blocks])
        title = f"{self.dataset['name']}, not the chapter's data" * self.dataset["substitute"]
        left = {
            HITS: png(draw_hits({self.name: ranks}, self.data.num_items, title)),
            MODEL: model_bytes(TrainedModel(self.name, model, model.numbers, ids)),
            **files,
            "result.json": as_json(result),
        }
        if not self.quiet:
            numbers = result["defined"]
            shown = [f"test {n} {numbers[f'test_{n}']:.3f}" for n in ("ndcg", "mrr")]
            shown += [f"test hit rate {numbers['test_hit_rate']:.3f}"]
            shown += [f"test AUC {numbers['test_auc']:.3f}"]
            print(", ".join(shown))
        leave_files(self._folder, left, self.dataset, self.quiet)
        return result
