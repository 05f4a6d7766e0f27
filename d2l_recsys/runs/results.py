"""The result of a run and its files: rendered in memory, then written, none of them by halves."""

import decimal
import importlib.metadata
import json
import math
import os
import pathlib
import platform
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from d2l_recsys.errors import DataError
from d2l_recsys.settings import Scores
from d2l_recsys.storage.files import write_files

# What a result has to have to be reported on.
RESULT_KEYS = {
    "chapter": str,
    "printed": dict,
    "defined": dict,
    "reported": dict,
    "dataset": dict,
    "settings": dict,
}
# What is said of a result whose dataset is a substitute.
SUBSTITUTE = "data: {name}, not the chapter's: its numbers do not compare"
PARTIAL = ".partial"
PathLike = Union[str, "os.PathLike[str]"]


def reported_numbers(chapter: str) -> Dict[str, float]:
    """The numbers that the chapter prints for one of its sections."""
    return json.loads(_reported())[chapter]


def reported_decimals(chapter: str) -> Dict[str, int]:
    """With how many decimals the chapter prints each of the section's numbers."""
    exact = json.loads(_reported(), parse_float=decimal.Decimal, parse_int=decimal.Decimal)
    return {name: -number.as_tuple().exponent for name, number in exact[chapter].items()}


def _reported() -> str:
    return pathlib.Path(__file__).with_name("reported.json").read_text(encoding="utf-8")


def environment(devices: Sequence[object] = ()) -> Dict[str, object]:
    """What the run ran on: versions (None where not installed), platform, devices."""
    return {
        "python": platform.python_version(),
        "mxnet": _version("mxnet") or _version("mxnet-cu112"),
        "numpy": _version("numpy"),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "devices": [str(device) for device in devices],
    }


def _version(distribution: str) -> Optional[str]:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def make_result(
    *,
    chapter: str,
    protocol: str,
    seed: Optional[int],
    scores: Scores,
    reported: Mapping[str, float],
    dataset: Mapping[str, object],
    settings: Mapping[str, object],
    seconds: Mapping[str, float],
    examples_per_second: Optional[float] = None,
    devices: Sequence[object] = (),
) -> Dict[str, object]:
    """The content of ``result.json``; the README explains its keys."""
    return {
        "chapter": chapter,
        "protocol": protocol,
        "seed": seed,
        "printed": scores.printed,
        "defined": scores.defined,
        "reported": dict(reported),
        "dataset": dict(dataset),
        "settings": dict(settings),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "examples_per_second": examples_per_second and round(examples_per_second, 1),
        "environment": environment(devices),
    }


def leave_files(
    folder: pathlib.Path, files: Mapping[str, bytes], dataset: Mapping[str, Any], quiet: bool
) -> None:
    """Write the files of a run on ``dataset``; unless ``quiet``, a line names them.

    Another says so where the data is a substitute. Raises what ``write_files`` raises.
    """
    write_files(folder, files)
    if not quiet:
        if dataset["substitute"]:
            print(SUBSTITUTE.format(**dataset))
        print(f"left in {folder}: {', '.join(files)}")


def read_result(folder: PathLike) -> Dict[str, object]:
    """The result in ``folder``. Raises DataError where there is none or it is not one.

    What a report calculates with are numbers then, or None where the result has null.
    """
    path = pathlib.Path(folder) / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run the chapter that leaves it there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); run its chapter again") from error
    if not isinstance(result, dict):
        raise DataError(f"{path} is not a result; run its chapter again")
    for key, kind in RESULT_KEYS.items():
        if not isinstance(result.get(key), kind):
            raise DataError(f"{path} is not a result: it lacks {key}; run its chapter again")
    wrong = _wrong_in(result)
    if wrong is not None:
        raise DataError(f"{path} is not a result: {wrong} cannot be; run its chapter again")
    return result


def _wrong_in(result: Mapping[str, Any]) -> Optional[str]:
    """The first part of a result that its reader could not work with, None where all is well."""
    rates = {"examples_per_second": result.get("examples_per_second")}
    for key in ("printed", "defined", "reported", "seconds", "rates"):
        numbers = rates if key == "rates" else result.get(key, {})
        may_lack = key in ("printed", "defined", "rates")
        if not isinstance(numbers, dict) or not all(
            _is_number(value) or (may_lack and value is None) for value in numbers.values()
        ):
            return "the numbers in " + ("examples_per_second" if key == "rates" else key)
    chapter, seed, dataset = result["chapter"], result.get("seed"), result["dataset"]
    if result["reported"]:
        chapters = json.loads(_reported())
        if set(result["reported"]) != set(chapters.get(chapter, ())):
            return "the names in reported"
    if not (seed is None or type(seed) is int):
        return "the seed"
    if not all(isinstance(dataset.get(key, ""), str) for key in ("name", "source", "sha256")):
        return "the dataset"
    if not isinstance(dataset.get("substitute", False), bool):
        return "the dataset"
    for value in result["settings"].values():
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, (dict, list)) for part in parts):
            return "the settings"
    return None


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return type(value) is int and abs(value) < 2**63
