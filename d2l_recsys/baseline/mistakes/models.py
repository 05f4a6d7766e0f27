"""Mistakes of rung 2: the outputs of the nets."""

from typing import Callable, Mapping, Tuple

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS
from d2l_recsys.baseline.mistakes.mistake import (
    DEFINED,
    PRINTED,
    WITH_TABLES,
    Mistakes,
    net_with,
)
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.models import MODELS as NETS
from d2l_recsys.baseline.oracle.models import Outputs, dense, embedding, sigmoid, with_sigmoid
from d2l_recsys.baseline.port import Arrays

MADE = Mistakes()
HEAD = "prediction.weight"
WITH_WEIGHTS = ("neumf-linear", "neumf-sigmoid")

# Rung 2


def _with(
    port: Port, batch: Arrays, change: Mapping[str, Tuple[Callable, Callable]], net: str = ""
) -> Outputs:
    """The net with some parameters changed before the forward pass.

    ``change`` maps a parameter's name to two functions: one changes the parameter, the other turns
    the gradient of the changed parameter into the gradient of the original one. ``net`` names the
    net, by default that of the port's model.
    """
    p = {**port.p, **{name: there(port.p[name]) for name, (there, _) in change.items()}}
    outputs, pull = NETS[net](p, batch, port.drop) if net else net_with(port, p, batch)

    def pull_back(d: np.ndarray) -> Arrays:
        gradients = pull(d)
        return {**gradients, **{name: back(gradients[name]) for name, (_, back) in change.items()}}

    return outputs, pull_back


ZERO = (np.zeros_like, np.zeros_like)


def _columns(order: np.ndarray) -> Tuple[Callable, Callable]:
    """The change, as in ``_with``, that reorders the columns (the inputs) of a weight matrix."""
    inverse = np.argsort(order)
    return lambda weights: weights[:, order], lambda gradient: gradient[:, inverse]


def _halves_swapped(weights: np.ndarray) -> np.ndarray:
    return np.roll(weights, weights.shape[1] // 2, axis=1)


def _added(one: Outputs, factor: float, other: Outputs) -> Outputs:
    """``one`` plus ``factor`` times ``other``, with gradients.

    ``one`` must have gradients of all parameters; ``other`` may lack some, which count as 0.
    """
    (outputs, pull), (more, pull_more) = one, other

    def pull_both(d: np.ndarray) -> Arrays:
        gradients = pull(d)
        for name, gradient in pull_more(d * factor).items():
            gradients[name] = gradients[name] + gradient
        return gradients

    return outputs + factor * more, pull_both


@MADE.add(2, ("mf", "neumf"), method="net")
def user_and_item_swapped(port: Port, batch: Arrays) -> Outputs:
    """User ids must index the user tables, and item ids the item tables.

    The port swaps the two ids.
    """
    users = batch["item_id"] % port.settings["num_users"]
    items = batch["user_id"] % port.settings["num_items"]
    return port.net({**batch, "user_id": users, "item_id": items})


@MADE.add(2, WITH_TABLES, method="net")
def ids_in_8_bits(port: Port, batch: Arrays) -> Outputs:
    """Ids must be integers of at least 16 bits. The port uses 8 bits, so 256 becomes 0."""
    return port.net(
        {n: a.astype(np.uint8) if a.dtype.kind in "iu" else a for n, a in batch.items()}
    )


@MADE.add(2, ("mf", "caser"), method="net")
def no_item_bias(port: Port, batch: Arrays) -> Outputs:
    """The score must include the item bias. The port omits the item bias."""
    name = "item_bias.weight" if port.model == "mf" else "b.weight"
    return _with(port, batch, {name: ZERO})


@MADE.add(2, ("mf",), method="net")
def no_user_bias(port: Port, batch: Arrays) -> Outputs:
    """The predicted rating must include the user bias. The port omits the user bias."""
    return _with(port, batch, {"user_bias.weight": ZERO})


def _autorec(port: Port, batch: Arrays, h: Callable, slope: Callable) -> Outputs:
    hidden, pull_encoder = dense(port.p, "encoder", batch["ratings"])
    kept = port.drop(hidden)
    completed, pull_decoder = dense(port.p, "decoder", h(hidden) * kept)

    def pull(d: np.ndarray) -> Arrays:
        d_h, of_decoder = pull_decoder(d)
        return {**of_decoder, **pull_encoder(d_h * kept * slope(hidden))[1]}

    return completed, pull


@MADE.add(2, ("autorec",), method="net")
def linear_hidden_layer(port: Port, batch: Arrays) -> Outputs:
    """The hidden layer must use a sigmoid. The port uses no activation."""
    return _autorec(port, batch, lambda x: x, np.ones_like)


@MADE.add(2, ("autorec",), method="net")
def relu_hidden_layer(port: Port, batch: Arrays) -> Outputs:
    """The hidden layer must use a sigmoid. The port uses relu."""
    return _autorec(port, batch, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0)


@MADE.add(2, ("autorec",), method="net")
def sigmoid_of_the_completed_rows(port: Port, batch: Arrays) -> Outputs:
    """The decoder must have no activation, because ratings are not probabilities.

    The port applies a sigmoid.
    """
    completed, pull = port.net(batch)
    h = sigmoid(completed)
    return h, lambda d: pull(d * h * (1 - h))


@MADE.add(2, ("neumf",), method="net")
def no_relu_after_the_last_layer(port: Port, batch: Arrays) -> Outputs:
    """Every layer of the MLP must end with relu. The port has no relu after the last layer."""
    # x = relu(x) - relu(-x). So give the last layer all its units a second time, with the opposite
    # sign, before the relu and after it.
    units, last = port.settings["nums_hiddens"][-1], len(port.settings["nums_hiddens"]) - 1
    of_layer = [f"mlp.{last}.weight", f"mlp.{last}.bias"]
    ones = np.ones((1, port.settings["num_factors"] + units))
    h = port.p.get(HEAD, ones)
    p = {**port.p, HEAD: np.concatenate([h, -h[:, -units:]], axis=1)}
    p.update({name: np.concatenate([port.p[name], -port.p[name]]) for name in of_layer})
    outputs, pull = net_with(port, p, batch)

    def pull_back(d: np.ndarray) -> Arrays:
        g = pull(d)
        of_h = g.pop(HEAD)
        if HEAD in port.p:
            g[HEAD] = of_h[:, :-units]
            g[HEAD][:, -units:] -= of_h[:, -units:]
        return {**g, **{name: g[name][:units] - g[name][units:] for name in of_layer}}

    return outputs, pull_back


@MADE.add(2, ("neumf",), method="net")
def item_before_user(port: Port, batch: Arrays) -> Outputs:
    """The input of the MLP must be [user; item]. The port uses [item; user]."""
    return _with(port, batch, {"mlp.0.weight": (_halves_swapped, _halves_swapped)})


@MADE.add(2, ("neumf",), method="net")
def one_pair_of_tables(port: Port, batch: Arrays) -> Outputs:
    """The MLP must have its own tables, U and V. The port uses P and Q for the MLP as well."""
    p = {**port.p, "U.weight": port.p["P.weight"], "V.weight": port.p["Q.weight"]}
    outputs, pull = net_with(port, p, batch)

    def pull_both(d: np.ndarray) -> Arrays:
        g = pull(d)
        for name, other in (("P.weight", "U.weight"), ("Q.weight", "V.weight")):
            g[name], g[other] = g[name] + g[other], np.zeros_like(g[other])
        return g

    return outputs, pull_both


@MADE.add(2, WITH_WEIGHTS, method="net")
def head_without_weights(port: Port, batch: Arrays) -> Outputs:
    """The head must weight the outputs of both towers with h.

    The port adds them up, as in the chapter's code.
    """
    return _with(port, batch, {HEAD: (np.ones_like, np.zeros_like)})


@MADE.add(2, WITH_WEIGHTS, method="net")
def mlp_before_gmf(port: Port, batch: Arrays) -> Outputs:
    """The weights h must belong to [GMF; MLP], in this order. The port uses [MLP; GMF]."""
    order = np.roll(np.arange(port.p[HEAD].shape[1]), -port.settings["num_factors"])
    return _with(port, batch, {HEAD: _columns(order)})


@MADE.add(2, ("neumf-sigmoid",), method="head")
def head_without_sigmoid(port: Port, outputs: Outputs) -> Outputs:
    """The head must end with a sigmoid. The port has no sigmoid."""
    return outputs


@MADE.add(2, ("neumf",), method="head", but=("neumf-sigmoid",))
def head_with_sigmoid(port: Port, outputs: Outputs) -> Outputs:
    """The score must have no sigmoid. The port ends with a sigmoid, as the later editions do."""
    return with_sigmoid(outputs)


@MADE.add(2, ("caser",), method="net")
def vertical_features_by_position(port: Port, batch: Arrays) -> Outputs:
    """The vertical features must be flattened filter by filter.

    The port flattens the features factor by factor.
    """
    k, num_filters = port.settings["num_factors"], port.settings["d_prime"]
    order = np.arange(port.p["fc.weight"].shape[1])
    order[: k * num_filters] = order[: k * num_filters].reshape(k, num_filters).T.ravel()
    return _with(port, batch, {"fc.weight": _columns(order)})


@MADE.add(2, ("caser",), method="net")
def horizontal_features_first(port: Port, batch: Arrays) -> Outputs:
    """The vertical features must come before the horizontal features.

    The port puts the horizontal features first.
    """
    num_horizontal = port.settings["d"] * port.settings["L"]
    order = np.roll(np.arange(port.p["fc.weight"].shape[1]), -num_horizontal)
    return _with(port, batch, {"fc.weight": _columns(order)})


@MADE.add(2, ("caser",), method="net")
def mean_over_time(port: Port, batch: Arrays) -> Outputs:
    """A horizontal filter must keep its largest response (max pooling).

    The port averages the responses after relu.
    """
    fc, L = port.p["fc.weight"], port.settings["L"]
    d, start = port.settings["d"], port.settings["d_prime"] * port.settings["num_factors"]
    p, columns, shares = dict(port.p), [np.arange(start)], [np.ones(start)]
    # For each filter and each place, make a filter of height L that is 0 outside that place. Such
    # a filter has one response, so max pooling keeps every response, and `fc` can average them.
    for i in range(L):
        F, places = port.p[f"conv_h.{i}.weight"], L - i
        filters = np.zeros((places, d, 1, L, F.shape[-1]))
        for t in range(places):
            filters[t, :, :, t : t + i + 1] = F
        p[f"conv_h.{i}.weight"] = filters.reshape(-1, *filters.shape[2:])
        p[f"conv_h.{i}.bias"] = np.tile(port.p[f"conv_h.{i}.bias"], places)
        columns.append(np.tile(start + i * d + np.arange(d), places))
        shares.append(np.full(places * d, 1 / places))
    column, share = np.concatenate(columns), np.concatenate(shares)
    p["fc.weight"] = fc[:, column] * share
    outputs, pull = net_with(port, p, batch)

    def pull_back(d_outputs: np.ndarray) -> Arrays:
        gradients = pull(d_outputs)
        for i in range(L):
            weight, bias = f"conv_h.{i}.weight", f"conv_h.{i}.bias"
            of_places = gradients[weight].reshape(L - i, d, *gradients[weight].shape[1:])
            gradients[weight] = sum(g[:, :, t : t + i + 1] for t, g in enumerate(of_places))
            gradients[bias] = gradients[bias].reshape(L - i, d).sum(axis=0)
        of_fc = np.zeros_like(fc)
        np.add.at(of_fc.T, column, (gradients["fc.weight"] * share).T)
        return {**gradients, "fc.weight": of_fc}

    return outputs, pull_back


@MADE.add(2, ("caser",), method="net")
def filters_flipped(port: Port, batch: Arrays) -> Outputs:
    """Convolutions must not flip their filters (cross-correlation). The port flips the filters."""

    def turned(filters: np.ndarray) -> np.ndarray:
        return filters[:, :, ::-1, ::-1]

    names = [name for name in port.p if name.startswith("conv") and name.endswith("weight")]
    return _with(port, batch, dict.fromkeys(names, (turned, turned)))


@MADE.add(2, ("caser",), method="net")
def user_before_sequence(port: Port, batch: Arrays) -> Outputs:
    """The factors of an item must be multiplied by [sequence; user].

    The port uses [user; sequence].
    """
    return _with(port, batch, {"Q_prime.weight": (_halves_swapped, _halves_swapped)})


def _pairs(port: Port, batch: Arrays) -> Outputs:
    """Only the pair term of FM: the net ``fm`` with its linear part set to 0."""
    linear = ("fc.weight", "linear_layer.weight", "linear_layer.bias")
    return _with(port, batch, dict.fromkeys(linear, ZERO), net="fm")


def _squares(port: Port, batch: Arrays) -> Outputs:
    """The sum over fields and factors of v^2, which the pair term of FM does not contain."""
    v, pull = embedding(port.p, "embedding", batch["features"])
    return (v**2).sum(axis=(1, 2)), lambda d: pull(2 * d[:, None, None] * v)


@MADE.add(2, CLICKS, method="net")
def pairs_counted_twice(port: Port, batch: Arrays) -> Outputs:
    """The pair term must count each pair of fields once (hence the factor 1/2).

    The port counts each pair twice.
    """
    return _added(port.net(batch), 1, _pairs(port, batch))


@MADE.add(2, CLICKS, method="net")
def squares_among_the_pairs(port: Port, batch: Arrays) -> Outputs:
    """The pair term must contain only pairs of two different fields.

    The port pairs each field with itself as well.
    """
    return _added(port.net(batch), 1, _squares(port, batch))


@MADE.add(2, CLICKS, method="net")
def squares_not_subtracted(port: Port, batch: Arrays) -> Outputs:
    """From the squared sum of the factors, the pair term must subtract the sum of the squares.

    The port does not subtract the sum of the squares.
    """
    return _added(port.net(batch), 0.5, _squares(port, batch))


@MADE.add(2, CLICKS, method="net")
def no_overall_bias(port: Port, batch: Arrays) -> Outputs:
    """The linear part must include the overall bias w_0. The port omits this bias."""
    return _with(port, batch, {"linear_layer.bias": ZERO})


@MADE.add(2, CLICKS, method="net")
def linear_part_not_scaled(port: Port, batch: Arrays) -> Outputs:
    """The sum of the w_i must be multiplied by the learned weight of `linear_layer`.

    The port omits this weight.
    """
    return _with(port, batch, {"linear_layer.weight": (np.ones_like, np.zeros_like)})


@MADE.add(2, ("deepfm",), method="net")
def relu_after_the_last_layer(port: Port, batch: Arrays) -> Outputs:
    """The last layer of the MLP must have no activation. The port applies relu."""
    shallow = _with(port, batch, {}, net="fm")
    deep, pull = _added(port.net(batch), -1, shallow)
    return _added((np.maximum(deep, 0), lambda d: pull(d * (deep > 0))), 1, shallow)


@MADE.add(2, CLICKS, PRINTED, method="forward")
def no_sigmoid_as_printed(port: Port, batch: Arrays) -> np.ndarray:
    """The printed output must be the probability of a click, the sigmoid of the logit.

    The port returns the logit, as defined.
    """
    return port.net(batch)[0]


@MADE.add(2, CLICKS, DEFINED, method="forward")
def sigmoid_as_defined(port: Port, batch: Arrays) -> np.ndarray:
    """The defined output must be the logit.

    The port returns the sigmoid of the logit, as printed.
    """
    return sigmoid(port.net(batch)[0])
