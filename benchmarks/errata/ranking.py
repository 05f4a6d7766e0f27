"""Measures the errata on ranking: sections 15.5 (loss), 15.6 (NeuMF) and 15.7 (Caser)."""

import contextlib
import io
import math
import statistics
from typing import Any, List, Tuple
from unittest import mock

import numpy
from d2l import mxnet as d2l

from benchmarks import tie_rule
from benchmarks.errata.figures import Figures, differences, mean_sd, percent
from benchmarks.errata.lab import Lab, Rows, outcome
from d2l_recsys.backend import autograd, gluon, init, mx, nn, np, npx
from d2l_recsys.chapters import caser, neumf
from d2l_recsys.data import read_data_ml100k
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.losses import BPRLoss
from d2l_recsys.runs.reported import reported_numbers
from d2l_recsys.sampling import NegativeSampler, pairwise_loader
from d2l_recsys.seeds import seed_streams

ROWS = Rows()

RANKING_METRICS = {"Hit@50": "test_hit_rate", "AUC": "test_auc"}
# Hit rate and AUC, printed and defined.
RANKING_NUMBERS = [
    (f"{label} {protocol}", protocol, number)
    for label, number in RANKING_METRICS.items()
    for protocol in ("printed", "defined")
]
TIE_RULE_SPLITS = 10


def tied_users(scores: numpy.ndarray, unobserved: numpy.ndarray, held_out: numpy.ndarray) -> int:
    """Counts the users for whom another unobserved item has the score of the held-out item.

    ``scores`` has the shape (users, items). ``unobserved`` has the same shape and says which scores
    count. ``held_out`` has the held-out item of each user, (users,).
    """
    own = scores[numpy.arange(len(scores)), held_out][:, None]
    others = unobserved.copy()
    others[numpy.arange(len(scores)), held_out] = False
    return int(((scores == own) & others).any(axis=1).sum())


def order_breaks_below(num_items: int, tries: int = 20) -> int:
    """Returns the length of the longest list from a set that is not in ascending order.

    CPython makes the list as ``list(set(range(num_items)) - seen)``. For each length we try
    ``tries`` random choices of ``seen``. Returns 0 if every list is in ascending order.
    """
    rng, everything = numpy.random.default_rng(0), set(range(num_items))
    for length in range(num_items, 0, -1):
        for _ in range(tries):
            listed = list(everything - set(rng.permutation(num_items)[length:].tolist()))
            if listed != sorted(listed):
                return length
    return 0


@ROWS.row("K1")
def heads(lab: Lab) -> Figures:
    """Trains NeuMF with each head, and measures the weights and gradients of each head."""
    figures: Figures = {}
    for name, variant in (
        ("sum", "neumf"),
        ("linear", "neumf-linear"),
        ("sigmoid", "neumf-sigmoid"),
        ("sigmoid, --wd 0", "neumf-sigmoid-wd-0"),
    ):
        figures.update(lab.numbers(name, variant, RANKING_NUMBERS))
    net = lab.train("neumf", head="sigmoid").net
    scores = net.score_all(np.arange(lab.ranking.num_users, dtype="int32")).asnumpy()
    return {
        **figures,
        "largest weight after training": _largest(net, ".*weight"),
        "largest bias after training": _largest(net, ".*bias"),
        "highest less lowest score": float(scores.max() - scores.min()),
        "seeds of --wd 0": lab.seeds,
        **{
            f"{head} head: size of the loss gradient over the decay": loss_over_decay(lab, head)
            for head in ("sum", "linear", "sigmoid")
        },
    }


def _largest(net: gluon.Block, names: str) -> float:
    """Returns the largest absolute value of the parameters whose names match ``names``."""
    return max(float(np.abs(p.data()).max()) for p in net.collect_params(names).values())


def loss_over_decay(lab: Lab, head: str, wd: float = 1e-5) -> float:
    """Returns the size of the loss's gradient divided by the size of the weight decay.

    The net is a new NeuMF, and the loss is the mean over the pairs of the first batch. The weight
    decay is ``wd * w``. Both sizes are norms over all weights and embeddings, without the biases.
    """
    data = lab.ranking
    npx.set_np()
    mx.random.seed(0)
    net = neumf.NeuMF(10, data.num_users, data.num_items, (10, 10, 10), head)
    net.initialize(init=init.Normal(0.01))
    loader = pairwise_loader(data, [data.users, data.items], 1024, seed_streams(0))
    users, items, negatives = (np.array(part, dtype="int32") for part in next(iter(loader)))
    with autograd.record():
        loss = BPRLoss()(net(users, items), net(users, negatives))
    loss.backward()
    parameters = [p for p in net.collect_params().values() if "bias" not in p.name]
    gradient, decay = (
        math.sqrt(sum(float(np.square(part(p)).sum()) for p in parameters))
        for part in (lambda p: p.grad() / len(users), lambda p: wd * p.data())
    )
    return gradient / decay


@ROWS.row("K2")
def items_beyond_users(lab: Lab) -> Figures:
    """Counts the held-out items that the chapter never ranks, and compares the metrics."""
    data = lab.ranking
    beyond = sum(items[0] >= data.num_users for items in data.test_items.values())
    times_rated = numpy.bincount(data.items, minlength=data.num_items)
    figures: Figures = {
        "items": data.num_items,
        "items that are ranked": data.num_users,
        "users whose held-out item is not": beyond,
        "users whose held-out item is not, %": percent(beyond, data.num_users),
        "largest possible printed Hit@50 or AUC": 1 - beyond / data.num_users,
        "training ratings of an item that is ranked": times_rated[: data.num_users].mean(),
        "training ratings of an item that is not ranked": times_rated[data.num_users :].mean(),
    }
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser")):
        for label, number in RANKING_METRICS.items():
            figures[f"{name}, {label} reported"] = reported_numbers(section)[number]
        figures.update(lab.numbers(name, section, RANKING_NUMBERS))
    return figures


def _unobserved(data: RankingData) -> numpy.ndarray:
    """Returns which items are not in a user's training data, bool (num_users, num_items)."""
    unobserved = numpy.ones((data.num_users, data.num_items), dtype=bool)
    unobserved[data.users, data.items] = False
    return unobserved


def _held_out(data: RankingData) -> numpy.ndarray:
    """Returns the held-out item of each user, (num_users,)."""
    return numpy.array([data.test_items[user][0] for user in range(data.num_users)])


@ROWS.row("K3")
def ties(lab: Lab) -> Figures:
    """Measures ties of a trained NeuMF, the order of the lists and the AUC's denominator."""
    data = lab.ranking
    unobserved, held_out = _unobserved(data), _held_out(data)
    users = np.arange(data.num_users, dtype="int32")
    tied = {
        head: tied_users(
            lab.train("neumf", head=head).net.score_all(users).asnumpy(), unobserved, held_out
        )
        for head in ("sum", "sigmoid")
    }
    everything = set(range(data.num_users))
    lists = [list(everything - set(data.candidates[user])) for user in range(data.num_users)]
    # Dividing by n lowers a user's AUC by AUC / n. The mean of the product is close to the product
    # of the means, because AUC and n hardly depend on each other.
    denominators = numpy.mean(1 / unobserved.sum(axis=1))
    auc = statistics.mean(lab.values("neumf", "defined", "test_auc"))
    return {
        "users": data.num_users,
        "users whose held-out item ties, sum": tied["sum"],
        "users whose held-out item ties, sigmoid": tied["sigmoid"],
        **lab.mean_sd("all tied: Hit@50 printed", "neumf-sigmoid", "printed", "test_hit_rate"),
        **lab.mean_sd("all tied: AUC printed", "neumf-sigmoid", "printed", "test_auc"),
        **lab.mean_sd("all tied: Hit@50 defined", "neumf-sigmoid", "defined", "test_hit_rate"),
        **lab.mean_sd("all tied: AUC defined", "neumf-sigmoid", "defined", "test_auc"),
        "shortest list": min(map(len, lists)),
        "longest list out of order": order_breaks_below(data.num_users),
        "users whose list is out of order": sum(listed != sorted(listed) for listed in lists),
        "NeuMF: AUC by eq. 15.6.5 to the letter, lower by": float(auc * denominators),
    }


class _Distances(BPRLoss):
    """A BPR loss that stores the smallest distance (positive less negative score) so far."""

    smallest = math.inf

    def forward(self, positive: Any, negative: Any) -> Any:
        self.smallest = min(self.smallest, float((positive - negative).min()))
        return super().forward(positive, negative)


def _losses_at(distance: float) -> List[Tuple[float, float]]:
    """Returns (loss, gradient) at ``distance``, for the BPRLoss of d2l and of this project."""
    results = []
    for loss in (d2l.BPRLoss(), BPRLoss()):
        positive = np.array([distance], dtype="float32")
        positive.attach_grad()
        with autograd.record():
            value = loss(positive, np.zeros(1))
        value.backward()
        results.append((float(value), float(positive.grad)))
    return results


def infinite_from() -> float:
    """Returns the largest float32 distance at which d2l's BPRLoss is infinite."""
    low, high = numpy.float32(-200), numpy.float32(0)
    while numpy.nextafter(low, high) < high:
        middle = (low + high) / numpy.float32(2)
        if math.isinf(_losses_at(middle)[0][0]):
            low = middle
        else:
            high = middle
    return float(low)


@ROWS.row("K4")
def log_of_sigmoid(lab: Lab) -> Figures:
    """Measures from where the chapter's BPR loss is infinite, and how near training comes."""
    npx.set_np()
    infinite = infinite_from()
    theirs, ours = _losses_at(infinite)
    smallest = {}
    for name, section in (("NeuMF", "neumf"), ("Caser", "caser")):
        recorder = mock.Mock(return_value=_Distances())
        with mock.patch.object(caser, "BPRLoss", recorder), mock.patch.dict(
            neumf.RANKING_LOSSES, {neumf.RankingLoss.bpr: recorder}
        ):
            lab.train(section)
        smallest[name] = recorder.return_value.smallest
    return {
        "d2l's loss is infinite from a distance of": infinite,
        "d2l's gradient there": str(theirs[1]),
        "our loss there": ours[0],
        "our gradient there": ours[1],
        **{f"smallest distance in training, {name}": d for name, d in smallest.items()},
    }


@ROWS.row("K5")
def length_of_sequences(lab: Lab) -> Figures:
    """Compares Caser with sequences of 3 items and of 5 items."""
    figures: Figures = {}
    for label, number in RANKING_METRICS.items():
        figures[f"{label} reported"] = reported_numbers("caser")[number]
        both = []
        for L, variant in ((3, "caser"), (5, "caser-L5")):
            figures.update(lab.mean_sd(f"{label} printed, L {L}", variant, "printed", number))
            figures.update(lab.mean_sd(f"{label} defined, L {L}", variant, "defined", number))
            both.append(lab.values(variant, "printed", number))
        figures.update(mean_sd(f"{label} printed, L 3 less L 5", differences(*both)))
    return figures


def filters_of(d: int, d_prime: int) -> None:
    """Applies the chapter's two kinds of filters to an array, and joins them as its class does."""
    picture = np.zeros((2, 1, 3, 10))
    vertical, horizontal = nn.Conv2D(d_prime, (3, 1), in_channels=1), nn.Conv2D(d, (1, 10))
    for conv in (vertical, horizontal):
        conv.initialize()
    out_v = vertical(picture).reshape(2, -1) if d_prime else None
    out_h = horizontal(picture).reshape(2, -1) if d else None
    np.concatenate([out_v, out_h], axis=1)


@ROWS.row("K6")
def without_filters(lab: Lab) -> Figures:
    """Runs the ablation exercise with the chapter's layers and with this project's Caser."""
    npx.set_np()
    both = np.zeros((2, 3))
    figures: Figures = {
        "filters of number 0": outcome(filters_of, 0, 4),
        "None beside an array": outcome(np.concatenate, [both, None], axis=1),
        "seeds": lab.seeds,
    }
    for option, variant in (("--d 0", "caser-d-0"), ("--d-prime 0", "caser-d-prime-0")):
        figures.update(lab.numbers(option, variant, RANKING_NUMBERS))
    return figures


@ROWS.row("K7")
def ties_in_time(lab: Lab) -> Figures:
    """Counts users with several last ratings, and measures the effect of the choice among them."""
    data, num_users, _ = read_data_ml100k(lab.data_dir)
    last = data.groupby("user_id")["timestamp"].transform("max") == data["timestamp"]
    tied = int((data[last].groupby("user_id").size() > 1).sum())
    with mock.patch.object(
        tie_rule, "spread", wraps=tie_rule.spread
    ) as cells, contextlib.redirect_stdout(io.StringIO()):
        tie_rule.main(splits=TIE_RULE_SPLITS, data_dir=lab.data_dir)
    runs = [call[0][0] for call in cells.call_args_list]
    figures: Figures = {
        "users": num_users,
        "users who tie": tied,
        "users who tie, %": percent(tied, num_users),
        "splits": TIE_RULE_SPLITS,
    }
    names = [(s, what) for s in ("NeuMF", "Caser") for what in ("ties at random", "seeds")]
    for (section, what), results in zip(names, runs):
        for label, protocol, number in RANKING_NUMBERS:
            values = [result[protocol][number] for result in results]
            figures.update(mean_sd(f"{section}, {what}, {label}", values))
    return figures


def _without_held_out(data: RankingData, *args: Any) -> BatchLoader:
    """Returns training batches in which the held-out item is never a negative item."""
    known = {user: [*items, *data.test_items[user]] for user, items in data.candidates.items()}
    return pairwise_loader(data._replace(candidates=known), *args)


@ROWS.row("K8")
def held_out_as_negative(lab: Lab, num_epochs: int = 10) -> Figures:
    """Measures how often the held-out item is a negative item, and the effect on NeuMF."""
    data = lab.ranking
    held_out = _held_out(data)
    sampler = NegativeSampler(data.candidates, data.num_users, data.num_items, rng=0)
    drawn = [sampler.draw(data.users) == held_out[data.users] for _ in range(num_epochs)]
    met = numpy.unique(data.users[numpy.any(drawn, axis=0)])
    figures: Figures = {
        "draws of an epoch": len(data.users),
        "draws of an epoch that are the held-out item": round(float(numpy.sum(drawn)) / num_epochs),
        "share of draws, %": percent(float(numpy.mean(drawn)), 1),
        "epochs": num_epochs,
        "users whose held-out item is drawn at least once, %": percent(len(met), data.num_users),
        "seeds": lab.seeds,
    }
    with mock.patch.object(neumf, "pairwise_loader", _without_held_out):
        spared = lab.results("neumf")
    for label, number in RANKING_METRICS.items():
        values = [result["defined"][number] for result in spared]
        change = differences(values, lab.values("neumf", "defined", number))
        figures.update(
            mean_sd(f"{label} defined, gain if the held-out item is never drawn", change)
        )
    return figures
