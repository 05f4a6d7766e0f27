"""Time matrix factorization (section 15.3) as the book has it."""

import mxnet as mx
from begin import Phases, d2l
from mxnet import gluon, np
from mxnet.gluon import nn
from rating import time_training

NUM_EPOCHS = 20


class MF(nn.Block):
    """The user factors P, the item factors Q, and a bias of each user and item."""

    def __init__(self, num_factors, num_users, num_items):
        super().__init__()
        self.P, self.Q = nn.Embedding(num_users, num_factors), nn.Embedding(num_items, num_factors)
        self.user_bias, self.item_bias = nn.Embedding(num_users, 1), nn.Embedding(num_items, 1)

    def forward(self, user_id, item_id):
        """Predict the rating of each pair, (n,)."""
        biases = np.squeeze(self.user_bias(user_id)) + np.squeeze(self.item_bias(item_id))
        return ((self.P(user_id) * self.Q(item_id)).sum(axis=-1) + biases).flatten()


def evaluator(net, test_iter, devices):
    """Return the mean over the batches of MXNet's running RMSE, as the book does."""
    metric, values = mx.metric.RMSE(), []
    for batch in test_iter:
        users, items, ratings = (
            gluon.utils.split_and_load(part, devices, even_split=False) for part in batch
        )
        metric.update(labels=ratings, preds=[net(u, i) for u, i in zip(users, items)])
        values.append(float(metric.get()[1]))
    return float(np.mean(np.array(values)))


phases = Phases()
load = phases.timed("load", d2l.split_and_load_ml100k)
num_users, num_items, train_iter, test_iter = load("seq-aware", "explicit", 0.1, 512)
net = MF(30, num_users, num_items)
time_training(phases, net, train_iter, test_iter, NUM_EPOCHS, evaluator)
phases.print()
