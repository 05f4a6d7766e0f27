"""The optimizers that a run can choose, and the arrays that each of them keeps.

All of them are MXNet's, with MXNet's defaults. A step for a parameter w with learning rate eta,
where g is the gradient of the mean loss plus lambda w (the weight decay):

- sgd: w = w - eta g
- nag: m = 0.9 m - eta g, w = w + 0.9 m - eta g                  (Nesterov 1983)
- adagrad: s = s + g^2, w = w - eta g / sqrt(s + 1e-7)           (Duchi et al. 2011)
- rmsprop: s = 0.9 s + 0.1 g^2, w = w - eta g / sqrt(s + 1e-8)   (Tieleman and Hinton 2012)
- adam: m = 0.9 m + 0.1 g, v = 0.999 v + 0.001 g^2               (Kingma and Ba 2015)
  w = w - eta sqrt(1 - 0.999^t) / (1 - 0.9^t) m / (sqrt(v) + 1e-8) in step t

MXNet treats the weight decay differently in two of them. Adagrad does not add lambda w to g: it
subtracts eta lambda w from the weight. NAG's step uses the old w, but the m that it keeps uses the
new w.
"""

import functools
from typing import Any, Optional, Tuple

from d2l_recsys.backend import mx
from d2l_recsys.settings import Optimizer

OPTIMIZERS = {
    Optimizer.adam: mx.optimizer.Adam,
    Optimizer.sgd: mx.optimizer.SGD,
    Optimizer.nag: functools.partial(mx.optimizer.NAG, momentum=0.9),
    Optimizer.adagrad: mx.optimizer.AdaGrad,
    Optimizer.rmsprop: mx.optimizer.RMSProp,
}


def kept_arrays(optimizer: mx.optimizer.Optimizer) -> Optional[Tuple[str, ...]]:
    """The names of the arrays that ``optimizer`` keeps for each parameter, in its order.

    Each has the shape of the parameter. Returns None for an optimizer that is not listed here.
    """
    kind = type(optimizer)
    if kind in (mx.optimizer.SGD, mx.optimizer.NAG):
        return ("momenta",) if optimizer.momentum else ()
    if kind is mx.optimizer.RMSProp and optimizer.centered:
        return None
    kept = {
        mx.optimizer.Adam: ("means", "variances"),
        mx.optimizer.AdaGrad: ("sums_of_squares",),
        mx.optimizer.RMSProp: ("means_of_squares",),
    }
    return kept.get(kind)


def as_state(optimizer: mx.optimizer.Optimizer, arrays: Tuple[Any, ...]) -> Any:
    """``arrays``, those of ``kept_arrays`` for one parameter, in the form that MXNet keeps."""
    if isinstance(optimizer, (mx.optimizer.Adam, mx.optimizer.RMSProp)):
        return arrays
    return arrays[0] if arrays else None


def arrays_of(state: Any) -> Tuple[Any, ...]:
    """The arrays in a state that MXNet keeps for one parameter."""
    if state is None:
        return ()
    return tuple(state) if isinstance(state, (tuple, list)) else (state,)
