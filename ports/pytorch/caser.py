"""Caser (section 15.7).

The embeddings of the user's last L items, oldest first, are the rows of an image E, L x k
(eq. 15.7.1). Two kinds of convolutions read this image (eq. 15.7.2-3). A horizontal filter F has
the width of the image and 1 to L rows; it slides down, and the largest response is kept. A vertical
filter G is one column of weights; it adds up the rows with these weights:

    o = [max over t of relu(F . E[t : t + height] + c), ...]         L times d numbers
    o' = [G . E + c', ...]                                           d' times k numbers
    z = relu(W [o'; o] + b)

The vector z describes the recent items, and the embedding p_u describes the user's general taste.
The score of item i uses both (eq. 15.7.4):

    y_hat[u, i] = v_i . [z; p_u] + b_i
"""

import torch
from torch import Tensor, nn


class Caser(nn.Module):
    """Scores n pairs of a user and a next item, given the last L items of the user.

    ``d`` is the number of horizontal filters of each height, ``d_prime`` the number of vertical
    filters.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        L: int = 5,
        d: int = 16,
        d_prime: int = 4,
        drop_ratio: float = 0.05,
    ) -> None:
        super().__init__()
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.conv_v = nn.Conv2d(1, d_prime, (L, 1))
        self.conv_h = nn.ModuleList(
            nn.Conv2d(1, d, (height, num_factors)) for height in range(1, L + 1)
        )
        self.fc = nn.Linear(d_prime * num_factors + d * L, num_factors)
        self.Q_prime = nn.Embedding(num_items, 2 * num_factors)
        self.b = nn.Embedding(num_items, 1)
        self.dropout = nn.Dropout(drop_ratio)

    def view(self, user_id: Tensor, seq: Tensor) -> Tensor:
        """[z; p_u], the part of the score that does not depend on the next item, (n, 2 k)."""
        E = self.Q(seq).unsqueeze(1)
        o_prime = self.conv_v(E).flatten(1)
        o = [torch.relu(conv(E)).flatten(2).max(dim=2).values for conv in self.conv_h]
        z = torch.relu(self.fc(self.dropout(torch.cat([o_prime, *o], dim=1))))
        return torch.cat([z, self.P(user_id)], dim=1)

    def forward(self, user_id: Tensor, seq: Tensor, item_id: Tensor) -> Tensor:
        """The scores (n,) of ``item_id`` (n,), for ``user_id`` (n,) after ``seq`` (n, L)."""
        products = self.view(user_id, seq) * self.Q_prime(item_id)
        return products.sum(dim=1) + self.b(item_id).squeeze(1)

    def score_all(self, users: Tensor, sequences: Tensor) -> Tensor:
        """The scores of all items for each of ``users``, (len(users), num_items).

        ``sequences`` (len(users), L) has the last L items of each of these users.
        """
        return self.view(users, sequences) @ self.Q_prime.weight.T + self.b.weight.T
