"""The losses of the chapter. Each function returns one loss for each example, (n,)."""

import jax
import jax.numpy as jnp


def l2(predicted: jax.Array, ratings: jax.Array) -> jax.Array:
    """Half the squared error of n ratings, (n,)."""
    return (predicted - ratings) ** 2 / 2


def masked_l2(completed: jax.Array, ratings: jax.Array) -> jax.Array:
    """Half the squared error of the observed ratings (eq. 15.4.2), for each of n rows, (n,).

    As in the chapter's code, the sum is divided by the length of the row and not by the number of
    observed ratings.
    """
    error = jnp.where(ratings > 0, completed - ratings, 0)
    return (error**2).mean(axis=1) / 2


def bpr(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """-ln sigmoid(positive - negative) of n pairs of scores (eq. 15.5.2), (n,).

    Computed as softplus, ln(1 + exp(negative - positive)), which does not overflow and does not
    round small losses to 0.
    """
    return jax.nn.softplus(negative - positive)


def hinge(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """max(1 - (positive - negative), 0) of n pairs of scores (eq. 15.5.3), (n,)."""
    return jax.nn.relu(1 - positive + negative)


def click(log_odds: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross-entropy of n logits and their ``labels``, which are 1 or 0, (n,).

    The loss of a logit z is -ln sigmoid(z) for a click, and -ln sigmoid(-z) for no click. This form
    does not subtract large numbers from each other.
    """
    return jax.nn.softplus(jnp.where(labels > 0, -log_odds, log_odds))


def click_of_probability(log_odds: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss of the chapter's code (printed): it takes the probabilities for logits, (n,).

    The sigmoid is applied twice. So the loss of a click is never below ln(1 + 1/e), and the loss of
    an example without a click is never below ln 2.
    """
    return click(jax.nn.sigmoid(log_odds), labels)
