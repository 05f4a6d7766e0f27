import numpy as np
import pandas as pd
import pytest

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.recommend.predictions import groups_of, predict, predict_both, summary_of
from d2l_recsys.saved_models import TrainedModel, load_model
from d2l_recsys.saved_models.ids import ClickIds, RatingIds
from d2l_recsys.sections.registry import SYSTEMS

QUICK = {"num_epochs": 1, "batch_size": 64, "quiet": True}
COLUMNS = ["user_id", "item_id", "title", "year", "prediction", "rating"]


def trained(name, ratings_dir, tmp_path, **options):
    SYSTEMS[name].main()(data_dir=ratings_dir, out=tmp_path / name, **options)
    return load_model(tmp_path / name)


def rated(ratings):
    return {(u, i): r for u, i, r, _ in ratings.to_numpy().tolist()}


class Table(ClosedForm):
    """A score of its own for each pair: 100 for each row of a user, 1 for each row of an item."""

    def score_all(self, users, read=None):
        return np.array([[100.0 * user + item for item in range(40)] for user in users])


def as_model(section="popularity", net=None, num_users=30, num_items=40):
    ids = RatingIds.consecutive(num_users, num_items)
    return TrainedModel(section, net or Table(), {}, ids)


def test_mf_is_the_loop_over_its_factors_and_biases(ratings_dir, ratings, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    model = trained("mf", ratings_dir, tmp_path, **QUICK)
    P, Q, b_u, b_i = (
        part.weight.data().asnumpy().astype(np.float64)
        for part in (model.net.P, model.net.Q, model.net.user_bias, model.net.item_bias)
    )

    def plain(user, item):
        """The rating for rows ``user`` and ``item``."""
        return sum(p * q for p, q in zip(P[user], Q[item])) + b_u[user, 0] + b_i[item, 0]

    found = predict(model, data_dir=ratings_dir)
    assert list(found) == COLUMNS
    pairs = [(u, i) for u in range(1, 31) for i in range(1, 41)]
    assert list(zip(found["user_id"], found["item_id"])) == pairs
    expected = [plain(u - 1, i - 1) for u, i in pairs]
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-4, atol=1e-6)
    real = rated(ratings)
    assert [None if pd.isna(r) else r for r in found["rating"]] == [real.get(p) for p in pairs]
    assert found["title"].tolist() == [f"Film {i}" for _, i in pairs]
    assert found["year"].tolist() == [1950 + i for _, i in pairs]

    one, printed = predict_both(model, 20, 30, ratings_dir)
    assert one["prediction"].tolist() == pytest.approx([plain(19, 29)], rel=1e-4)
    assert printed == pytest.approx(plain(20, 30), rel=1e-4)
    for user, item in ((30, 30), (20, 40), (30, 40)):
        one, printed = predict_both(model, user, item, ratings_dir)
        assert one["prediction"].tolist() == pytest.approx([plain(user - 1, item - 1)], rel=1e-4)
        assert printed is None


def test_bias_is_the_sum_of_its_parts(ratings_dir, tmp_path):
    model = trained("bias", ratings_dir, tmp_path, quiet=True)
    users, items = [7, 3], [40, 1, 5]
    found = predict(model, users, items, ratings_dir)
    parts = [
        (u, i, model.net.mean + model.net.user_biases[u - 1] + model.net.item_biases[i - 1])
        for u in users
        for i in items
    ]
    assert list(zip(found["user_id"], found["item_id"])) == [part[:2] for part in parts]
    np.testing.assert_allclose(found["prediction"], [part[2] for part in parts], rtol=1e-5)
    assert predict_both(model, 7, 40, ratings_dir)[1] is None


def test_ease_adds_the_weights_of_all_items_that_a_user_has_rated(ratings_dir, ratings, tmp_path):
    model = trained("ease", ratings_dir, tmp_path, quiet=True)
    (weights,) = model.net.arrays.values()
    for user in (1, 30):
        # This includes the item that was held out when the model was trained.
        seen = [i - 1 for u, i in rated(ratings) if u == user]
        expected = [sum(float(weights[other, i]) for other in seen) for i in range(40)]
        found = predict(model, user, data_dir=ratings_dir)
        np.testing.assert_allclose(found["prediction"], expected, rtol=1e-4, atol=1e-6)
        assert found["item_id"].tolist() == list(range(1, 41))


@pytest.mark.parametrize("variant", ["item", "user"])
def test_autorec_completes_the_rows_of_all_ratings(ratings_dir, ratings, tmp_path, variant):
    pytest.importorskip("d2l_recsys.backend")
    options = {**QUICK, "batch_size": 10, "num_hidden": 6, "variant": variant}
    model = trained("autorec", ratings_dir, tmp_path, **options)
    rows = np.zeros((30, 40))
    for (user, item), rating in rated(ratings).items():
        rows[user - 1, item - 1] = rating
    V, mu, W, b = (
        part.data().asnumpy().astype(np.float64)
        for layer in (model.net.encoder, model.net.decoder)
        for part in (layer.weight, layer.bias)
    )
    rows = rows if variant == "user" else rows.T
    expected = 1 / (1 + np.exp(-(rows @ V.T + mu))) @ W.T + b
    expected = expected if variant == "user" else expected.T
    of_all = predict(model, item_ids=9, data_dir=ratings_dir)
    assert of_all["user_id"].tolist() == list(range(1, 31))
    np.testing.assert_allclose(of_all["prediction"], expected[:, 8], rtol=1e-4)
    assert np.ptp(expected[:, 8]) > 1e-3
    one = predict(model, 12, 9, ratings_dir)
    assert one["prediction"].tolist() == pytest.approx([expected[11, 8]], rel=1e-4)


def test_ids_choose_rows_in_the_given_order(ratings_dir):
    found = predict(as_model(), [30, np.int64(2)], np.array([5, 40]), ratings_dir)
    assert found["prediction"].tolist() == [2904, 2939, 104, 139]
    assert found["prediction"].dtype == np.float32
    assert found["rating"].dtype == "Int64"


@pytest.mark.parametrize("wanted", [0, 31, -1, 1.5, "1", [2, 99]])
def test_an_unknown_user_or_item_is_refused(ratings_dir, wanted):
    shown = wanted[-1] if isinstance(wanted, list) else wanted
    with pytest.raises(DataError, match=rf"^user {shown} is not in the data; users are 1 to 30$"):
        predict(as_model(), wanted, 1, ratings_dir)
    wanted = 41 if wanted == 31 else wanted
    with pytest.raises(DataError, match=r"^item .* is not in the data; items are 1 to 40$"):
        predict(as_model(), 1, wanted, ratings_dir)


def test_no_id_is_refused(ratings_dir):
    with pytest.raises(DataError, match="no ids of items are given; None stands for all items"):
        predict(as_model(), 1, [], ratings_dir)


def test_models_of_clicks_of_other_data_and_without_numbers_are_refused(ratings_dir):
    clicks = TrainedModel("fm", None, {}, ClickIds({}, {}))
    with pytest.raises(SettingError, match=r"^fm does not rank items; choose one of: mf"):
        predict(clicks, 1, 1, ratings_dir)
    with pytest.raises(
        DataError, match=r"^svd was trained on 29 users and 40 items; these are not"
    ):
        predict(as_model("svd", num_users=29), 1, 1, ratings_dir)

    class Infinite(Table):
        def score_all(self, users, read=None):
            return super().score_all(users) + np.inf

    with pytest.raises(DataError, match="predictions of svd are not finite; train the model again"):
        predict(as_model("svd", Infinite()), 1, 1, ratings_dir)


def test_predicted_ratings_are_counted_in_half_stars():
    groups = groups_of([-3, 0.99, 1, 1.49, 1.5, 3.2, 4.99, 5, 7], on_ratings=True)
    assert groups == [
        ("below 1", 2), ("1 to 1.5", 2), ("1.5 to 2", 1), ("2 to 2.5", 0), ("2.5 to 3", 0),
        ("3 to 3.5", 1), ("3.5 to 4", 0), ("4 to 4.5", 0), ("4.5 to 5", 1), ("5 or more", 2),
    ]  # fmt: skip


def test_scores_are_counted_in_ten_groups_of_equal_width():
    groups = groups_of([0, 5, 10, 19.99, 20, 100], on_ratings=False)
    assert [count for _, count in groups] == [2, 2, 1, 0, 0, 0, 0, 0, 0, 1]
    assert [groups[0][0], groups[-1][0]] == ["0 to 10", "90 to 100"]
    # All users get the same score from some models.
    assert sum(count for _, count in groups_of([7.0] * 3, on_ratings=False)) == 3


def test_a_summary_has_the_plain_numbers():
    assert summary_of([1, 2, 6]) == pytest.approx(
        {"mean": 3, "sd": np.sqrt((4 + 1 + 9) / 3), "lowest": 1, "highest": 6}
    )
