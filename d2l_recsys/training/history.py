"""The history of a training run: its losses, metrics and times, one row per epoch."""

import io
import math
import os
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import pandas as pd

from d2l_recsys.sections.registry import Kind
from d2l_recsys.settings import Protocol, Scores
from d2l_recsys.storage.files import content_of

# The columns that every row has.
EVERY_ROW = frozenset(
    ("epoch", "examples", "seconds_train", "seconds_evaluate", "curve_train_loss")
)


class Curve(NamedTuple):
    """The lines in the figure of a section: their names, their metrics, the limits of the y axis.

    ``loss`` is the name of the training loss in the section's result line.
    """

    legend: Tuple[str, ...]
    metrics: Tuple[str, ...]
    ylim: Tuple[float, Optional[float]]
    loss: str = "train loss"


RATING_CURVE = Curve(("train loss", "test RMSE"), ("train_loss", "test_rmse"), (0, 2))
RANKING_CURVE = Curve(("test hit rate", "test AUC"), ("test_hit_rate", "test_auc"), (0, 1))
CTR_CURVE = Curve(
    ("train loss", "train acc", "test acc"), ("train_loss", "train_acc", "test_acc"), (0, 1), "loss"
)
SESSION_CURVE = Curve(("test hit rate", "test MRR"), ("test_hit_rate", "test_mrr"), (0, 1))
LOSS_CURVE = Curve(("train loss",), ("train_loss",), (0, None))
CURVES = {
    Kind.ratings: RATING_CURVE,
    Kind.ranking: RANKING_CURVE,
    Kind.clicks: CTR_CURVE,
    Kind.sessions: SESSION_CURVE,
    Kind.all_ratings: LOSS_CURVE,
}


class History:
    """The rows of one training run, in the order of its epochs.

    Each row has ``epoch`` (from 1), ``examples`` (the number of training examples),
    ``seconds_train`` and ``seconds_evaluate`` (wall time), and ``curve_train_loss`` (the training
    loss that the chapter draws, ``TrainLoss.curve``). A row also has the numbers of both protocols,
    as ``printed_NAME`` and ``defined_NAME``. Only epochs with an evaluation have test metrics. The
    chapter's ``Timer`` keeps only the seconds of training.
    """

    def __init__(self) -> None:
        self.rows: List[Dict[str, float]] = []

    def append(
        self,
        scores: Scores,
        *,
        examples: int,
        seconds_train: float,
        seconds_evaluate: float,
        curve_train_loss: float,
    ) -> None:
        """Add the row of the next epoch."""
        row: Dict[str, float] = {
            "epoch": len(self.rows) + 1,
            "examples": examples,
            "seconds_train": seconds_train,
            "seconds_evaluate": seconds_evaluate,
            "curve_train_loss": curve_train_loss,
        }
        for protocol, numbers in zip(Scores._fields, scores):
            row.update({f"{protocol}_{name}": value for name, value in numbers.items()})
        self.rows.append(row)

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def from_csv(cls, path: Union[str, "os.PathLike[str]"]) -> "History":
        """Read the history in a file ``history.csv``.

        Empty cells, such as the test metrics of an epoch without evaluation, are left out of the
        rows. Raises OSError or ValueError if the file cannot be read.
        """
        history = cls()
        frame = pd.read_csv(
            io.BytesIO(content_of(path)), float_precision="round_trip", low_memory=False
        )
        for name in sorted(EVERY_ROW):
            if name not in frame or frame[name].isna().any():
                raise ValueError(f"the column {name} is missing or has empty cells")
        for name, kind in frame.dtypes.items():
            if kind not in (np.int64, np.float64):
                raise ValueError(f"the column {name[:40]!r} has values that are not numbers")
        if frame["epoch"].tolist() != list(range(1, len(frame) + 1)):
            raise ValueError("the epochs are not 1, 2, and so on")
        for row in frame.to_dict("records"):
            history.rows.append({name: value for name, value in row.items() if pd.notna(value)})
        return history

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a data frame, one column per name."""
        return pd.DataFrame(self.rows)

    def csv(self) -> bytes:
        """The bytes of ``history.csv``."""
        return self.frame.to_csv(index=False).encode("utf-8")

    @property
    def final(self) -> Scores:
        """The latest value of each number.

        Without an evaluation in the last epoch, the test metrics come from an earlier one.
        """
        latest = {name: value for row in self.rows for name, value in row.items()}
        return Scores(
            *(
                {
                    name[len(protocol) + 1 :]: value
                    for name, value in latest.items()
                    if name.startswith(protocol + "_")
                }
                for protocol in Scores._fields
            )
        )

    def curve(self, protocol: str, metrics: Tuple[str, ...]) -> List[Tuple[float, ...]]:
        """The values of ``metrics`` in each epoch; a missing value is NaN.

        For ``printed``, the training loss is the one that the chapter draws. It differs from the
        one that the chapter prints.
        """
        name = Protocol(protocol).value
        columns = [f"{name}_{metric}" for metric in metrics]
        if name == "printed":
            columns = [c.replace("printed_train_loss", "curve_train_loss") for c in columns]
        return [tuple(row.get(column, math.nan) for column in columns) for row in self.rows]

    def total(self, column: str) -> float:
        """The sum of ``column`` over all epochs."""
        return sum(row[column] for row in self.rows)

    @property
    def examples_per_second(self) -> float:
        """Training examples per second of training wall time."""
        return self.total("examples") / self.total("seconds_train")
