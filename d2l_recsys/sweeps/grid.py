"""The grid of a sweep: the values of each option, as the user types them, and all combinations."""

import inspect
import itertools
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from d2l_recsys.errors import SettingError
from d2l_recsys.sections.options import (
    changed_options,
    checked_options,
    choices_of,
    is_list_of_numbers,
    kind_of,
    plain,
)
from d2l_recsys.sections.registry import Section
from d2l_recsys.settings import INT32_MAX, as_choice, check_settings, option

# A sweep does not vary these options: they say where the files are, or it sets them for each run.
NOT_SWEPT = ("seed", "data_dir", "out", "force", "resume", "quiet")
WORDS = {int: "whole numbers", float: "numbers"}


class Point(NamedTuple):
    """A system with one choice of its options.

    ``options`` are the options that differ from the defaults. ``labels`` name the point in tables
    and figures, such as ``{"num_factors": 50}``.
    """

    section: Section
    options: Dict[str, Any]
    labels: Dict[str, Any]

    def __str__(self) -> str:
        told = (f"{name} {as_text(value)}" for name, value in self.options.items())
        return ", ".join([self.section.name, *told])


def points_of(
    section: Section, options: Mapping[str, Any], values: Mapping[str, Sequence[Any]]
) -> List[Point]:
    """A point for each combination of ``values``; the last option changes first.

    ``options`` are the same in all points. Raises SettingError if an option is unknown, or if a
    value is outside its range or has no effect beside the other values.
    """
    signature = section.options()
    defaults = {name: p.default for name, p in signature.parameters.items()}
    points = []
    for combination in itertools.product(*values.values()):
        labels = dict(zip(values, combination))
        for name in {**options, **labels}:
            if name not in defaults:
                raise SettingError(f"{section.name} has no option {option(name)}")
        checked = checked_options(signature, {**defaults, **options, **labels})
        changed = changed_options(signature, checked)
        points.append(Point(section, changed, {name: checked[name] for name in labels}))
    return points


def check_seeds(seeds: int, first_seed: int) -> None:
    """Raise SettingError if ``seeds`` seeds from ``first_seed`` on are not all allowed."""
    check_settings(seeds=seeds)
    if first_seed < 0 or first_seed + seeds - 1 > INT32_MAX:
        raise SettingError(f"--first-seed is {first_seed}; seeds lie between 0 and {INT32_MAX}")


def read_values(parameter: inspect.Parameter, texts: Sequence[str]) -> List[Any]:
    """The values of an option in ``texts``, one text for each time that the option is given.

    Commas separate values within a text. For an option that takes a list, each text is one value.
    Raises SettingError for a text that is no value, and for a value that is there twice.
    """
    name = option(parameter.name)
    if is_list_of_numbers(parameter):
        found = [[_number(int, word, name) for word in _split(text, name)] for text in texts]
    else:
        words = [word for text in texts for word in _split(text, name)]
        choices, kind = choices_of(parameter.annotation), kind_of(parameter)
        if choices is not None:
            found = [as_choice(choices, parameter.name, word) for word in words]
        else:
            found = [_number(kind, word, name) for word in words]
    for place, value in enumerate(found):
        if value in found[:place]:
            raise SettingError(f"{name} has {as_text(value)} twice; give it once")
    return found


def as_text(value: Any) -> str:
    """``value`` as the user types it."""
    value = plain(value)
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else str(value)


def _split(text: str, name: str) -> List[str]:
    words = [word.strip() for word in text.split(",")]
    if "" in words:
        raise SettingError(f"{name} is {text!r}; a value is missing beside a comma")
    return words


def _number(kind: Any, word: str, name: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise SettingError(
            f"{name} has {word!r}; give {WORDS[kind]}, separated by commas"
        ) from None
