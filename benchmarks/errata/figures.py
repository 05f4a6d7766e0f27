"""The figures of ``ERRATA.md``: how they are computed, stored and written in the text.

A figure has a name, and its value is a number or a word (for example, the name of an exception).
"""

import math
import re
from typing import Dict, List, Sequence, Union

import numpy

from d2l_recsys.reproduction.summary import spread

Number = Union[int, float, str]
Figures = Dict[str, Number]

# Names of figures that were measured on the book's clicks (--clicks-dir) begin with this prefix.
BOOK = "book's rows: "
# Number of decimals, for figures that do not have three.
DIGITS = {
    "log odds from which a float32 sigmoid is 1": 4,
    "NeuMF: AUC by eq. 15.6.5 to the letter, lower by": 4,
    "one net, printed on one device": 4,
    "one net, printed on two devices": 4,
    "one net, defined": 4,
    "d2l's loss is infinite from a distance of": 2,
    "our loss there": 2,
    "our gradient there": 0,
    "smallest distance in training, NeuMF": 1,
    "smallest distance in training, Caser": 1,
    "sum head: size of the loss gradient over the decay": 2,
    "linear head: size of the loss gradient over the decay": 2,
    "sigmoid head: size of the loss gradient over the decay": 2,
    "training ratings of an item that is ranked": 1,
    "training ratings of an item that is not ranked": 1,
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
    """Returns two figures: the mean ``name``, and the standard deviation (n - 1) ``name sd``."""
    of_values = spread(values)
    return {name: of_values.mean, f"{name} sd": of_values.sd}


def differences(first: Sequence[float], second: Sequence[float]) -> List[float]:
    """Returns ``first - second`` seed by seed.

    Both lists start with seed 0. If one list is longer, its other seeds are left out.
    """
    return [float(a) - float(b) for a, b in zip(first, second)]


def percent(part: float, whole: float) -> float:
    """Returns ``part`` in percent of ``whole``."""
    return 100 * part / whole


def tidy(figures: Figures) -> Figures:
    """Returns the figures as they are stored in JSON.

    Numbers of NumPy become numbers of Python. A float is rounded to six significant digits. A float
    that is not finite becomes a string, because JSON has no such number.
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
    """Returns one figure as text, in the form that ``ERRATA.md`` uses.

    An integer gets commas. A float gets three decimals, or the number of decimals in ``DIGITS``. If
    a float is not 0 but rounds to 0, it gets one digit and an exponent. If the name ends in ``%``,
    the text does, too. A string stays as it is.
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
    """Returns the figures of an entry as texts, in the form that ``ERRATA.md`` uses.

    A mean and its standard deviation become one text with ``±``.
    """
    shown = {}
    for name, value in figures.items():
        if name.endswith(" sd"):
            continue
        if f"{name} sd" in figures:
            digits = DIGITS.get(name, 3)
            mean, deviation = (f"{figures[n]:.{digits}f}" for n in (name, f"{name} sd"))
            # No minus sign before a mean that rounds to 0.
            shown[name] = f"{mean.lstrip('-') if float(mean) == 0 else mean} ± {deviation}"
        else:
            shown[name] = text_of(name, value)
    return shown


def merged(before: Figures, measured: Figures) -> Figures:
    """Returns the new figures of an entry, and keeps old figures on the book's clicks.

    Names of figures on the book's clicks begin with ``BOOK``. If ``measured`` has no such figure,
    those in ``before`` are added to the result.
    """
    if any(name.startswith(BOOK) for name in measured):
        return dict(measured)
    return {**measured, **{n: value for n, value in before.items() if n.startswith(BOOK)}}


def entries(markdown: str) -> Dict[str, str]:
    """Returns the text of each entry of ``ERRATA.md``, by the entry's number.

    An entry begins with a heading that has the number, a middle dot and the title. The entry ends
    at the next heading. Each run of white space becomes one blank.
    """
    parts = re.split(r"^#+ (?:([A-Z]\d+) · )?", markdown, flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2])
    return {number: " ".join(text.split()) for number, text in found if number}


def unsaid(entry: str, figures: Figures) -> List[str]:
    """Returns the names of the figures that are missing in the text of an entry.

    The text of a figure comes from ``texts``. A number is not found inside a longer number: 0.75 is
    not in 10.75 or 0.753.
    """
    return [
        name
        for name, text in texts(figures).items()
        if not re.search(rf"(?<![\w.,-]){re.escape(text)}(?!\w|[.,]\d)", entry)
    ]
