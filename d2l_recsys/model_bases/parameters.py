"""Convert the parameters of a Gluon net to numpy arrays, and set them from numpy arrays."""

from typing import Dict, Mapping

import numpy

from d2l_recsys.backend import gluon, np
from d2l_recsys.errors import DataError

Arrays = Dict[str, numpy.ndarray]


def parameters_of(net: gluon.Block) -> Arrays:
    """Return the values of the net's parameters.

    The name of a value is the path of attributes to the parameter, such as ``encoder.weight``.
    """
    return {
        name: parameter.list_data()[0].asnumpy()
        for name, parameter in net._collect_params_with_prefix().items()
    }


def set_parameters(net: gluon.Block, values: Mapping[str, numpy.ndarray]) -> None:
    """Set the net's parameters on all its devices to ``values``, as from ``parameters_of``.

    Raises DataError if names, shapes or dtypes show that the values belong to another net.
    """
    parameters = net._collect_params_with_prefix()
    check_alike(parameters, values, "parameters")
    for name, parameter in parameters.items():
        parameter.set_data(np.array(values[name], dtype=values[name].dtype))


def check_alike(
    parameters: Mapping[str, gluon.Parameter], values: Mapping[str, numpy.ndarray], what: str
) -> None:
    """Raise DataError unless ``values`` has the names, shapes and dtypes of ``parameters``.

    ``what`` names the values in the message.
    """
    for name in [*parameters, *(name for name in values if name not in parameters)]:
        if name not in parameters or name not in values:
            raise DataError(f"its {what} belong to another net: only one of the two has {name}")
        ours, theirs = parameters[name], values[name]
        if ours.shape != theirs.shape or numpy.dtype(ours.dtype) != theirs.dtype:
            raise DataError(
                f"its {what} belong to another net: {name} is {theirs.dtype} {theirs.shape}, but "
                f"this net needs {numpy.dtype(ours.dtype)} {ours.shape}"
            )
