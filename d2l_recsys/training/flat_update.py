"""The update of all parameters in one operator, with the same bits as ``gluon.Trainer``.

``gluon.Trainer`` starts an operator for each parameter, and on several devices five more, which
collect the gradients and return the weights. In a small net, starting an operator takes longer than
computing it. Here, the weights of all parameters are parts of one flat array on each device. So are
the gradients, and what the optimizer keeps, such as Adam's moments. One call of the optimizer then
updates all of them. Its formula (``optimizers.py``) treats each number by itself, so the result is
the same.
"""

import math
from typing import List, Optional, Sequence

import numpy

from d2l_recsys.backend import autograd, gluon, mx
from d2l_recsys.training.optimizers import arrays_of, as_state, kept_arrays

Views = List[mx.nd.NDArray]


def is_flat(trainer: gluon.Trainer, devices: Sequence[mx.Context]) -> bool:
    """Whether ``FlatUpdate`` can do the steps of ``trainer`` for batches on ``devices``.

    It can for the optimizers of ``OPTIMIZERS`` on one CPU device or two. These must be the devices
    of the parameters.
    """
    parameters = trained_parameters(trainer)
    if kept_arrays(trainer.optimizer) is None or any(p._data is None for p in parameters):
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
    """The updaters that hold what the optimizer keeps: one for each device, or one for all."""
    start_kvstore(trainer)
    return [trainer._kvstore._updater] if trainer._update_on_kvstore else trainer._updaters


def num_updates(trainer: gluon.Trainer, index: int) -> int:
    """The number of updates that ``trainer`` has done of the parameter ``index``.

    The optimizer counts for each device, and not every device counts every parameter.
    """
    counts = trainer.optimizer._all_index_update_counts.values()
    return max(count.get(index, 0) for count in counts)


class FlatUpdate:
    """The steps of a ``gluon.Trainer`` on one CPU device or two.

    The constructor moves the weights and gradients of the trainer's parameters into flat arrays.
    The parameters then are views of parts of these arrays. What the optimizer keeps moves at the
    first step.
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
        parts = kept_arrays(self.optimizer)
        self._kept = tuple(mx.nd.zeros_like(self._weights[0]) for _ in parts)
        self._total = mx.nd.zeros_like(self._weights[0]) if len(self.devices) > 1 else None
        self._states: Optional[dict] = None

    def _views(self, flat: mx.nd.NDArray) -> Views:
        """The parts of ``flat``, in the shapes of the parameters; they share its memory."""
        bounds = zip([0, *self._ends], self._ends)
        return [flat[lo:hi].reshape(shape) for (lo, hi), shape in zip(bounds, self._shapes)]

    def step(self, batch_size: int) -> None:
        """Do ``trainer.step(batch_size)``, without ``check_gradients``."""
        (updater,) = updaters(self.trainer)
        # A resumed run, for example, gives the updater another state.
        if updater.states is not self._states:
            self._take_state(updater)
        optimizer, (first, *others) = self.optimizer, self._indices
        optimizer._set_current_context(self.devices[0].device_id)
        optimizer.rescale_grad = self.trainer._scale / batch_size
        # The optimizer counts one update. The flat array stands for all parameters.
        optimizer._update_count(others)
        weights = self._weights[0]
        state = as_state(optimizer, self._kept)
        optimizer.update(first, weights, self._summed_gradients(), state)
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

    def _take_state(self, updater: mx.optimizer.Updater) -> None:
        """Copy the state of ``updater`` into the flat arrays, and give it views of them.

        A parameter without a state gets zeros.
        """
        found, states = updater.states, {}
        parts = [self._views(flat) for flat in self._kept]
        for number, index in enumerate(self._indices):
            views = tuple(part[number] for part in parts)
            before = arrays_of(found.get(index)) or (0,) * len(views)
            for view, array in zip(views, before):
                view[:] = array
            states[index] = as_state(self.optimizer, views)
        self._states = updater.states = states
        updater.states_synced = dict.fromkeys(self._indices, True)

    def give_back(self) -> None:
        """Give the trainer's key-value store, if it has one, the weights and its state."""
        if len(self.devices) == 1:
            return
        states = updaters(self.trainer)[0].states
        self.trainer._reset_kvstore()
        (updater,) = updaters(self.trainer)
        # False: the updater copies each array to the device of its parameter when needed.
        updater.states, updater.states_synced = states, dict.fromkeys(states, False)
