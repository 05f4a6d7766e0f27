import dataclasses
from typing import Optional

import numpy as np
import pytest

from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.evaluation import scoring
from d2l_recsys.evaluation.scoring import all_scores, user_scores
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.model_bases.contract import Recommender


@dataclasses.dataclass(frozen=True)
class Ones(ClosedForm):
    """A model whose scores show the user, the input of that user, and the item."""

    weights: np.ndarray = axes("items")

    def user_inputs(self, data) -> Optional[np.ndarray]:
        return np.arange(data.num_users) * 1000

    def score_all(self, users, read=None):
        return users[:, None] + read[:, None] + self.weights


@pytest.fixture
def data(ratings_dir):
    return load_ranking_ml100k(ratings_dir)


@pytest.mark.parametrize("size", [7, 30, 1024])
def test_a_closed_form_scores_all_users_in_blocks(data, size, monkeypatch):
    monkeypatch.setattr(scoring, "USERS_AT_ONCE", size)
    weights = (np.arange(40) / 64).astype(np.float32)
    blocks = list(all_scores(Ones(weights), data))
    assert [first for first, _ in blocks] == list(range(0, 30, size))
    scores = np.concatenate([part for _, part in blocks])
    np.testing.assert_array_equal(scores, 1001 * np.arange(30)[:, None] + weights)
    assert scores.dtype == np.float32


def test_a_net_is_given_what_it_reads(data):
    backend = pytest.importorskip("d2l_recsys.backend")
    backend.npx.set_np()

    class Rows(backend.nn.Block, Recommender):
        reads_rows = True

        def user_inputs(self, data):
            return np.linspace(0, 1, data.num_users * 40).reshape(data.num_users, 40)

        def score_all(self, users, read):
            assert (users.dtype, read.dtype) == ("int32", "float32")
            return read + users.reshape(-1, 1)

    net = Rows()
    (block,) = all_scores(net, data)
    np.testing.assert_allclose(block[1], net.user_inputs(data) + np.arange(30)[:, None], rtol=1e-6)


def test_padding_is_let_through_to_a_net_that_knows_of_it(data):
    backend = pytest.importorskip("d2l_recsys.backend")
    from d2l_recsys.errors import DataError

    class Last(backend.nn.Block, Recommender):
        padding = 40

        def user_inputs(self, data):
            return np.full((data.num_users, 2), 40)

        def score_all(self, users, read):
            return backend.np.ones((len(users), 40)) * read[:, :1]

    (block,) = all_scores(Last(), data)
    assert (block[1] == 40).all()
    other = Last()
    other.padding = 41
    with pytest.raises(DataError, match="item 40 of a sequence is beyond the table of 40 items"):
        list(all_scores(other, data))


def test_a_net_scores_where_its_parameters_are_unless_told_otherwise(data):
    backend = pytest.importorskip("d2l_recsys.backend")
    backend.npx.set_np()

    class Where(backend.nn.Block, Recommender):
        def __init__(self):
            super().__init__()
            self.layer = backend.nn.Dense(1, in_units=1)

        def score_all(self, users):
            return backend.np.full((len(users), 40), users.ctx.device_id, ctx=users.ctx)

    net, cpu = Where(), backend.mx.cpu
    net.initialize(ctx=cpu(1))
    assert [scores.max() for _, scores in all_scores(net, data)] == [1]
    assert [scores.max() for _, scores in all_scores(net, data, [cpu(0)])] == [0]


def test_any_net_that_scores_pairs_is_asked_pair_by_pair(data):
    backend = pytest.importorskip("d2l_recsys.backend")
    backend.npx.set_np()

    class Pairs(backend.nn.Block):
        def forward(self, users, items):
            return users * 100.0 + items

    expected = np.arange(30)[:, None] * 100 + np.arange(40)
    scores = np.concatenate([part for _, part in all_scores(Pairs(), data)])
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(user_scores(Pairs(), data, 7), expected[7])
