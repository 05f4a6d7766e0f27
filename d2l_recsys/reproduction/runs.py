"""The chapter over seeds: plan the runs, do the unfinished ones, gather all of them."""

import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from d2l_recsys.errors import DataError
from d2l_recsys.reproduction.planned import STAMP, PlannedRun, code_digest, finish_runs, reading_run
from d2l_recsys.runs.results import environment, read_result
from d2l_recsys.sections.registry import SECTIONS, VARIANTS, Kind, Variant
from d2l_recsys.storage.files import as_json, content_of, write_files
from d2l_recsys.training.checkpoint import CHECKPOINT
from d2l_recsys.training.history import History

HISTORY = "history.csv"
STAMPED = {"variant", "seed", "num_devices", "options", "data", "code", "environment", "jobs"}
# The keys that a report needs of ``dataset``, and of a run's ``seconds``.
DATASET = {"name", "source", "sha256", "substitute"}
PHASES = {"load", "train", "evaluate", "total"}


class FinishedRun(NamedTuple):
    """A finished run: its ``run.json``, ``result.json`` and ``history.csv``."""

    stamp: Dict[str, Any]
    result: Dict[str, Any]
    history: History


class DescribedData(NamedTuple):
    """The files of a section on data: ``result.json``, and its figure as PNG."""

    result: Dict[str, Any]
    figure: bytes


def describe_data(
    variants: Sequence[Variant], data_dir: Optional[pathlib.Path], folder: pathlib.Path
) -> Dict[str, DescribedData]:
    """Run the sections that describe the data of ``variants``; return their files by section.

    Missing data is fetched. Each section writes its files into ``folder``. Raises what the sections
    raise.
    """
    names = dict.fromkeys(describing(variant) for variant in variants)
    for name in names:
        SECTIONS[name].main()(data_dir=data_dir, out=folder / name, quiet=True)
    return {name: read_described(folder, name) for name in names}


def describing(variant: Variant) -> str:
    """The name of the section that describes the data of ``variant``."""
    return "ctr" if variant.section.on_clicks else "movielens"


def plan(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    num_devices: int,
    data: Dict[str, DescribedData],
    data_dir: Optional[pathlib.Path],
    folder: pathlib.Path,
    jobs: int,
) -> List[PlannedRun]:
    """Plan a run for each of ``seeds`` and ``variants``, seed by seed, with folders in ``folder``.

    ``data`` comes from ``describe_data``. Runs on clicks use the clicks that it describes. They
    come first for each seed, because they take longest: if a long run began last, the other
    processes would wait for it.
    """
    made_with = {"code": code_digest(), "environment": environment(), "jobs": jobs}
    planned = []
    for seed in seeds:
        for variant in sorted(variants, key=lambda v: v.section.on_clicks, reverse=True):
            options = dict(variant.options)
            dataset = data[describing(variant)].result["dataset"]
            if variant.section.on_clicks:
                options["dataset"] = "book" if dataset["name"] == "ctr" else "movielens"
            stamp = {
                "variant": variant.name,
                "seed": seed,
                "num_devices": num_devices,
                "options": options,
                "data": dataset["sha256"],
                **made_with,
            }
            of_run = folder / variant.name / f"seed-{seed}"
            planned.append(PlannedRun(f"{variant.name}, seed {seed}", of_run, data_dir, stamp))
    return planned


def do_all(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    num_devices: int,
    data_dir: Optional[pathlib.Path],
    results: pathlib.Path,
    jobs: int,
    quiet: bool = False,
) -> Tuple[Dict[str, DescribedData], List[FinishedRun]]:
    """Run ``variants`` with each of ``seeds``; skip what is finished; show progress.

    Returns the described data and all the runs. Raises Stopped on Ctrl-C, and what
    ``describe_data`` and ``finish_runs`` raise.
    """
    folder = runs_folder(results, num_devices)
    data = describe_data(variants, data_dir, folder)
    planned = plan(variants, seeds, num_devices, data, data_dir, folder, jobs)
    return data, finish_runs(planned, do, read_run, jobs, quiet)


def do(run: PlannedRun) -> None:
    """Do one run: empty its folder, run its section, and write its stamp last."""
    stamp = run.stamp
    given = {"seed": stamp["seed"], "num_devices": stamp["num_devices"], **stamp["options"]}
    run.run_section(VARIANTS[stamp["variant"]].section, **given)
    # A finished run needs no checkpoint, and many seeds would take much space on disk.
    (run.folder / CHECKPOINT).unlink()
    write_files(run.folder, {STAMP: as_json(stamp)})


def gather(
    results: pathlib.Path, num_devices: int
) -> Tuple[Dict[str, DescribedData], List[FinishedRun]]:
    """Read the described data and all runs on ``num_devices`` devices from ``results``.

    Raises DataError if there is no run, or if the runs differ in code, data or versions.
    """
    folder = runs_folder(results, num_devices)
    runs = [
        read_run(path.parent)
        for name in VARIANTS
        for path in sorted(folder.glob(f"{name}/seed-*/{STAMP}"), key=_seed)
        if _seed(path) >= 0
    ]
    again = "run 'd2l-recsys reproduce'"
    if not runs:
        raise DataError(f"{folder} has no finished run; {again}, or choose other --num-devices")
    first: Dict[Any, Any] = {}
    for run in runs:
        on_clicks = VARIANTS[run.stamp["variant"]].section.on_clicks
        made_with = {"code": None, "environment": None, "data": on_clicks}
        for name, group in made_with.items():
            if first.setdefault((name, group), run.stamp[name]) != run.stamp[name]:
                raise DataError(
                    f"the runs in {folder} differ in their {name}; {again}, which repeats the "
                    "outdated ones"
                )
    described = [name for name, section in SECTIONS.items() if section.kind is Kind.data]
    data = {n: read_described(folder, n) for n in described if (folder / n).is_dir()}
    return data, runs


def read_described(folder: pathlib.Path, name: str) -> DescribedData:
    """Read the files of the section ``name`` on data in ``folder``; DataError if one is damaged."""
    path = folder / name / SECTIONS[name].figure
    result = read_result(path.parent)
    if not set(result["dataset"]) >= DATASET:
        raise DataError(
            f"the result in {path.parent} lacks a key of its dataset; run 'd2l-recsys run {name}' "
            "again"
        )
    try:
        return DescribedData(result, content_of(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; run 'd2l-recsys run {name}' again") from error


def read_run(folder: pathlib.Path) -> FinishedRun:
    """Read the finished run in ``folder``; DataError if a file is missing or damaged."""
    result = read_result(folder)
    with reading_run(folder):
        stamp = json.loads(content_of(folder / STAMP).decode("utf-8"))
        history = History.from_csv(folder / HISTORY)
    if not isinstance(stamp, dict) or not set(stamp) >= STAMPED or type(stamp["seed"]) is not int:
        raise DataError(f"{folder / STAMP} does not describe a run; run it again")
    if (folder.parent.name, folder.name) != (stamp["variant"], f"seed-{stamp['seed']}"):
        raise DataError(f"{folder} has the {STAMP} of another run; delete the folder")
    if not _is_of_run(result):
        raise DataError(f"{folder / 'result.json'} is not the result of a run; run it again")
    if len(history) != result["settings"].get("num_epochs"):
        raise DataError(f"{folder / HISTORY} lacks epochs; run it again")
    return FinishedRun(stamp, result, history)


def _is_of_run(result: Dict[str, Any]) -> bool:
    """Whether a result has all that the report needs of a run."""
    made_with = result.get("environment")
    return (
        result.get("protocol") in ("printed", "defined")
        and set(result["dataset"]) >= DATASET
        and set(result.get("seconds", ())) >= PHASES
        and isinstance(made_with, dict)
        and set(made_with) >= set(environment())
        and isinstance(made_with["devices"], list)
        and all(isinstance(device, str) for device in made_with["devices"])
    )


def runs_folder(results: pathlib.Path, num_devices: int) -> pathlib.Path:
    """The folder of all runs on ``num_devices`` devices. Inside: VARIANT/seed-SEED."""
    return results / f"devices-{num_devices}"


def _seed(path: pathlib.Path) -> int:
    """The seed in the name of the folder of the stamp ``path``; -1 if the name has none."""
    seed = path.parent.name.partition("-")[2]
    return int(seed) if seed.isdecimal() else -1
