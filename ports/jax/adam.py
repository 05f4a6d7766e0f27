"""MXNet's Adam, as a pure function of the state that it moves on."""

import math
from typing import Mapping, NamedTuple

import jax
import jax.numpy as jnp

from ports.jax.layers import Parameters

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class State(NamedTuple):
    """The parameters by name, their gradients' running means and squares, and the steps done."""

    parameters: Parameters
    means: Parameters
    variances: Parameters
    steps: jax.Array


class Rates(NamedTuple):
    """Learning rate and weight decay: numbers, so that others compile nothing anew."""

    lr: float
    wd: float


def fresh(parameters: Parameters) -> State:
    """The state before the first step."""
    means, variances = (
        {name: jnp.zeros_like(w) for name, w in parameters.items()} for _ in range(2)
    )
    return State(parameters, means, variances, jnp.zeros((), jnp.int32))


def adam(
    state: State, gradients: Mapping[str, jax.Array], num_examples: int, rates: Rates
) -> State:
    """One step along ``gradients``, which are sums over ``num_examples``.

    It is not quite the textbook's Adam (Kingma and Ba 2015):

    - Weight decay is a part of the gradient and goes through both moments; it is neither AdamW's
      nor divided by the number of examples, which the gradient of the loss is.
    - Epsilon is added to the square root of v itself. The textbook corrects the bias of v first,
      which makes this epsilon larger by 1 / sqrt(1 - beta2^t): 32 times at the first step.
    """
    steps = state.steps + 1
    size = rates.lr * jnp.sqrt(_one_minus_power(BETA2, steps)) / _one_minus_power(BETA1, steps)
    parameters, means, variances = {}, {}, {}
    for name, w in state.parameters.items():
        g = gradients[name] / num_examples + rates.wd * w
        m = means[name] = BETA1 * state.means[name] + (1 - BETA1) * g
        v = variances[name] = BETA2 * state.variances[name] + (1 - BETA2) * g**2
        parameters[name] = w - size * m / (jnp.sqrt(v) + EPSILON)
    return State(parameters, means, variances, steps)


def _one_minus_power(beta: float, steps: jax.Array) -> jax.Array:
    """1 - beta^steps; in float32 the plain difference would lose 4 of 7 digits at first."""
    return -jnp.expm1(steps * math.log(beta))
