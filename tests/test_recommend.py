import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_ratings, write_ratings

from d2l_recsys.data import load_all_ml100k
from d2l_recsys.datasets.movielens import COLUMNS
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.evaluation.scoring import all_scores, user_scores
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.model_bases.contract import Recommender, compares_items
from d2l_recsys.recommend import no_vectors, rated_highest, recommend, similar
from d2l_recsys.saved_models import TrainedModel
from d2l_recsys.saved_models.ids import ClickIds, RatingIds
from d2l_recsys.sections.registry import SYSTEMS


@dataclasses.dataclass(frozen=True)
class Table(ClosedForm):
    """A model with given scores and given vectors of items."""

    scores: np.ndarray = axes("users", "items")
    vectors: np.ndarray = axes("items", "factors")

    def score_all(self, users, read=None):
        return self.scores[users]

    def item_vectors(self):
        return self.vectors


@dataclasses.dataclass(frozen=True)
class Follows(ClosedForm):
    """A model that recommends the items whose ids follow a user's last item."""

    num_items: int

    def user_inputs(self, data):
        return np.array([data.candidates[user][-1] for user in range(data.num_users)])

    def score_all(self, users, read=None):
        return -((np.arange(self.num_items) - read[:, None]) % self.num_items).astype(float)


def as_model(net, section="popularity", num_users=30, num_items=40):
    return TrainedModel(section, net, {}, RatingIds.consecutive(num_users, num_items))


@pytest.fixture
def table():
    """A model with few distinct scores and directions, so that many are equal."""
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (30, 40)).astype(np.float32)
    return Table(scores, rng.integers(-1, 2, (40, 2)).astype(np.float32))


def told(frame, number="score"):
    assert list(frame) == ["item_id", "title", "year", "genres", number]
    assert all(genres == ["Action", "Comedy"] for genres in frame["genres"])
    assert frame.index.tolist() == list(range(len(frame)))
    return list(zip(frame["item_id"], frame["title"], frame["year"], frame[number]))


def film(item_id, number):
    return item_id, f"Film {item_id}", 1950 + item_id, number


def test_the_highest_scores_of_what_a_user_has_not_rated(ratings, ratings_dir, table):
    for user in range(1, 31):
        rated = {item for u, item, *_ in ratings.to_numpy().tolist() if u == user}
        unseen = [item for item in range(1, 41) if item not in rated]
        ranked = sorted(unseen, key=lambda item: (-table.scores[user - 1, item - 1], item))
        expected = [film(item, table.scores[user - 1, item - 1]) for item in ranked]
        assert told(recommend(as_model(table), user, 40, ratings_dir)) == expected
    assert told(recommend(as_model(table), 30, 3, ratings_dir)) == expected[:3]
    assert len(recommend(as_model(table), np.int64(30), data_dir=ratings_dir)) == 10


def test_the_most_alike_are_those_with_the_largest_cosine(ratings_dir, table):
    for item in (1, 17, 40):
        wanted = table.vectors[item - 1].astype(float)
        scores = {}
        for other in set(range(1, 41)) - {item}:
            vector = table.vectors[other - 1].astype(float)
            lengths = np.sqrt(wanted @ wanted) * np.sqrt(vector @ vector)
            scores[other] = wanted @ vector / lengths if lengths else 0.0
        # Items with similarity 0 are left out.
        scores = {other: score for other, score in scores.items() if score}
        if not scores:
            with pytest.raises(DataError, match=f"finds no item similar to item {item}, which"):
                similar(as_model(table), item, 40, ratings_dir)
            continue
        found = similar(as_model(table), item, 40, ratings_dir)
        assert sorted(found["item_id"]) == sorted(scores)
        np.testing.assert_allclose(found["score"], [scores[i] for i in found["item_id"]])
        order = [(-round(score, 9), i) for i, score in zip(found["item_id"], found["score"])]
        assert order == sorted(order)
    assert len(similar(as_model(table), 1, 2, ratings_dir)) == 2


def test_the_highest_ratings_and_of_equal_ones_the_newest(ratings, ratings_dir):
    for user in (1, 30):
        rows = [row for row in ratings.to_numpy().tolist() if row[0] == user]
        rows.sort(key=lambda row: (-row[2], -row[3], row[1]))
        expected = [film(item, rating) for _, item, rating, _ in rows]
        assert told(rated_highest(user, 40, ratings_dir), "rating") == expected
        assert told(rated_highest(user, 2, ratings_dir), "rating") == expected[:2]


def test_nothing_is_held_out_of_a_users_history(ratings, ratings_dir):
    data = load_all_ml100k(ratings_dir)
    rows = []
    for user in range(1, 31):
        given = [row for row in ratings.to_numpy().tolist() if row[0] == user]
        # If several ratings are the latest, the split holds out the first of them.
        last = max(given, key=lambda row: row[3])
        rows += [*sorted((row for row in given if row != last), key=lambda row: row[3]), last]
    assert (data.num_users, data.num_items, data.test_items) == (30, 40, {})
    columns = zip(*((u - 1, i - 1, r) for u, i, r, _ in rows))
    for ours, theirs in zip((data.users, data.items, data.ratings), columns):
        assert ours.tolist() == list(theirs)
    lists = {u: [i - 1 for user, i, *_ in rows if user == u + 1] for u in range(30)}
    assert data.candidates == lists
    assert [data.users.dtype, data.items.dtype] == [np.int32] * 2
    assert data.ratings.dtype == np.float32


def test_a_model_that_reads_histories_sees_the_last_item(tmp_path):
    ratings = made_up_ratings()
    ratings["timestamp"] = np.random.default_rng(2).permutation(len(ratings))
    folder = write_ratings(tmp_path, ratings)
    for user in (1, 13):
        of_user = ratings[ratings["user_id"] == user]
        last = of_user["item_id"][of_user["timestamp"].idxmax()]
        after = [(last + step - 1) % 40 + 1 for step in range(40)]
        expected = [item for item in after if item not in set(of_user["item_id"])]
        assert recommend(as_model(Follows(40)), user, 40, folder)["item_id"].tolist() == expected


def nets():
    """One net of each kind: it multiplies matrices, reads sequences, or reads rows."""
    from d2l_recsys.chapters.autorec import AutoRec
    from d2l_recsys.chapters.caser import Caser
    from d2l_recsys.chapters.mf import MF

    yield MF(3, 30, 40)
    yield Caser(3, 30, 40, 2)
    yield AutoRec(5, 40, variant="user")


@pytest.mark.parametrize("number", range(3))
def test_a_users_scores_are_those_among_all_users(ratings_dir, number):
    backend = pytest.importorskip("d2l_recsys.backend")
    backend.npx.set_np()
    device = backend.mx.cpu(number % 2)
    net = list(nets())[number]
    net.initialize(backend.init.Normal(1), ctx=device)
    data = load_all_ml100k(ratings_dir)
    expected = np.concatenate([scores for _, scores in all_scores(net, data, [device])])
    for user in (0, 7, 29):
        scores = user_scores(net, data, user)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected[user], atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_scores_of_other_items_are_refused(ratings_dir, table):
    data = load_all_ml100k(ratings_dir)
    short = Table(table.scores[:, :39], table.vectors)
    with pytest.raises(DataError, match=r"have shape \(39,\), not \(40,\)$"):
        user_scores(short, data, 0)


def test_what_the_data_has_under_several_ids_is_one_movie(ratings, ratings_dir, table):
    of_user = set(ratings["item_id"][ratings["user_id"] == 5])
    rated, (other, first, second, *_) = min(of_user), sorted(set(range(1, 41)) - of_user)
    movies = (ratings_dir / "u.item").read_text().splitlines()
    for item, name in ((rated, "Rated (1990)"), (other, "Rated (1990)"),
                       (first, "Twice (1991)"), (second, "Twice (1991)")):  # fmt: skip
        fields = movies[item - 1].split("|")
        movies[item - 1] = "|".join([fields[0], name, *fields[2:]])
    (ratings_dir / "u.item").write_text("\n".join(movies))
    table.scores[4, [other - 1, first - 1, second - 1]] = [9, 7, 8]
    found = recommend(as_model(table), 5, 40, ratings_dir)
    assert found["item_id"][0] == second
    assert set(found["item_id"]) == set(range(1, 41)) - of_user - {other, first}
    assert len(found) == len(recommend(as_model(table), 5, 99, ratings_dir))
    like = similar(as_model(table), first, 40, ratings_dir)
    assert not {first, second} & set(like["item_id"])
    assert len({rated, other} & set(like["item_id"])) == 1


def test_a_user_who_has_rated_everything_is_told_so(tmp_path, table):
    rows = [(user, item, 3, 0) for user in range(1, 31) for item in range(1, 41)]
    folder = write_ratings(tmp_path, pd.DataFrame(rows, columns=COLUMNS))
    with pytest.raises(DataError, match="user 7 has rated all 40 movies: nothing is left to recom"):
        recommend(as_model(table), 7, data_dir=folder)


@pytest.mark.parametrize("n", [0, -1, 2.5, "3", None])
def test_a_number_of_movies_below_one_is_refused(ratings_dir, table, n):
    for function, of in ((recommend, [as_model(table)]), (similar, [as_model(table)]),
                         (rated_highest, [])):  # fmt: skip
        with pytest.raises(SettingError, match=rf"-n is {n}; it must be a whole number, 1 or lar"):
            function(*of, 1, n, ratings_dir)


@pytest.mark.parametrize("wanted", [0, 41, -3, 10**30, 1.0, "1", None])
def test_an_id_that_is_not_in_the_data_is_refused(ratings_dir, table, wanted):
    with pytest.raises(DataError, match=rf"^user {wanted} is not in the data; users are 1 to 30$"):
        recommend(as_model(table), wanted, data_dir=ratings_dir)
    with pytest.raises(DataError, match=rf"^user {wanted} is not in the data; users are 1 to 30$"):
        rated_highest(wanted, data_dir=ratings_dir)
    with pytest.raises(DataError, match=rf"^item {wanted} is not in the data; items are 1 to 40$"):
        similar(as_model(table), wanted, data_dir=ratings_dir)


def test_a_model_of_other_data_is_refused(ratings_dir, table):
    others = [as_model(table, "svd", 30, 41), as_model(table, "svd", 29, 40)]
    moved = as_model(table)._replace(ids=RatingIds(np.arange(30), np.arange(1, 41)))
    for model in [*others, moved]:
        for function in (recommend, similar):
            with pytest.raises(
                DataError, match=r"these are not the 30 users and 40 items in .*made-up; name"
            ):
                function(model, 1, data_dir=ratings_dir)
    with pytest.raises(DataError, match=r"^svd was trained on 30 users and 41 items; these are"):
        recommend(others[0], 1, data_dir=ratings_dir)


def test_scores_that_are_not_numbers_are_refused(ratings_dir, table):
    table.scores[3, 5] = np.nan
    table.vectors[2] = np.nan
    with pytest.raises(DataError, match="the scores of popularity are NaN; train the model"):
        recommend(as_model(table), 4, data_dir=ratings_dir)
    with pytest.raises(DataError, match="the scores of popularity are NaN; train the model"):
        similar(as_model(table), 1, data_dir=ratings_dir)
    assert len(recommend(as_model(table), 3, 5, ratings_dir)) == 5


def test_a_model_that_cannot_tell_what_is_alike_says_so(ratings_dir):
    message = "popularity has no vectors of items, so it cannot find similar ones; choose another"
    with pytest.raises(SettingError, match=message):
        similar(as_model(Follows(40)), 1, data_dir=ratings_dir)


def test_the_models_that_are_named_in_its_place_can_tell():
    pytest.importorskip("d2l_recsys.backend")
    names = str(no_vectors("popularity")).partition("such as ")[2].replace(" or ", ", ")
    for name in names.split(", "):
        assert compares_items(SYSTEMS[name].model())


@pytest.mark.parametrize("section", ["fm", "deepfm"])
def test_a_model_of_clicks_is_refused(ratings_dir, section):
    model = TrainedModel(section, None, {}, ClickIds({}, {}))
    for function in (recommend, similar):
        with pytest.raises(
            SettingError, match=f"^{section} does not rank items; choose one of: mf"
        ):
            function(model, 1, data_dir=ratings_dir)


@pytest.mark.parametrize("lines", [0, 2])
def test_each_movie_has_a_line(ratings_dir, table, lines):
    path = ratings_dir / "u.item"
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*others, *[first] * lines]))
    message = rf"u\.item: item 1 has {lines} lines; it must have one"
    with pytest.raises(DataError, match=message):
        recommend(as_model(table), 2, data_dir=ratings_dir)
    path.unlink()
    with pytest.raises(DataError, match=r"u\.item cannot be read"):
        rated_highest(2, data_dir=ratings_dir)


def test_what_is_not_alike_at_all_is_left_out_and_an_unknown_item_refused(ratings_dir):
    class Knows(Recommender):
        def score_all(self, users, read=None):
            raise AssertionError

        def similar_to(self, item):
            return np.where(np.arange(40) == 7, 0.5, 0.0) * (item != 3)

    model = TrainedModel("itemknn", Knows(), {}, RatingIds.consecutive(30, 40))
    assert similar(model, 1, 5, ratings_dir)["item_id"].tolist() == [8]
    with pytest.raises(DataError, match=r"itemknn finds no item similar to item 4, which may"):
        similar(model, 4, 5, ratings_dir)
