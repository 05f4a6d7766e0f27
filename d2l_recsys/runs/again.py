"""Repeat a run from its ``result.json``, and compare both runs."""

import pathlib
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from d2l_recsys.datasets.location import PathLike
from d2l_recsys.datasets.movielens import dataset_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.runs.results import device_kind
from d2l_recsys.saved_models import MODEL, arrays_of_model
from d2l_recsys.sections.options import is_value
from d2l_recsys.sections.registry import SYSTEMS, Section
from d2l_recsys.settings import ClickDataset
from d2l_recsys.storage.archive import shown

# The names of the click data sets in a result, and the options that choose them.
CLICKS = {"ctr": ClickDataset.book, "MovieLens-100K as clicks": ClickDataset.movielens}


def options_of(folder: pathlib.Path, result: Mapping[str, Any]) -> Tuple[Section, Dict[str, Any]]:
    """The section of the ``result`` in ``folder``, and the options of its ``main`` that gave it.

    Raises DataError if the result is of an unknown section, or has a setting that is none.
    """
    path = pathlib.Path(folder, "result.json")
    name, settings = result["chapter"], dict(result["settings"])
    if name not in SYSTEMS:
        raise DataError(
            f"{path} is of {shown(name)}, which is no section or companion here; name another "
            "folder"
        )
    section = SYSTEMS[name]
    known = section.options().parameters
    if "dataset" in settings:
        settings["dataset"] = CLICKS.get(settings["dataset"], settings["dataset"])
    settings.update(seed=result.get("seed"), protocol=result.get("protocol"))
    settings["device"] = device_kind(result)
    options = {}
    # This is no option: the protocol chooses it.
    settings.pop("trained_on", None)
    for option, value in settings.items():
        if option in ("seed", "protocol", "device") and (option not in known or value is None):
            continue
        if option not in known or not is_value(known[option], value):
            raise DataError(
                f"{path} has the setting {shown(option)} {shown(value)}, which {name} cannot have; "
                "run it again"
            )
        options[option] = value
    return section, options


def check_data(section: Section, result: Mapping[str, Any], data_dir: Optional[PathLike]) -> None:
    """Raise DataError if ``result`` was made from other ratings than those in ``data_dir``.

    Clicks are not compared: their digest is known only after they are read.
    """
    if not section.on_clicks and result["dataset"]["sha256"] != dataset_ml100k(data_dir)["sha256"]:
        raise DataError("the run was made from other ratings; name their folder with --data-dir")


def differences(first: pathlib.Path, again: pathlib.Path, results: List[Any]) -> List[str]:
    """A line for each difference between the runs in two folders: data, numbers and weights.

    ``results`` are their two results. Raises DataError if a model cannot be read.
    """
    one, other = results
    found = []
    if one["dataset"].get("sha256") != other["dataset"].get("sha256"):
        found.append(f"data: {one['dataset']['sha256']} became {other['dataset']['sha256']}")
    for protocol in ("printed", "defined"):
        for name in {**one[protocol], **other[protocol]}:
            values = [result[protocol].get(name, "missing") for result in results]
            if values[0] != values[1]:
                found.append(f"{protocol} {name}: {values[0]} became {values[1]}")
    if (first / MODEL).exists():
        found += _different_weights(arrays_of_model(first), arrays_of_model(again))
    return found


def _different_weights(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> List[str]:
    found = []
    for name in {**one, **other}:
        if name not in one or name not in other or one[name].shape != other[name].shape:
            found.append(f"weights {name}: another shape")
        elif one[name].tobytes() != other[name].tobytes():
            far = np.abs(one[name].astype(np.float64) - other[name]).max()
            found.append(f"weights {name}: differ by up to {far:.2g}")
    return found
