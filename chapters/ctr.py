"""Click data (section 15.8): its first record, the sizes of its fields, how often is clicked.

An online advertisement is shown, an impression, and clicked or not. The click-through rate is
(eq. 15.8.1)

    CTR = clicks / impressions * 100 %

A record is the label, 1 for a click, and a value for each of some categorical fields. Every value
that occurs often enough becomes a feature with a number of its own, through all fields, and all
others of a field share one. Run it, from the root of the checkout:

    python chapters/ctr.py
    python chapters/ctr.py --dataset avazu --data-dir DIR     # DIR has Avazu's train.csv

leaves ``result.json`` and a figure of the sizes, ``fields.png``. Needs matplotlib, not MXNet.
"""

import time
from typing import Any, Dict

from d2l_recsys import command_line as cli
from d2l_recsys.click_data import load_data_ctr
from d2l_recsys.metrics import Scores
from d2l_recsys.plots import draw_field_sizes, png
from d2l_recsys.results import SUBSTITUTE, as_json, make_result, prepare_folder, write_files
from d2l_recsys.settings import check_settings


def main(
    data_dir: cli.DataDir = None,
    out: cli.Out = None,
    quiet: cli.Quiet = False,
    dataset: cli.Clicks = "book",
    strict: cli.Strict = False,
    min_threshold: cli.MinThreshold = 4,
) -> Dict[str, Any]:
    """Describe the click data: its first record, its fields, its click-through rate."""
    started = time.perf_counter()
    check_settings(min_threshold=min_threshold)
    data = load_data_ctr(dataset, data_dir, min_threshold=min_threshold, strict=strict, quiet=quiet)
    loaded = time.perf_counter()

    # Both in percent, eq. 15.8.1.
    train_ctr, test_ctr = (100 * rows.num_clicks / len(rows) for rows in (data.train, data.test))
    statistics = {
        "train_rows": len(data.train),
        "test_rows": len(data.test),
        "num_fields": data.train.NUM_FEATS,
        "num_features": int(data.train.field_dims.sum()),
        "train_ctr": train_ctr,
        "test_ctr": test_ctr,
    }

    folder = prepare_folder(out, "ctr")
    result = make_result(
        chapter="ctr",
        protocol="defined",
        seed=None,
        scores=Scores(printed=statistics, defined=statistics),
        reported={},
        dataset=data.dataset,
        settings={"dataset": data.dataset["name"], "min_threshold": min_threshold},
        seconds={"load": loaded - started, "total": time.perf_counter() - started},
    )
    names = [field.name for field in data.train.layout.fields]
    result["fields"] = dict(zip(names, data.train.field_dims.tolist()))
    figure = draw_field_sizes(result["fields"], f"Features of each field of {data.dataset['name']}")
    write_files(folder, {"fields.png": png(figure), "result.json": as_json(result)})

    if not quiet:
        features, label = data.train[0]
        print(f"first record: label {label[0]:.0f}, features {features.tolist()}")
        print(f"field sizes: {data.train.field_dims.tolist()}")
        print(f"training rows: {len(data.train)}, CTR {train_ctr:.2f} %")
        print(f"test rows: {len(data.test)}, CTR {test_ctr:.2f} %")
        if data.dataset["substitute"]:
            print(SUBSTITUTE.format(**data.dataset))
        print(f"left in {folder}: fields.png, result.json")
    return result


if __name__ == "__main__":
    cli.run(main)
