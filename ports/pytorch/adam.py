"""MXNet's Adam, which differs from ``torch.optim.Adam``."""

from typing import Mapping

import torch
from torch import Tensor, nn


class Adam:
    """Adam as in ``gluon.Trainer``, for a loss that is summed over the examples of a batch.

    Two things differ from ``torch.optim.Adam``. First, the gradient of the sum is divided by the
    number of examples n; only then weight decay is added. Second, epsilon is added to the square
    root of v before the bias of v is corrected; PyTorch corrects the bias first. A step t is:

        g = gradient / n + wd w
        m = beta1 m + (1 - beta1) g              v = beta2 v + (1 - beta2) g^2
        w = w - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    In the first steps MXNet's epsilon therefore has up to 1 / sqrt(1 - beta2) = 32 times the effect
    of PyTorch's.

    Every step updates every weight. The rows of a table that are not in the batch get weight decay
    as well, and their momentum moves them further.

    The constructor makes the parameters of ``net`` views of one flat tensor; the moments are flat
    tensors, too. So a step takes a few operations on all weights together, and the number of
    parameters does not matter.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float,
        wd: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.lr, self.wd = lr, wd
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.parameters = dict(net.named_parameters())
        self.weights = self._flat({name: p.detach() for name, p in self.parameters.items()})
        self.means, self.variances = (torch.zeros_like(self.weights) for _ in range(2))
        self.steps = 0
        sizes = [p.numel() for p in self.parameters.values()]
        for p, part in zip(self.parameters.values(), self.weights.split(sizes)):
            p.data = part.view_as(p)

    def _flat(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([tensors[name].flatten() for name in self.parameters])

    def set_moments(
        self, means: Mapping[str, Tensor], variances: Mapping[str, Tensor], steps: int
    ) -> None:
        """Set the moments by parameter name, and the number of steps done so far."""
        self.means, self.variances, self.steps = self._flat(means), self._flat(variances), steps

    @torch.no_grad()
    def step(self, num_examples: int) -> None:
        """One step with the gradients of a loss that is summed over the examples; clears them."""
        self.steps += 1
        correction = (1 - self.beta2**self.steps) ** 0.5 / (1 - self.beta1**self.steps)
        g = self._flat({name: p.grad for name, p in self.parameters.items()})
        g.div_(num_examples).add_(self.weights, alpha=self.wd)
        self.means.lerp_(g, 1 - self.beta1)
        self.variances.mul_(self.beta2).addcmul_(g, g, value=1 - self.beta2)
        deviation = self.variances.sqrt().add_(self.epsilon)
        self.weights.addcdiv_(self.means, deviation, value=-self.lr * correction)
        for p in self.parameters.values():
            p.grad = None
