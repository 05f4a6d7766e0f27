"""Time AutoRec (section 15.4) as the book has it."""

from begin import Phases, d2l
from mxnet import autograd, gluon, np
from mxnet.gluon import nn
from rating import time_training

NUM_EPOCHS = 25


class AutoRec(nn.Block):
    """An encoder with sigmoid, dropout, and a linear decoder."""

    def __init__(self, num_hidden, num_users, dropout=0.05):
        super().__init__()
        self.encoder = nn.Dense(num_hidden, activation="sigmoid", use_bias=True)
        self.decoder = nn.Dense(num_users, use_bias=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ratings):
        """Complete the rows; while training, unobserved cells are set to 0."""
        completed = self.decoder(self.dropout(self.encoder(ratings)))
        return completed * np.sign(ratings) if autograd.is_training() else completed


def evaluator(net, inter_matrix, test_data, devices):
    """Complete all rows, and return the RMSE over the test ratings."""
    scores = []
    for values in inter_matrix:
        feat = gluon.utils.split_and_load(values, devices, even_split=False)
        scores.extend([net(i).asnumpy() for i in feat])
    completed = np.array([row for part in scores for row in part])
    errors = np.square(test_data - np.sign(test_data) * completed)
    return float(np.sqrt(np.sum(errors) / np.sum(np.sign(test_data))))


def load():
    """Load the number of users, and the matrices of training and test ratings."""
    data, num_users, num_items = d2l.read_data_ml100k()
    parts = d2l.split_data_ml100k(data, num_users, num_items)
    return num_users, *(d2l.load_data_ml100k(part, num_users, num_items)[3] for part in parts)


phases = Phases()
num_users, train_matrix, test_matrix = phases.timed("load", load)()
workers = d2l.get_dataloader_workers()
train_iter = gluon.data.DataLoader(
    train_matrix, shuffle=True, last_batch="rollover", batch_size=256, num_workers=workers
)
test_iter = gluon.data.DataLoader(
    np.array(train_matrix), shuffle=False, last_batch="keep", batch_size=1024, num_workers=workers
)
net = AutoRec(500, num_users)
time_training(phases, net, train_iter, test_iter, NUM_EPOCHS, evaluator, inter_mat=test_matrix)
phases.print()
