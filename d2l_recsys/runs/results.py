"""The result of a run, ``result.json``: make, write, find and read it."""

import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from d2l_recsys.errors import DataError, OutputError
from d2l_recsys.hardware.processor import processor_model
from d2l_recsys.runs.reported import all_reported
from d2l_recsys.settings import Scores
from d2l_recsys.storage.archive import shown
from d2l_recsys.storage.files import content_of, write_files

RESULT = "result.json"
# A report needs these keys of a result.
RESULT_KEYS = {
    "chapter": str,
    "printed": dict,
    "defined": dict,
    "reported": dict,
    "dataset": dict,
    "settings": dict,
}
# Printed if the data set is a substitute.
SUBSTITUTE = "not the chapter's data: do not compare these numbers with the book's"
PathLike = Union[str, "os.PathLike[str]"]


def environment(devices: Sequence[object] = ()) -> Dict[str, object]:
    """The versions (None if not installed), the platform and the devices of a run."""
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
    """The content of ``result.json``; ``docs/running.md`` explains its keys."""
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
        # This is not in the environment, because results of other processors can be compared.
        "processor": processor_model(),
    }


def leave_files(
    folder: pathlib.Path, files: Mapping[str, bytes], dataset: Mapping[str, Any], quiet: bool
) -> None:
    """Write the files of a run into ``folder``, all or none, and print their names.

    ``files`` maps names to contents. If ``dataset`` is a substitute, another line says so. If
    ``quiet``, nothing is printed. Raises OutputError if a file cannot be written.
    """
    write_files(folder, files)
    if not quiet:
        if dataset["substitute"]:
            print(f"data: {dataset['name']}, {SUBSTITUTE}")
        print(f"written to {folder}: {', '.join(files)}")


def folder_of(named: PathLike) -> pathlib.Path:
    """The folder of the run that is ``named`` by its folder, or by its ``result.json``."""
    path = pathlib.Path(*pathlib.Path(named).parts)
    return path.parent if path.name == "result.json" and path.is_file() else path


def read_result(folder: PathLike) -> Dict[str, object]:
    """Read and check ``result.json`` in ``folder``.

    Everything that a report calculates with is a number, or None if the file has null. Raises
    DataError if the file does not exist, cannot be read, or is not a result.
    """
    path = pathlib.Path(folder) / RESULT
    try:
        result = json.loads(content_of(path).decode("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run its section first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); run its section again") from error
    if not isinstance(result, dict):
        raise DataError(f"{path} is not a result; run its section again")
    for key, kind in RESULT_KEYS.items():
        if not isinstance(result.get(key), kind):
            raise DataError(f"{path} is not a result: it lacks {key}; run its section again")
    wrong = _wrong_in(result)
    if wrong is not None:
        raise DataError(f"{path} is not a result: {wrong} cannot be right; run its section again")
    return result


def device_kind(result: Mapping[str, Any]) -> Optional[str]:
    """The kind of device that ``result`` ran on, such as "cpu"; None if it does not name it."""
    environment = result.get("environment")
    devices = environment.get("devices") if isinstance(environment, dict) else None
    return str(devices[0]).partition("(")[0] if isinstance(devices, list) and devices else None


def result_folders(folders: Sequence[pathlib.Path]) -> List[pathlib.Path]:
    """The folders of results that ``folders`` stand for, each once.

    A folder with a ``result.json`` stands for itself, and this file for its folder. A folder
    without one stands for all folders below it that have one, in natural order (seed-2 before
    seed-10). Links to folders, and folders whose name begins with a dot, are not searched. A path
    that does not exist stands for itself.
    Raises DataError if there is no result below a folder, or if a folder cannot be read.
    """
    found: Dict[str, pathlib.Path] = {}
    for folder in map(folder_of, folders):
        itself = os.path.lexists(folder / RESULT) or not os.path.isdir(folder)
        below = [folder] if itself else sorted(_folders_below(folder), key=_natural_order)
        if not below:
            raise DataError(
                f"{folder} has no {RESULT}, nor has a folder below it; name a folder of results"
            )
        for one in below:
            found.setdefault(os.path.realpath(one), one)
    return list(found.values())


def _folders_below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for path, names, files in os.walk(folder, onerror=_refuse_folder):
        names[:] = [name for name in names if not name.startswith(".")]
        if RESULT in files:
            yield pathlib.Path(path)


def _refuse_folder(error: OSError) -> None:
    raise DataError(
        f"{error.filename} cannot be read ({error.strerror}); name other folders"
    ) from error


def _natural_order(path: pathlib.Path) -> Tuple[List[Union[str, int]], ...]:
    """A key for sorting: numbers in names are compared as numbers."""
    return tuple(
        [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
        for name in path.parts
    )


def refuse_another_result(
    folder: pathlib.Path, wanted: Mapping[str, Any], defaults: Mapping[str, Any] = {}
) -> None:
    """Raise OutputError if ``folder`` has the result of a run that differs from ``wanted``.

    ``wanted`` has the settings, the digest of the data, and the section as ``chapter``; it may have
    ``seed`` and ``protocol``. ``defaults`` has the values of options that an older result may lack.
    A file that is no result is not protected.
    """
    try:
        result = read_result(folder)
    except DataError:
        return
    wanted, defaults = json.loads(json.dumps([wanted, defaults]))
    found = {
        **defaults,
        **result["settings"],
        **{name: result.get(name) for name in ("chapter", "seed", "protocol")},
        "SHA-256 of the data": result["dataset"].get("sha256"),
    }
    if found["chapter"] != wanted["chapter"]:
        # Two sections have other settings anyway.
        wanted = {"chapter": wanted["chapter"]}
    told = ", ".join(
        f"{name} {shown(found.get(name))}, not {shown(value)}"
        for name, value in wanted.items()
        if found.get(name) != value
    )
    if told:
        raise OutputError(
            f"{folder} has the result of another run ({told}); choose another folder with --out, "
            "or replace it with --force"
        )


def _wrong_in(result: Mapping[str, Any]) -> Optional[str]:
    """Name the first part of a result that a report could not work with; None if all is well."""
    rates = {"examples_per_second": result.get("examples_per_second")}
    for key in ("printed", "defined", "reported", "seconds", "rates", "ratings", "fields"):
        numbers = rates if key == "rates" else result.get(key, {})
        may_lack = key in ("printed", "defined", "rates")
        if not isinstance(numbers, dict) or not all(
            _is_number(value) or (may_lack and value is None) for value in numbers.values()
        ):
            return "the numbers in " + ("examples_per_second" if key == "rates" else key)
    chapter, seed, dataset = result["chapter"], result.get("seed"), result["dataset"]
    if result["reported"] and set(result["reported"]) != set(all_reported().get(chapter, ())):
        return "the names in reported"
    if not (seed is None or type(seed) is int):
        return "the seed"
    if not all(isinstance(dataset.get(key), str) for key in ("name", "source", "sha256")):
        return "the dataset"
    if not isinstance(dataset.get("substitute"), bool):
        return "the dataset"
    if not isinstance(result.get("processor"), (str, type(None))):
        return "the processor"
    for value in result["settings"].values():
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, (dict, list)) for part in parts):
            return "the settings"
    return None


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return type(value) is int and abs(value) < 2**63
