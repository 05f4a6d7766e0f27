import itertools

import numpy as np
import pytest
from test_gmf import ITEMS, USERS, check_all_scores, float64, made, pairs, two_tastes

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters.extras import fm_ranking  # noqa: E402
from d2l_recsys.datasets.movielens import read_items_ml100k, read_users_ml100k  # noqa: E402
from d2l_recsys.errors import DataError, SettingError  # noqa: E402
from d2l_recsys.saved_models import load_model  # noqa: E402

MODELS = [("fm", []), ("deepfm", [5]), ("deepfm", [6, 4])]
FIELD_DIMS = [6, 3, 2, 4, 2, 9, 3, 5]


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


@pytest.fixture
def net(request):
    model, mlp_dims = getattr(request, "param", ("fm", []))
    net = made(fm_ranking.RankingFM(model, FIELD_DIMS, 4, 6, 9, mlp_dims, 0.5))
    rng = np.random.default_rng(0)
    starts = np.cumsum([0, *FIELD_DIMS])
    for table, fields in ((net.of_users, range(5)), (net.of_items, range(5, 8))):
        rows = [
            np.arange(FIELD_DIMS[f])
            if f in (0, 5)
            else rng.integers(0, FIELD_DIMS[f], len(table.data()))
            for f in fields
        ]
        features = np.stack([row + starts[f] for f, row in zip(fields, rows)], axis=1)
        table.set_data(backend.np.array(features, dtype="int32"))
    return net


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("net", MODELS, indirect=True)
def test_the_model_is_eq_15_9_1_and_15_10_1_to_3_of_a_pairs_features(net, hybridized):
    """Compare with a loop over the pairs of fields, in float64."""
    of_users, of_items = (table.data().asnumpy() for table in (net.of_users, net.of_items))
    values = {name: float64(p) for name, p in net.machine._collect_params_with_prefix().items()}
    V, w = values.pop("embedding.weight"), values.pop("fc.weight")
    scale, w_0 = values.pop("linear_layer.weight"), values.pop("linear_layer.bias")
    layers = list(values.values())
    expected = []
    for u, i in zip(USERS, ITEMS):
        features = [*of_users[u], *of_items[i]]
        assert len(features) == 8
        score = w_0[0]
        for f in features:
            score += scale[0, 0] * w[f, 0]
        for f, g in itertools.combinations(features, 2):
            score += sum(V[f, k] * V[g, k] for k in range(4))
        if layers:
            z = np.concatenate([V[f] for f in features])
            for W, b in zip(layers[:-2:2], layers[1:-2:2]):
                z = np.maximum(W @ z + b, 0)
            score += layers[-2][0] @ z + layers[-1][0]
        expected.append(score)
    if hybridized:
        net.hybridize()
    found = net(*pairs())
    assert found.shape == (4,)
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("net", MODELS, indirect=True)
def test_scores_of_all_items_are_those_of_the_pairs(net):
    check_all_scores(net, 6, 9)


def test_users_scores_differ_by_a_product_with_the_items_vectors(net):
    """The difference of two users' scores is a product with the item vectors, up to a constant."""
    scores = net.score_all(backend.np.arange(6, dtype="int32")).asnumpy()
    V = net.machine.embedding.weight.data().asnumpy()
    of_users = V[net.of_users.data().asnumpy()].sum(axis=1)
    expected = (of_users[1] - of_users[0]) @ net.item_vectors().T
    found = scores[1] - scores[0]
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-4)


def check_field(column, values):
    """Check that equal values, and only these, have the same feature; return min and max."""
    column, values = np.asarray(column), np.asarray(values)
    np.testing.assert_array_equal(
        column[:, None] == column[None, :], values[:, None] == values[None, :]
    )
    return column.min(), column.max()


def test_features_are_the_values_of_the_fields(ratings_dir):
    """The files of users and items may have any order."""
    rng = np.random.default_rng(1)
    users = (ratings_dir / "u.user").read_text().splitlines()
    users = [f"{line[:-4]}{rng.integers(10)}234" for line in users]
    items = (ratings_dir / "u.item").read_text().splitlines()
    # Items 1 and 2 have no year and a new set of genres. Items 3 to 5 have a single genre.
    items[:2] = [line.split(" (")[0] + "|||url|0|0|1|1" + "|0" * 15 for line in items[:2]]
    items[2:5] = [line[: line.index("|url")] + "|url|0|1" + "|0" * 17 for line in items[2:5]]
    for name, lines in (("u.user", users), ("u.item", items)):
        (ratings_dir / name).write_text("\n".join(rng.permutation(lines)) + "\n")
    features = fm_ranking.load_features(ratings_dir, 30, 40)
    users = read_users_ml100k(ratings_dir).sort_values("user_id")
    items = read_items_ml100k(ratings_dir).sort_values("item_id")
    assert items["year"].isna().sum() == 2
    fields = [
        *(users["user_id"], [age // 10 for age in users["age"]], users["gender"]),
        *(users["occupation"], [code[0] for code in users["zip_code"]], items["item_id"]),
        *(items["year"].fillna(-1), [" ".join(genres) for genres in items["genres"]]),
    ]
    columns = [*features.of_users.T, *features.of_items.T]
    assert (len(columns), features.of_users.dtype) == (8, np.int32)
    first = 0
    for column, values, count in zip(columns, fields, features.field_dims):
        assert check_field(column, values) == (first, first + count - 1)
        assert count == len(set(values))
        first += count
    # The rows are in the order of the users' and items' numbers.
    for column in (columns[0], columns[5]):
        assert (np.diff(column) == 1).all()


@pytest.mark.network
def test_features_of_the_whole_data_set(ml100k_dir):
    features = fm_ranking.load_features(ml100k_dir, 943, 1682)
    assert features.field_dims == [943, 8, 2, 21, 19, 1682, 72, 216]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("u.user", lambda lines: lines[:7] + lines[8:], "user_id .* occurs 0 times in the file of"),
        ("u.user", lambda lines: [*lines, lines[3]], "user_id .* occurs 2 times"),
        ("u.item", lambda lines: lines[:-1], "item_id 40 occurs 0 times in the file of items"),
        (
            "u.item",
            lambda lines: [*lines[:-1], "no movie"],
            "line 40: found 1 columns, expected 24",
        ),
    ],
)
def test_files_that_do_not_fit_the_ratings_are_refused(
    name, change, message, ratings_dir, tmp_path
):
    path = ratings_dir / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=message) as refused:
        fm_ranking.main(num_epochs=1, data_dir=ratings_dir, out=tmp_path / "out", quiet=True)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("out/*"))


def test_users_that_have_rated_nothing_are_left_out(ratings_dir):
    expected = fm_ranking.load_features(ratings_dir, 30, 40)
    with (ratings_dir / "u.user").open("a") as file:
        file.write("977|99|X|astronaut|99999\n")
    found = fm_ranking.load_features(ratings_dir, 30, 40)
    np.testing.assert_array_equal(found.of_users, expected.of_users)
    assert found.field_dims == expected.field_dims


def test_an_unknown_model_and_a_network_without_layers_are_refused(ratings_dir, tmp_path):
    options = {"data_dir": ratings_dir, "out": tmp_path, "quiet": True}
    with pytest.raises(SettingError, match="--model is 'ffm'; choose one of: fm, deepfm"):
        fm_ranking.main(model="ffm", **options)
    with pytest.raises(SettingError, match="--mlp-dims is empty; DeepFM needs a layer"):
        fm_ranking.main(model="deepfm", mlp_dims=[], **options)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_training_leaves_the_features_as_they_are_and_saves_them(
    num_devices, ratings_dir, tmp_path
):
    fm_ranking.main(
        model="deepfm", num_epochs=2, lr=0.1, wd=0.5, batch_size=32, num_devices=num_devices,
        dropout=0.25, mlp_dims=[7, 3], data_dir=ratings_dir, out=tmp_path, quiet=True,
    )  # fmt: skip
    net, expected = load_model(tmp_path).net, fm_ranking.load_features(ratings_dir, 30, 40)
    np.testing.assert_array_equal(net.of_users.data().asnumpy(), expected.of_users)
    np.testing.assert_array_equal(net.of_items.data().asnumpy(), expected.of_items)
    layers = [layer for layer in net.machine.mlp if isinstance(layer, backend.nn.Dropout)]
    assert [layer._rate for layer in layers] == [0.25, 0.25]
    dense = [layer for layer in net.machine.mlp if isinstance(layer, backend.nn.Dense)]
    assert [layer.weight.shape[0] for layer in dense] == [7, 3, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "loss"), [("fm", "log"), ("fm", "bpr"), ("deepfm", "log")])
def test_two_tastes_are_learned(model, loss, tmp_path):
    result = fm_ranking.main(
        model=model, loss=loss, num_factors=4, num_epochs=6, lr=0.02, batch_size=32,
        data_dir=two_tastes(tmp_path), out=tmp_path / "out", quiet=True,
    )  # fmt: skip
    assert result["defined"]["test_auc"] > 0.8
    assert (result["settings"]["model"], result["settings"]["loss"]) == (model, loss)


def test_what_users_alike_see_is_learned_of_their_fields(tmp_path):
    """In these ratings, one gender sees only odd movies and the other only even ones."""
    fm_ranking.main(
        num_factors=4, num_epochs=6, lr=0.02, batch_size=32, data_dir=two_tastes(tmp_path),
        out=tmp_path / "out", quiet=True,
    )  # fmt: skip
    net = load_model(tmp_path / "out").net
    V = net.machine.embedding.weight.data().asnumpy()
    odd, even = V[net.of_users.data().asnumpy()[[0, 1], 2]]
    liked = net.item_vectors() @ (odd - even)
    assert liked[::2].mean() > 0.2 + liked[1::2].mean()
