"""Tests that every companion that ranks the items of users has to pass."""

import inspect
import json
import os

import filelock
import numpy as np
import pandas as pd
import pytest
from conftest import made_up_ratings, some, what_it_left, write_ratings

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.backend import mx, nn
from d2l_recsys.data import load_ranking_ml100k, read_data_ml100k, split_data_ml100k
from d2l_recsys.errors import DivergedError, SettingError
from d2l_recsys.evaluation.scoring import all_scores
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.ranking import HeldOut
from d2l_recsys.saved_models import load_model
from d2l_recsys.sections import registry
from d2l_recsys.sections.registry import HITS, Kind

# Companions on sessions have tests of their own.
COMPANIONS = {n: s for n, s in registry.COMPANIONS.items() if s.kind is Kind.ranking}
# Options for made-up data of 30 users and 40 items.
QUICK = {
    "svd": {"num_factors": 5},
    "als": {"num_factors": 4, "num_epochs": 2},
    "itemknn": {"num_neighbors": 10},
    "sasrec": {"max_length": 10, "num_factors": 8, "lr": 0.02},
    "multvae": {"num_hidden": 12, "num_factors": 6},
    "ngcf": {"num_factors": 8},
    "lightgcn": {"num_factors": 8},
    "fm_ranking": {"num_factors": 6},
}
TRAINED = [name for name, system in COMPANIONS.items() if system.figure != HITS]
SEEDED = [*TRAINED, "als"]
HAVE_NO_VECTORS = {"popularity", "bias"}
# One system of each kind; tests of the other systems are marked as slow.
FEW = {"als", "gmf", "multvae", "lightgcn"}


RANKING = {"test_hit_rate", "test_auc", "test_ndcg", "test_mrr"}


@pytest.fixture(params=COMPANIONS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_ratings(tmp_path_factory.mktemp("made-up"), made_up_ratings())


def call(name, data_dir, out, **options):
    """Run the system on made-up ratings for a few short epochs."""
    common = {"data_dir": data_dir, "out": out, "quiet": True, "force": True, **QUICK.get(name, {})}
    if name in TRAINED:
        common.update(num_epochs=3, batch_size=16)
    if name not in SEEDED:
        options.pop("num_epochs", None)
    return COMPANIONS[name].main()(**{**common, **options})


@pytest.fixture
def left(name, data_dir, tmp_path_factory):
    """Return the folder of a run of the system; all tests, in all processes, share this run."""
    # With xdist, each process has its own folder in a common parent.
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder = root / f"left-by-{name}"
    with filelock.FileLock(str(root / f"{name}.lock")):
        if not (folder / "result.json").exists():
            assert call(name, data_dir, folder, cutoff=[3]) == read(folder)
    return folder


def read(folder):
    return json.loads((folder / "result.json").read_text())


def ranked(model, data):
    """Return the metrics of a model's ranking."""
    held_out = HeldOut(data.test_items, data.candidates, data.num_users, data.num_items)
    return held_out.scores([held_out.ranks(*block) for block in all_scores(model, data)])


def test_what_it_leaves_is_what_it_measured(name, left, data_dir):
    result = read(left)
    assert (result["chapter"], result["protocol"], result["reported"]) == (name, "defined", {})
    assert set(result["defined"]) >= RANKING | {"test_ndcg_at_3"}
    assert set(result["seconds"]) == {"load", "train", "evaluate", "total"}
    settings = result["settings"]
    assert (settings["split"], settings["cutoff"]) == ("seq-aware", [3])
    assert (left / COMPANIONS[name].figure).read_bytes().startswith(b"\x89PNG")
    assert (left / "history.csv").exists() == (name in SEEDED)
    # The loaded model gives the same metrics.
    again = ranked(load_model(left).net, load_ranking_ml100k(data_dir))
    for protocol, numbers in again._asdict().items():
        assert {n: result[protocol][n] for n in numbers} == numbers, protocol


def test_every_option_is_among_the_settings(name, left):
    arguments = set(inspect.signature(COMPANIONS[name].main()).parameters)
    common = {"seed", "data_dir", "out", "force", "quiet", "device", "resume", "protocol"}
    assert set(read(left)["settings"]) == arguments - common


def with_other_items(ratings, rows, seed):
    """Return ``ratings`` with other values in ``rows``: other ratings, and items not yet rated."""
    rng, changed = np.random.default_rng(seed), ratings.copy()
    for row in rows:
        own = changed.loc[changed["user_id"] == changed.at[row, "user_id"], "item_id"]
        changed.at[row, "item_id"] = rng.choice(np.setdiff1d(np.arange(1, 41), own))
        changed.at[row, "rating"] = 6 - changed.at[row, "rating"]
    return changed


# All closed forms and a few of the trained ones: those share their data.
@pytest.mark.parametrize("name", some(COMPANIONS, FEW | set(COMPANIONS) - set(TRAINED)))
def test_what_is_held_out_or_left_out_leaves_no_trace_in_the_model(name, tmp_path):
    """With the validation split, the last two items of a user do not change a bit of the model."""
    ratings = made_up_ratings()
    train, _ = split_data_ml100k(ratings, 30, 40, "validation")
    keys = [frame["user_id"] * 41 + frame["item_id"] for frame in (ratings, train)]
    rows = np.flatnonzero(~np.isin(*keys))
    assert len(rows) == 60
    files = []
    for number, frame in enumerate((ratings, with_other_items(ratings, rows, 1))):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_ratings(folder, frame)
        assert read_data_ml100k(folder)[1:] == (30, 40)
        call(name, folder, folder / "out", split="validation", num_epochs=1)
        assert read(folder / "out")["settings"]["split"] == "validation"
        files.append((folder / "out" / "model.safetensors").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("name", some(TRAINED, FEW))
@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"lr": 1e25}, "the loss is|weights are|predictions are"),
        # After one step, all weights are finite, but the predictions overflow.
        ({"lr": 1e38, "num_epochs": 1}, "predictions are"),
    ],
)
def test_a_learning_rate_that_diverges_is_told_in_one_line(
    name, options, where, data_dir, tmp_path
):
    message = (
        rf"^({where}) not finite .*, at learning rate 1e\+\d\d: (the largest weight, in \S+, is "
        r"\S+|\S+ is not finite); start from scratch with a smaller --lr$"
    )
    if options.get("num_epochs") == 1:
        if name == "autoencoder":
            pytest.skip("its predictions stay finite, because its layer saturates")
        # One batch of all users, or of nearly all pairs.
        of_users = name in {"autoencoder", "cdae", "multvae", "sasrec"}
        options = {**options, "batch_size": 30 if of_users else 290}
    with pytest.raises(DivergedError, match=message):
        call(name, data_dir, tmp_path, **options)
    assert not (tmp_path / "result.json").exists()


def test_scores_of_a_closed_form_that_are_no_numbers_are_told(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "d2l_recsys.runs.closed_form_run.all_scores",
        lambda model, data: [(0, np.full(data.sizes, np.nan))],
    )
    with pytest.raises(DivergedError, match=r"^the model's scores are not finite; choose other"):
        call("ease", data_dir, tmp_path)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("name", some(SEEDED, FEW))
def test_another_seed_gives_another_model(name, left, data_dir, tmp_path):
    call(name, data_dir, tmp_path, cutoff=[3], seed=6)
    one, other = (what_it_left(folder) for folder in (left, tmp_path))
    assert one[2] != other[2]


@pytest.mark.parametrize("name", some(sorted(set(COMPANIONS) - set(TRAINED)), FEW))
def test_computed_again_it_is_the_same_bits(name, left, data_dir, tmp_path):
    call(name, data_dir, tmp_path, cutoff=[3])
    one, other = ((f / "model.safetensors").read_bytes() for f in (left, tmp_path))
    assert one == other


@pytest.mark.parametrize("name", some(TRAINED, FEW))
def test_resumed_it_gives_the_bits_of_a_run_that_was_not_stopped(name, left, data_dir, tmp_path):
    call(name, data_dir, tmp_path, cutoff=[3], num_epochs=1)
    call(name, data_dir, tmp_path, cutoff=[3], resume=True)
    assert what_it_left(left) == what_it_left(tmp_path)


@pytest.mark.parametrize("name", some(TRAINED, FEW))
def test_it_trains_on_two_devices_and_scores_on_another(name, data_dir, tmp_path):
    result = call(name, data_dir, tmp_path, num_devices=2, num_epochs=1)
    assert result["environment"]["devices"] == ["cpu(0)", "cpu(1)"]
    data = load_ranking_ml100k(data_dir)
    here, there = (load_model(tmp_path, mx.cpu(i)).net for i in (0, 1))
    for (_, one), (_, other) in zip(
        all_scores(here, data, [mx.cpu(0)]), all_scores(there, data, [mx.cpu(1)])
    ):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
        assert one.dtype == np.float32


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss(left):
    losses = pd.read_csv(left / "history.csv")["defined_train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_items_are_alike_or_it_says_that_it_cannot_tell(name, left):
    model = load_model(left).net
    similarities = model.similar_to(3)
    if name in HAVE_NO_VECTORS:
        assert similarities is None
        return
    assert similarities.shape == (40,)
    assert np.isfinite(similarities).all()
    assert np.ptp(similarities) > 0
    if type(model).similar_to is Recommender.similar_to:
        assert similarities[3] == pytest.approx(1)
        assert np.abs(similarities).max() <= 1 + 1e-6


def test_the_class_in_the_registry_is_the_models(name, left):
    model = load_model(left).net
    assert type(model) is COMPANIONS[name].model()
    assert isinstance(model, nn.Block if name in TRAINED else ClosedForm)
    assert type(model).__doc__


def test_settings_that_are_out_of_range_are_refused_and_leave_nothing(name, data_dir, tmp_path):
    wrong = [
        ({"split": "random"}, "--split is 'random'.*seq-aware, validation"),
        ({"split": "last"}, "--split is 'last'; choose one of"),
        ({"cutoff": [0]}, "--cutoff is 0; it must lie between 1 and"),
    ]
    if name in TRAINED:
        wrong += [
            ({"lr": -1}, "--lr is -1; it must lie between 0 and"),
            ({"num_epochs": 0}, "--num-epochs is 0; it must lie between 1 and"),
            ({"batch_size": 0}, "--batch-size is 0; it must lie between 1 and"),
        ]
    for options, message in wrong:
        with pytest.raises(SettingError, match=message):
            call(name, data_dir, tmp_path / "out", **options)
    assert not list(tmp_path.glob("out/*"))


def test_a_net_that_is_no_recommender_is_trained_and_ranked_with(data_dir, tmp_path):
    """A net that scores pairs is enough for ``CompanionRun``; it needs no base class."""
    from d2l_recsys.runs.run import CompanionRun
    from d2l_recsys.settings import RankingLoss, TimeSplit

    class Pairs(nn.HybridBlock):
        def __init__(self, num_factors, num_users, num_items):
            super().__init__()
            self.P, self.Q = (
                nn.Embedding(num_users, num_factors),
                nn.Embedding(num_items, num_factors),
            )

        def hybrid_forward(self, F, users, items):
            return F.np.sum(self.P(users) * self.Q(items), axis=-1)

    run = CompanionRun(
        "gmf",
        {"num_epochs": 1, "num_factors": 4},
        split=TimeSplit.seq_aware,
        cutoff=[],
        num_devices=1,
        device=None,
        resume=False,
        data_dir=data_dir,
        out=tmp_path,
        quiet=True,
        force=True,
        seed=0,
    )
    result = run.train_on_pairs(
        Pairs, 4, *run.data.sizes, batch_size=64, lr=0.01, loss=RankingLoss.bpr
    )
    assert set(result["defined"]) >= RANKING
    assert 0 < result["defined"]["test_auc"] < 1
