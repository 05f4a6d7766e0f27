"""How much each section's numbers vary from seed to seed.

    python -m benchmarks.seeds [--only mf,fm] [--seeds 5] [--num-devices 1] [--clicks-dir DIR]

The chapter's settings and what they leave open, on one and on two devices: mean ± standard
deviation (n - 1) of the printed and the defined numbers, beside the reported ones. FM and DeepFM
take the book's clicks from ``--clicks-dir``; without it, MovieLens-100K recast as clicks.
"""

import importlib
import itertools
import json
import pathlib
import statistics
import tempfile
from typing import Any, Dict, List, Optional

from tabulate import tabulate
from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from benchmarks.against_d2l import CLICKS, ClicksDir
from d2l_recsys.command_line import DataDir, run
from d2l_recsys.errors import SettingError

VARIANTS: Dict[str, List[Dict[str, Any]]] = {
    "mf": [{"split": "seq-aware"}, {"split": "random"}],
    "autorec": [{"variant": "item"}, {"variant": "user"}],
    "neumf": [{"head": "sum"}, {"head": "linear"}, {"head": "sigmoid"}, {"loss": "hinge"}],
    "caser": [{"L": 3}, {"L": 5}],
    "fm": [{"protocol": "printed"}, {"protocol": "defined"}],
    "deepfm": [{"protocol": "printed"}, {"protocol": "defined"}],
}


def lines(section: str, variant: Dict[str, Any], results: List[Dict[str, Any]]) -> List[List[str]]:
    """The lines of the table for one section, variant and number of devices."""

    def spread(protocol: str, name: str) -> str:
        values = [result[protocol][name] for result in results if name in result[protocol]]
        if not values:
            return "-"
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):.4f} ± {deviation:.4f}"

    first = results[0]
    label = [
        section + " *" * first["dataset"]["substitute"],
        ", ".join(f"{name} {value}" for name, value in variant.items()),
        first["settings"]["num_devices"],
    ]
    table = []
    for name in dict.fromkeys([*first["printed"], *first["defined"]]):
        reported = first["reported"].get(name, "-")
        numbers = [name, reported, spread("printed", name), spread("defined", name)]
        table.append([*label, *numbers])
        label = [""] * len(label)
    return table


def main(
    only: Annotated[str, Option(help="Sections, separated by commas.")] = ",".join(VARIANTS),
    seeds: Annotated[int, Option(min=1, help="Runs of each setting, seeds 0, 1, ...")] = 5,
    num_devices: Annotated[List[int], Option(help="Devices; may be repeated.")] = (1, 2),
    data_dir: DataDir = None,
    clicks_dir: ClicksDir = None,
    batch_size: Annotated[
        Optional[int], Option(help="Rows in a batch of fm and deepfm. Default: the chapter's.")
    ] = None,
    json_file: Annotated[
        Optional[pathlib.Path], Option(help="Also write all results here.")
    ] = None,
) -> None:
    """Train the sections over seeds, variants and devices."""
    sections = only.split(",")
    for section in sections:
        if section not in VARIANTS:
            raise SettingError(f"--only has {section!r}; choose from: {', '.join(VARIANTS)}")
    groups = [
        (section, variant, devices)
        for section in sections
        for variant, devices in itertools.product(VARIANTS[section], num_devices)
    ]
    if clicks_dir is None:
        clicks: Dict[str, Any] = {"dataset": "movielens", "data_dir": data_dir}
    else:
        clicks = {"dataset": "book", "data_dir": clicks_dir}
    if batch_size is not None:
        clicks["batch_size"] = batch_size
    everything, table = [], []
    with tempfile.TemporaryDirectory() as out:
        for section, variant, devices in tqdm(groups, disable=None):
            chapter = importlib.import_module(f"chapters.{section}")
            common = {"num_devices": devices, "data_dir": data_dir, "out": out, "quiet": True}
            if section in CLICKS:
                common.update(clicks)
            results = [chapter.main(seed, **common, **variant) for seed in range(seeds)]
            table += lines(section, variant, results)
            everything += results
    headers = ["section", "variant", "devices", "number", "reported", "printed", "defined"]
    print(tabulate(table, headers, disable_numparse=True))
    substitutes = {r["dataset"]["name"] for r in everything if r["dataset"]["substitute"]}
    for name in sorted(substitutes):
        print(f"* on a substitute for the chapter's data ({name}): compare no number with reported")
    if json_file is not None:
        json_file.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
