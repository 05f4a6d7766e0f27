import csv
import io

import numpy as np
import pytest

from d2l_recsys.settings import Scores
from d2l_recsys.training.history import RANKING_CURVE, RATING_CURVE, History


@pytest.fixture
def history():
    history = History()
    for epoch in (1, 2):
        history.append(
            Scores({"train_loss": epoch * 0.1, "test_rmse": 1.0}, {"train_loss": epoch * 0.5}),
            examples=100,
            seconds_train=0.25,
            seconds_evaluate=0.5,
            curve_train_loss=epoch,
        )
    return history


def test_final_is_the_last_row_by_protocol(history):
    assert history.final == Scores({"train_loss": 0.2, "test_rmse": 1.0}, {"train_loss": 1.0})
    assert len(history) == 2


def test_curves_are_what_each_protocol_draws(history):
    assert history.curve("printed", RATING_CURVE.metrics) == [(1, 1.0), (2, 1.0)]
    drawn = history.curve("defined", RATING_CURVE.metrics)
    assert [loss for loss, _ in drawn] == [0.5, 1.0]
    assert np.isnan([rmse for _, rmse in drawn]).all()


def test_speed_is_samples_over_wall_time(history):
    assert history.total("seconds_evaluate") == 1.0
    assert history.examples_per_second == 400.0


def test_csv_reads_back(history):
    rows = list(csv.DictReader(io.StringIO(history.csv().decode())))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert float(rows[1]["printed_train_loss"]) == 0.2


def test_epochs_without_evaluation_leave_gaps_and_final_is_the_latest():
    history = History()
    for epoch in (1, 2, 3):
        scores = {"test_hit_rate": epoch / 10, "test_auc": 0.5} if epoch == 2 else {}
        history.append(
            Scores({"train_loss": epoch, **scores}, {}),
            examples=1,
            seconds_train=1,
            seconds_evaluate=0,
            curve_train_loss=9,
        )
    drawn = history.curve("printed", RANKING_CURVE.metrics)
    assert np.isnan(drawn).all(axis=1).tolist() == [True, False, True]
    assert drawn[1] == (0.2, 0.5)
    assert history.final.printed == {"train_loss": 3, "test_hit_rate": 0.2, "test_auc": 0.5}
    rows = list(csv.DictReader(io.StringIO(history.csv().decode())))
    assert [row["printed_test_auc"] for row in rows] == ["", "0.5", ""]


def test_a_history_is_read_back_from_its_file(tmp_path):
    history = History()
    for epoch in (1, 2):
        scores = {"test_hit_rate": epoch / 3, "test_auc": 0.1} if epoch == 2 else {}
        history.append(
            Scores({"train_loss": epoch / 7, **scores}, {"train_loss": 1.0}),
            examples=10**6,
            seconds_train=1.5,
            seconds_evaluate=0,
            curve_train_loss=9,
        )
    (tmp_path / "history.csv").write_bytes(history.csv())
    read = History.from_csv(tmp_path / "history.csv")
    assert read.rows == history.rows
    assert read.final == history.final
