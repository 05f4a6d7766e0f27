"""NeuMF (section 15.6).

NeuMF joins two models with separate embeddings. The first model, GMF, multiplies the embeddings of
user and item element by element (eq. 15.6.1). The second model, an MLP, reads the concatenated
embeddings (eq. 15.6.2):

    x = p_u * q_i              z = relu(W_m ... relu(W_1 [u_u; v_i] + b_1) ... + b_m)
    y_hat[u, i] = sum of x + sum of z

This is the chapter's code. Equation 15.6.3 has weights h for the elements of x and z, and a
sigmoid. The head ``linear`` has the weights, and the head ``sigmoid`` has both.
"""

from typing import Sequence

import torch
from torch import Tensor, nn

# The largest number of pairs that ``score_all`` scores at once; this limits its memory.
PAIRS_AT_ONCE = 2**16


class NeuMF(nn.Module):
    """Scores n pairs of a user and an item.

    ``nums_hiddens`` are the widths of the relu layers. ``head`` is sum, linear or sigmoid.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        nums_hiddens: Sequence[int],
        head: str = "sum",
    ) -> None:
        super().__init__()
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.U = nn.Embedding(num_users, num_factors)
        self.V = nn.Embedding(num_items, num_factors)
        widths = [2 * num_factors, *nums_hiddens]
        self.mlp = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        self.head = head
        if head != "sum":
            self.prediction = nn.Linear(num_factors + widths[-1], 1, bias=False)

    def forward(self, user_id: Tensor, item_id: Tensor) -> Tensor:
        """The scores (n,) of the pairs ``user_id`` (n,) and ``item_id`` (n,)."""
        x = self.P(user_id) * self.Q(item_id)
        z = torch.cat([self.U(user_id), self.V(item_id)], dim=-1)
        for layer in self.mlp:
            z = torch.relu(layer(z))
        if self.head == "sum":
            return x.sum(dim=-1) + z.sum(dim=-1)
        score = self.prediction(torch.cat([x, z], dim=-1)).squeeze(-1)
        return torch.sigmoid(score) if self.head == "sigmoid" else score

    def score_all(self, users: Tensor) -> Tensor:
        """The scores of all items for each of ``users``, (len(users), num_items)."""
        num_items = self.Q.num_embeddings
        items = torch.arange(num_items)
        blocks = users.split(max(1, PAIRS_AT_ONCE // num_items))
        scores = [self(of.repeat_interleave(num_items), items.repeat(len(of))) for of in blocks]
        return torch.cat(scores).view(len(users), num_items)
