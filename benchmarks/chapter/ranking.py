"""Code that sections 15.6 and 15.7 share, as in the book: the split, and one timed epoch."""

import contextlib

import mxnet as mx
from begin import FirstUsers, OutOfUsersError, clock, d2l
from mxnet import gluon


def load():
    """Load the data.

    Returns the numbers of users and items, the users and items of the training pairs, the
    candidates, and the test items of each user.
    """
    data, num_users, num_items = d2l.read_data_ml100k()
    parts = d2l.split_data_ml100k(data, num_users, num_items, "seq-aware")
    train, test = (
        d2l.load_data_ml100k(part, num_users, num_items, feedback="implicit") for part in parts
    )
    return num_users, num_items, train[0], train[1], train[3], test[3]


def time_an_epoch(phases, net, loaded, dataset, batch_size, lr, seq, num_epochs, **part):
    """Time one epoch of d2l's loop and its evaluation, scaled up to ``num_epochs`` epochs.

    ``part`` may contain ``num_batches`` and ``eval_users``: then only so many batches of the epoch,
    and so many users of the evaluation, are timed and scaled up.
    """
    num_users, num_items, _, _, candidates, test_items = loaded
    devices = [mx.cpu()]
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr, "wd": 1e-5})
    train_iter = gluon.data.DataLoader(
        dataset, batch_size, True, last_batch="rollover", num_workers=d2l.get_dataloader_workers()
    )
    num_batches = part.get("num_batches", len(train_iter))
    eval_users = part.get("eval_users", num_users)

    def evaluator(net, test_iter, seq, candidates, *sizes_and_devices):
        first = FirstUsers(candidates, eval_users)
        with contextlib.suppress(OutOfUsersError):
            return d2l.evaluate_ranking(net, test_iter, seq, first, *sizes_and_devices)
        return 0, 0

    def batches():
        for number, batch in enumerate(train_iter, 1):
            yield batch
            if number == num_batches:
                break

    started = clock()
    d2l.train_ranking(
        net,
        batches(),
        test_items,
        d2l.BPRLoss(),
        trainer,
        seq,
        num_users,
        num_items,
        1,
        devices,
        phases.timed("evaluate", evaluator, num_epochs * num_users / eval_users),
        candidates,
    )
    train = clock() - started - phases.spent["evaluate"]
    phases.add("train", train, num_epochs * len(train_iter) / num_batches)
