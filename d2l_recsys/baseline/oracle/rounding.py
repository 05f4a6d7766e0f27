"""The oracle with other rounding, to measure how far right answers lie apart.

``in_precision`` makes an oracle with a lower precision:

- **tf32**: the inputs of matrix products have 11 significant bits; all other numbers are float32
- **bfloat16**: inputs and result of each operation of the net have 8 significant bits
- **float16**: as bfloat16, with the 11 significant bits and the range of float16

In all cases the weights themselves and the optimizer are float32, as in mixed-precision training.
``InOneCall`` has another order of sums.
"""

from typing import Any, Callable, Dict, Type

import numpy as np

from d2l_recsys.baseline.oracle.models import MODELS, Outputs
from d2l_recsys.baseline.oracle.port import Port
from d2l_recsys.baseline.port import Arrays

Round = Callable[[np.ndarray], np.ndarray]


def to_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 numbers to ``bits`` significant bits, ties to even."""
    dropped = np.uint32(24 - bits)
    raw = np.ascontiguousarray(array, np.float32).view(np.uint32)
    half = np.uint32((1 << (23 - bits)) - 1)
    last = (raw >> dropped) & np.uint32(1)
    return (((raw + half + last) >> dropped) << dropped).view(np.float32)


def to_float16(array: np.ndarray) -> np.ndarray:
    """Round to float16; numbers out of its range become infinite or 0."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


ROUNDS: Dict[str, Round] = {
    "tf32": lambda array: to_bits(array, 11),
    "bfloat16": lambda array: to_bits(array, 8),
    "float16": to_float16,
}
PRODUCTS = (np.matmul, np.einsum)


class Rounded(np.ndarray):
    """An array whose operations round. ``precision`` is a key of ``ROUNDS``."""

    precision: str

    def __array_finalize__(self, other: Any) -> None:
        self.precision = getattr(other, "precision", "")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute ``ufunc`` on rounded inputs, and round its result."""
        out = options.pop("out", inputs[:1] if method == "at" else (None,))[0]
        found = self._computed(ufunc, getattr(ufunc, method), inputs, options)
        if out is None:
            return found
        # A result in place, such as +=. ``at`` has changed a copy of its first input.
        base = np.asarray(out)
        base[...] = np.asarray(found)
        return None if method == "at" else out

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        """As ``__array_ufunc__``, for functions of numpy such as ``einsum`` and ``concatenate``."""
        return self._computed(function, function, inputs, options)

    def _computed(self, function: Any, call: Callable, inputs: Any, options: Any) -> Any:
        rounds = self.precision != "tf32" or function in PRODUCTS
        arrays = [_plain(x, self.precision if rounds else "") for x in inputs]
        found = call(*arrays, **{name: _plain(x, "") for name, x in options.items()})
        if found is None:  # ``at`` works in place
            found = arrays[0]
        return rounded(found, self.precision) if _is_real(found) else found


def _is_real(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f"


def _plain(x: Any, precision: str) -> Any:
    """``x`` without its class; if there is a ``precision``, with rounded numbers."""
    if isinstance(x, (list, tuple)):
        return type(x)(_plain(part, precision) for part in x)
    if not _is_real(x):
        return np.asarray(x) if isinstance(x, np.ndarray) else x
    array = np.array(x, np.float32)
    return ROUNDS[precision](array) if precision else array


def rounded(array: np.ndarray, precision: str) -> Rounded:
    """``array`` with operations that round; its numbers are rounded now, except for tf32."""
    now = "" if precision == "tf32" else precision
    found = np.asarray(_plain(np.asarray(array), now)).view(Rounded)
    found.precision = precision
    return found


def in_precision(precision: str) -> Type[Port]:
    """The oracle in float32, whose net computes in ``precision``."""

    class Rounding(Port):
        dtype = np.float32

        def net(self, batch: Arrays) -> Outputs:
            p = {name: rounded(w, precision) for name, w in self.p.items()}
            batch = {
                name: rounded(a, precision) if a.dtype.kind == "f" else a
                for name, a in batch.items()
            }
            outputs, pull = self.head(MODELS[self.model](p, batch, self.drop))

            def pull_back(d: np.ndarray) -> Arrays:
                gradients = pull(rounded(d, precision))
                return {name: np.asarray(g, np.float32) for name, g in gradients.items()}

            return np.asarray(outputs, np.float32), pull_back

    return Rounding


class InOneCall(Port):
    """Scores the positive and the negative items in one call, as one batch of twice the rows.

    Sums over the batch then have another order, and do not cancel exactly.
    """

    def ranking_loss(self, batch: Arrays) -> Outputs:
        """See ``Port``."""
        both = {name: np.concatenate([array, array]) for name, array in batch.items()}
        both["item_id"] = np.concatenate([batch["item_id"], batch["negative_id"]])
        scores, pull = self.net(both)
        positive, negative = np.split(scores, 2)
        losses, d = self.pair_loss(negative - positive)
        return losses, lambda: pull(np.concatenate([-d, d]))
