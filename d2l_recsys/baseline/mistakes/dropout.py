"""Mistakes of rung 7: dropout in training and in evaluation."""

from typing import Tuple

import numpy as np

from d2l_recsys.baseline.mistakes.mistake import Mistaken, Mistakes
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.models import Outputs, keep
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()
WITH_DROPOUT = ("autorec", "caser", "deepfm")

# Rung 7


@MADE.add(7, WITH_DROPOUT, method="dropout")
def no_dropout(port: Port, units: np.ndarray) -> np.ndarray:
    """Dropout must be on in training. The port leaves it out."""
    return np.ones_like(units)


@MADE.add(7, WITH_DROPOUT)
class DropoutInEvaluation(Mistaken):
    """Dropout must be off in evaluation. The port does not leave the training mode."""

    def forward(self, batch: Arrays) -> np.ndarray:
        self.rng = getattr(self, "rng", np.random.default_rng(0))
        with self.dropping(self.dropout):
            return super().forward(batch)


@MADE.add(7, WITH_DROPOUT)
class KeptUnitsNotScaled(Mistaken):
    """Dropout must multiply the kept units by 1 / (1 - p). The port does not scale them."""

    def dropout(self, units: np.ndarray) -> np.ndarray:
        return self.kept(units.shape) * 1.0


@MADE.add(7, WITH_DROPOUT)
class UnitsScaledInEvaluation(KeptUnitsNotScaled):
    """Dropout must scale the kept units in training, and nothing in evaluation.

    The port multiplies all units by 1 - p in evaluation, and scales nothing in training.
    """

    def forward(self, batch: Arrays) -> np.ndarray:
        def scaled(units: np.ndarray) -> np.ndarray:
            return np.full(units.shape, 1 - self.share)

        with self.dropping(scaled if self.drop is keep else self.drop):
            return super().forward(batch)


@MADE.add(7, WITH_DROPOUT)
class ShareOfTheKeptUnits(Mistaken):
    """The option `dropout` must be the share of the units that are dropped.

    The port takes it as the share of the units that are kept.
    """

    @property
    def share(self) -> float:
        dropped = super().share
        # Without dropout nothing can be confused.
        return 1 - dropped if dropped else dropped


@MADE.add(7, ("autorec",), method="net")
def dropout_of_the_ratings(port: Port, batch: Arrays) -> Outputs:
    """Dropout must act on the hidden units. The port drops ratings of the input."""
    ratings = batch["ratings"] * port.drop(batch["ratings"])
    with port.dropping(keep):
        return port.net({**batch, "ratings": ratings})


@MADE.add(7, ("caser",), method="dropout")
def dropout_of_the_vertical_features_only(port: Port, units: np.ndarray) -> np.ndarray:
    """Dropout must act on all features of the sequence.

    The port drops only features of the vertical filters.
    """
    vertical = port.settings["d_prime"] * port.settings["num_factors"]
    factors = np.ones_like(units)
    factors[:, :vertical] = port.dropout(units[:, :vertical])
    return factors


@MADE.add(7, ("deepfm",))
class DropoutAfterTheFirstLayerOnly(Mistaken):
    """Dropout must act after every hidden layer. The port drops only units of the first layer."""

    def net(self, batch: Arrays) -> Outputs:
        self.is_first = True
        return super().net(batch)

    def dropout(self, units: np.ndarray) -> np.ndarray:
        is_first, self.is_first = self.is_first, False
        return super().dropout(units) if is_first else np.ones_like(units)


@MADE.add(7, WITH_DROPOUT)
class OneMaskForAllExamples(Mistaken):
    """Each example must have its own mask. The port drops the same units in all examples."""

    def kept(self, shape: Tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(super().kept((1, *shape[1:])), shape)
