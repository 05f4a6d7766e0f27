"""The figures of ``ERRATA.md``: how they are made of values, kept, and shown in its text."""

import math
import re
from typing import Dict, List, Sequence, Union

import numpy

from d2l_recsys.reproduction.summary import spread

Number = Union[int, float, str]
Figures = Dict[str, Number]

# Figures on rows of the book's clicks, which need --clicks-dir, begin so.
BOOK = "book's rows: "
# Decimals of the figures, by name, that do not have three.
DIGITS = {
    "log odds from which a float32 sigmoid is 1": 4,
    "NeuMF: AUC by eq. 15.6.5 to the letter, lower by": 4,
    "one net, printed on one device": 4,
    "one net, printed on two": 4,
    "one net, defined": 4,
    "d2l's loss is infinite from a distance of": 2,
    "our loss there": 2,
    "our gradient there": 0,
    "smallest distance in training, NeuMF": 1,
    "smallest distance in training, Caser": 1,
    "sum head: gradient of the loss over the decay's": 2,
    "linear head: gradient of the loss over the decay's": 2,
    "sigmoid head: gradient of the loss over the decay's": 2,
    "training ratings of an item that is ranked": 1,
    "training ratings of another": 1,
    "share of draws, %": 2,
    "factor after training": 2,
    "printed over true examples/sec": 1,
    "last point of an epoch's curve, in epochs": 2,
    "the timer's sum over the time that passed, NeuMF": 1,
    "the timer's sum over the time that passed, Caser": 1,
    "NeuMF: reported rate": 1,
    "Caser: reported rate": 1,
}


def mean_sd(name: str, values: Sequence[float]) -> Figures:
    """The mean of ``values`` as ``name``, their standard deviation (n - 1) as ``name sd``."""
    of_values = spread(values)
    return {name: of_values.mean, f"{name} sd": of_values.sd}


def differences(first: Sequence[float], second: Sequence[float]) -> List[float]:
    """``first - second`` seed by seed, for the seeds that both have (both start with seed 0)."""
    return [float(a) - float(b) for a, b in zip(first, second)]


def percent(part: float, whole: float) -> float:
    """``part`` of ``whole`` in percent."""
    return 100 * part / whole


def tidy(figures: Figures) -> Figures:
    """The figures as they are kept: Python's own numbers, of six digits where they are fractions.

    What is not finite becomes a string, which JSON has.
    """
    kept: Figures = {}
    for name, value in figures.items():
        if isinstance(value, (float, numpy.floating)):
            value = float(f"{value:.6g}") if math.isfinite(value) else str(value)
        elif isinstance(value, numpy.integer):
            value = int(value)
        kept[name] = value
    return kept


def text_of(name: str, value: Number) -> str:
    """One figure as ``ERRATA.md`` has it.

    Whole numbers with commas, others with three decimals or what ``DIGITS`` says; what rounds to 0
    but is not 0 with one digit and an exponent. A name that ends in ``%`` adds that sign.
    """
    if isinstance(value, str):
        return value
    is_percent = name.endswith("%")
    digits = DIGITS.get(name, 1 if is_percent else 3)
    if isinstance(value, int):
        text = f"{value:,}"
    elif value and abs(value) < 0.5 * 10**-digits:
        text = f"{value:.0e}"
    else:
        text = f"{value:,.{digits}f}"
    return text + " %" * is_percent


def texts(figures: Figures) -> Dict[str, str]:
    """The figures of an entry as ``ERRATA.md`` has them; a mean together with its deviation."""
    shown = {}
    for name, value in figures.items():
        if name.endswith(" sd"):
            continue
        if f"{name} sd" in figures:
            digits = DIGITS.get(name, 3)
            mean, deviation = (f"{figures[n]:.{digits}f}" for n in (name, f"{name} sd"))
            # What rounds to 0 has no sign.
            shown[name] = f"{mean.lstrip('-') if float(mean) == 0 else mean} ± {deviation}"
        else:
            shown[name] = text_of(name, value)
    return shown


def merged(before: Figures, measured: Figures) -> Figures:
    """``measured``; where it has nothing on rows of the book, what ``before`` had on them as well.

    Figures on the book's rows are those whose names begin with ``BOOK``.
    """
    if any(name.startswith(BOOK) for name in measured):
        return dict(measured)
    return {**measured, **{n: value for n, value in before.items() if n.startswith(BOOK)}}


def entries(markdown: str) -> Dict[str, str]:
    """The text of each entry of ``ERRATA.md`` by its number, white space made one blank.

    An entry begins with a heading of its number, a dot in the middle and its title, and ends at the
    next heading.
    """
    parts = re.split(r"^#+ (?:([A-Z]\d+) · )?", markdown, flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2])
    return {number: " ".join(text.split()) for number, text in found if number}


def unsaid(entry: str, figures: Figures) -> List[str]:
    """The names of the figures whose text (``texts``) does not stand in the text of an entry.

    A number does not stand in a longer one: 0.75 not in 10.75 or 0.753.
    """
    return [
        name
        for name, text in texts(figures).items()
        if not re.search(rf"(?<![\w.,-]){re.escape(text)}(?!\w|[.,]\d)", entry)
    ]
