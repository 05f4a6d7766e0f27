"""Systems that are computed, not trained by gradient: numpy alone, no MXNet.

A model is a frozen dataclass of arrays and numbers: what is saved of it is what it is.
"""

import dataclasses
from typing import Any, Dict, Mapping

import numpy as np

from d2l_recsys.model_bases.contract import Recommender


def axes(*names: str) -> Any:
    """A field that holds a float32 array, an axis for each of ``names``.

    Axes of one name have one length; those named ``users`` and ``items`` have a row for each.
    """
    return dataclasses.field(metadata={"axes": names})


class ClosedForm(Recommender):
    """The base of models that score without MXNet: frozen dataclasses with ``axes`` and numbers."""

    @property
    def arrays(self) -> Dict[str, np.ndarray]:
        """The fields that are arrays."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata}

    @property
    def numbers(self) -> Dict[str, float]:
        """The fields that are not."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata}

    @classmethod
    def from_parts(
        cls, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, float], **lengths: int
    ) -> "ClosedForm":
        """The model of these ``arrays`` and ``numbers``; ``lengths`` are those of named axes.

        Raises ValueError where they do not make one, TypeError where one is missing or too much.
        """
        model = cls(**arrays, **numbers)
        for field in dataclasses.fields(cls):
            value = getattr(model, field.name)
            if not field.metadata:
                if type(value) not in (int, float):
                    raise ValueError(f"{field.name} is no number")
                continue
            names = field.metadata["axes"]
            if not isinstance(value, np.ndarray) or value.dtype != np.float32:
                raise ValueError(f"{field.name} is no array of float32")
            if value.ndim != len(names):
                raise ValueError(f"{field.name} has {value.ndim} axes")
            for name, length in zip(names, value.shape):
                if lengths.setdefault(name, length) != length:
                    raise ValueError(f"{field.name} has {length} {name}, not {lengths[name]}")
        return model
