"""The run that trains one model with several losses, to compare the losses."""

import time
from typing import Any, Callable, Dict, List, Mapping

import numpy
from matplotlib.figure import Figure

from d2l_recsys.backend import gluon, init, mx, npx
from d2l_recsys.runs.run import RankingRun
from d2l_recsys.sampling import NegativeSampler, pairwise_loader
from d2l_recsys.seeds import seed_streams
from d2l_recsys.settings import Scores
from d2l_recsys.train import train_ranking
from d2l_recsys.training.history import History


class LossesRun(RankingRun):
    """One training run for each of several losses. Nothing but the loss differs between them.

    Raises what ``RankingRun`` raises.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(name, settings, resume=False, **options)

    def first_triples(self, n: int) -> List[List[int]]:
        """The first ``n`` training pairs, each as [user, seen item, unseen item], zero-based.

        The unseen item is one of those that training may draw.
        """
        data, rng = self.data, seed_streams(self.seed).negatives
        sampler = NegativeSampler(data.candidates, *data.sizes, rng)
        negatives = sampler.draw(data.users[:n])
        return numpy.stack([data.users[:n], data.items[:n], negatives], axis=1).tolist()

    def train_with_each(
        self,
        losses: Mapping[str, gluon.loss.Loss],
        model: Callable[..., gluon.Block],
        *arguments: Any,
        batch_size: int,
        lr: float,
        wd: float,
        initializer: init.Initializer,
    ) -> Dict[str, History]:
        """Train ``model(*arguments)`` with each of ``losses``, and return their histories.

        All start from the same weights, and get the same batches with the same negative items.
        Raises what ``data_loaded`` and ``train_ranking`` raise.
        """
        npx.set_np()
        self.data_loaded()
        data, histories = self.data, {}
        for name, loss in losses.items():
            mx.random.seed(self.seed)
            net = model(*arguments)
            net.initialize(ctx=self.devices, init=initializer)
            pairs = [data.users, data.items]
            self.say(f"with the loss {name}:")
            histories[name] = train_ranking(
                net,
                pairwise_loader(data, pairs, batch_size, seed_streams(self.seed), loss),
                data.test_items,
                loss,
                gluon.Trainer(net.collect_params(), self.optimizer(lr, wd)),
                None,
                *data.sizes,
                self.settings["num_epochs"],
                self.devices,
                candidates=data.candidates,
                cutoffs=self.settings["cutoff"],
                protocol=self.protocol,
                quiet=self.quiet,
            )
        return histories

    def finish(self, histories: Mapping[str, History], figure: Figure) -> Dict[str, Any]:
        """Write ``result.json``, a history for each loss, and the figure; return the result.

        A number of the result has the name of its loss before its own name. Raises OutputError if
        the files cannot be written.
        """
        scores = Scores({}, {})
        for loss, history in histories.items():
            for ours, numbers in zip(scores, history.final):
                ours.update({f"{loss}_{name}": value for name, value in numbers.items()})
        phases = {
            phase: sum(history.total(f"seconds_{phase}") for history in histories.values())
            for phase in ("train", "evaluate")
        }
        return self._leave(
            scores,
            lambda result: figure,
            {f"history-{loss}.csv": history.csv() for loss, history in histories.items()},
            seconds={**phases, "total": time.perf_counter() - self._started},
            protocol=self.protocol,
            examples_per_second=sum(h.total("examples") for h in histories.values())
            / phases["train"],
            devices=self.devices,
        )
