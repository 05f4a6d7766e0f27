"""Time NeuMF (section 15.6) as the book has it.

One epoch and its evaluation are timed and scaled up to ten epochs.
"""

import random

from begin import Phases
from mxnet import gluon, np
from mxnet.gluon import nn
from ranking import load, time_an_epoch

NUM_EPOCHS = 10


class NeuMF(nn.Block):
    """Matrix factorization (GMF) and a multilayer perceptron (MLP); their outputs are summed."""

    def __init__(self, num_factors, num_users, num_items, nums_hiddens):
        super().__init__()
        self.P, self.Q = nn.Embedding(num_users, num_factors), nn.Embedding(num_items, num_factors)
        self.U, self.V = nn.Embedding(num_users, num_factors), nn.Embedding(num_items, num_factors)
        self.mlp = nn.Sequential()
        for num_hiddens in nums_hiddens:
            self.mlp.add(nn.Dense(num_hiddens, activation="relu", use_bias=True))

    def forward(self, user_id, item_id):
        """Score each pair of user and item, (n,)."""
        gmf = self.P(user_id) * self.Q(item_id)
        mlp = self.mlp(np.concatenate([self.U(user_id), self.V(item_id)], axis=1))
        return np.sum(np.concatenate([gmf, mlp], axis=1), axis=-1)


class PRDataset(gluon.data.Dataset):
    """User, item and negative item; like the book, it lists all unseen items for each draw."""

    def __init__(self, users, items, candidates, num_items):
        self.users, self.items, self.cand = users, items, candidates
        self.all = set(range(num_items))

    def __len__(self):
        return len(self.users)

    def __getitem__(self, idx):
        neg_items = list(self.all - set(self.cand[int(self.users[idx])]))
        return self.users[idx], self.items[idx], neg_items[random.randint(0, len(neg_items) - 1)]


phases = Phases()
loaded = phases.timed("load", load)()
num_users, num_items, users, items, candidates, _ = loaded
dataset = PRDataset(users, items, candidates, num_items)
net = NeuMF(10, num_users, num_items, [10, 10, 10])
time_an_epoch(phases, net, loaded, dataset, 1024, 0.01, None, NUM_EPOCHS)
phases.print()
