"""The project's own code on MXNet as a port. The expected answers of the baseline come from it.

This module only passes arrays to the models, losses, data and metrics that the sections use.
"""

import io
import pathlib
import tempfile
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy
import pandas as pd

from d2l_recsys.backend import autograd, gluon, init, mx, np, npx
from d2l_recsys.baseline.ladder import CLICKS, PAIRS, PROTOCOLS, RATINGS
from d2l_recsys.baseline.oracle import initial
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import load_data_ml100k, split_data_ml100k
from d2l_recsys.datasets.movielens import COLUMNS
from d2l_recsys.evaluation.click_metrics import click_scores
from d2l_recsys.evaluation.rating_metrics import rating_scores
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.losses import RANKING_LOSSES
from d2l_recsys.model_bases.parameters import parameters_of, set_parameters
from d2l_recsys.ranking import HeldOut
from d2l_recsys.sampling import NegativeSampler
from d2l_recsys.sections.registry import SECTIONS
from d2l_recsys.sequences import sequence_windows
from d2l_recsys.settings import Protocol, RankingLoss, Scores
from d2l_recsys.training.objectives import click_loss, ranking_loss, rating_loss
from d2l_recsys.training.resume import optimizer_state, set_optimizer_state
from d2l_recsys.training.train_loss import TrainClicks, TrainLoss

# The arrays of a batch in the order of the arguments of the loss; the inputs of the net come first.
BATCH = {
    "mf": ("user_id", "item_id", "rating"),
    "autorec": ("ratings",),
    "neumf": ("user_id", "item_id", "negative_id"),
    "caser": ("user_id", "seq", "item_id", "negative_id"),
    "fm": ("features", "label"),
    "deepfm": ("features", "label"),
}


class Port:
    """The chapter on MXNet Gluon, with the methods of ``d2l_recsys.baseline.port.Port``."""

    num_devices = 1

    def __init__(self, model: str, protocol: str) -> None:
        npx.set_np()
        self.model, self.protocol = model, protocol
        self.devices = [mx.cpu(i) for i in range(self.num_devices)]

    # Rungs 0 and 1.

    def data(self, given: Mapping[str, numpy.ndarray]) -> Arrays:
        """See ``baseline.port.Port``."""
        if self.model in CLICKS:
            return _clicks(given)
        frame = pd.DataFrame(given["ratings"], columns=COLUMNS)
        counts = frame["user_id"].nunique(), frame["item_id"].nunique()
        if self.model == "autorec":
            parts = split_data_ml100k(frame, *counts, "random", 0.1, _Given(given["uniform"]))
            matrices = [load_data_ml100k(part, *counts)[-1] for part in parts]
            if given.get("rows_are_users", 0):
                matrices = [matrix.T for matrix in matrices]
            return {"train_matrix": matrices[0], "test_matrix": matrices[1]}
        parts = split_data_ml100k(frame, *counts, "seq-aware")
        train, test = (
            numpy.column_stack(load_data_ml100k(part, *counts)[:3]).astype(numpy.int32)
            for part in parts
        )
        if self.model == "mf":
            return {"train": train, "test": test}
        answer = {"train": train[:, :2], "test_items": test[numpy.argsort(test[:, 0]), 1]}
        if self.model == "caser":
            windows = sequence_windows(*train[:, :2].T, int(given["L"]), counts[0])
            answer["windows"] = numpy.column_stack(windows[:3])
            answer["test_sequences"] = windows.test_sequences
        return answer

    def batches(self, given: Mapping[str, numpy.ndarray]) -> numpy.ndarray:
        """See ``baseline.port.Port``."""
        orders = given["orders"]
        loader = BatchLoader(
            numpy.arange(orders.shape[1]),
            batch_size=int(given["batch_size"]),
            shuffle=True,
            last_batch="rollover",
            rng=_Given(orders),
        )
        return numpy.stack([batch for _ in orders for batch in loader])

    def metrics(self, given: Mapping[str, numpy.ndarray]) -> Dict[str, float]:
        """See ``baseline.port.Port``."""
        scores = _click_scores(given) if self.model in CLICKS else self._scores(given)
        return getattr(scores, self.protocol)

    def _scores(self, given: Mapping[str, numpy.ndarray]) -> Scores:
        train_loss = TrainLoss()
        for losses in given["losses"]:
            values = numpy.atleast_1d(losses)
            pairs = self.model in PAIRS
            train_loss.add([values], int(given["batch_size"]) if pairs else len(values))
        if self.model == "mf":
            size = int(given["test_batch_size"])
            labels, predictions = given["labels"], given["predictions"]
            starts = range(0, len(labels), size)
            scores = rating_scores(
                [[(labels[i : i + size], predictions[i : i + size])] for i in starts]
            )
        elif self.model == "autorec":
            observed = given["test_matrix"] > 0
            both = given["test_matrix"][observed], given["completed"][observed]
            scores = rating_scores([[both]])
        else:
            num_users, num_items = given["scores"].shape
            candidates = _candidates(given["train"], num_users)
            test_items = {user: [item] for user, item in enumerate(given["test_items"].tolist())}
            held_out = HeldOut(test_items, candidates, num_users, num_items)
            scores = held_out.scores([held_out.ranks(0, given["scores"])])
        return Scores(*({**a, **b} for a, b in zip(train_loss.scores, scores)))

    # Rungs 2 to 5.

    def set_state(
        self,
        settings: Mapping[str, Any],
        parameters: Arrays,
        means: Optional[Arrays] = None,
        variances: Optional[Arrays] = None,
        steps: int = 0,
    ) -> None:
        """See ``baseline.port.Port``."""
        self._build(settings)
        self.net.initialize(ctx=self.devices)
        self._names = _gluon_names(parameters, parameters_of(self.net))
        self._shapes = {name: array.shape for name, array in parameters.items()}
        set_parameters(self.net, self._to_gluon(parameters))
        options = {"learning_rate": settings["lr"], "wd": settings.get("wd", 0)}
        self.trainer = gluon.Trainer(self.net.collect_params(), "adam", options)
        if steps:
            moments = {"means": self._to_gluon(means), "variances": self._to_gluon(variances)}
            updates = dict.fromkeys(moments["means"], steps)
            set_optimizer_state(self.net, self.trainer, moments, updates)

    def _build(self, settings: Mapping[str, Any]) -> None:
        s = settings
        row_length = "num_items" if s.get("variant") == "user" else "num_users"
        arguments = {
            "mf": ("num_factors", "num_users", "num_items"),
            "autorec": ("num_hidden", row_length, "dropout"),
            "neumf": ("num_factors", "num_users", "num_items", "nums_hiddens"),
            "caser": ("num_factors", "num_users", "num_items", "L", "d", "d_prime", "dropout"),
            "fm": ("field_dims", "num_factors"),
            "deepfm": ("field_dims", "num_factors", "mlp_dims", "dropout"),
        }[self.model]
        changed = {name: s[name] for name in ("head", "variant") if name in s}
        self.net = SECTIONS[self.model].model()(*(s[name] for name in arguments), **changed)
        if self.model in RATINGS:
            self._losses = rating_loss(self.net, gluon.loss.L2Loss())
        elif self.model in PAIRS:
            loss = RANKING_LOSSES[RankingLoss(s.get("loss", "bpr"))]()
            self._losses = ranking_loss(self.net, loss)
        else:
            loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
            self._losses = click_loss(self.net, loss, Protocol(self.protocol))

    def _to_gluon(self, arrays: Arrays) -> Arrays:
        ours = self.net._collect_params_with_prefix()
        return {
            self._names[name]: array.reshape(ours[self._names[name]].shape)
            for name, array in arrays.items()
        }

    def _from_gluon(self, arrays: Arrays, like: Mapping[str, Sequence[int]]) -> Arrays:
        return {name: arrays[self._names[name]].reshape(shape) for name, shape in like.items()}

    def forward(self, batch: Arrays) -> numpy.ndarray:
        """See ``baseline.port.Port``."""
        return numpy.concatenate([self._outputs(*share).asnumpy() for share in self._shares(batch)])

    def training_outputs(self, batch: Arrays, seed: int) -> numpy.ndarray:
        """See ``baseline.port.Port``."""
        mx.random.seed(seed)
        with autograd.train_mode():
            return self.forward(batch)

    def _outputs(self, *share: np.ndarray) -> np.ndarray:
        if self.model not in CLICKS:
            return self.net(*share[: 1 if self.model == "autorec" else -1])
        if self.protocol == "printed":
            return self.net(share[0])[:, 0]
        return self.net.logits(mx.nd, share[0])[:, 0]

    def _shares(self, batch: Arrays) -> List[List[np.ndarray]]:
        """The arrays of a batch, split across the devices."""
        arrays = [numpy.asarray(batch[name]) for name in BATCH[self.model]]
        if self.model in CLICKS:
            arrays[-1] = arrays[-1].reshape(-1, 1)
        kinds = ["int32" if array.dtype.kind in "iu" else "float32" for array in arrays]
        if self.model not in PAIRS:
            kinds[-1] = "float32"
        return [
            [
                np.array(part, dtype=kind, ctx=device)
                for part, kind in zip(
                    (numpy.array_split(array, len(self.devices))[number] for array in arrays), kinds
                )
            ]
            for number, device in enumerate(self.devices)
        ]

    def _record(self, batch: Arrays) -> Tuple[List[np.ndarray], int]:
        """Run forward and backward; returns the losses by device, and the number of examples."""
        shares = self._shares(batch)
        with autograd.record():
            outputs = [self._losses(*share) for share in shares]
            losses = [
                output[0] if isinstance(output, (tuple, list)) else output for output in outputs
            ]
        autograd.backward(losses)
        return losses, sum(len(share[-1]) for share in shares)

    def loss(self, batch: Arrays) -> float:
        """See ``baseline.port.Port``."""
        losses, _ = self._record(batch)
        return float(sum(part.asnumpy().sum(dtype=numpy.float64) for part in losses))

    def gradients(self, batch: Arrays) -> Arrays:
        """See ``baseline.port.Port``."""
        self._record(batch)
        parameters = self.net._collect_params_with_prefix()
        gradients = {
            name: sum(gradient.asnumpy() for gradient in parameter.list_grad())
            for name, parameter in parameters.items()
        }
        return self._from_gluon(gradients, self._shapes)

    def step(self, batch: Arrays) -> None:
        """See ``baseline.port.Port``."""
        self.trainer.step(self._record(batch)[1])

    def parameters(self) -> Arrays:
        """See ``baseline.port.Port``."""
        return self._from_gluon(parameters_of(self.net), self._shapes)

    def moments(self) -> Tuple[Arrays, Arrays, int]:
        """The means and variances of Adam, and the number of steps done so far."""
        kept, updates = optimizer_state(self.net, self.trainer)
        (steps,) = set(updates.values())
        return (
            self._from_gluon(kept["means"], self._shapes),
            self._from_gluon(kept["variances"], self._shapes),
            steps,
        )

    # Rung 6.

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
        """See ``baseline.port.Port``."""
        self._build(settings)
        law = init.Xavier() if self.model in CLICKS else init.Normal(0.01)
        mx.random.seed(seed)
        self.net.initialize(ctx=self.devices, init=law)
        drawn, shapes = parameters_of(self.net), initial.shapes(self.model, settings)
        self._names = _gluon_names(shapes, drawn)
        return self._from_gluon(drawn, shapes)

    def negatives(self, given: Mapping[str, numpy.ndarray], seed: int) -> numpy.ndarray:
        """See ``baseline.port.Port``."""
        num_users, num_items = int(given["num_users"]), int(given["num_items"])
        candidates = _candidates(given["train"], num_users)
        return NegativeSampler(candidates, num_users, num_items, seed).draw(given["users"])

    def train(
        self, given: Mapping[str, numpy.ndarray], settings: Mapping[str, Any], seed: int
    ) -> Dict[str, Dict[str, float]]:
        """See ``baseline.port.Port``. Runs the section, which reads its own data, not ``given``."""
        options = {**settings, "protocol": self.protocol, "seed": seed, "quiet": True}
        if self.model in CLICKS:
            options["dataset"] = "movielens"
        with tempfile.TemporaryDirectory() as folder:
            result = SECTIONS[self.model].main()(**options, out=pathlib.Path(folder))
        return {protocol: result[protocol] for protocol in PROTOCOLS}


class _Given(numpy.random.Generator):
    """A generator that returns given numbers: uniform numbers, or one permutation after another."""

    def __init__(self, drawn: numpy.ndarray) -> None:
        super().__init__(numpy.random.PCG64())
        self.drawn, self.permutations = drawn, iter(drawn)

    def uniform(self, *, size: int) -> numpy.ndarray:
        return self.drawn[:size]

    def permutation(self, _: int) -> numpy.ndarray:
        return next(self.permutations)


def _gluon_names(names: Iterable[str], ours: Iterable[str]) -> Dict[str, str]:
    """The name of each parameter in Gluon.

    The names differ in the MLP of DeepFM: Gluon also numbers the dropout layers, a port does not.
    """
    numbers = sorted({int(name.split(".")[1]) for name in ours if name.startswith("mlp.")})
    found = {}
    for name in names:
        part, *rest = name.split(".")
        if part == "mlp":
            rest[0] = str(numbers[int(rest[0])])
        found[name] = ".".join([part, *rest])
    return found


def _candidates(train: numpy.ndarray, num_users: int) -> Dict[int, List[int]]:
    """The training items of each user."""
    candidates: Dict[int, List[int]] = {user: [] for user in range(num_users)}
    for user, item in train.tolist():
        candidates[user].append(item)
    return candidates


def _clicks(given: Mapping[str, numpy.ndarray]) -> Arrays:
    train, test = (given[name].tobytes() for name in ("train_tsv", "test_tsv"))
    num_feat = train.partition(b"\n")[0].count(b"\t")
    train_set = CTRDataset(
        io.BytesIO(train), min_threshold=int(given["min_threshold"]), num_feat=num_feat
    )
    mapping = train_set.feat_mapper, train_set.defaults
    test_set = CTRDataset(io.BytesIO(test), *mapping, num_feat=num_feat)
    return {
        "field_dims": train_set.field_dims.astype(numpy.int32),
        "train_features": train_set.features,
        "train_labels": train_set.labels[:, 0].astype(numpy.int32),
        "test_features": test_set.features,
        "test_labels": test_set.labels[:, 0].astype(numpy.int32),
    }


def _click_scores(given: Mapping[str, numpy.ndarray]) -> Scores:
    labels = given["test_labels"]
    loader = BatchLoader(
        numpy.arange(len(labels)), batch_size=int(given["batch_size"]), last_batch="rollover"
    )
    for _ in range(int(given["epoch"])):
        rows = numpy.concatenate(list(loader))
    scores = click_scores(labels, given["test_scores"], given["test_log_odds"], rows)
    epoch = TrainClicks()
    parts = (given[f"train_{name}"] for name in ("losses", "scores", "log_odds", "labels"))
    epoch.add([tuple(parts)], len(given["train_labels"]))
    return Scores(*({**a, **b} for a, b in zip(epoch.scores, scores)))
