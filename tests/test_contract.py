import numpy as np

from d2l_recsys.model_bases.contract import Recommender, compares_items


class Vectors(Recommender):
    def item_vectors(self):
        return np.array([[3, 4], [6, 8], [-4, 3], [0, 0]], dtype=np.float32)


def test_items_are_as_alike_as_the_cosine_of_their_vectors():
    np.testing.assert_allclose(Vectors().similar_to(0), [1, 1, 0, 0], atol=1e-12)
    assert Vectors().similar_to(3).tolist() == [0, 0, 0, 0]


def test_a_model_may_say_itself_what_is_alike_or_cannot_tell():
    class Says(Recommender):
        def similar_to(self, item):
            return np.arange(4) * item

    assert Says().similar_to(2).tolist() == [0, 2, 4, 6]
    assert Recommender().similar_to(0) is None
    assert [compares_items(c) for c in (Vectors, Says, Recommender, dict)] == [True] * 2 + [
        False
    ] * 2


def test_a_model_that_says_nothing_reads_nothing():
    model = Recommender()
    assert (model.user_inputs(None), model.item_vectors(), model.padding) == (None, None, None)
    assert not model.reads_rows
