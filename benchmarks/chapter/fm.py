"""Time the factorization machine (section 15.9) as the book has it."""

from begin import Phases
from clicks import load, time_training
from mxnet import np, npx
from mxnet.gluon import nn


class FM(nn.Block):
    """A linear part, and the interactions of all pairs of fields."""

    def __init__(self, field_dims, num_factors):
        super().__init__()
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, use_bias=True)

    def forward(self, x):
        """Predict the probability of a click for each row, (n, 1)."""
        square_of_sum = np.sum(self.embedding(x), axis=1) ** 2
        sum_of_square = np.sum(self.embedding(x) ** 2, axis=1)
        interactions = 0.5 * (square_of_sum - sum_of_square).sum(1, keepdims=True)
        return npx.sigmoid(self.linear_layer(self.fc(x).sum(1)) + interactions)


phases = Phases()
train_data, test_data = phases.timed("load", load)()
net = FM(train_data.field_dims, num_factors=20)
time_training(phases, net, train_data, test_data, lr=0.02)
phases.print()
