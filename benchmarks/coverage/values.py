"""Where the numbers in the column "here" of ``docs/coverage.md`` come from.

A value has two methods. ``text`` returns what the page shows. ``bounds`` returns the smallest and
the largest number of our runs, or None if the value is not a number. Both read the files of a
``Results``. A value that the files do not have yet is shown as a dash.
"""

import json
import pathlib
import re
from typing import Any, Dict, NamedTuple, Optional, Tuple

from benchmarks.errata.figures import texts
from d2l_recsys.sections.registry import COMPANIONS, SYSTEMS, TUTORIAL, TUTORIAL_PREFIX

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DASH = "–"
# The systems whose file does not define the class of their model.
OTHERS_CLASS = ("pairwise", "tutorial_svd")

Bounds = Optional[Tuple[float, float]]


class Results(NamedTuple):
    """The files that our numbers come from.

    ``reference`` has the variants of the reference run, ``figures`` the figures of each erratum,
    ``answers`` the exercises, and ``errata`` the heading of each erratum, by its number.
    """

    reference: Dict[str, Any]
    figures: Dict[str, Dict[str, Any]]
    answers: Dict[str, Any]
    errata: Dict[str, str]


def read_results() -> Results:
    """Reads the files of the checkout."""
    docs = ROOT / "docs"
    headings = re.findall(
        r"(?m)^### (([A-Z]\d+) · .+)$", (ROOT / "ERRATA.md").read_text(encoding="utf-8")
    )
    return Results(
        _read(docs / "reference" / "reference.json")["variants"],
        _read(docs / "errata.json")["rows"],
        _read(docs / "exercises" / "numbers.json")["exercises"],
        {number: heading for heading, number in headings},
    )


def _read(file: pathlib.Path) -> Dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def link_to_erratum(number: str, results: Results) -> str:
    """A link to an entry of ``ERRATA.md``; only its number if there is no such entry."""
    if number not in results.errata:
        return number
    return f"[{number}](../ERRATA.md#{anchor(results.errata[number])})"


class Value:
    """What the page shows in the column "here"; the base of the other values."""

    def text(self, results: Results) -> str:
        """What the page shows."""
        raise NotImplementedError

    def bounds(self, results: Results) -> Bounds:
        """The smallest and the largest number of our runs; None if this is not a number."""
        return None


class Seeds(Value):
    """A printed number of a variant of the reference run: mean ± standard deviation, all seeds."""

    def __init__(self, variant: str, number: str) -> None:
        self.variant, self.number = variant, number

    def _spread(self, results: Results) -> Dict[str, Any]:
        return results.reference[self.variant]["printed"][self.number]

    def text(self, results: Results) -> str:
        """The mean and the standard deviation."""
        spread = self._spread(results)
        return f"{spread['mean']:.3f} ± {spread['sd']:.3f}"

    def bounds(self, results: Results) -> Bounds:
        """The smallest and the largest number of the seeds."""
        spread = self._spread(results)
        return spread["min"], spread["max"]


class Figure(Value):
    """A figure of ``docs/errata.json``, in the form of ``ERRATA.md``."""

    def __init__(self, entry: str, name: str) -> None:
        self.entry, self.name = entry, name

    def text(self, results: Results) -> str:
        """The figure, with its standard deviation if it has one."""
        if self.entry not in results.figures:
            return DASH
        return texts(results.figures[self.entry])[self.name]

    def bounds(self, results: Results) -> Bounds:
        """The figure, twice."""
        value = results.figures.get(self.entry, {}).get(self.name)
        return (value, value) if isinstance(value, (int, float)) else None


class Several(Value):
    """Several values, one after the other."""

    def __init__(self, *values: Value) -> None:
        self.values = values

    def text(self, results: Results) -> str:
        """The texts with commas; one dash if the first value is missing."""
        shown = [value.text(results) for value in self.values]
        return DASH if shown[0] == DASH else ", ".join(shown)


class Counted(Value):
    """A number of the run of an exercise that only describes data."""

    def __init__(self, exercise: str, number: str, decimals: int = 0) -> None:
        self.exercise, self.number, self.decimals = exercise, number, decimals

    def bounds(self, results: Results) -> Bounds:
        """The number, twice."""
        points = results.answers[self.exercise]["parts"][0]["points"]
        numbers = points[0]["numbers"][self.number]
        return numbers["min"], numbers["max"]

    def text(self, results: Results) -> str:
        """The number with its decimals."""
        return f"{self.bounds(results)[0]:,.{self.decimals}f}"


class Answered(Value):
    """The answer to an exercise: a link, the number of settings and of checked claims."""

    def __init__(self, number: str) -> None:
        self.number = number

    def text(self, results: Results) -> str:
        """A link to the answer, and what it rests on."""
        if self.number not in results.answers:
            return DASH
        answer = results.answers[self.number]
        heading = anchor(f"{self.number} {answer['question']}")
        shown = [f"[answered](exercises.md#{heading})"]
        settings = sum(len(part.get("points", ())) for part in answer["parts"])
        if settings > 1:
            shown.append(f"{settings} settings")
        if answer["claims"]:
            shown.append(f"{len(answer['claims'])} claims checked")
        return ", ".join(shown)


class Link(Value):
    """A link to a file of the checkout, and the name of what is there."""

    def __init__(self, text: str, path: str) -> None:
        self.shown, self.path = text, path

    def text(self, results: Results) -> str:
        """The link, as it is written in a page in ``docs``."""
        inside = self.path[len("docs/") :] if self.path.startswith("docs/") else f"../{self.path}"
        return f"[{self.shown}]({inside})"


class Code(Link):
    """An object in a Python file of the checkout."""

    def __init__(self, path: str, *names: str) -> None:
        self.names = names
        super().__init__(", ".join(f"`{name}`" for name in names), path)


class Model(Value):
    """The file of a system that ``d2l-recsys run`` takes, and the name of its model's class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def text(self, results: Results) -> str:
        """A link to the file."""
        if self.name not in SYSTEMS:
            return DASH
        file, folder = self.name, "chapters"
        if self.name in COMPANIONS:
            folder = "chapters/extras"
        elif self.name in TUTORIAL:
            folder, file = "chapters/tutorial", self.name[len(TUTORIAL_PREFIX) :]
        # A system may use the class of another file.
        model = "main" if self.name in OTHERS_CLASS else SYSTEMS[self.name].class_name or "main"
        return Code(f"{folder}/{file}.py", model).text(results)


class Checked(Link):
    """A statement that a test checks: the words, and a link to the file with the test."""

    def __init__(self, text: str, path: str, test: str) -> None:
        self.test = test
        super().__init__(text, path)
