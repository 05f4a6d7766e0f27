"""Code that sections 15.9 and 15.10 share, as in the book: load the clicks and train on them.

The third argument of the script is the batch size; default: 2048. d2l's loop needs at least five
batches in an epoch, because it draws after each fifth of an epoch.
"""

import os
import sys

import mxnet as mx
from begin import clock, d2l
from mxnet import gluon, init

NUM_EPOCHS = 30
BATCH_SIZE = int(sys.argv[3]) if len(sys.argv) > 3 else 2048


def load():
    """Load the training and test rows."""
    data_dir = d2l.download_extract("ctr")
    train_data = d2l.CTRDataset(os.path.join(data_dir, "train.csv"))
    test_data = d2l.CTRDataset(
        os.path.join(data_dir, "test.csv"),
        feat_mapper=train_data.feat_mapper,
        defaults=train_data.defaults,
    )
    return train_data, test_data


def time_training(phases, net, train_data, test_data, lr):
    """Time training and evaluation in d2l's loop."""
    devices = [mx.cpu()]
    as_in_book = {"last_batch": "rollover", "num_workers": d2l.get_dataloader_workers()}
    train_iter = gluon.data.DataLoader(train_data, BATCH_SIZE, shuffle=True, **as_in_book)
    test_iter = gluon.data.DataLoader(test_data, BATCH_SIZE, shuffle=False, **as_in_book)
    net.initialize(init.Xavier(), ctx=devices)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    d2l.evaluate_accuracy_gpus = phases.timed("evaluate", d2l.evaluate_accuracy_gpus)
    mx.nd.waitall()
    started = clock()
    d2l.train_ch13(net, train_iter, test_iter, loss, trainer, NUM_EPOCHS, devices)
    mx.nd.waitall()
    phases.add("train", clock() - started - phases.spent["evaluate"])
