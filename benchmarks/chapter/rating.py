"""Code that sections 15.3 and 15.4 share, as in the book: the training of a rating model."""

import mxnet as mx
from begin import clock, d2l
from mxnet import gluon


def time_training(phases, net, train_iter, test_iter, num_epochs, evaluator, **inter_mat):
    """Time training and evaluation in d2l's loop."""
    devices = [mx.cpu()]
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.002, "wd": 1e-5})
    mx.nd.waitall()
    started = clock()
    d2l.train_recsys_rating(
        net,
        train_iter,
        test_iter,
        gluon.loss.L2Loss(),
        trainer,
        num_epochs,
        devices,
        phases.timed("evaluate", evaluator),
        **inter_mat,
    )
    mx.nd.waitall()
    phases.add("train", clock() - started - phases.spent["evaluate"])
