"""What training measured, one row per epoch."""

import math
import os
from typing import Dict, List, NamedTuple, Tuple, Union

import numpy as np
import pandas as pd

from d2l_recsys.settings import Protocol, Scores

# The columns that no row lacks.
EVERY_ROW = frozenset(
    ("epoch", "examples", "seconds_train", "seconds_evaluate", "curve_train_loss")
)


class Curve(NamedTuple):
    """What a section's figure draws for each epoch: names for the eye, metrics, limits.

    ``loss`` is what the section's result line calls the training loss.
    """

    legend: Tuple[str, ...]
    metrics: Tuple[str, ...]
    ylim: Tuple[float, float]
    loss: str = "train loss"


RATING_CURVE = Curve(("train loss", "test RMSE"), ("train_loss", "test_rmse"), (0, 2))
RANKING_CURVE = Curve(("test hit rate", "test AUC"), ("test_hit_rate", "test_auc"), (0, 1))
CTR_CURVE = Curve(
    ("train loss", "train acc", "test acc"), ("train_loss", "train_acc", "test_acc"), (0, 1), "loss"
)


class History:
    """Rows of one training run, in order of epochs.

    Each row has ``epoch`` (from 1), ``examples`` (training samples), ``seconds_train`` and
    ``seconds_evaluate`` (wall time), ``curve_train_loss`` (the training loss as the chapter draws
    it, ``TrainLoss.curve``), and the numbers of both protocols as ``printed_NAME`` and
    ``defined_NAME``; those of the test set only in the epochs that were evaluated.
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
        """The history in a ``history.csv``. Raises OSError or ValueError where it cannot be read.

        What stood empty there, such as the test metrics of an epoch without evaluation, is left out
        here as well.
        """
        history = cls()
        frame = pd.read_csv(path, float_precision="round_trip", low_memory=False)
        for name in sorted(EVERY_ROW):
            if name not in frame or frame[name].isna().any():
                raise ValueError(f"it has no column {name}, or gaps there")
        for name, kind in frame.dtypes.items():
            if kind not in (np.int64, np.float64):
                raise ValueError(f"the column {name[:40]!r} has values that are not numbers")
        if frame["epoch"].tolist() != list(range(1, len(frame) + 1)):
            raise ValueError("its epochs are not 1, 2, and so on")
        for row in frame.to_dict("records"):
            history.rows.append({name: value for name, value in row.items() if pd.notna(value)})
        return history

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a frame."""
        return pd.DataFrame(self.rows)

    def csv(self) -> bytes:
        """The rows as they stand in ``history.csv``."""
        return self.frame.to_csv(index=False).encode("utf-8")

    @property
    def final(self) -> Scores:
        """The latest of each number: the last epoch's, where that one was evaluated."""
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
        """The values of ``metrics`` in each epoch; NaN where an epoch lacks one.

        The printed training curve is the one the chapter draws, which is not the loss it prints.
        """
        name = Protocol(protocol).value
        columns = [f"{name}_{metric}" for metric in metrics]
        if name == "printed":
            columns = [c.replace("printed_train_loss", "curve_train_loss") for c in columns]
        return [tuple(row.get(column, math.nan) for column in columns) for row in self.rows]

    def total(self, column: str) -> float:
        """The sum of ``column`` over epochs."""
        return sum(row[column] for row in self.rows)

    @property
    def examples_per_second(self) -> float:
        """Training samples over training wall time."""
        return self.total("examples") / self.total("seconds_train")
