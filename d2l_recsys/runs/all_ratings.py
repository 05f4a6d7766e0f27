"""Runs that learn from all ratings, as a tutorial does: no test. This file needs no MXNet."""

import time
from typing import Any, Dict, Mapping

from matplotlib.figure import Figure

from d2l_recsys.data import load_all_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.runs.closed_form_run import FittedRun
from d2l_recsys.runs.section_run import SectionRun
from d2l_recsys.saved_models import MODEL, TrainedModel, model_bytes
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.settings import Scores


class OnAllRatings(SectionRun):
    """The base of runs on all ratings. It loads the data.

    Attribute ``data`` is what ``load_all_ml100k`` returns. Raises what that function raises, and
    SettingError if the setting ``user`` is not the id of a user.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(name, settings, **options)
        self.data = load_all_ml100k(self.data_dir)
        self._ids = RatingIds.consecutive(*self.data.sizes)
        if settings.get("user", 1) > self.data.num_users:
            raise SettingError(
                f"--user is {settings['user']}; the data has users 1 to {self.data.num_users}"
            )


class AllRatingsClosedFormRun(FittedRun, OnAllRatings):
    """One run of a closed form on all ratings."""

    def trained(self, model: Any) -> TrainedModel:
        """``model`` with the name of this run and the ids of the data."""
        return TrainedModel(self.name, model, model.numbers, self._ids)

    def finish(self, model: Any, numbers: Mapping[str, float], figure: Figure) -> Dict[str, Any]:
        """Write ``result.json`` with ``numbers``, the figure and the model; return the result.

        Raises OutputError if the files cannot be written.
        """
        self.say(", ".join(f"{name.replace('_', ' ')} {v:.3f}" for name, v in numbers.items()))
        return self._leave(
            Scores(dict(numbers), dict(numbers)),
            lambda result: figure,
            {MODEL: model_bytes(self.trained(model))},
            seconds={"train": self._seconds_train, "total": time.perf_counter() - self._started},
        )
