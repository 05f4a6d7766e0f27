"""The parameters of a Gluon net as numpy arrays, and back."""

from typing import Dict, Mapping

import numpy

from d2l_recsys.backend import gluon, np
from d2l_recsys.errors import DataError

Arrays = Dict[str, numpy.ndarray]


def parameters_of(net: gluon.Block) -> Arrays:
    """Values of the net's parameters, by the path of attributes that leads to each."""
    return {
        name: parameter.list_data()[0].asnumpy()
        for name, parameter in net._collect_params_with_prefix().items()
    }


def set_parameters(net: gluon.Block, values: Mapping[str, numpy.ndarray]) -> None:
    """Give the net's parameters, on all its devices, the ``values`` of ``parameters_of``.

    Raises DataError where they are those of another net.
    """
    parameters = net._collect_params_with_prefix()
    check_alike(parameters, values, "parameters")
    for name, parameter in parameters.items():
        parameter.set_data(np.array(values[name], dtype=values[name].dtype))


def check_alike(
    parameters: Mapping[str, gluon.Parameter], values: Mapping[str, numpy.ndarray], what: str
) -> None:
    """Raise DataError for the first of ``values`` that is not one for each of ``parameters``."""
    for name in [*parameters, *(name for name in values if name not in parameters)]:
        if name not in parameters or name not in values:
            raise DataError(f"its {what} are those of another net: {name} is in one alone")
        ours, theirs = parameters[name], values[name]
        if ours.shape != theirs.shape or numpy.dtype(ours.dtype) != theirs.dtype:
            raise DataError(
                f"its {what} are those of another net: {name} is {theirs.dtype} {theirs.shape} "
                f"there, {numpy.dtype(ours.dtype)} {ours.shape} here"
            )
