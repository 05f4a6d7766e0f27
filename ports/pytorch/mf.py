"""Matrix factorization (section 15.3).

The rating of item i by user u is the inner product of two vectors: row p_u of P and row q_i of Q.
Two biases are added, because some users and some items have higher ratings than others
(eq. 15.3.2):

    r_hat[u, i] = p_u . q_i + b_u + b_i
"""

from torch import Tensor, nn


class MF(nn.Module):
    """Predicts the ratings of n pairs of a user and an item."""

    def __init__(self, num_factors: int, num_users: int, num_items: int) -> None:
        super().__init__()
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def forward(self, user_id: Tensor, item_id: Tensor) -> Tensor:
        """The ratings (n,) of the pairs ``user_id`` (n,) and ``item_id`` (n,)."""
        b_u, b_i = self.user_bias(user_id).squeeze(-1), self.item_bias(item_id).squeeze(-1)
        return (self.P(user_id) * self.Q(item_id)).sum(dim=-1) + b_u + b_i

    def score_all(self, users: Tensor) -> Tensor:
        """The predicted ratings of all items by each of ``users``, (len(users), num_items)."""
        products = self.P(users) @ self.Q.weight.T
        return products + self.user_bias(users) + self.item_bias.weight.T
