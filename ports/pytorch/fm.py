"""Factorization machines (section 15.9).

The features of an impression are one value for each field. The log odds of a click are a number
for each feature, and for each pair of features how well their factors agree (eq. 15.9.1):

    y_hat = w_0 + w . sum over i of w_i + sum over pairs i < j of <v_i, v_j>

where the factor w is one that the chapter's code has, a dense layer behind the sum, and its
equation has not. The pairs take no longer than the features (eq. 15.9.2): each number of the
factors adds half of what the square of its sum exceeds the sum of its squares by.
"""

from typing import Sequence

from torch import Tensor, nn


def fm_interaction(v: Tensor) -> Tensor:
    """Inner products of all pairs of factors, summed: (n, fields, k) to (n,)."""
    return (v.sum(dim=1) ** 2 - (v**2).sum(dim=1)).sum(dim=1) / 2


class FM(nn.Module):
    """Called with features numbered through all fields, (n, fields); returns log odds, (n,).

    ``field_dims`` are the numbers of features of the fields.
    """

    def __init__(self, field_dims: Sequence[int], num_factors: int) -> None:
        super().__init__()
        num_features = int(sum(field_dims))
        self.embedding = nn.Embedding(num_features, num_factors)
        self.fc = nn.Embedding(num_features, 1)
        self.linear_layer = nn.Linear(1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Log odds of a click; the chapter's net returns their sigmoid."""
        linear = self.linear_layer(self.fc(features).sum(dim=1)).squeeze(1)
        return linear + fm_interaction(self.embedding(features))
