"""The losses of the chapter, one number for each example."""

import jax
import jax.numpy as jnp


def l2(predicted: jax.Array, ratings: jax.Array) -> jax.Array:
    """Half the squared error of n ratings, (n,)."""
    return (predicted - ratings) ** 2 / 2


def masked_l2(completed: jax.Array, ratings: jax.Array) -> jax.Array:
    """Half the squared error over the observed ratings (eq. 15.4.2) of each of n rows, (n,).

    It is divided by the row's length and not by how many were observed, as the chapter's is.
    """
    error = jnp.where(ratings > 0, completed - ratings, 0)
    return (error**2).mean(axis=1) / 2


def bpr(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """-ln sigmoid(positive - negative) of n pairs of scores (eq. 15.5.2), (n,).

    As ln(1 + exp(negative - positive)), which neither overflows nor loses small values.
    """
    return jax.nn.softplus(negative - positive)


def click(log_odds: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of n clicks and their log odds, (n,); ``labels`` are 1 or 0.

    -ln sigmoid(z) of a click, -ln sigmoid(-z) of none: no difference of large numbers is taken.
    """
    return jax.nn.softplus(jnp.where(labels > 0, -log_odds, log_odds))


def click_of_probability(log_odds: jax.Array, labels: jax.Array) -> jax.Array:
    """The same as printed: the probability is taken for the log odds, (n,).

    The sigmoid stands there twice, so the loss never falls below ln(1 + 1/e) of a click and ln 2 of
    none.
    """
    return click(jax.nn.sigmoid(log_odds), labels)
