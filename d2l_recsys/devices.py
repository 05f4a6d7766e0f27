"""Choose devices, and split batches across devices."""

import functools
import itertools
import os
import sys
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.backend import mx, np
from d2l_recsys.errors import DeviceError, SettingError
from d2l_recsys.hardware import cuda
from d2l_recsys.settings import Device, as_choice

__all__ = ["pick_devices", "share_bounds", "split_and_load", "try_all_gpus"]


def try_all_gpus() -> List[mx.Context]:
    """All GPUs, or ``[cpu(0)]`` if there is no GPU (d2l 1.0.3 then returns an empty list).

    Leaves out the GPUs that MXNet cannot run on; a line on standard error says why.
    """
    gpus, trouble = _find_gpus()
    _note(trouble, bool(gpus))
    return gpus or [mx.cpu()]


def pick_devices(num_devices: int, device: Optional[str] = None) -> List[mx.Context]:
    """``num_devices`` contexts of the kind ``device``, "cpu" or "gpu".

    The default is GPUs, or CPUs if there is no GPU. GPUs that MXNet cannot run on do not count; a
    line on standard error says why. Raises SettingError for an unknown ``device``, and if GPUs
    are used but there are fewer than ``num_devices``. Raises DeviceError if ``device`` is "gpu" and
    there is no GPU.
    """
    kind = None if device is None else as_choice(Device, "device", device)
    gpus, trouble = ([], "") if kind is Device.cpu else _find_gpus()
    if kind is Device.gpu and not gpus:
        why = f"{trouble}; use --device cpu" if trouble else _absence()
        raise DeviceError(f"--device is gpu, but {why}")
    if gpus and num_devices > len(gpus):
        raise SettingError(
            f"--num-devices is {num_devices}; this machine has {len(gpus)} GPUs"
            + f" that can be used: {trouble}" * bool(trouble)
        )
    _note(trouble, bool(gpus))
    return gpus[:num_devices] or [mx.cpu(i) for i in range(num_devices)]


def _find_gpus() -> Tuple[List[mx.Context], str]:
    """The GPUs that MXNet can run on, and why it cannot run on the other GPUs ("" if none)."""
    if not _built_for_cuda():
        return [], ""
    try:
        cuda_version, capabilities = cuda.read_driver()
        if capabilities and cuda_version < (11, 0):
            return [], (
                "the NVIDIA driver is too old: it supports CUDA {}.{}; MXNet needs 11.0 or later"
            ).format(*cuda_version)
        capabilities = capabilities[: mx.context.num_gpus()]
    except DeviceError as error:
        return [], str(error)
    except mx.MXNetError as error:
        return [], f"CUDA fails: {str(error).splitlines()[-1].rpartition(' : ')[2]}"
    without_code = ", ".join(
        "GPU {} (compute capability {}.{})".format(i, *capability)
        for i, capability in enumerate(capabilities)
        if not cuda.has_code(capability)
    )
    return [mx.gpu(i) for i, c in enumerate(capabilities) if cuda.has_code(c)], (
        without_code and f"MXNet has no code for {without_code}, only for {cuda.CODE_IN_WORDS}"
    )


def _built_for_cuda() -> bool:
    return mx.runtime.Features().is_enabled("CUDA")


def _absence() -> str:
    """The reason why there is no GPU at all, and what to do."""
    if not _built_for_cuda():
        return (
            "the CPU build of MXNet is installed; use --device cpu, or install the CUDA build in "
            "its place: pip uninstall -y mxnet; pip install -e '.[cu112]'"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    return f"the NVIDIA driver shows no GPU{hidden}; see what nvidia-smi says, or use --device cpu"


@functools.lru_cache(maxsize=None)
def _note(trouble: str, other_gpus: bool) -> None:
    """Print once why MXNet does not use some GPUs; nothing if ``trouble`` is empty."""
    if trouble:
        print(f"{trouble}; using {'the others' if other_gpus else 'the CPU'}", file=sys.stderr)


def share_bounds(start: int, stop: int, num_devices: int) -> List[Tuple[int, int]]:
    """Cut the rows start ... stop - 1 into contiguous shares, one for each device.

    Returns the first row of each share and the row after its last. If the rows do not divide
    evenly, each of the first shares has one row more. These are the cuts of
    ``gluon.utils.split_data(..., even_split=False)``. If there are fewer rows than devices, the
    last devices get no share.
    """
    size, larger = divmod(stop - start, num_devices)
    sizes = [size + 1] * larger + [size] * (num_devices - larger)
    cuts = list(itertools.accumulate([start, *filter(None, sizes)]))
    return list(zip(cuts[:-1], cuts[1:]))


def split_and_load(
    devices: Sequence[mx.Context], data_iter: Iterable
) -> Iterator[List[List[np.ndarray]]]:
    """Yield each batch as a list of shares, one for each device.

    A share is a list with the device's rows of each array of the batch. ``data_iter`` is a
    ``BatchLoader`` or a Gluon ``DataLoader``: it yields arrays or lists of arrays, of numpy or of
    MXNet. Each block of a ``BatchLoader`` is copied whole to every device and cut there. This is
    faster, because each copy has a high fixed cost, and a slice on the device costs almost nothing.
    float64 becomes float32, the type of the parameters.
    """
    for arrays, bounds in _blocks(data_iter):
        placed = [[_place(array, device) for array in arrays] for device in devices]
        for start, stop in bounds:
            shares = share_bounds(start, stop, len(devices))
            # ``_slice`` is what ``a[lo:hi]`` ends in, after it has found out the kind of the index.
            yield [
                [a._slice(lo, hi) for a in on_device] for on_device, (lo, hi) in zip(placed, shares)
            ]


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
