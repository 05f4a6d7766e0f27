"""Results over seeds: the spread of each number, and where the reported number lies in it."""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from d2l_recsys.runs.reported import reported_decimals

# float32 computations give about six correct digits.
SIGNIFICANT_DIGITS = 6


class Spread(NamedTuple):
    """One number over seeds. ``sd`` divides by n - 1, and is 0 for a single value."""

    mean: float
    sd: float
    min: float
    max: float
    values: List[float]


class Comparison(NamedTuple):
    """A reported number, compared with the reproduced numbers of several seeds.

    ``z`` is the distance of the reported number from the mean of the reproduced numbers, in units
    of ``scale``; it is None for a single seed. ``scale`` is the standard deviation, widened by the
    error of rounding the reported number. ``percentile`` is the percentage of seeds below the
    reported number; equal seeds count half. ``outside`` is true if the reported number is below
    all seeds or above all seeds.
    """

    z: Optional[float]
    scale: float
    percentile: float
    outside: bool


class Summary(NamedTuple):
    """The runs of one variant, which differ only in their seed, as one.

    ``name``, ``section``, ``settings``, ``dataset`` and ``reported`` are the same in all runs.
    ``printed`` and ``defined`` have the spread of each number. ``comparisons`` has each reported
    number that can be compared. ``seconds`` has the time of each phase.
    """

    name: str
    section: str
    settings: Dict[str, Any]
    dataset: Dict[str, Any]
    reported: Dict[str, float]
    seeds: List[Optional[int]]
    printed: Dict[str, Spread]
    defined: Dict[str, Spread]
    comparisons: Dict[str, Comparison]
    seconds: Dict[str, Spread]
    examples_per_second: Optional[Spread]


def spread(values: Sequence[Optional[float]]) -> Spread:
    """The spread of one or more ``values``. None becomes NaN, because a result has null for NaN."""
    numbers = [math.nan if value is None else value for value in values]
    sd = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
    return Spread(float(np.mean(numbers)), sd, min(numbers), max(numbers), numbers)


def compare(reported: float, decimals: int, values: Sequence[float]) -> Comparison:
    """Compare a ``reported`` number, which has so many ``decimals``, with ``values`` over seeds.

    Rounding gives the reported number a uniform error of variance u^2 / 12, where u is one unit of
    its last decimal. ``scale`` adds this variance to that of the values. The percentile compares
    with the values rounded to the same decimals.
    """
    of_values = spread(values)
    scale = math.hypot(of_values.sd, 10**-decimals / math.sqrt(12))
    z = (reported - of_values.mean) / scale if len(values) > 1 else None
    rounded = np.round(values, decimals)
    level = round(reported, decimals)
    below, equal = (rounded < level).mean(), (rounded == level).mean()
    outside = bool(level < rounded.min() or level > rounded.max())
    return Comparison(z, scale, float(100 * (below + equal / 2)), outside)


def summarise(name: str, results: Sequence[Mapping[str, Any]]) -> Summary:
    """Summarize the results of variant ``name``, which differ only in their seed.

    A reported number is compared if the results quote it and they ran on the chapter's data.
    """
    first = results[0]
    spreads = {
        protocol: {
            number: spread([result[protocol].get(number) for result in results])
            for number in first[protocol]
        }
        for protocol in ("printed", "defined")
    }
    reported = first["reported"]
    compares = reported and not first["dataset"].get("substitute")
    decimals = reported_decimals(first["chapter"]) if compares else {}
    rates = [result.get("examples_per_second") for result in results]
    return Summary(
        name,
        first["chapter"],
        first["settings"],
        first["dataset"],
        reported,
        [result.get("seed") for result in results],
        **spreads,
        comparisons={
            number: compare(reported[number], decimals[number], of_number.values)
            for number, of_number in spreads["printed"].items()
            if number in decimals and math.isfinite(of_number.mean)
        },
        seconds={
            phase: spread([result["seconds"][phase] for result in results])
            for phase in first.get("seconds", {})
        },
        examples_per_second=None if None in rates else spread(rates),
    )


def as_reference(summaries: Sequence[Summary]) -> Dict[str, Any]:
    """The numbers of the summaries, in the form that later runs are compared with."""
    return {
        summary.name: {
            "section": summary.section,
            "settings": summary.settings,
            "dataset": summary.dataset,
            "reported": summary.reported,
            "seeds": summary.seeds,
            **{
                protocol: {
                    name: {key: _significant(value) for key, value in of_number._asdict().items()}
                    for name, of_number in getattr(summary, protocol).items()
                }
                for protocol in ("printed", "defined")
            },
        }
        for summary in summaries
    }


def _significant(value: Any) -> Any:
    if isinstance(value, list):
        return [_significant(item) for item in value]
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
