"""Devices, and batches spread over them."""

from typing import Iterable, Iterator, List, Sequence, Tuple

import numpy

from d2l_recsys.backend import mx, np
from d2l_recsys.errors import SettingError

__all__ = ["batches_on", "pick_devices", "share_bounds", "try_all_gpus"]


def try_all_gpus() -> List[mx.Context]:
    """All GPUs, or ``[cpu(0)]`` where there is none (d2l 1.0.3 returns an empty list there)."""
    return [mx.gpu(i) for i in range(mx.context.num_gpus())] or [mx.cpu()]


def pick_devices(num_devices: int) -> List[mx.Context]:
    """The first ``num_devices`` GPUs; without any GPU, as many CPU contexts.

    Raises SettingError where there are GPUs, but fewer than that.
    """
    num_gpus = mx.context.num_gpus()
    if num_gpus and num_devices > num_gpus:
        raise SettingError(f"--num-devices is {num_devices}; this machine has {num_gpus} GPUs")
    context = mx.gpu if num_gpus else mx.cpu
    return [context(i) for i in range(num_devices)]


def share_bounds(start: int, stop: int, num_devices: int) -> List[Tuple[int, int]]:
    """Cut rows start ... stop into one contiguous share a device, the first ones larger by one.

    These are the cuts of ``gluon.utils.split_data(..., even_split=False)``. Devices for which no
    row is left, the last ones, get no share.
    """
    size, larger = divmod(stop - start, num_devices)
    sizes = [size + 1] * larger + [size] * (num_devices - larger)
    cuts = numpy.cumsum([start, *filter(None, sizes)]).tolist()
    return list(zip(cuts[:-1], cuts[1:]))


def batches_on(
    devices: Sequence[mx.Context], data_iter: Iterable
) -> Iterator[List[List[np.ndarray]]]:
    """Yield each batch as the list of its shares: a device's share is its rows of each array.

    ``data_iter`` yields arrays or lists of arrays, of numpy or of MXNet: a ``BatchLoader`` or a
    Gluon ``DataLoader``. The blocks of a ``BatchLoader`` are put on every device whole: a copy
    costs far more than its bytes, and a slice of what is there next to nothing. float64 becomes
    float32, the type of the parameters.
    """
    for arrays, bounds in _blocks(data_iter):
        placed = [[_place(array, device) for array in arrays] for device in devices]
        for start, stop in bounds:
            shares = share_bounds(start, stop, len(devices))
            yield [[a[lo:hi] for a in on_device] for on_device, (lo, hi) in zip(placed, shares)]


def _blocks(data_iter: Iterable) -> Iterator[Tuple[Sequence, List[Tuple[int, int]]]]:
    if hasattr(data_iter, "blocks"):
        yield from data_iter.blocks()
        return
    for batch in data_iter:
        arrays = batch if isinstance(batch, (list, tuple)) else [batch]
        yield arrays, [(0, len(arrays[0]))]


def _place(array, device: mx.Context) -> np.ndarray:
    dtype = numpy.float32 if array.dtype == numpy.float64 else array.dtype
    if isinstance(array, np.ndarray):
        return array.as_in_ctx(device).astype(dtype, copy=False)
    return np.array(array, ctx=device, dtype=dtype)
