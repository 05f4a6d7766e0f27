"""The forward and the backward pass of a batch, split across devices.

``RecordedPasses`` works for any net: autograd records the forward pass and finds the way back in
each step. ``BoundPasses`` binds a graph to fixed arrays once. Its steps compute the same bits, but
Python and MXNet prepare only a few calls for each of them. On a small batch this preparation takes
longer than the computation.
"""

import contextlib
import os
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from d2l_recsys.backend import autograd, gluon, mx, np

Share = Sequence[np.ndarray]
Output = Union[np.ndarray, Sequence[np.ndarray]]
# A loader has batches of one size, and perhaps a shorter batch at the end of an epoch. A loader
# with more sizes than this would need much memory for its graphs.
MAX_GRAPHS = 4


def losses_of(output: Output) -> np.ndarray:
    """The losses in the output of a function that maps a share to its losses (or more)."""
    return output[0] if isinstance(output, (list, tuple)) else output


class RecordedPasses:
    """Passes that autograd records.

    ``loss_of_share`` maps the arrays of one device's share of a batch to its losses, or to a list
    of the losses and further arrays.
    """

    def __init__(self, loss_of_share: Callable, devices: Sequence[mx.Context]) -> None:
        self.loss_of_share, self.devices = loss_of_share, devices

    def forward(self, shares: Sequence[Share]) -> List[Output]:
        """The output of each of ``shares``, one share for each of the first devices."""
        with autograd.record():
            outputs = [self.loss_of_share(*share) for share in shares]
            # The trainer needs a gradient from every device: zero for one without a share.
            idle = [
                losses_of(self.loss_of_share(*(a[:1].as_in_ctx(device) for a in shares[0]))) * 0
                for device in self.devices[len(shares) :]
            ]
        self._heads = [*map(losses_of, outputs), *idle]
        return outputs

    def backward(self) -> None:
        """Compute the gradients of the losses of the last forward pass."""
        autograd.backward(self._heads)


class BoundPasses(RecordedPasses):
    """Passes on CPUs, in graphs that are bound to their arrays, if ``loss_of_share`` is a graph.

    There is a bound graph for each device and each size of a share. ``trained`` are the parameters
    that need a gradient.

    A batch is recorded if ``loss_of_share`` is not a graph of all these parameters, or if the batch
    leaves a device without a share. ``check`` is called after the backward pass of such a batch: it
    may find that a parameter has no gradient.
    """

    def __init__(
        self,
        loss_of_share: Callable,
        devices: Sequence[mx.Context],
        trained: Sequence[gluon.Parameter],
        check: Callable[[], None],
    ) -> None:
        super().__init__(loss_of_share, devices)
        self.trained, self.check = trained, check
        self._symbol: Optional[mx.sym.Symbol] = None
        self._graphs: Dict[Tuple, _Graph] = {}
        self._last: List[_Graph] = []

    def forward(self, shares: Sequence[Share]) -> List[Output]:
        """As in ``RecordedPasses``."""
        self._last = []
        if len(shares) == len(self.devices):
            graphs = [self._graph(*of_device) for of_device in zip(self.devices, shares)]
            if None not in graphs:
                self._last = graphs
                return [graph.forward(share) for graph, share in zip(graphs, shares)]
        return super().forward(shares)

    def backward(self) -> None:
        """As in ``RecordedPasses``."""
        if not self._last:
            super().backward()
            self.check()
        for graph in self._last:
            graph.backward()

    def _graph(self, device: mx.Context, share: Share) -> Optional["_Graph"]:
        key = (device, *((a.shape, a.dtype) for a in share))
        room = len(self._graphs) < MAX_GRAPHS * len(self.devices)
        if key not in self._graphs and room and self._is_bindable(len(share)):
            self._graphs[key] = _Graph(
                self._symbol, device, share, self.loss_of_share.collect_params(), self.trained
            )
        return self._graphs.get(key)

    def _is_bindable(self, num_arrays: int) -> bool:
        """Whether ``loss_of_share`` is a graph that reaches all trained parameters."""
        if not isinstance(self.loss_of_share, gluon.HybridBlock):
            return False
        if self._symbol is None:
            names = _names(num_arrays)
            outputs = self.loss_of_share(*(mx.sym.var(name).as_np_ndarray() for name in names))
            several = isinstance(outputs, (list, tuple))
            self._symbol = mx.sym.Group(list(outputs)) if several else outputs
        reached = {parameter.name for parameter in self.trained} <= {*self._symbol.list_arguments()}
        return reached and not self._symbol.list_auxiliary_states()


class _Graph:
    """A graph of the losses of one share, bound to its inputs, its parameters and its gradients."""

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        device: mx.Context,
        share: Share,
        parameters: Mapping[str, gluon.Parameter],
        trained: Sequence[gluon.Parameter],
    ) -> None:
        self.inputs = [np.zeros(a.shape, a.dtype, ctx=device) for a in share]
        names = symbol.list_arguments()
        arrays = {name: p.data(device).as_nd_ndarray() for name, p in parameters.items()}
        arrays.update(zip(_names(len(share)), (a.as_nd_ndarray() for a in self.inputs)))
        gradients = {p.name: p.grad(device).as_nd_ndarray() for p in trained}
        with _no_message():
            self.executor = symbol.bind(
                device,
                {name: arrays[name] for name in names},
                {name: gradients[name] for name in names if name in gradients},
                {name: "write" if name in gradients else "null" for name in names},
            )
        # The gradient of the sum of the losses. The further outputs are only measured.
        first, *others = self.executor.outputs
        self.head_gradients = [mx.nd.ones_like(first), *map(mx.nd.zeros_like, others)]

    def forward(self, share: Share) -> Output:
        for given, array in zip(share, self.inputs):
            given.copyto(array)
        outputs = self.executor.forward(is_train=True)
        # The next batch writes to the same outputs.
        copies = tuple(output.copy().as_np_ndarray() for output in outputs)
        return copies if len(copies) > 1 else copies[0]

    def backward(self) -> None:
        self.executor.backward(self.head_gradients)


def _names(num_arrays: int) -> List[str]:
    return [f"share{number}" for number in range(num_arrays)]


@contextlib.contextmanager
def _no_message() -> Iterator[None]:
    """Let ``bind`` not print the name of the backend that fuses operators.

    That backend fuses operators of graphs without gradients only, so it does not change these
    graphs.
    """
    name = "MXNET_SUBGRAPH_VERBOSE"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
