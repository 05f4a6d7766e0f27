"""The ranges and choices of the settings that sections share, checked before any work begins."""

import enum
import math
from typing import Type, TypeVar

from d2l_recsys.errors import SettingError

__all__ = ["Feedback", "Protocol", "Split", "as_choice", "check_settings"]

AT_LEAST_ONE = ("batch_size", "item", "num_devices", "num_epochs", "num_factors", "user")
NOT_NEGATIVE = ("lr", "seed", "wd")


class Protocol(str, enum.Enum):
    """Whose numbers are shown: the chapter's code (``printed``) or its equations (``defined``)."""

    printed = "printed"
    defined = "defined"


class Split(str, enum.Enum):
    """What is held out: each user's last rating (``seq-aware``) or a random tenth (``random``)."""

    seq_aware = "seq-aware"
    random = "random"


class Feedback(str, enum.Enum):
    """What a rating says: its value (``explicit``), or only that it was given (``implicit``)."""

    explicit = "explicit"
    implicit = "implicit"


Choice = TypeVar("Choice", bound=enum.Enum)


def option(name: str) -> str:
    """The setting ``name`` as a user types it: ``num_epochs`` is ``--num-epochs``."""
    return "--" + name.replace("_", "-")


def as_choice(choices: Type[Choice], name: str, value: object) -> Choice:
    """``value`` as a member of ``choices``; SettingError naming the setting where it is none."""
    try:
        return choices(value)
    except ValueError:
        allowed = ", ".join(member.value for member in choices)
        raise SettingError(f"{option(name)} is {value!r}; choose one of: {allowed}") from None


def check_settings(**settings: float) -> None:
    """Raise SettingError for the first setting that is out of its range.

    Counts and one-based ids start at 1; rates, decays and seeds at 0; none may be infinite or NaN.
    Settings this module knows no range for pass.
    """
    for name, value in settings.items():
        if name in AT_LEAST_ONE and not value >= 1:
            raise SettingError(f"{option(name)} is {value}; it must be 1 or more")
        if name in NOT_NEGATIVE and not (value >= 0 and math.isfinite(value)):
            raise SettingError(f"{option(name)} is {value}; it must be a finite number, 0 or more")
