"""Code that the benchmarks share: measure a process, read ``--only``, and show ratios."""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
from typing import Any, Collection, Dict, List, Sequence

from d2l_recsys.errors import SettingError

ROOT = pathlib.Path(__file__).resolve().parent.parent


def measure(command: Sequence[str], **options: Any) -> Dict[str, Any]:
    """Run ``command``; returns its wall-clock seconds (``whole``) and peak memory (MiB).

    If the last line of its output is a JSON object, the result also contains the object's entries.
    ``options`` are further arguments of ``subprocess.Popen``. Ends the program with the command's
    standard error if the command fails.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdout=printed, stderr=complaints, **options)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        printed.seek(0)
        complaints.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{complaints.read().decode()}")
        lines = printed.read().decode().strip().splitlines()
    figures = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {**figures, "whole": wall, "memory": usage.ru_maxrss / 1024}


def chosen(only: str, names: Collection[str]) -> List[str]:
    """The names in ``only``, which are separated by commas.

    Raises SettingError if one of them is not in ``names``.
    """
    parts = only.split(",")
    for part in parts:
        if part not in names:
            raise SettingError(f"--only has {part!r}; choose from: {', '.join(names)}")
    return parts


def spread(ratios: Sequence[float], digits: int = 1) -> str:
    """The median of ``ratios``, and [smallest, largest]."""
    middle, low, high = (
        f"{value:.{digits}f}" for value in (statistics.median(ratios), min(ratios), max(ratios))
    )
    return f"{middle}x [{low}, {high}]"
