"""What training minimises: a loss for each example of a batch, (n,)."""

import torch
from torch import Tensor
from torch.nn import functional


def l2_loss(predicted: Tensor, ratings: Tensor) -> Tensor:
    """Half the squared error, as Gluon's ``L2Loss`` has it."""
    return (predicted - ratings) ** 2 / 2


def autorec_loss(completed: Tensor, ratings: Tensor) -> Tensor:
    """``l2_loss`` of observed ratings (eq. 15.4.2), over the length of the whole row."""
    return l2_loss(completed * (ratings > 0), ratings).mean(dim=1)


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """-ln sigmoid(positive - negative), eq. 15.5.2."""
    return -functional.logsigmoid(positive - negative)


def click_loss(log_odds: Tensor, labels: Tensor, protocol: str) -> Tensor:
    """Cross-entropy of a sigmoid: ``defined``, of the log odds.

    ``printed``, of the probability: as in the chapter, the loss takes the sigmoid of a sigmoid.
    """
    x = torch.sigmoid(log_odds) if protocol == "printed" else log_odds
    return functional.binary_cross_entropy_with_logits(x, labels, reduction="none")
