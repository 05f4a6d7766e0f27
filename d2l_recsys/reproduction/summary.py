"""Results over seeds: how each number spreads, and how the reported one compares with them."""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from d2l_recsys.runs.results import reported_decimals

# Digits that a float32 computation can stand for.
SIGNIFICANT_DIGITS = 6


class Spread(NamedTuple):
    """A number over seeds: mean, standard deviation (n - 1; 0 of one value), range, values."""

    mean: float
    sd: float
    min: float
    max: float
    values: List[float]


class Comparison(NamedTuple):
    """A reported number, compared with reproduced ones.

    ``z`` is its distance from their mean in units of ``scale``, their standard deviation with the
    error of its rounding; None where they are too few to have one. ``percentile`` is the share of
    them below it, in percent, equals counted half; ``outside`` says whether it is smaller or larger
    than all.
    """

    z: Optional[float]
    scale: float
    percentile: float
    outside: bool


class Summary(NamedTuple):
    """What is said of the runs of one variant, which differ in their seed alone.

    ``name``, ``section``, ``settings``, ``dataset`` and ``reported`` are those of the runs,
    ``printed`` and ``defined`` the spread of each number, ``comparisons`` those of the reported
    numbers that compare, ``seconds`` of each phase and ``examples_per_second`` the speed.
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
    """The spread of ``values``, at least one; None, which stands for NaN in a result, is NaN."""
    numbers = [math.nan if value is None else value for value in values]
    sd = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
    return Spread(float(np.mean(numbers)), sd, min(numbers), max(numbers), numbers)


def compare(reported: float, decimals: int, values: Sequence[float]) -> Comparison:
    """Compare ``reported``, a number printed with so many ``decimals``, with ``values``.

    Rounding hides something of the reported number: a uniform error with the variance u^2 / 12,
    where u is a unit of its last decimal, which here widens the spread of the values. The
    percentile compares with the values rounded alike.
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
    """Put the results of ``name``, which differ in their seed alone, together.

    A reported number is compared with where the results quote it and their data is the chapter's.
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
    """The summaries as they are kept for later runs to be held against: the numbers alone."""
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
