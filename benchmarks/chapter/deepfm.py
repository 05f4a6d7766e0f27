"""Time DeepFM (section 15.10) as the book has it."""

from begin import Phases
from clicks import load, time_training
from mxnet import np, npx
from mxnet.gluon import nn


class DeepFM(nn.Block):
    """A factorization machine and a multilayer perceptron on the same embeddings."""

    def __init__(self, field_dims, num_factors, mlp_dims, drop_rate=0.1):
        super().__init__()
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, use_bias=True)
        self.width = width = len(field_dims) * num_factors
        self.mlp = nn.Sequential()
        for dim in mlp_dims:
            self.mlp.add(nn.Dense(dim, "relu", True, in_units=width), nn.Dropout(drop_rate))
            width = dim
        self.mlp.add(nn.Dense(1, in_units=width))

    def forward(self, x):
        """Predict the probability of a click for each row, (n, 1)."""
        embed_x = self.embedding(x)
        square_of_sum = np.sum(embed_x, axis=1) ** 2
        sum_of_square = np.sum(embed_x**2, axis=1)
        interactions = 0.5 * (square_of_sum - sum_of_square).sum(1, keepdims=True)
        deep = self.mlp(np.reshape(embed_x, (-1, self.width)))
        return npx.sigmoid(self.linear_layer(self.fc(x).sum(1)) + interactions + deep)


phases = Phases()
train_data, test_data = phases.timed("load", load)()
net = DeepFM(train_data.field_dims, num_factors=10, mlp_dims=[30, 20, 10])
time_training(phases, net, train_data, test_data, lr=0.01)
phases.print()
