"""Click data (section 15.8): the first record, the field sizes and the click-through rate.

An impression is one display of an online advertisement. A user clicks it or not. The click-through
rate is (eq. 15.8.1)

    CTR = clicks / impressions * 100 %

A record holds a label, which is 1 for a click, and a value for each of several categorical fields.
A value that occurs often enough becomes a feature with its own number. The numbers are unique over
all fields. All other values of a field share one feature. Run the section from the root of the
checkout:

    python chapters/ctr.py
    python chapters/ctr.py --dataset avazu --data-dir DIR     # DIR has Avazu's train.csv

It writes ``result.json`` and a figure of the field sizes, ``fields.png``. It needs matplotlib, but
not MXNet.
"""

from typing import Any, Dict

from d2l_recsys.runs.plots import draw_field_sizes
from d2l_recsys.runs.section_run import ClickDataRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section


@section("ctr")
def main(run: ClickDataRun) -> Dict[str, Any]:
    """Describe the click data: first record, field sizes and click-through rate."""
    data = run.load_data()
    train, test = data.train, data.test

    # In percent, eq. 15.8.1.
    train_ctr, test_ctr = (100 * rows.num_clicks / len(rows) for rows in (train, test))
    statistics = {
        "train_rows": len(train),
        "test_rows": len(test),
        "num_fields": train.NUM_FEATS,
        "num_features": int(train.field_dims.sum()),
        "train_ctr": train_ctr,
        "test_ctr": test_ctr,
    }
    features, label = train[0]
    run.say(f"first record: label {label[0]:.0f}, features {features.tolist()}")
    run.say(f"field sizes: {train.field_dims.tolist()}")
    run.say(f"training rows: {len(train)}, CTR {train_ctr:.2f} %")
    run.say(f"test rows: {len(test)}, CTR {test_ctr:.2f} %")

    names = [field.name for field in train.layout.fields]
    fields = dict(zip(names, train.field_dims.tolist()))
    figure = draw_field_sizes(fields, f"Features of each field of {data.dataset['name']}")
    return run.finish(statistics, figure, more={"fields": fields})


if __name__ == "__main__":
    command_line.run(main)
