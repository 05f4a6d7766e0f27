"""Matrix factorization (section 15.3).

How much user u likes item i is the inner product of two short vectors, a row of P and a row of Q.
Some users rate higher than others and some items are liked by all, which two numbers add
(eq. 15.3.2):

    r_hat[u, i] = p_u . q_i + b_u + b_i
"""

from torch import Tensor, nn


class MF(nn.Module):
    """Called with ids of users and of items, (n,); returns the n predicted ratings."""

    def __init__(self, num_factors: int, num_users: int, num_items: int) -> None:
        super().__init__()
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def forward(self, user_id: Tensor, item_id: Tensor) -> Tensor:
        """Predict the ratings."""
        b_u, b_i = self.user_bias(user_id).squeeze(-1), self.item_bias(item_id).squeeze(-1)
        return (self.P(user_id) * self.Q(item_id)).sum(dim=-1) + b_u + b_i

    def score_all(self, users: Tensor) -> Tensor:
        """The ratings of all items by each of ``users``, (len(users), num_items)."""
        products = self.P(users) @ self.Q.weight.T
        return products + self.user_bias(users) + self.item_bias.weight.T
