"""Time Caser (section 15.7) as the book has it.

The data set is built completely. Training is timed on 4 batches and evaluation on 50 users, and
both times are scaled up to the whole run.
"""

import random

from begin import Phases
from mxnet import gluon, np, npx
from mxnet.gluon import nn
from ranking import load, time_an_epoch

NUM_EPOCHS, L = 8, 3


class Caser(nn.Block):
    """The net with vertical and horizontal filters."""

    def __init__(self, num_factors, num_users, num_items, L, d=16, d_prime=4, drop_ratio=0.05):
        super().__init__()
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.conv_v = nn.Conv2D(d_prime, (L, 1), in_channels=1)
        self.conv_h, self.max_pool = nn.Sequential(), nn.Sequential()
        for height in range(1, L + 1):
            self.conv_h.add(nn.Conv2D(d, (height, num_factors), in_channels=1))
            self.max_pool.add(nn.MaxPool1D(L - height + 1))
        self.width_v = d_prime * num_factors
        self.fc = nn.Dense(num_factors, activation="relu", in_units=self.width_v + d * L)
        self.Q_prime = nn.Embedding(num_items, num_factors * 2)
        self.b = nn.Embedding(num_items, 1)
        self.dropout = nn.Dropout(drop_ratio)

    def forward(self, user_id, seq, item_id):
        """Score each item for its user and sequence, (n,)."""
        picture = np.expand_dims(self.Q(seq), 1)
        out_v = self.conv_v(picture)
        parts = [out_v.reshape(out_v.shape[0], self.width_v)]
        for conv, pool in zip(self.conv_h, self.max_pool):
            responses = np.squeeze(npx.relu(conv(picture)), axis=3)
            parts.append(np.squeeze(pool(responses), axis=2))
        z = self.fc(self.dropout(np.concatenate(parts, axis=1)))
        x = np.concatenate([z, self.P(user_id)], axis=1)
        q_prime, b = np.squeeze(self.Q_prime(item_id)), np.squeeze(self.b(item_id))
        return (x * q_prime).sum(1) + b


class SeqDataset(gluon.data.Dataset):
    """The windows; like the book, it cuts and stores them one by one in MXNet arrays."""

    def __init__(self, user_ids, item_ids, L, num_users, num_items, candidates):
        user_ids, item_ids = np.array(user_ids), np.array(item_ids)
        order = np.array(sorted(range(len(user_ids)), key=lambda k: user_ids[k]))
        u_ids, i_ids = user_ids[order].asnumpy(), item_ids[order]
        self.cand, self.all_items, rows = candidates, set(range(num_items)), {}
        for i, user in enumerate(u_ids):
            rows.setdefault(user, []).append(i)
        users = sorted(rows.items())
        self.ns = sum(max(len(r) - L, 1) for _, r in users)
        self.seq_items, self.seq_tgt = np.zeros((self.ns, L)), np.zeros((self.ns, 1))
        self.seq_users = np.zeros(self.ns, dtype="int32")
        self.test_seq, last = np.zeros((num_users, L)), None
        for i, (user, window) in enumerate(self._windows(users, i_ids, L + 1)):
            if user != last:
                self.test_seq[user][:], last = window[-L:], user
            self.seq_tgt[i][:], self.seq_items[i][:] = window[-1:], window[:L]
            self.seq_users[i] = user

    def _windows(self, users, i_ids, size):
        for user, rows in users:
            items = i_ids[rows[0] : rows[-1] + 1]
            if len(items) < size:
                yield int(user), items
            for stop in range(len(items), size - 1, -1):
                yield int(user), items[stop - size : stop]

    def __len__(self):
        return self.ns

    def __getitem__(self, idx):
        neg = list(self.all_items - set(self.cand[int(self.seq_users[idx])]))
        drawn = neg[random.randint(0, len(neg) - 1)]
        return self.seq_users[idx], self.seq_items[idx], self.seq_tgt[idx], drawn


phases = Phases()
loaded = phases.timed("load", load)()
num_users, num_items, users, items, candidates, _ = loaded
build = phases.timed("load", SeqDataset)
dataset = build(users, items, L, num_users, num_items, candidates)
net = Caser(10, num_users, num_items, L)
time_an_epoch(
    phases,
    net,
    loaded,
    dataset,
    4096,
    0.04,
    dataset.test_seq,
    NUM_EPOCHS,
    num_batches=4,
    eval_users=50,
)
phases.print()
