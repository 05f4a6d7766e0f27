"""How much the numbers of matrix factorization vary from seed to seed.

    python -m benchmarks.mf_seeds [--seeds 5] [--data-dir DIR]

The chapter's settings, both splits, on one and on two devices: mean and standard deviation (n - 1)
of the printed and the defined numbers.
"""

import itertools
import tempfile

import pandas as pd
from tabulate import tabulate
from tqdm import tqdm
from typer import Option
from typing_extensions import Annotated

from chapters import mf
from d2l_recsys.command_line import DataDir, run


def main(
    seeds: Annotated[int, Option(min=1, help="Runs of each setting, seeds 0, 1, ...")] = 5,
    data_dir: DataDir = None,
) -> None:
    """Train matrix factorization over seeds, splits and devices."""
    rows = []
    settings = list(itertools.product(("seq-aware", "random"), (1, 2), range(seeds)))
    with tempfile.TemporaryDirectory() as out:
        for split, num_devices, seed in tqdm(settings, disable=None):
            result = mf.main(
                seed, num_devices=num_devices, split=split, data_dir=data_dir, out=out, quiet=True
            )
            numbers = {
                f"{protocol} {name}": value
                for protocol in ("printed", "defined")
                for name, value in result[protocol].items()
            }
            rows.append({"split": split, "devices": num_devices, **numbers})
    groups = pd.DataFrame(rows).groupby(["split", "devices"], sort=False)
    mean, deviation = groups.mean(), groups.std()
    table = [
        [*group, *(f"{m:.4f} ± {s:.4f}" for m, s in zip(mean.loc[group], deviation.loc[group]))]
        for group in mean.index
    ]
    print(tabulate(table, ["split", "devices", *mean.columns]))


if __name__ == "__main__":
    run(main)
