r"""Adam for all parameters in one operator, with the same bits as ``gluon.Trainer``.

A step of Adam at time t, for a gradient that is summed over n examples (MXNet's ``adam_update``):

.. math::
    g &= \nabla / n + \lambda w \\
    m &= \beta_1 m + (1 - \beta_1) g \qquad v = \beta_2 v + (1 - \beta_2) g^2 \\
    w &= w - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m}{\sqrt{v} + \epsilon}

``gluon.Trainer`` starts an operator for each parameter, and on several devices five more, which
collect the gradients and return the weights. In a small net, starting an operator takes longer than
computing it. Here, the weights of all parameters are parts of one flat array on each device. So are
the gradients and the moments m and v. One operator then updates all of them.
"""

import math
from typing import List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.backend import autograd, gluon, mx

Views = List[mx.nd.NDArray]


def is_flat(trainer: gluon.Trainer, devices: Sequence[mx.Context]) -> bool:
    """Whether ``FlatAdam`` can do the steps of ``trainer`` for batches on ``devices``.

    It can for plain Adam on one CPU device or two, if these are the devices of the parameters.
    """
    parameters = trained_parameters(trainer)
    if type(trainer.optimizer) is not mx.optimizer.Adam or any(p._data is None for p in parameters):
        return False
    start_kvstore(trainer)
    return (
        list(devices) == trainer._contexts
        and all(device.device_type == "cpu" for device in devices)
        and (len(devices) == 1 or (len(devices) == 2 and trainer._update_on_kvstore))
        and not (trainer._distributed or trainer._compression_params)
        and not hasattr(trainer, "_amp_loss_scaler")
        and len({(p.lr_mult, p.wd_mult) for p in parameters}) == 1
        and len({num_updates(trainer, trainer._param2idx[p.name]) for p in parameters}) == 1
        and all(p.grad_req == "write" for p in parameters)
        and all(numpy.dtype(p.dtype) == numpy.float32 for p in parameters)
        and all(p._stype == p._grad_stype == "default" for p in parameters)
    )


def trained_parameters(trainer: gluon.Trainer) -> List[gluon.Parameter]:
    """The parameters that ``trainer`` updates."""
    return [parameter for parameter in trainer._params if parameter.grad_req != "null"]


def start_kvstore(trainer: gluon.Trainer) -> None:
    """Let ``trainer`` create its key-value store now, as it would in its first step."""
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()


def updaters(trainer: gluon.Trainer) -> List[mx.optimizer.Updater]:
    """The updaters that hold Adam's moments: one for each device, or one for all devices."""
    start_kvstore(trainer)
    return [trainer._kvstore._updater] if trainer._update_on_kvstore else trainer._updaters


def num_updates(trainer: gluon.Trainer, index: int) -> int:
    """The number of updates that ``trainer`` has done of the parameter ``index``.

    The optimizer counts for each device, and not every device counts every parameter.
    """
    counts = trainer.optimizer._all_index_update_counts.values()
    return max(count.get(index, 0) for count in counts)


class FlatAdam:
    """The steps of a ``gluon.Trainer`` with Adam, on one CPU device or two.

    The constructor moves the weights and gradients of the trainer's parameters into flat arrays.
    The parameters then are views of parts of these arrays. The moments move at the first step.
    """

    def __init__(self, trainer: gluon.Trainer) -> None:
        self.trainer, self.optimizer, self.devices = trainer, trainer.optimizer, trainer._contexts
        parameters = trained_parameters(trainer)
        self._indices = [trainer._param2idx[p.name] for p in parameters]
        self._shapes = [p.shape for p in parameters]
        sizes = [math.prod(shape) for shape in self._shapes]
        self._ends = numpy.cumsum(sizes).tolist()
        self._weights, self._gradients = [], []
        data, gradients = [], []
        for device, *of_device in zip(self.devices, *(p.list_data() for p in parameters)):
            for flat, views in ((self._weights, data), (self._gradients, gradients)):
                flat.append(mx.nd.zeros((self._ends[-1],), ctx=device))
                views.append([view.as_np_ndarray() for view in self._views(flat[-1])])
            for view, weight in zip(data[-1], of_device):
                view[:] = weight
        for parameter, weights, grads in zip(parameters, zip(*data), zip(*gradients)):
            parameter._data, parameter._grad = list(weights), list(grads)
            autograd.mark_variables(parameter._data, parameter._grad, parameter.grad_req)
        self._marked = [weight for of_device in data for weight in of_device]
        self._moments = [mx.nd.zeros_like(self._weights[0]) for _ in range(2)]
        self._total = mx.nd.zeros_like(self._weights[0]) if len(self.devices) > 1 else None
        self._states: Optional[dict] = None

    def _views(self, flat: mx.nd.NDArray) -> Views:
        """The parts of ``flat``, in the shapes of the parameters; they share its memory."""
        bounds = zip([0, *self._ends], self._ends)
        return [flat[lo:hi].reshape(shape) for (lo, hi), shape in zip(bounds, self._shapes)]

    def step(self, batch_size: int) -> None:
        """Do ``trainer.step(batch_size)``, without ``check_gradients``."""
        (updater,) = updaters(self.trainer)
        # A resumed run, for example, gives the updater other moments.
        if updater.states is not self._states:
            self._take_moments(updater)
        optimizer = self.optimizer
        optimizer._set_current_context(self.devices[0].device_id)
        optimizer._update_count(self._indices)
        t = optimizer._index_update_count[self._indices[0]]
        lr = optimizer._get_lr(self._indices[0])
        lr *= math.sqrt(1.0 - optimizer.beta2**t) / (1.0 - optimizer.beta1**t)
        optimizer.rescale_grad = self.trainer._scale / batch_size
        clip = {"clip_gradient": optimizer.clip_gradient} if optimizer.clip_gradient else {}
        weights, mean, variance = self._weights[0], *self._moments
        mx.nd.adam_update(
            weights,
            self._summed_gradients(),
            mean,
            variance,
            out=weights,
            lr=lr,
            wd=optimizer._get_wd(self._indices[0]),
            beta1=optimizer.beta1,
            beta2=optimizer.beta2,
            epsilon=optimizer.epsilon,
            rescale_grad=optimizer.rescale_grad,
            **clip,
        )
        for copy in self._weights[1:]:
            weights.copyto(copy)

    def _summed_gradients(self) -> mx.nd.NDArray:
        if len(self._gradients) == 1:
            return self._gradients[0]
        first, second = self._gradients
        # Operators compute with arrays of one device.
        second.copyto(self._total)
        return mx.nd.elemwise_add(first, self._total, out=self._total)

    def check_gradients(self) -> None:
        """Let the trainer warn if a parameter has no new gradient, as it does in its own steps."""
        for weight in self._marked:
            if not weight._fresh_grad:
                self.trainer._update()
            # On several devices, the trainer does not do this either.
            if len(self.devices) == 1:
                weight._fresh_grad = False

    def _take_moments(self, updater: mx.optimizer.Updater) -> None:
        """Copy the moments of ``updater`` into the flat arrays, and give it views of them.

        A parameter without moments gets zeros.
        """
        found = updater.states
        views: List[Tuple[mx.nd.NDArray, ...]] = list(zip(*map(self._views, self._moments)))
        for index, of_parameter in zip(self._indices, views):
            for view, moment in zip(of_parameter, found.get(index, (0, 0))):
                view[:] = moment
        self._states = updater.states = dict(zip(self._indices, views))
        updater.states_synced = dict.fromkeys(self._indices, True)

    def give_back(self) -> None:
        """Give the trainer's key-value store, if it has one, the weights and the moments."""
        if len(self.devices) == 1:
            return
        states = updaters(self.trainer)[0].states
        self.trainer._reset_kvstore()
        (updater,) = updaters(self.trainer)
        # False: the updater copies each moment to the device of its parameter when needed.
        updater.states, updater.states_synced = states, dict.fromkeys(states, False)
