"""The run of a system beside the chapter that is trained by gradient: what each does alike."""

from typing import Any, Callable, Dict, Optional, Sequence

from d2l_recsys.backend import gluon, init
from d2l_recsys.batches import BatchLoader
from d2l_recsys.data import load_ranking_ml100k
from d2l_recsys.evaluation import score_held_out
from d2l_recsys.history import RANKING_CURVE
from d2l_recsys.ids import RatingIds
from d2l_recsys.metrics import Scores
from d2l_recsys.ranking import HeldOut
from d2l_recsys.run import Run
from d2l_recsys.scoring import reads_of
from d2l_recsys.settings import Split, as_choice
from d2l_recsys.train import train_recommender

__all__ = ["CompanionRun"]


class CompanionRun(Run):
    """One run of a companion, from its options to its files, tested by ranking.

    Parameters
    ----------
    name : the system's, as in the registry
    split : ``seq-aware`` or ``validation``; what is held out of each user's items
    cutoff : where else to cut the metrics off
    settings, choices, options : as in ``Run``

    It then has the ``data`` and the ``ids`` of its rows, beside what a ``Run`` has. Raises what
    ``Run``, ``load_ranking_ml100k``, ``Run.data_loaded`` and ``HeldOut`` raise.
    """

    def __init__(
        self,
        name: str,
        *,
        split: str,
        cutoff: Sequence[int],
        settings: Dict[str, Any],
        choices: Optional[Dict[str, str]] = None,
        **options: Any,
    ) -> None:
        split = as_choice(Split, "split", split)
        super().__init__(
            name,
            protocol="defined",
            settings={**settings, "cutoff": list(cutoff)},
            choices={"split": split, **(choices or {})},
            **options,
        )
        self.data = load_ranking_ml100k(options["data_dir"], split)
        self.ids = RatingIds.consecutive(self.data.num_users, self.data.num_items)
        data = self.data
        self._held_out = HeldOut(data.test_items, data.candidates, data.num_users, data.num_items)
        self.data_loaded()

    def train(
        self,
        model: Callable[..., gluon.Block],
        *arguments: Any,
        loss: Callable[[gluon.Block], Callable],
        train_iter: BatchLoader,
        lr: float,
        wd: float = 0.0,
        initializer: Optional[init.Initializer] = None,
        prepare: Callable[[gluon.Block], None] = lambda net: None,
        begin_epoch: Callable[[int], None] = lambda epoch: None,
        measure: Callable[[gluon.Block], Dict[str, float]] = lambda net: {},
    ) -> Dict[str, Any]:
        """Train the net ``model(*arguments)`` with Adam, rank with it, leave the files.

        Parameters
        ----------
        loss : maps the net to the function of a batch that is minimised, such as ``own_loss``
        train_iter : yields the batches
        lr, wd : learning rate and weight decay of Adam
        initializer : of the weights, default N(0, 0.01)
        prepare : given the net when it is initialised, before it is trained
        begin_epoch : as in ``train_recommender``
        measure : numbers of the net beside those of its ranking, after each epoch

        Returns the result. Raises what ``train_recommender`` and ``Run.finish`` raise.
        """
        net = self.build(model, *arguments, ids=self.ids)
        net.initialize(ctx=self.devices, init=initializer or init.Normal(0.01))
        prepare(net)
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr, "wd": wd})
        read = reads_of(net, self.data)

        def evaluate() -> Scores:
            cutoffs = self.settings["cutoff"]
            scores = score_held_out(net, self._held_out, read, self.devices, cutoffs)
            more = measure(net)
            return Scores(*({**part, **more} for part in scores))

        history = train_recommender(
            net,
            loss(net),
            train_iter,
            evaluate,
            trainer,
            self.settings["num_epochs"],
            self.devices,
            self.quiet,
            self.saver,
            begin_epoch,
        )
        return self.finish(history, RANKING_CURVE, compares=False)
