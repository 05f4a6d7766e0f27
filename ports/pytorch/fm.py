"""Factorization machines (section 15.9).

An example has one feature for each field. The logit of a click adds a weight w_i for each feature
and, for each pair of features, the inner product of their factors (eq. 15.9.1):

    y_hat = w_0 + w . sum over i of w_i + sum over pairs i < j of <v_i, v_j>

The chapter's code has the factor w, because it applies a dense layer to the sum; the equation does
not have it. The sum over pairs takes only linear time in the number of features (eq. 15.9.2): for
each factor it is half the difference between the square of the sum and the sum of the squares.
"""

from typing import Sequence

from torch import Tensor, nn


def fm_interaction(v: Tensor) -> Tensor:
    """The sum of the inner products of all pairs of fields: (n, fields, k) to (n,)."""
    return (v.sum(dim=1) ** 2 - (v**2).sum(dim=1)).sum(dim=1) / 2


class FM(nn.Module):
    """Logits of clicks, (n,), from feature ids, (n, fields), that are unique across the fields.

    ``field_dims`` has the number of features of each field.
    """

    def __init__(self, field_dims: Sequence[int], num_factors: int) -> None:
        super().__init__()
        num_features = int(sum(field_dims))
        self.embedding = nn.Embedding(num_features, num_factors)
        self.fc = nn.Embedding(num_features, 1)
        self.linear_layer = nn.Linear(1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """The logits (n,); the chapter's net returns the sigmoid of the logits."""
        linear = self.linear_layer(self.fc(features).sum(dim=1)).squeeze(1)
        return linear + fm_interaction(self.embedding(features))
