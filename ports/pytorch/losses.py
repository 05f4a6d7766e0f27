"""The losses that training minimizes. Each function returns one loss for each example, (n,)."""

import torch
from torch import Tensor
from torch.nn import functional


def l2_loss(predicted: Tensor, ratings: Tensor) -> Tensor:
    """Half the squared error, as in Gluon's ``L2Loss``."""
    return (predicted - ratings) ** 2 / 2


def autorec_loss(completed: Tensor, ratings: Tensor) -> Tensor:
    """``l2_loss`` of the observed ratings (eq. 15.4.2), divided by the length of the whole row."""
    return l2_loss(completed * (ratings > 0), ratings).mean(dim=1)


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """-ln sigmoid(positive - negative), eq. 15.5.2."""
    return -functional.logsigmoid(positive - negative)


def hinge_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """max(1 - (positive - negative), 0), eq. 15.5.3."""
    return torch.relu(1 - positive + negative)


def click_loss(log_odds: Tensor, labels: Tensor, protocol: str) -> Tensor:
    """The cross-entropy of clicks with a sigmoid inside.

    If the protocol is ``defined``, the sigmoid gets the logits. If it is ``printed``, the sigmoid
    gets the probabilities, as in the chapter's code: the loss applies a sigmoid to a sigmoid.
    """
    x = torch.sigmoid(log_odds) if protocol == "printed" else log_odds
    return functional.binary_cross_entropy_with_logits(x, labels, reduction="none")
