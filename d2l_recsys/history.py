"""What training measured, one row per epoch."""

import math
from typing import Dict, List, Tuple

import pandas as pd

from d2l_recsys.metrics import Scores
from d2l_recsys.settings import Protocol

__all__ = ["History"]


class History:
    """Rows of one training run, in order of epochs.

    Each row has ``epoch`` (from 1), ``examples`` (training samples), ``seconds_train`` and
    ``seconds_evaluate`` (wall time), ``curve_train_loss`` (the mean over batches of the batch's
    mean loss, which the chapter draws), and the numbers of both protocols as ``printed_NAME`` and
    ``defined_NAME``.
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

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a frame."""
        return pd.DataFrame(self.rows)

    def csv(self) -> bytes:
        """The rows as they stand in ``history.csv``."""
        return self.frame.to_csv(index=False).encode("utf-8")

    @property
    def final(self) -> Scores:
        """The last epoch's numbers."""
        last = self.rows[-1]
        return Scores(
            *(
                {
                    key[len(protocol) + 1 :]: value
                    for key, value in last.items()
                    if key.startswith(protocol + "_")
                }
                for protocol in Scores._fields
            )
        )

    def curve(self, protocol: str, metric: str) -> List[Tuple[float, float]]:
        """What the section's figure draws: (train loss, ``metric``) of each epoch.

        The printed training curve is the one the chapter draws, which is not the loss it prints.
        """
        name = Protocol(protocol).value
        loss = "curve_train_loss" if name == "printed" else "defined_train_loss"
        return [(row[loss], row.get(f"{name}_{metric}", math.nan)) for row in self.rows]

    def total(self, column: str) -> float:
        """The sum of ``column`` over epochs."""
        return sum(row[column] for row in self.rows)

    @property
    def examples_per_second(self) -> float:
        """Training samples over training wall time."""
        return self.total("examples") / self.total("seconds_train")
