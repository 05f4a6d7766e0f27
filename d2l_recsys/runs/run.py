"""Runs of sections that are trained by gradient descent."""

import time
from typing import Any, Callable, Dict, Mapping, Optional

from matplotlib.figure import Figure

from d2l_recsys.backend import gluon, init, mx, npx
from d2l_recsys.data import CTRData
from d2l_recsys.datasets.click_sets import REPORTED_ON
from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.devices import pick_devices
from d2l_recsys.errors import Stopped
from d2l_recsys.evaluation.evaluators import score_held_out
from d2l_recsys.evaluation.scoring import inputs_of
from d2l_recsys.hardware.threads import num_threads
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.losses import make_ranking_loss
from d2l_recsys.ranking import HeldOut
from d2l_recsys.runs.all_ratings import OnAllRatings
from d2l_recsys.runs.plots import draw_curves
from d2l_recsys.runs.results import environment
from d2l_recsys.runs.section_run import OnClicks, OnRankings, SectionRun
from d2l_recsys.sampling import pairwise_loader
from d2l_recsys.saved_models import MODEL, Ids, TrainedModel, arguments_of, model_bytes
from d2l_recsys.saved_models.ids import ClickIds
from d2l_recsys.sections.registry import SYSTEMS, defaults_of
from d2l_recsys.settings import Device, Optimizer, Protocol, RankingLoss, Scores, TimeSplit
from d2l_recsys.storage.files import default_folder
from d2l_recsys.train import train_recommender
from d2l_recsys.training.checkpoint import CHECKPOINT
from d2l_recsys.training.history import CURVES, History
from d2l_recsys.training.objectives import own_loss, ranking_loss
from d2l_recsys.training.optimizers import OPTIMIZERS
from d2l_recsys.training.resume import Saver
from d2l_recsys.training.train_loss import MeanOfBatches, TrainLoss


class Run(SectionRun):
    """One training run of a section, from its options to its files.

    Parameters
    ----------
    num_devices, device, optimizer, protocol, resume : options of the same names
    name, settings, options : as in ``SectionRun``; ``settings`` has ``num_epochs``

    Attributes: ``devices``, and after ``build`` the ``saver`` of checkpoints. Raises SettingError
    or DeviceError if the machine lacks the devices, DataError if the data cannot be read.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        num_devices: int,
        device: Optional[Device],
        resume: bool,
        optimizer: Optimizer = Optimizer.adam,
        protocol: Protocol = Protocol.defined,
        **options: Any,
    ) -> None:
        first = {"num_epochs": settings["num_epochs"], "num_devices": num_devices}
        super().__init__(name, {**first, **settings, "optimizer": optimizer}, **options)
        self.protocol, self.resume = protocol, resume
        self._continue_a_shorter_run()
        self.devices = pick_devices(num_devices, device)
        self.dataset = self._described()

    def _continue_a_shorter_run(self) -> None:
        """With ``resume``, use the folder of a run with the default number of epochs.

        This holds for the default folder if it has no checkpoint. So a finished run can go on with
        more epochs.
        """
        changed = dict(self._changed)
        if not (self.resume and self._is_default_folder and changed.pop("num_epochs", None)):
            return
        shorter = default_folder(self.name, self.seed, changed)
        if (shorter / CHECKPOINT).exists() and not (self._folder / CHECKPOINT).exists():
            self._folder = shorter

    def _described(self) -> Dict[str, Any]:
        """Describe the data, as far as possible before it is loaded."""
        return dataset_ml100k(self.data_dir)

    @property
    def _same_run(self) -> Dict[str, Any]:
        same = super()._same_run
        if self.resume:
            # The run that is resumed may have had fewer epochs.
            del same["num_epochs"]
        return {**same, "protocol": self.protocol}

    @property
    def options(self) -> Dict[str, Any]:
        """The last arguments of each training loop of the chapter."""
        return {"protocol": self.protocol, "quiet": self.quiet, "saver": self.saver}

    @property
    def trained(self) -> TrainedModel:
        """The net that ``build`` made, with the name of the run and the ids of its rows."""
        return self._model

    def optimizer(self, lr: float, wd: float) -> mx.optimizer.Optimizer:
        """The optimizer that ``--optimizer`` names, by default Adam."""
        return OPTIMIZERS[self.settings["optimizer"]](learning_rate=lr, wd=wd)

    def build(self, model: Callable[..., gluon.Block], *arguments: Any, ids: Ids) -> gluon.Block:
        """Make the net ``model(*arguments)``; seed MXNet so that the caller can initialize it.

        ``ids`` are the ids of the net's rows; ``finish`` saves them with the net. Call this when
        the data is loaded. It switches MXNet to numpy semantics. Raises what ``model``,
        ``data_loaded`` and ``Saver`` raise.
        """
        npx.set_np()
        mx.random.seed(self.seed)
        net = model(*arguments)
        self._model = TrainedModel(self.name, net, arguments_of(model, *arguments), ids)
        self.data_loaded()
        # A resumed run may have more epochs: they do not change the earlier ones.
        settings = {name: v for name, v in self.settings.items() if name != "num_epochs"}
        made_with = environment()
        depends_on = {
            "section": self.name,
            "seed": self.seed,
            **settings,
            "SHA-256 of the data": self.dataset["sha256"],
            "devices": [str(device) for device in self.devices],
            "number of threads": num_threads(),
            **{name: made_with[name] for name in ("mxnet", "numpy")},
        }
        self.saver = Saver(self._folder, depends_on, self.seed, self.resume, defaults_of(self.name))
        return net

    def finish(
        self, history: History, *, compares: bool, scores: Optional[Scores] = None
    ) -> Dict[str, Any]:
        """Write ``result.json``, ``history.csv``, ``curve.png`` and the model; return the result.

        ``scores`` are the final numbers, by default those of the history. ``compares`` says whether
        the book reports numbers of this split and variant; if not, ``reported`` is empty. Unless
        the run is quiet, it prints the book's numbers and the names of the files. Raises
        OutputError if the files cannot be written, and Stopped on Ctrl-C or SIGTERM.
        """
        try:
            return self._leave(
                scores or history.final,
                lambda result: self._draw(history, result["reported"]),
                {"history.csv": history.csv(), MODEL: model_bytes(self._model)},
                seconds={
                    "train": history.total("seconds_train"),
                    "evaluate": history.total("seconds_evaluate"),
                    "total": time.perf_counter() - self._started + self.saver.seconds_before,
                },
                compares=compares,
                protocol=self.protocol,
                examples_per_second=history.examples_per_second,
                devices=self.devices,
            )
        except KeyboardInterrupt as interrupt:
            self.saver.stop(Stopped.by(interrupt).number)

    def _draw(self, history: History, reported: Mapping[str, float]) -> Figure:
        """Draw the curves over epochs, and the book's numbers as levels.

        The levels are drawn only for printed numbers on the chapter's data. The training loss has
        none, because the loss that the chapter draws is not the loss that it reports.
        """
        curve = CURVES[SYSTEMS[self.name].kind]
        same = self.protocol is Protocol.printed and not self.dataset["substitute"]
        names = [n for n in curve.metrics if n in reported and n != "train_loss"]
        return draw_curves(
            history.curve(self.protocol, curve.metrics),
            curve.legend,
            ylim=curve.ylim,
            reported=[reported[name] for name in names] if same else [],
            title=self.title,
        )


class ClickRun(OnClicks, Run):
    """One run of a section on clicks; ``settings`` has ``batch_size``.

    Raises what ``Run`` raises.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        as_printed = options["protocol"] is Protocol.printed
        settings = {
            **settings,
            "min_threshold": options["min_threshold"],
            "trained_on": "scores" if as_printed else "logits",
        }
        super().__init__(name, settings, **options)
        self._compares = as_printed and options["dataset"] in REPORTED_ON

    def _described(self) -> Dict[str, Any]:
        """Return an empty description: clicks are described when they are encoded."""
        return {}

    def load_data(self) -> CTRData:
        """Load the clicks as ``OnClicks.load_data`` does, in the batches of the training."""
        batches = {"batch_size": self.settings["batch_size"], "shuffle_rng": self.streams.shuffle}
        data = super().load_data(**batches)
        self._ids = ClickIds(data.train.feat_mapper, data.train.defaults)
        return data

    def build(self, model: Callable[..., gluon.Block], *arguments: Any) -> gluon.Block:
        """Do what ``Run.build`` does, with the ids of the loaded clicks."""
        return super().build(model, *arguments, ids=self._ids)

    def finish(self, history: History) -> Dict[str, Any]:
        """Do what ``Run.finish`` does; the data set and the protocol decide ``compares``."""
        return super().finish(history, compares=self._compares)


class RankingRun(OnRankings, Run):
    """One training run of a section that is tested by ranking. Raises what its bases raise."""

    @property
    def options(self) -> Dict[str, Any]:
        """The last arguments of ``train_ranking``."""
        ranking = {"candidates": self.data.candidates, "cutoffs": self.settings["cutoff"]}
        return {**super().options, **ranking}

    def build(self, model: Callable[..., gluon.Block], *arguments: Any) -> gluon.Block:
        """Do what ``Run.build`` does, with the ids of the data."""
        return super().build(model, *arguments, ids=self._ids)

    def finish(self, history: History, *, compares: bool) -> Dict[str, Any]:
        """Do what ``Run.finish`` does; the book reports numbers of the split seq-aware only."""
        compares = compares and self.settings["split"] is TimeSplit.seq_aware
        return super().finish(history, compares=compares)


class OwnLossRun(Run):
    """The base of runs that train a net with any loss.

    A subclass has ``build(model, *arguments)`` and ``evaluator``. ``measure_loss`` makes the object
    that adds up the losses of an epoch, and ``whole_epochs`` is the option of ``train_recommender``
    with this name.
    """

    measure_loss: Callable[[], TrainLoss] = TrainLoss
    whole_epochs = False

    def evaluator(self, net: gluon.Block) -> Callable[[], Scores]:
        """A function that measures ``net`` in its present state. A subclass overrides this."""
        raise NotImplementedError

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
        """Train the net ``model(*arguments)``, evaluate it, write the files.

        Parameters
        ----------
        loss : maps the net to the function of a batch that is minimized, such as ``own_loss``
        train_iter : yields the batches
        lr, wd : learning rate and weight decay of the optimizer
        initializer : initializer of the weights, by default Xavier's
        prepare : called with the initialized net before training
        begin_epoch : as in ``train_recommender``
        measure : called with the net after each epoch; returns further numbers for the result

        Returns the result. Raises what ``Run.build``, ``train_recommender`` and ``Run.finish``
        raise.
        """
        net = self.build(model, *arguments)
        net.initialize(ctx=self.devices, init=initializer or init.Xavier())
        prepare(net)
        trainer = gluon.Trainer(net.collect_params(), self.optimizer(lr, wd))
        of_net = self.evaluator(net)

        def evaluate() -> Scores:
            scores, more = of_net(), measure(net)
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
            self.protocol,
            CURVES[SYSTEMS[self.name].kind],
            self.measure_loss,
            self.whole_epochs,
        )
        return self.finish(history, compares=False)


class CompanionRun(OwnLossRun, RankingRun):
    """One training run of a companion. By default it shows the defined numbers.

    Raises what ``RankingRun`` and ``HeldOut`` raise.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(name, settings, **options)
        self._held_out = HeldOut.of(self.data)

    def evaluator(self, net: gluon.Block) -> Callable[[], Scores]:
        """A function that ranks the held-out items with ``net``."""
        read, cutoffs = inputs_of(net, self.data), self.settings["cutoff"]
        return lambda: score_held_out(net, self._held_out, read, self.devices, cutoffs)

    def train_on_pairs(
        self,
        model: Callable[..., gluon.Block],
        *arguments: Any,
        batch_size: int,
        loss: Optional[RankingLoss] = None,
        margin: float = 1,
        num_negatives: int = 1,
        **options: Any,
    ) -> Dict[str, Any]:
        """Call ``train`` with pairs of a seen and an unseen item, and ``loss`` or the net's own.

        ``margin`` and ``num_negatives`` are options of some of the losses.
        """
        data = self.data
        chosen = make_ranking_loss(loss, margin, num_negatives) if loss else None

        def loss_of(net: gluon.Block) -> Callable:
            return ranking_loss(net, chosen) if chosen else own_loss(net)

        pairs = pairwise_loader(data, [data.users, data.items], batch_size, self.streams, chosen)
        return self.train(model, *arguments, loss=loss_of, train_iter=pairs, **options)


class AllRatingsRun(OnAllRatings, OwnLossRun):
    """One training run on all ratings. The printed training loss is the mean over the batches."""

    measure_loss = MeanOfBatches

    def __init__(self, name: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(name, settings, protocol=Protocol.printed, **options)

    def build(self, model: Callable[..., gluon.Block], *arguments: Any) -> gluon.Block:
        """Do what ``Run.build`` does, with the ids of the data."""
        return super().build(model, *arguments, ids=self._ids)

    def evaluator(self, net: gluon.Block) -> Callable[[], Scores]:
        """A function that returns no numbers, because nothing is held out."""
        return lambda: Scores({}, {})
