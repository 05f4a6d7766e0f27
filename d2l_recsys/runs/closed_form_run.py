"""Runs of systems that are computed in closed form instead of trained; they need no MXNet."""

import math
import time
from typing import Any, Callable, Dict, Mapping

import numpy as np

from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.errors import DivergedError
from d2l_recsys.evaluation.scoring import all_scores
from d2l_recsys.hardware.threads import fixed_num_threads
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.ranking import HeldOut
from d2l_recsys.runs.plots import draw_hits
from d2l_recsys.runs.section_run import OnRankings, SectionRun
from d2l_recsys.saved_models import MODEL, TrainedModel, model_bytes
from d2l_recsys.settings import Scores


class FittedRun(SectionRun):
    """The base of runs that fit a model to ``data``, which a further base loads.

    Raises DataError if the data cannot be read, OutputError if the folder for the results cannot
    be made.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(name, settings, **options)
        self.data_loaded(dataset_ml100k(self.data_dir))
        self._seconds_train = 0.0

    def fit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``function(data, *arguments)``, and count its time as training."""
        started = time.perf_counter()
        with fixed_num_threads():
            fitted = function(self.data, *arguments)
        self._seconds_train += time.perf_counter() - started
        return fitted


class ClosedFormRun(FittedRun, OnRankings):
    """One run of a closed-form system, tested by ranking. Raises what its bases raise."""

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(name, settings, **options)
        self._held_out = HeldOut.of(self.data)

    def finish(
        self,
        model: ClosedForm,
        scores: Mapping[str, float] = {},
        files: Mapping[str, bytes] = {},
    ) -> Dict[str, Any]:
        """Rank the items with ``model``, write the files, and return the result.

        The files are ``result.json``, the figure, the model, and ``files``. ``scores`` are further
        numbers for the result. Unless the run is quiet, it prints the numbers and the names of the
        files. Raises OutputError if the files cannot be written, and DivergedError if a score is
        NaN.
        """
        started = time.perf_counter()
        with fixed_num_threads():
            blocks = [self._held_out.ranks(*block) for block in all_scores(model, self.data)]
        ranking = self._held_out.scores(blocks, self.settings["cutoff"])
        evaluated = time.perf_counter()
        numbers = ranking.defined
        if any(map(math.isnan, numbers.values())):
            raise DivergedError("the model's scores are not finite; choose other settings")
        names = {"ndcg": "ndcg", "mrr": "mrr", "hit_rate": "hit rate", "auc": "AUC"}
        self.say(
            ", ".join(f"test {shown} {numbers[f'test_{n}']:.3f}" for n, shown in names.items())
        )
        ranks = np.concatenate([block.rank for block in blocks])
        trained = TrainedModel(self.name, model, model.numbers, self._ids)
        return self._leave(
            Scores(*({**part, **scores} for part in ranking)),
            lambda result: draw_hits({self.name: ranks}, self.data.num_items, self.title),
            {MODEL: model_bytes(trained), **files},
            seconds={
                "train": self._seconds_train,
                "evaluate": evaluated - started,
                "total": evaluated - self._started,
            },
        )


class SeededClosedFormRun(ClosedFormRun):
    """The run of a closed-form system with a seed: it starts from random factors."""
