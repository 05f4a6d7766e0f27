"""AutoRec (section 15.4).

The input R_i is the row of all ratings of item i, with 0 for each user who did not rate it. A small
hidden layer encodes the row, and the output has a rating for every user (eq. 15.4.1):

    h(R_i) = W . sigmoid(V . R_i + mu) + b

In training only the observed ratings count: the loss masks all other cells of the row.
"""

import torch
from torch import Tensor, nn


class AutoRec(nn.Module):
    """Completes rows of ratings, (n, row_length), in which 0 stands for a missing rating.

    The chapter's net masks its output in training. This net always returns whole rows, and
    ``losses.autorec_loss`` applies the mask.
    """

    def __init__(self, num_hidden: int, row_length: int, dropout: float = 0.05) -> None:
        super().__init__()
        self.encoder = nn.Linear(row_length, num_hidden)
        self.decoder = nn.Linear(num_hidden, row_length)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ratings: Tensor) -> Tensor:
        """The completed rows, (n, row_length)."""
        return self.decoder(self.dropout(torch.sigmoid(self.encoder(ratings))))
