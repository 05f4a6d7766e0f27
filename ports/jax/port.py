"""The class ``Port``: it gets and returns numpy arrays, and computes with JAX.

``Groundwork`` of ``d2l_recsys.baseline`` has the parts that need no framework, in numpy: splits,
batches, negative items and metrics. ``d2l_recsys/baseline/port.py`` explains the methods.

The compiled functions depend only on a ``Kind`` and on the shapes. So all ports in a process share
them.
"""

from functools import partial
from math import prod
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

import jax
import jax.numpy as jnp
import numpy as np

from d2l_recsys.baseline.oracle.groundwork import Groundwork
from d2l_recsys.baseline.oracle.initial import laws, shapes
from ports.jax import autorec, caser, deepfm, fm, losses, mf, neumf
from ports.jax.adam import Rates, State, adam, fresh
from ports.jax.layers import Arrays, Parameters

NETS: Dict[str, Callable[..., jax.Array]] = {
    "mf": mf.mf, "autorec": autorec.autorec, "neumf": neumf.neumf, "caser": caser.caser,
    "fm": fm.fm, "deepfm": deepfm.deepfm,
}  # fmt: skip
SCORE_ALL: Dict[str, Callable[..., jax.Array]] = {
    "mf": mf.score_all, "neumf": neumf.score_all, "caser": caser.score_all,
}  # fmt: skip
RANKING = ("neumf", "caser")
CLICKS = ("fm", "deepfm")


class Kind(NamedTuple):
    """The model and the protocol, and for NeuMF the ``head`` and the ``loss``."""

    model: str
    protocol: str
    head: str = "sum"
    loss: str = "bpr"

    def of_neumf(self, function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        """``function``, with the head if the model is NeuMF."""
        return partial(function, head=self.head) if self.model == "neumf" else function

    @property
    def net(self) -> Callable[..., jax.Array]:
        """The function that computes the outputs."""
        return self.of_neumf(NETS[self.model])


def example_losses(
    kind: Kind, p: Parameters, batch: Arrays, drop: Arrays
) -> Tuple[jax.Array, jax.Array]:
    """The loss of each example, (n,), and the outputs of the net.

    ``drop`` is empty, or it has the ``key`` and the ``share`` of dropout.
    """
    if kind.model in RANKING:
        # Two calls, as in the chapter, so that dropout drops other units in each call.
        keys = jax.random.split(drop["key"]) if drop else ()
        first, second = [{**drop, "key": key} for key in keys] or [drop, drop]
        positive = kind.net(p, batch, **first)
        negative = kind.net(p, {**batch, "item_id": batch["negative_id"]}, **second)
        loss = losses.hinge if kind.loss == "hinge" else losses.bpr
        return loss(positive, negative), positive
    outputs = kind.net(p, batch, **drop)
    if kind.model == "mf":
        return losses.l2(outputs, batch["rating"]), outputs
    if kind.model == "autorec":
        return losses.masked_l2(outputs, batch["ratings"]), outputs
    click = losses.click_of_probability if kind.protocol == "printed" else losses.click
    return click(outputs, batch["label"]), outputs


def with_gradients(
    kind: Kind, p: Parameters, batch: Arrays, drop: Arrays
) -> Tuple[Parameters, Tuple[jax.Array, jax.Array]]:
    """The gradients of the sum of the losses, and the result of ``example_losses``."""

    def summed(p: Parameters) -> Tuple[jax.Array, Tuple[jax.Array, jax.Array]]:
        found = example_losses(kind, p, batch, drop)
        return found[0].sum(), found

    return jax.grad(summed, has_aux=True)(p)


def train_step(
    kind: Kind, state: State, batch: Arrays, rates: Rates, drop: Arrays
) -> Tuple[State, Tuple[jax.Array, jax.Array]]:
    """The state after one step, and the losses and outputs from before the step."""
    if drop:
        drop = {**drop, "key": jax.random.fold_in(drop["key"], state.steps)}
    gradients, found = with_gradients(kind, state.parameters, batch, drop)
    return adam(state, gradients, len(found[0]), rates), found


def forward(
    kind: Kind, probabilities: bool, p: Parameters, batch: Arrays, drop: Arrays
) -> jax.Array:
    """The outputs of the net; with ``probabilities``, their sigmoid.

    ``drop`` is empty, or it has the ``key`` and the ``share`` of dropout.
    """
    outputs = kind.net(p, batch, **drop)
    return jax.nn.sigmoid(outputs) if probabilities else outputs


def score_all(kind: Kind, p: Parameters, **users: jax.Array) -> jax.Array:
    """The scores of all items; ``users`` has the arrays that the model's ``score_all`` reads."""
    return kind.of_neumf(SCORE_ALL[kind.model])(p, **users)


def unit_draw(law: str, total: int, key: jax.Array) -> jax.Array:
    """``total`` numbers from N(0, 1) if ``law`` is normal, else uniform from -1 to 1."""
    if law == "normal":
        return jax.random.normal(key, (total,), jnp.float32)
    return jax.random.uniform(key, (total,), jnp.float32, -1, 1)


# ``donate_argnums``: the new state overwrites the old state, so that tables are not copied.
_train_step = jax.jit(train_step, static_argnums=0, donate_argnums=1)
_with_gradients = jax.jit(with_gradients, static_argnums=0)
_example_losses = jax.jit(example_losses, static_argnums=0)
_unit_draw = jax.jit(unit_draw, static_argnums=(0, 1))
_forward = jax.jit(forward, static_argnums=(0, 1))
_score_all = jax.jit(score_all, static_argnums=0)


def draw(model: str, settings: Mapping[str, Any], key: jax.Array) -> Dict[str, np.ndarray]:
    """Draw first weights from the distributions in ``oracle.initial.laws``."""
    of_name = shapes(model, settings)
    drawn, start = {}, 0
    # One long draw, cut into arrays. A draw for each shape would be compiled for each shape.
    law = "uniform" if model in CLICKS else "normal"
    unit = np.array(_unit_draw(law, sum(map(prod, of_name.values())), key))
    for name, (law_of_name, scale) in laws(model, settings).items():
        assert law_of_name in (law, "zero")
        stop = start + prod(of_name[name])
        drawn[name] = (np.float32(scale) * unit[start:stop]).reshape(of_name[name])
        start = stop
    return drawn


def to_32(arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Copies as int32 and float32, because JAX has no 64-bit types by default."""
    return {
        name: array.astype(np.int32 if array.dtype.kind in "iub" else np.float32)
        for name, array in arrays.items()
    }


def to_jax(arrays: Mapping[str, np.ndarray]) -> Parameters:
    """Copies as JAX arrays in float32. JAX owns them, so a step may overwrite them."""
    return {name: jnp.array(array, dtype=jnp.float32) for name, array in arrays.items()}


def to_numpy(arrays: Arrays) -> Dict[str, np.ndarray]:
    """Copies as numpy arrays. Views would change, because the next step overwrites the memory."""
    return {name: np.array(array) for name, array in arrays.items()}


class Port(Groundwork):
    """The chapter in JAX and float32, with the methods of ``baseline.port.Port``."""

    # Rungs 2 and 3.

    def set_state(
        self,
        settings: Mapping[str, Any],
        parameters: Dict[str, np.ndarray],
        means: Optional[Dict[str, np.ndarray]] = None,
        variances: Optional[Dict[str, np.ndarray]] = None,
        steps: int = 0,
    ) -> None:
        """See ``baseline.port.Port``."""
        state = fresh(to_jax(parameters))
        state = State(
            state.parameters,
            to_jax(means) if means else state.means,
            to_jax(variances) if variances else state.variances,
            jnp.int32(steps),
        )
        self._start(settings, state)

    def _start(self, settings: Mapping[str, Any], state: State) -> None:
        self.settings, self.state = settings, state
        changed = {name: settings[name] for name in ("head", "loss") if name in settings}
        self.kind = Kind(self.model, self.protocol, **changed)
        self.rates = Rates(settings.get("lr", 0.0), settings.get("wd", 0.0))

    def forward(self, batch: Dict[str, np.ndarray]) -> np.ndarray:
        """See ``baseline.port.Port``. FM and DeepFM as printed return probabilities."""
        return self._outputs(batch, {})

    def training_outputs(self, batch: Dict[str, np.ndarray], seed: int) -> np.ndarray:
        """See ``baseline.port.Port``."""
        drop = {}
        if "dropout" in self.settings:
            drop = {"key": jax.random.key(seed), "share": self.settings["dropout"]}
        return self._outputs(batch, drop)

    def _outputs(self, batch: Dict[str, np.ndarray], drop: Dict[str, Any]) -> np.ndarray:
        probabilities = self.protocol == "printed" and self.model in CLICKS
        found = _forward(self.kind, probabilities, self.state.parameters, to_32(batch), drop)
        return np.array(found)

    def loss(self, batch: Dict[str, np.ndarray]) -> float:
        """See ``baseline.port.Port``. Only the sum is in float64."""
        found, _ = _example_losses(self.kind, self.state.parameters, to_32(batch), {})
        return float(np.array(found).sum(dtype=np.float64))

    def gradients(self, batch: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """See ``baseline.port.Port``."""
        gradients, _ = _with_gradients(self.kind, self.state.parameters, to_32(batch), {})
        return to_numpy(gradients)

    # Rungs 4 and 5.

    def step(self, batch: Dict[str, np.ndarray]) -> None:
        """See ``baseline.port.Port``. The step is without dropout."""
        self._step(batch, {})

    def _step(
        self, batch: Dict[str, np.ndarray], drop: Dict[str, Any]
    ) -> Tuple[jax.Array, jax.Array]:
        self.state, found = _train_step(self.kind, self.state, to_32(batch), self.rates, drop)
        return found

    def parameters(self) -> Dict[str, np.ndarray]:
        """See ``baseline.port.Port``."""
        return to_numpy(self.state.parameters)

    # Rung 6.

    def first_parameters(self, settings: Mapping[str, Any], seed: int) -> Dict[str, np.ndarray]:
        """See ``baseline.port.Port``."""
        return draw(self.model, settings, jax.random.split(jax.random.key(seed))[0])

    def learner(self) -> "Learner":
        """A new port for training; see ``Groundwork``."""
        return Learner(self.model, self.protocol)


class Learner(Port):
    """A port with dropout, for the loop in ``d2l_recsys.baseline.oracle.training.train``."""

    def start(self, settings: Mapping[str, Any], seed: int) -> None:
        """Draw first weights as ``first_parameters`` does, and a key for dropout."""
        of_weights, of_dropout = jax.random.split(jax.random.key(seed))
        self._start(settings, fresh(to_jax(draw(self.model, settings, of_weights))))
        share = settings.get("dropout", 0.0)
        self.drop = {"key": of_dropout, "share": share} if share else {}

    def train_step(self, batch: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """One step with dropout; returns the losses (n,), for pairs their sum (1,).

        For FM and DeepFM it also returns ``log_odds``, the logits.
        """
        found, outputs = map(np.array, self._step(batch, self.drop))
        if self.model in RANKING:
            return {"losses": found.sum(keepdims=True)}
        if self.model in CLICKS:
            return {"losses": found, "log_odds": outputs}
        return {"losses": found}

    def forward(self, batch: Dict[str, np.ndarray]) -> np.ndarray:
        """The outputs of the net without dropout; for FM and DeepFM logits."""
        found = _forward(self.kind, False, self.state.parameters, to_32(batch), {})
        return np.array(found)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray]) -> np.ndarray:
        """The scores of all items for each of ``users``.

        ``sequences`` has the last items of every user; only Caser reads it.
        """
        given = {"users": users}
        if self.model == "caser":
            given["sequences"] = sequences[users]
        return np.array(_score_all(self.kind, self.state.parameters, **to_32(given)))
