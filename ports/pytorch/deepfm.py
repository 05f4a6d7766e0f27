"""DeepFM (section 15.10).

A factorization machine and a network read the same factors of an impression's features. The one
sums over pairs, as in section 15.9; the other takes the factors side by side, in the order of the
fields, through relu layers to one number (eq. 15.10.1-2). The log odds of a click are the sum of
both (eq. 15.10.3):

    z_0 = [v_1; ...; v_f]        z_l = relu(W_l z_(l-1) + b_l)
    y_hat = y_hat_FM + W z_last + b
"""

from typing import Sequence

import torch
from torch import Tensor, nn

from .fm import fm_interaction


class DeepFM(nn.Module):
    """Called with features numbered through all fields, (n, fields); returns log odds, (n,).

    ``mlp_dims`` are the widths of the relu layers, each followed by dropout.
    """

    def __init__(
        self,
        field_dims: Sequence[int],
        num_factors: int,
        mlp_dims: Sequence[int],
        drop_rate: float = 0.1,
    ) -> None:
        super().__init__()
        num_features = int(sum(field_dims))
        self.embedding = nn.Embedding(num_features, num_factors)
        self.fc = nn.Embedding(num_features, 1)
        self.linear_layer = nn.Linear(1, 1)
        widths = [len(field_dims) * num_factors, *mlp_dims, 1]
        self.mlp = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, features: Tensor) -> Tensor:
        """Log odds of a click; the chapter's net returns their sigmoid."""
        v = self.embedding(features)
        linear = self.linear_layer(self.fc(features).sum(dim=1)).squeeze(1)
        z = v.flatten(1)
        *hidden, last = self.mlp
        for layer in hidden:
            z = self.dropout(torch.relu(layer(z)))
        return linear + fm_interaction(v) + last(z).squeeze(1)
