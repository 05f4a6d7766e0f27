"""AutoRec (section 15.4).

An item's ratings by all users, R_i with 0 where there is none, are squeezed through a hidden layer
and come out with the gaps filled (eq. 15.4.1):

    h(R_i) = W . sigmoid(V . R_i + mu) + b

Only the ratings that R_i has count in training: the loss masks the others.
"""

import torch
from torch import Tensor, nn


class AutoRec(nn.Module):
    """Called with rows of ratings, (n, row_length), 0 where there is none; returns them completed.

    Unlike the chapter's, it completes whole rows in training as well.
    """

    def __init__(self, num_hidden: int, row_length: int, dropout: float = 0.05) -> None:
        super().__init__()
        self.encoder = nn.Linear(row_length, num_hidden)
        self.decoder = nn.Linear(num_hidden, row_length)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ratings: Tensor) -> Tensor:
        """Complete the rows."""
        return self.decoder(self.dropout(torch.sigmoid(self.encoder(ratings))))
