"""Train one of the chapter's models with PyTorch, and time each epoch.

    python -m benchmarks.pytorch_loops mf [--loop sliced] [--adam fused] [--threads 1] [--epochs 6]

``benchmarks.against_pytorch`` runs this command in the environment of the ports, which has no
MXNet. The nets and the losses are those of ``ports/pytorch``. The data, its split and the settings
are those of the script in ``chapters``. The last line of the output is a JSON object with three
lists, one entry per epoch: ``seconds``, ``losses`` (mean per example) and ``examples``.

Two loops make the batches:

- ``sliced`` is written to be fast. It shuffles whole tensors once per epoch, and a batch is a slice
  of them.
- ``loader`` is the usual loop: a shuffled ``DataLoader`` over a ``TensorDataset``.

Both draw the negative items of a whole epoch at once. Three changes make the nets faster on a CPU:
another operator looks up the rows of a table (``Table``), NeuMF scores both items of all pairs in
one call, and Caser's filters are dense layers instead of convolutions. Without dropout, the
gradients stay the same. ``--plain`` trains the nets without these changes.
"""

import enum
import json
import pathlib
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import Annotated

from benchmarks.measuring import ROOT
from d2l_recsys.data import (
    load_data_ctr,
    load_data_ml100k,
    load_ranking_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
    split_data_ml100k,
)
from d2l_recsys.errors import SettingError
from d2l_recsys.sampling import NegativeSampler
from d2l_recsys.sections.command_line import run
from d2l_recsys.sections.options import read_options
from d2l_recsys.seeds import seed_streams
from d2l_recsys.sequences import sequence_windows
from ports.pytorch.caser import Caser
from ports.pytorch.losses import autorec_loss, bpr_loss, click_loss, l2_loss
from ports.pytorch.neumf import NeuMF
from ports.pytorch.port import NETS, Port, as_weights

SEED = 0
PROTOCOL = "printed"


class Loop(str, enum.Enum):
    """How the batches are made: slices of shuffled tensors, or PyTorch's DataLoader."""

    sliced = "sliced"
    loader = "loader"


class Adam(str, enum.Enum):
    """Which of PyTorch's implementations of Adam trains."""

    fused = "fused"
    default = "default"


class Training(NamedTuple):
    """The training set of a model.

    ``settings`` are the defaults of the chapter's script, and the sizes of the net's tables. The
    rows of ``tensors`` are the examples, in the order of the arguments of the net. ``sampler``
    draws the negative items; it is None for models without pairs.
    """

    settings: Dict[str, Any]
    tensors: List[Tensor]
    sampler: Optional[NegativeSampler]

    def with_negatives(self, tensors: List[Tensor]) -> List[Tensor]:
        """``tensors`` and, for a model of pairs, a new negative item for each of their rows."""
        if self.sampler is None:
            return tensors
        return [*tensors, torch.from_numpy(self.sampler.draw(tensors[0].numpy())).long()]


def load(model: str, data_dir: Optional[pathlib.Path]) -> Training:
    """Load and split the data as the main function in ``chapters/MODEL.py`` does."""
    options = read_options(ROOT / "chapters" / f"{model}.py").parameters
    settings = {name: option.default for name, option in options.items()}
    streams, sampler = seed_streams(SEED), None
    if model in ("fm", "deepfm"):
        clicks = load_data_ctr("movielens", data_dir, min_threshold=settings["min_threshold"]).train
        settings["field_dims"] = clicks.field_dims
        arrays = [clicks.features, clicks.labels.ravel()]
    elif model in ("neumf", "caser"):
        data = load_ranking_ml100k(data_dir, settings["split"])
        sizes = data.sizes
        sampler = NegativeSampler(data.candidates, *sizes, streams.negatives)
        arrays = [data.users, data.items]
        if model == "caser":
            arrays = [*sequence_windows(*arrays, settings["L"], data.num_users)[:3]]
    elif model == "mf":
        *sizes, train_iter, _ = split_and_load_ml100k(settings["split"], data_dir=data_dir)
        arrays = train_iter.arrays
    else:
        ratings, *sizes = read_data_ml100k(data_dir)
        train, _ = split_data_ml100k(ratings, *sizes, settings["split"], rng=streams.split)
        arrays = [load_data_ml100k(train, *sizes)[-1]]
    if "field_dims" not in settings:
        settings["num_users"], settings["num_items"] = sizes
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    tensors = [tensor if tensor.is_floating_point() else tensor.long() for tensor in tensors]
    return Training(settings, tensors, sampler)


def first_net(model: str, settings: Dict[str, Any]) -> nn.Module:
    """The net of a model with first weights from the distributions of the chapter."""
    net = NETS[model](settings)
    drawn = Port(model, PROTOCOL).first_parameters(settings, SEED)
    net.load_state_dict(as_weights(drawn))
    return net


class Table(nn.Embedding):
    """An embedding layer with an operator whose gradient takes less time on a CPU."""

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of ``ids`` (...), as (..., embedding_dim)."""
        return self.weight.index_select(0, ids.flatten()).view(*ids.shape, -1)


def with_fast_tables(net: nn.Module) -> nn.Module:
    """Make each embedding layer of ``net`` a ``Table`` with the same weights; returns ``net``."""
    for name, layer in list(net.named_children()):
        if isinstance(layer, nn.Embedding):
            setattr(net, name, Table.from_pretrained(layer.weight.detach(), freeze=False))
    return net


# The losses of a batch, one per example, from the net and the tensors of the batch.


def mf_losses(net: nn.Module, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
    """Half the squared errors of the ratings."""
    return l2_loss(net(users, items), ratings)


def autorec_losses(net: nn.Module, ratings: Tensor) -> Tensor:
    """The losses of the rows."""
    return autorec_loss(net(ratings), ratings)


def pair_losses(net: nn.Module, *batch: Tensor) -> Tensor:
    """The losses of pairs of an item and a negative item; calls the net twice."""
    *inputs, items, negatives = batch
    return bpr_loss(net(*inputs, items), net(*inputs, negatives))


def click_losses(net: nn.Module, features: Tensor, labels: Tensor) -> Tensor:
    """The losses of clicks, with two sigmoids as in the chapter's code."""
    return click_loss(net(features), labels, PROTOCOL)


def fast_neumf_losses(net: NeuMF, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
    """``pair_losses`` of NeuMF with one call of the net: all items and negative items together."""
    scores = net(torch.cat([users, users]), torch.cat([items, negatives]))
    return bpr_loss(*scores.split(len(users)))


def fast_caser_losses(
    net: Caser, users: Tensor, sequences: Tensor, items: Tensor, negatives: Tensor
) -> Tensor:
    """``pair_losses`` of Caser, with dense layers in place of convolutions.

    Each filter is a dense layer on the numbers that it covers. The description [z; p_u] of the user
    is computed once for both items of a pair, so both scores have the same dropout.
    """
    E = net.Q(sequences)
    L = E.shape[1]
    conv_v = net.conv_v
    features = [(conv_v.weight.view(-1, L) @ E + conv_v.bias[:, None]).flatten(1)]
    for height, conv in enumerate(net.conv_h, start=1):
        weight = conv.weight.flatten(1)
        starts = range(L - height + 1)
        responses = [linear(E[:, t : t + height].flatten(1), weight, conv.bias) for t in starts]
        largest = responses[0]
        for response in responses[1:]:
            largest = torch.maximum(largest, response)
        features.append(torch.relu(largest))
    z = torch.relu(net.fc(net.dropout(torch.cat(features, dim=1))))
    view = torch.cat([z, net.P(users)], dim=1)
    scores = (
        (view * net.Q_prime(of_pair)).sum(dim=1) + net.b(of_pair).squeeze(1)
        for of_pair in (items, negatives)
    )
    return bpr_loss(*scores)


LOSSES: Dict[str, Callable[..., Tensor]] = {
    "mf": mf_losses,
    "autorec": autorec_losses,
    "neumf": pair_losses,
    "caser": pair_losses,
    "fm": click_losses,
    "deepfm": click_losses,
}
FAST_LOSSES = {**LOSSES, "neumf": fast_neumf_losses, "caser": fast_caser_losses}


class Slices:
    """The batches of one epoch after the other, as slices of shuffled tensors.

    Rows that do not fill a batch are the first rows of the next epoch, as in the chapter.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self._rolled_over = torch.empty(0, dtype=torch.int64)

    def __iter__(self) -> Iterator[Sequence[Tensor]]:
        tensors, batch_size = self.training.tensors, self.training.settings["batch_size"]
        order = torch.cat([self._rolled_over, torch.randperm(len(tensors[0]))])
        full = len(order) - len(order) % batch_size
        self._rolled_over = order[full:]
        shuffled = [tensor[order[:full]] for tensor in tensors]
        shuffled = self.training.with_negatives(shuffled)
        return zip(*(tensor.split(batch_size) for tensor in shuffled))


class Loaded:
    """The batches of one epoch after the other, from a DataLoader; the last one may be shorter."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def __iter__(self) -> Iterator[Sequence[Tensor]]:
        dataset = TensorDataset(*self.training.with_negatives(self.training.tensors))
        return iter(DataLoader(dataset, self.training.settings["batch_size"], shuffle=True))


def train(
    net: nn.Module,
    batches: Iterable[Sequence[Tensor]],
    losses_of: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    epochs: int,
) -> Dict[str, List[float]]:
    """Train ``net``; returns the seconds, the mean loss and the number of examples of each epoch.

    ``batches`` yields the batches of an epoch each time it is iterated.
    """
    figures: Dict[str, List[float]] = {"seconds": [], "losses": [], "examples": []}
    net.train()
    for _ in range(epochs):
        started = time.perf_counter()
        total, examples = torch.zeros(()), 0
        for batch in batches:
            loss = losses_of(net, *batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total.add_(loss.detach(), alpha=len(batch[0]))
            examples += len(batch[0])
        figures["losses"].append(float(total) / examples)
        figures["examples"].append(examples)
        figures["seconds"].append(time.perf_counter() - started)
    return figures


def main(
    model: Annotated[str, typer.Argument(help=f"One of: {', '.join(LOSSES)}.")],
    loop: Annotated[Loop, typer.Option(help="How the batches are made.")] = Loop.sliced,
    adam: Annotated[Adam, typer.Option(help="Which Adam trains.")] = Adam.fused,
    threads: Annotated[int, typer.Option(min=1, help="Number of threads.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs.")] = 6,
    data_dir: Optional[pathlib.Path] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Train the nets of ports/pytorch as they are.")
    ] = False,
) -> None:
    """Train one model with PyTorch, and print the figures of each epoch as JSON."""
    if model not in LOSSES:
        raise SettingError(f"the model is {model!r}; choose from: {', '.join(LOSSES)}")
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    training = load(model, data_dir)
    settings = training.settings
    net, losses_of = first_net(model, settings), LOSSES[model]
    if not plain:
        net, losses_of = with_fast_tables(net), FAST_LOSSES[model]
    optimizer = torch.optim.Adam(
        net.parameters(),
        lr=settings["lr"],
        weight_decay=settings.get("wd", 0.0),
        fused=True if adam is Adam.fused else None,
    )
    batches = Slices(training) if loop is Loop.sliced else Loaded(training)
    print(json.dumps(train(net, batches, losses_of, optimizer, epochs)))


if __name__ == "__main__":
    run(main)
