"""The numbers in the book, and how a run differs from the book's own run."""

import decimal
import json
import pathlib
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from d2l_recsys.sections.registry import SYSTEMS, Kind
from d2l_recsys.settings import Protocol
from d2l_recsys.training.history import CURVES

# The book was made on a machine with two GPUs.
NUM_DEVICES = 2
# These settings do not count: cutoffs only add metrics, and another line names the data set.
NOT_COMPARED = ("num_devices", "cutoff", "dataset")
# The names of metrics, as the result lines and the figures have them.
LABELS = {
    metric: label for curve in CURVES.values() for metric, label in zip(curve.metrics, curve.legend)
}


class Conditions(NamedTuple):
    """What differs between the book's run and ours, in words: ("on two devices", "one device").

    Both texts are empty if nothing differs.
    """

    book: str
    ours: str


def all_reported() -> Dict[str, Dict[str, float]]:
    """The numbers in the book: of each section, by metric."""
    return _read()


def reported_numbers(section: str) -> Dict[str, float]:
    """The numbers in the book of one section, by metric."""
    return all_reported()[section]


def reported_decimals(section: str) -> Dict[str, int]:
    """How many decimals the book prints of each number of one section."""
    exact = _read(decimal.Decimal)[section]
    return {name: -number.as_tuple().exponent for name, number in exact.items()}


def _read(number: Optional[Callable[[str], Any]] = None) -> Dict[str, Dict[str, Any]]:
    text = pathlib.Path(__file__).with_name("reported.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_float=number, parse_int=number)
    return {section: numbers for section, numbers in content.items() if section != "note"}


def changed_settings(section: str, settings: Mapping[str, Any]) -> Dict[str, Any]:
    """The book's values of those ``settings`` of a result that differ from the book's.

    The book's settings are the defaults of the section's options. The number of devices does not
    count.
    """
    defaults = {
        name: _as_json(option.default)
        for name, option in SYSTEMS[section].options().parameters.items()
        if name in settings and name not in NOT_COMPARED
    }
    return {name: value for name, value in defaults.items() if _as_json(settings[name]) != value}


def differing_conditions(section: str, settings: Mapping[str, Any]) -> Conditions:
    """Compare the ``settings`` of a result with those of the book.

    The book's settings are the defaults of the section's options, and two devices.
    """
    num_devices = settings.get("num_devices", NUM_DEVICES)
    book, ours = [], []
    if num_devices != NUM_DEVICES:
        book.append("on two devices")
        ours.append("one device" if num_devices == 1 else f"{num_devices} devices")
    changed = changed_settings(section, settings)
    if changed:
        book.append("with " + ", ".join(f"{name} {value}" for name, value in changed.items()))
        ours += [f"{name} {_as_json(settings[name])}" for name in changed]
    return Conditions(", ".join(book), ", ".join(ours))


def note_on_loss(section: str, settings: Mapping[str, Any]) -> str:
    """A hint for sections whose printed training loss depends on the number of devices, else ""."""
    same = settings.get("num_devices", NUM_DEVICES) == NUM_DEVICES
    if same or SYSTEMS[section].kind is not Kind.ranking:
        return ""
    return "the printed train loss depends on the number of devices (ERRATA.md, D1)"


def _as_json(value: Any) -> Any:
    """``value`` as ``result.json`` has it: a tuple is a list there, and a choice is its name."""
    return json.loads(json.dumps(value))


def beside_the_book(result: Mapping[str, Any]) -> str:
    """A line with the book's numbers for what ``result`` measured; "" if the book has none.

    The line says how the book's run differed from this one. It leaves out the book's speed, which
    was measured on another machine.
    """
    section = result["chapter"]
    decimals = reported_decimals(section) if result["reported"] else {}
    numbers = [
        f"{LABELS.get(name, name.replace('_', ' '))} {value:.{decimals[name]}f}"
        for name, value in result["reported"].items()
        if name in result["printed"]
    ]
    if not numbers:
        return ""
    conditions = differing_conditions(section, result["settings"])
    book = ["on its own data"] if result["dataset"]["substitute"] else []
    book += [conditions.book] if conditions.book else []
    line = ", ".join([f"the book: {', '.join(numbers)}", *book])
    if conditions.ours:
        line += f"; this run had {conditions.ours}"
    note = note_on_loss(section, result["settings"])
    if note:
        line += f"; {note}"
    if SYSTEMS[section].trains and result["protocol"] == Protocol.defined:
        line += "; compare it with the printed numbers in result.json"
    return line
