"""The base of models that are computed in closed form, without training by gradient and MXNet.

A model is a frozen dataclass of arrays and numbers. Saving a model saves these fields and nothing
else.
"""

import dataclasses
from typing import Any, Dict, Mapping

import numpy as np

from d2l_recsys.model_bases.contract import Recommender


def axes(*names: str) -> Any:
    """Return a dataclass field for a float32 array, with an axis for each of ``names``.

    Axes with the same name have the same length. An axis named ``users`` or ``items`` has an entry
    for each user or item.
    """
    return dataclasses.field(metadata={"axes": names})


class ClosedForm(Recommender):
    """The base of models that score without MXNet.

    A subclass is a frozen dataclass. Its fields are arrays, declared with ``axes``, and numbers.
    """

    @property
    def arrays(self) -> Dict[str, np.ndarray]:
        """The fields that are arrays, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata}

    @property
    def numbers(self) -> Dict[str, float]:
        """The fields that are numbers, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata}

    @classmethod
    def from_parts(
        cls, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, float], **lengths: int
    ) -> "ClosedForm":
        """Return the model with these ``arrays`` and ``numbers``.

        ``lengths`` has the lengths of some axes by name, for example ``users=943``. Raises
        TypeError if a field is missing or unknown, and ValueError if a value does not fit its
        field.
        """
        model = cls(**arrays, **numbers)
        for field in dataclasses.fields(cls):
            value = getattr(model, field.name)
            if not field.metadata:
                if type(value) not in (int, float):
                    raise ValueError(f"{field.name} is not a number")
                continue
            names = field.metadata["axes"]
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                raise ValueError(f"{field.name} is not a float32 array")
            if value.ndim != len(names):
                raise ValueError(f"{field.name} has the wrong number of axes, {value.ndim}")
            for name, length in zip(names, value.shape):
                if lengths.setdefault(name, length) != length:
                    raise ValueError(f"{field.name} has {length} {name}, not {lengths[name]}")
        return model
