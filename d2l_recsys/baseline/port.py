"""The methods that a port needs so that the check can ask it questions.

``d2l-recsys baseline check MODULE`` checks a module or package that has a class ``Port`` like the
one below. Arguments and results are numpy arrays. Ids count from 0, except in ``ratings``. If a
port lacks a method, the rung that needs this method has no answer, and the check does not pass.

``docs/porting.md`` lists the arrays that each model is given and the arrays that it returns.
"""

from typing import Any, Dict, Mapping, Optional, Protocol, Sequence

import numpy as np

Arrays = Dict[str, np.ndarray]


class Port(Protocol):
    """One model of the chapter in another framework.

    ``model`` is one of ``mf autorec neumf caser fm deepfm``. ``protocol`` is ``printed`` (what the
    chapter's code computes) or ``defined`` (what its equations say). If the question is about a
    variant of the model, the ``settings`` have one more entry, for example ``head``.
    """

    def __init__(self, model: str, protocol: str) -> None: ...

    def data(self, given: Mapping[str, np.ndarray]) -> Arrays:
        """Rung 0: split the ratings or encode the clicks; returns the arrays for training."""

    def batches(self, given: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Rung 0: the row numbers of each batch, in order, of several epochs.

        A right port has only full batches, so its answer can be one array (batches, batch_size).
        """

    def metrics(self, given: Mapping[str, np.ndarray]) -> Dict[str, float]:
        """Rung 1: the metrics of the protocol by name, from given scores and losses."""

    def set_state(
        self,
        settings: Mapping[str, Any],
        parameters: Arrays,
        means: Optional[Arrays] = None,
        variances: Optional[Arrays] = None,
        steps: int = 0,
    ) -> None:
        """Set the weights and the state of Adam; the check calls this first on rungs 2 to 5.

        ``parameters``, ``means`` and ``variances`` have the same names. The means and variances
        are Adam's moments after ``steps`` steps; None stands for zeros. ``settings`` has the sizes
        of the tables and layers, the learning rate ``lr`` and, except for FM and DeepFM, the
        weight decay ``wd``.
        """

    def forward(self, batch: Arrays) -> np.ndarray:
        """Rung 2: the outputs of the net for a batch, without dropout.

        MF returns ratings (n,). AutoRec returns completed rows (n, row_length). NeuMF and Caser
        return scores (n,). FM and DeepFM return probabilities (n,) if the protocol is printed and
        logits (n,) if it is defined.
        """

    def loss(self, batch: Arrays) -> float:
        """Rung 3: the loss, summed over the examples of a batch, without weight decay."""

    def gradients(self, batch: Arrays) -> Arrays:
        """Rung 3: the gradients of this sum by parameter name, without weight decay."""

    def step(self, batch: Arrays) -> None:
        """Rungs 4 and 5: one optimizer step on a batch, without dropout."""

    def parameters(self) -> Arrays:
        """Rungs 4 and 5: the current weights by name."""

    def training_outputs(self, batch: Arrays, seed: int) -> np.ndarray:
        """Rung 7: the outputs of the net as ``forward`` returns them, but in training.

        Dropout is on, and draws for each example on its own.
        """

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        """Rung 6: first weights by name, drawn as at the start of training."""

    def negatives(self, given: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        """Rung 6, NeuMF and Caser: one negative item for each of ``given["users"]``, (n,)."""

    def train(
        self, given: Mapping[str, np.ndarray], settings: Mapping[str, Any], seed: int
    ) -> Dict[str, Dict[str, float]]:
        """Rung 6: train the model completely; returns its metrics by protocol and name.

        ``given`` has the ratings or clicks of MovieLens-100K as on rung 0. ``settings`` has the
        settings of the chapter, without the sizes of the tables.
        """
