import numpy as np
import pytest
from conftest import made_up_scores

from d2l_recsys.evaluation.click_metrics import click_scores
from d2l_recsys.training.train_loss import TrainClicks, TrainLoss


def test_train_loss_of_a_case_done_by_hand():
    loss = TrainLoss()
    # The means of the three batches are 4, 1 and 2. Their values come from one or two devices.
    for values in ([[4.0] * 10], [[1.0] * 4, [1.0] * 6], [[1.0, 3.0], [1.0, 2.0, 3.0]]):
        loss.add([np.array(part, dtype="float32") for part in values], sum(map(len, values)))
    assert loss.printed == (4 + 5 + 7) / 25
    assert loss.defined == (40 + 10 + 10) / 25
    assert loss.curve == 7 / 3
    assert (loss.batches, loss.examples) == (3, 25)


def test_train_loss_of_losses_that_are_sums_over_a_devices_share():
    """Printed: the mean of these sums over the devices. Defined: their total over the examples."""
    loss = TrainLoss()
    for values in ([[6.0], [2.0]], [[5.0], [1.0]]):
        loss.add([np.array(part, dtype="float32") for part in values], examples=4)
    assert loss.printed == (4 + (4 + 3)) / 8
    assert loss.defined == 14 / 8
    assert loss.curve == 7 / 2


def test_training_clicks_are_measured_over_all_batches_and_devices():
    labels, scores, log_odds = made_up_scores(100, spread=12)
    scores[::7] = labels[::7]
    losses = np.random.default_rng(1).uniform(size=100).astype("float32")
    columns = scores[:, None], log_odds[:, None], labels[:, None]
    epoch = TrainClicks()
    for cuts in ([0, 30, 50], [50, 51], [51, 100]):
        shares = list(zip(cuts, cuts[1:]))
        values = [(losses[a:b], *(column[a:b] for column in columns)) for a, b in shares]
        epoch.add(values, cuts[-1] - cuts[0])
    whole = click_scores(labels, scores, log_odds)
    assert epoch.examples == 100
    assert epoch.scores.printed == pytest.approx(
        {
            "train_loss": losses.mean(dtype=np.float64),
            "train_acc": whole.printed["test_acc"],
            "train_acc_exact": whole.printed["test_acc_exact"],
        }
    )
    assert epoch.scores.defined == pytest.approx(
        {"train_loss": whole.defined["test_log_loss"], "train_acc": whole.defined["test_acc"]}
    )
    assert epoch.curve == epoch.scores.printed["train_loss"]
    without = TrainClicks()
    without.add([(losses, columns[0], columns[2])], 100)
    assert without.scores.printed == epoch.scores.printed
