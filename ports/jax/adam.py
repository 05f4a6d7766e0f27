"""MXNet's Adam as a pure function: it takes a state and returns the next state."""

import math
from typing import Mapping, NamedTuple

import jax
import jax.numpy as jnp

from ports.jax.layers import Parameters

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class State(NamedTuple):
    """The parameters and Adam's two moments by name, and the number of steps done so far."""

    parameters: Parameters
    means: Parameters
    variances: Parameters
    steps: jax.Array


class Rates(NamedTuple):
    """Learning rate and weight decay. JAX does not recompile a step if their values change."""

    lr: float
    wd: float


def fresh(parameters: Parameters) -> State:
    """The state before the first step: both moments are 0."""
    means, variances = (
        {name: jnp.zeros_like(w) for name, w in parameters.items()} for _ in range(2)
    )
    return State(parameters, means, variances, jnp.zeros((), jnp.int32))


def adam(
    state: State, gradients: Mapping[str, jax.Array], num_examples: int, rates: Rates
) -> State:
    """The state after one step; ``gradients`` are sums over ``num_examples`` examples.

    Two things differ from the original Adam (Kingma and Ba 2015):

    - The gradient of the loss is divided by the number of examples; then weight decay is added to
      the gradient, so that it goes through both moments. AdamW does not do this.
    - Epsilon is added to the square root of v before the bias of v is corrected. The original
      corrects the bias first. So this epsilon has 1 / sqrt(1 - beta2^t) times the effect, which is
      32 times in the first step.
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
    """1 - beta^steps. The plain difference in float32 loses 4 of 7 digits in the first steps."""
    return -jnp.expm1(steps * math.log(beta))
