"""What every section's run does besides its section: check settings, keep time, leave files."""

import pathlib
import time
from typing import Any, Callable, Dict, Mapping, Optional

from d2l_recsys.backend import gluon, mx, npx
from d2l_recsys.data import dataset_ml100k
from d2l_recsys.devices import pick_devices
from d2l_recsys.history import Curve, History
from d2l_recsys.metrics import Scores
from d2l_recsys.plots import draw_curves, png
from d2l_recsys.results import (
    as_json,
    environment,
    leave_files,
    make_result,
    prepare_folder,
    reported_numbers,
)
from d2l_recsys.saved_models import MODEL, Ids, TrainedModel, arguments_of, model_bytes
from d2l_recsys.saver import Saver
from d2l_recsys.seeds import seed_streams
from d2l_recsys.settings import Protocol, as_choice, check_settings
from d2l_recsys.threads import num_threads

__all__ = ["Run"]


class Run:
    """One run of a section, from its options to its files.

    Parameters
    ----------
    chapter : the section's name, as in ``reported.json``
    seed, num_epochs, num_devices, device, protocol, data_dir, out, resume, quiet : the options of
        every section that trains
    settings : the section's own numbers, checked against their ranges
    choices : what else sets this run apart: split, variant, head ...
    dataset : describes the data set in ``data_dir``; None where ``data_loaded`` brings that

    It then has ``protocol``, the ``devices``, the ``streams`` of the seed and the ``dataset``'s
    description. Raises SettingError for an option out of range, DataError where there is no data.
    """

    def __init__(
        self,
        chapter: str,
        *,
        seed: int,
        num_epochs: int,
        num_devices: int,
        device: Optional[str],
        protocol: str,
        data_dir: Optional[pathlib.Path],
        out: Optional[pathlib.Path],
        resume: bool,
        quiet: bool,
        settings: Mapping[str, Any],
        choices: Mapping[str, str],
        dataset: Optional[Callable[[Optional[pathlib.Path]], Dict[str, Any]]] = dataset_ml100k,
    ) -> None:
        self._started = time.perf_counter()
        self.chapter, self.seed = chapter, seed
        self.out, self.resume, self.quiet = out, resume, quiet
        self.protocol = as_choice(Protocol, "protocol", protocol)
        numbers = {"num_epochs": num_epochs, "num_devices": num_devices, **settings}
        check_settings(seed=seed, **numbers)
        self.settings = {**numbers, **choices}
        self.devices = pick_devices(num_devices, device)
        self.streams = seed_streams(seed)
        self.dataset = dataset(data_dir) if dataset else {}

    def data_loaded(self, dataset: Optional[Mapping[str, Any]] = None) -> None:
        """Note the time, and make the folder for the results before they cost any.

        ``dataset`` describes the data, if the run was made without; the settings then name it. The
        run then has its ``saver``. Raises OutputError where the folder cannot be made, and what
        ``Saver`` raises.
        """
        if dataset is not None:
            self.dataset = dict(dataset)
            self.settings["dataset"] = dataset["name"]
        self._folder = prepare_folder(self.out, self.chapter, self.seed)
        # Epochs do not depend on how many are to follow.
        settings = {name: v for name, v in self.settings.items() if name != "num_epochs"}
        made_with = environment()
        depends_on = {
            "section": self.chapter,
            "seed": self.seed,
            **settings,
            "SHA-256 of the data": self.dataset["sha256"],
            "devices": [str(device) for device in self.devices],
            "number of threads": num_threads(),
            **{name: made_with[name] for name in ("mxnet", "numpy")},
        }
        self.saver = Saver(self._folder, depends_on, self.seed, self.resume)
        self._loaded = time.perf_counter()

    def build(self, model: Callable[..., gluon.Block], *arguments: Any, ids: Ids) -> gluon.Block:
        """The net ``model(*arguments)``, which is to be initialised from the seed.

        ``ids`` are those of its rows; ``finish`` saves them with it. From here on MXNet has numpy's
        semantics.
        """
        npx.set_np()
        mx.random.seed(self.seed)
        net = model(*arguments)
        self._model = TrainedModel(self.chapter, net, arguments_of(model, *arguments), ids)
        return net

    def finish(
        self, history: History, curve: Curve, *, compares: bool, scores: Optional[Scores] = None
    ) -> Dict[str, Any]:
        """Leave ``result.json``, ``history.csv``, ``curve.png`` and the model; return the result.

        ``scores`` are the final numbers, by default the history's. ``compares`` says whether the
        run does what the chapter reports numbers of (its split, its variant): if not, none are
        quoted. Unless ``quiet``, a line names the files. Raises OutputError where they cannot be
        written, and Stopped on Ctrl-C.
        """
        try:
            return self._finish(history, curve, compares, scores or history.final)
        except KeyboardInterrupt:
            self.saver.stop()

    def _finish(
        self, history: History, curve: Curve, compares: bool, scores: Scores
    ) -> Dict[str, Any]:
        result = make_result(
            chapter=self.chapter,
            protocol=self.protocol,
            seed=self.seed,
            scores=scores,
            reported=reported_numbers(self.chapter) if compares else {},
            dataset=self.dataset,
            settings=self.settings,
            seconds={
                "load": self._loaded - self._started,
                "train": history.total("seconds_train"),
                "evaluate": history.total("seconds_evaluate"),
                "total": time.perf_counter() - self._started + self.saver.seconds_before,
            },
            examples_per_second=history.examples_per_second,
            devices=self.devices,
        )
        # What the chapter reports is a level to reach only for what it computes, on its data. (The
        # training loss that it draws is not the one it reports.)
        same = self.protocol is Protocol.printed and not self.dataset["substitute"]
        levels = result["reported"] if same else {}
        figure = draw_curves(
            history.curve(self.protocol, curve.metrics),
            curve.legend,
            ylim=curve.ylim,
            reported=[levels[n] for n in curve.metrics if n in levels and n != "train_loss"],
            title=f"{self.dataset['name']}, not the chapter's data" * self.dataset["substitute"],
        )
        files = {
            "curve.png": png(figure),
            "history.csv": history.csv(),
            MODEL: model_bytes(self._model),
            "result.json": as_json(result),
        }
        leave_files(self._folder, files, self.dataset, self.quiet)
        return result
