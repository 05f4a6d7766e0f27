import ast
import json

import numpy as np
import pandas as pd
import pytest

backend = pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.chapters import pairwise  # noqa: E402
from d2l_recsys.data import load_ranking_ml100k  # noqa: E402
from d2l_recsys.losses import BPRLoss, HingeLossbRec  # noqa: E402
from d2l_recsys.runs import losses_run  # noqa: E402

QUICK = {"num_epochs": 1, "batch_size": 16, "quiet": True}


@pytest.fixture(autouse=True)
def np_semantics():
    backend.npx.set_np()


@pytest.mark.parametrize(
    ("loss", "value", "derivative"),
    [
        (BPRLoss(), lambda d: np.log1p(np.exp(-d)), lambda d: -1 / (1 + np.exp(d))),
        (HingeLossbRec(), lambda d: np.maximum(1 - d, 0), lambda d: np.where(d < 1, -1.0, 0.0)),
        (
            HingeLossbRec(margin=0.5),
            lambda d: np.maximum(0.5 - d, 0),
            lambda d: np.where(d < 0.5, -1.0, 0.0),
        ),
    ],
)
def test_what_is_drawn_are_the_losses_of_the_section_and_their_derivatives(loss, value, derivative):
    leads = np.linspace(-4, 4, 33) + 0.01
    found = pairwise.loss_and_derivative(loss, leads.astype("float32"))
    np.testing.assert_allclose(found[0], value(leads), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], derivative(leads), rtol=1e-5, atol=1e-6)


def test_nothing_but_the_loss_differs(ratings_dir, tmp_path, monkeypatch):
    """Both runs get the same weights, the same batches and the same settings."""
    seen = []

    def train(net, train_iter, test_items, loss, trainer, *others, **options):
        weights = {n: p.data().asnumpy() for n, p in net._collect_params_with_prefix().items()}
        batches = [[array.tolist() for array in batch] for batch in train_iter]
        seen.append((weights, batches, trainer.optimizer.wd, trainer.learning_rate, type(loss)))
        return real(net, train_iter, test_items, loss, trainer, *others, **options)

    real = losses_run.train_ranking
    monkeypatch.setattr(losses_run, "train_ranking", train)
    result = pairwise.main(seed=2, data_dir=ratings_dir, out=tmp_path / "out", **QUICK)
    (one, *same, first), (other, *as_first, second) = seen
    assert (first, second) == (BPRLoss, HingeLossbRec)
    assert same == as_first
    assert len(same[0]) > 10
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    # The same seed gives the same numbers.
    again = pairwise.main(seed=2, data_dir=ratings_dir, out=tmp_path / "again", **QUICK)
    assert (again["printed"], again["defined"]) == (result["printed"], result["defined"])


def test_the_result_has_the_numbers_of_each_loss_and_its_history(ratings_dir, run_here, tmp_path):
    options = ["--num-epochs", 1, "--batch-size", 16, "--margin", 2, "--cutoff", 3]
    where = ["--data-dir", ratings_dir, "--out", tmp_path / "out"]
    code, out, err = run_here("run", "pairwise", *where, *options)
    assert (code, err) == (0, "")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (tmp_path / "out" / "losses.png").read_bytes().startswith(b"\x89PNG")
    for loss in ("bpr", "hinge"):
        history = pd.read_csv(tmp_path / "out" / f"history-{loss}.csv")
        assert len(history) == 1
        for protocol, name in (("printed", "test_auc"), ("defined", "test_hit_rate_at_3")):
            last = history[f"{protocol}_{name}"].iloc[-1]
            assert result[protocol][f"{loss}_{name}"] == pytest.approx(last, rel=1e-12)
    assert result["printed"]["bpr_train_loss"] != result["printed"]["hinge_train_loss"]
    assert result["reported"] == {}
    assert result["settings"]["margin"] == 2.0
    # The first triples are a seen and an unseen item of a user.
    head, line = out.splitlines()[0].split(": ")
    assert head == "the first triples (user, seen item, unseen item)"
    data, triples = load_ranking_ml100k(ratings_dir), ast.literal_eval(f"[{line}]")
    assert len(triples) == 3
    for (user, seen, unseen), u, i in zip(triples, data.users, data.items):
        assert (user, seen) == (u, i)
        assert unseen not in data.candidates[user]
    assert "with the loss bpr:" in out
    assert "with the loss hinge:" in out


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--margin", -1, "--margin is -1.0; it must lie between 0 and 1000000"),
        ("--resume", "", "No such option: --resume"),
    ],
)
def test_bad_options_are_one_line(option, value, told, ratings_dir, run_here, tmp_path):
    words = [option, *([value] if value != "" else [])]
    out = tmp_path / "out"
    code, _, err = run_here("run", "pairwise", "--data-dir", ratings_dir, "--out", out, *words)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
    assert not out.exists()
