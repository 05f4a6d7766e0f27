"""Count how often the check calls a right port wrong. It must be never.

Each repetition checks right ports on rungs 2 to 5 and 7, and the first weights and negative items
of rung 6. The ports are the oracle with another rounding, in each repetition with other orders of
the examples and other seeds:

- ``float64`` and ``float32``
- ``one-call``: float32, with the positive and the negative items scored in one call
- ``tf32``, ``bfloat16`` and ``float16``: checked with ``--precision``

Run it from the root of the checkout:

    python -m benchmarks.false_alarms --repetitions 50
    python -m benchmarks.false_alarms --repetitions 5 --only tf32,bfloat16,float16
"""

import types
from typing import Any, Mapping, Type

import numpy as np
import typer
from typing_extensions import Annotated

from benchmarks.measuring import chosen
from d2l_recsys.baseline import oracle
from d2l_recsys.baseline.answers import ModuleAnswers
from d2l_recsys.baseline.check import check
from d2l_recsys.baseline.files import Baseline
from d2l_recsys.baseline.ladder import PRECISIONS, PROTOCOLS, VARIANTS
from d2l_recsys.baseline.oracle.models import Outputs
from d2l_recsys.baseline.oracle.rounding import InOneCall, in_precision
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.report import first_wrong
from d2l_recsys.sections import command_line

# The rungs whose answers depend on rounding or on a seed.
RUNGS = (2, 3, 4, 5, 6, 7)
FLOAT = ("float64", "float32", "one-call")
NAMES = (*FLOAT, *PRECISIONS[1:])


def right_port(name: str, repetition: int) -> Type[oracle.Port]:
    """A right port: the oracle with the rounding ``name``, its own orders and its own seeds."""
    rng = np.random.default_rng([repetition, NAMES.index(name)])
    made: Any = InOneCall if name == "one-call" else oracle.Port
    if name in PRECISIONS[1:]:
        made = in_precision(name)

    class Reordered(made):
        """Computes each batch in another order of its examples."""

        dtype = np.float64 if name == "float64" else np.float32

        def losses(self, batch: Arrays) -> Outputs:
            order = rng.permutation(len(next(iter(batch.values()))))
            return super().losses({key: array[order] for key, array in batch.items()})

        def training_outputs(self, batch: Arrays, seed: int) -> np.ndarray:
            return super().training_outputs(batch, int(rng.integers(2**31)))

        def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Arrays:
            return super().first_parameters(settings, int(rng.integers(2**31)))

        def negatives(self, given: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
            return super().negatives(given, int(rng.integers(2**31)))

    return Reordered


def main(
    repetitions: Annotated[int, typer.Option(min=1, help="Number of checks of each port.")] = 50,
    only: Annotated[str, typer.Option(help="Ports, separated by commas.")] = ",".join(FLOAT),
) -> None:
    """Check right ports, and count the rows that the check calls wrong."""
    for name in chosen(only, NAMES):
        precision = name if name in PRECISIONS else PRECISIONS[0]
        alarms, largest = 0, 0.0
        for repetition in range(repetitions):
            port = types.SimpleNamespace(Port=right_port(name, repetition))
            with np.errstate(over="ignore"):
                rows = check(
                    Baseline(), ModuleAnswers(name, port), VARIANTS, PROTOCOLS, RUNGS, {}, (),
                    precision=precision,
                )  # fmt: skip
            wrong = first_wrong(rows)
            if wrong:
                print(f"{name}, repetition {repetition}\n{wrong}\n", flush=True)
            alarms += sum(row.first_wrong is not None for row in rows)
            largest = max(
                [largest]
                + [found.ratio for row in rows for cell in row.cells for found in cell.findings]
            )
        total = repetitions * len(VARIANTS) * len(PROTOCOLS)
        print(
            f"{name}: {alarms} of {total} rows wrong; the largest distance is {largest:.2g} "
            "tolerances",
            flush=True,
        )


if __name__ == "__main__":
    command_line.run(main)
