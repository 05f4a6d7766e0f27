"""DeepFM (section 15.10).

A factorization machine and an MLP read the same embeddings of the features. The factorization
machine sums over pairs of features, as in section 15.9. The MLP reads the concatenated embeddings,
in the order of the fields, and returns one number (eq. 15.10.1-2). The logit of a click is the sum
of both outputs (eq. 15.10.3):

    z_0 = [v_1; ...; v_f]        z_l = relu(W_l z_(l-1) + b_l)
    y_hat = y_hat_FM + W z_last + b
"""

from typing import Sequence

import torch
from torch import Tensor, nn

from .fm import fm_interaction


class DeepFM(nn.Module):
    """Logits of clicks, (n,), from feature ids, (n, fields), that are unique across the fields.

    ``mlp_dims`` are the widths of the relu layers. Dropout follows each of these layers.
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
        """The logits (n,); the chapter's net returns the sigmoid of the logits."""
        v = self.embedding(features)
        linear = self.linear_layer(self.fc(features).sum(dim=1)).squeeze(1)
        z = v.flatten(1)
        *hidden, last = self.mlp
        for layer in hidden:
            z = self.dropout(torch.relu(layer(z)))
        return linear + fm_interaction(v) + last(z).squeeze(1)
