"""The ranges and choices of the settings that sections share, checked before any work begins."""

import enum
from typing import Sequence, Type, TypeVar, Union

from d2l_recsys.errors import SettingError

__all__ = ["Feedback", "Protocol", "Split", "as_choice", "check_settings"]

# Smallest and largest value of each. The largest keep out what MXNet cannot hold: float32 rates,
# 32-bit seeds, tables of 2^31 numbers, and more CPU contexts than it can start threads for.
FLOAT32_MAX = 3.4e38
RANGES = {
    "L": (1, 100),
    "alpha": (0, 10**6),
    "anneal_epochs": (0, 10**6),
    "batch_size": (1, 2**31 - 1),
    "beta": (0, 10**3),
    "corruption": (0, 0.999),
    "cutoff": (1, 2**31 - 1),
    "d": (0, 10**5),
    "d_prime": (0, 10**5),
    "damping": (0, 10**6),
    "decay": (0, 1),
    "dropout": (0, 0.999),
    "edge_dropout": (0, 0.999),
    "eval_step": (1, 10**6),
    "item": (1, 2**31 - 1),
    "jobs": (1, 64),
    "l2": (1e-6, 1e12),
    "lr": (0, FLOAT32_MAX),
    "max_length": (1, 1000),
    "min_threshold": (1, 2**31 - 1),
    "mlp_dims": (1, 10**5),
    "num_blocks": (1, 64),
    "num_devices": (1, 64),
    "num_epochs": (1, 10**6),
    "num_feat": (1, 10**5),
    "num_factors": (1, 10**5),
    "num_heads": (1, 64),
    "num_hidden": (1, 10**5),
    "num_layers": (0, 64),
    "num_neighbors": (1, 10**6),
    "nums_hiddens": (1, 1000),
    "recency": (0, 1),
    "reg": (0, 1e12),
    "seed": (0, 2**31 - 1),
    "seeds": (1, 10**4),
    "shrink": (0, 10**6),
    "user": (1, 2**31 - 1),
    "wd": (0, FLOAT32_MAX),
    "window": (1, 10**4),
}


class Protocol(str, enum.Enum):
    """Whose numbers are shown: the chapter's code (``printed``) or its equations (``defined``)."""

    printed = "printed"
    defined = "defined"


class Split(str, enum.Enum):
    """What is held out: each user's last rating (``seq-aware``) or a random tenth (``random``).

    ``validation`` holds out the last rating but one, and leaves the last out altogether: what is
    chosen by it has not seen the test.
    """

    seq_aware = "seq-aware"
    random = "random"
    validation = "validation"


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


def check_settings(**settings: Union[float, Sequence[float]]) -> None:
    """Raise SettingError for the first setting outside its range in ``RANGES``; NaN is outside.

    Of a sequence, each value is checked. Raises KeyError for a setting that has no range: a new one
    needs a line there.
    """
    for name, values in settings.items():
        low, high = RANGES[name]
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if not low <= value <= high:
                raise SettingError(
                    f"{option(name)} is {value}; it must lie between {low} and {high}"
                )
