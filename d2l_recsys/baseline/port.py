"""What a port has to offer to be checked: one class, a page long.

A module, or a package, with a class ``Port`` like the one below is checked by
``d2l-recsys baseline check MODULE``. Arrays are numpy's, in and out; all ids count from 0. Where a
port lacks a method, its rung has no answer, and that is no pass.

What each model is given and has to answer is in ``docs/porting.md``.
"""

from typing import Any, Dict, Mapping, Optional, Protocol

import numpy as np

Arrays = Dict[str, np.ndarray]


class Port(Protocol):
    """One of ``mf autorec neumf caser fm deepfm`` in another framework.

    ``protocol`` is ``printed`` or ``defined``: what the chapter's code computes, or what its
    equations say.
    """

    def __init__(self, model: str, protocol: str) -> None: ...

    def data(self, given: Mapping[str, np.ndarray]) -> Arrays:
        """Rung 0: ratings or clicks, split and turned into the arrays that training reads."""

    def batches(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Rung 0: the rows of the full batches of several epochs whose orders are given."""

    def metrics(self, given: Mapping[str, np.ndarray]) -> Dict[str, float]:
        """Rung 1: the numbers of the protocol from given scores and losses."""

    def set_state(
        self,
        settings: Mapping[str, Any],
        parameters: Arrays,
        means: Optional[Arrays] = None,
        variances: Optional[Arrays] = None,
        steps: int = 0,
    ) -> None:
        """Before rungs 2 to 5: weights by name, and Adam's moments after so many steps, if any.

        ``settings`` have the sizes of the tables, the learning rate ``lr`` and the weight decay
        ``wd``.
        """

    def forward(self, batch: Arrays) -> np.ndarray:
        """Rung 2: what the net gives for a batch, without dropout.

        Ratings or scores, (n,); AutoRec's rows completed, (n, row_length); of FM and DeepFM
        probabilities as printed, log odds as defined, (n,).
        """

    def loss(self, batch: Arrays) -> float:
        """Rung 3: the loss, summed over the examples of a batch."""

    def gradients(self, batch: Arrays) -> Arrays:
        """Rung 3: the gradients of that sum by the parameters' names; without weight decay."""

    def step(self, batch: Arrays) -> None:
        """Rungs 4 and 5: one step of training on a batch, without dropout."""

    def parameters(self) -> Arrays:
        """Rungs 4 and 5: the weights as they are now."""

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        """Rung 6: first weights, drawn as training draws them."""

    def negatives(self, given: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        """Rung 6, NeuMF and Caser: an item drawn for each of the given users, (n,)."""

    def train(
        self, given: Mapping[str, np.ndarray], settings: Mapping[str, Any], seed: int
    ) -> Dict[str, Dict[str, float]]:
        """Rung 6: train from the beginning to the end, and the numbers ``printed`` and ``defined``.

        ``given`` is as in rung 0, ``settings`` are the chapter's.
        """
