"""Rungs 2 and 3 of the oracle: the six models in numpy, forward and backward.

A model is a function of the parameters ``p`` by name, the arrays of a ``batch`` by name, and
``drop``. ``drop(units)`` returns the factor by which dropout multiplies each hidden unit. The model
returns the outputs of the net, (n,) except for AutoRec, and a function ``pull``. ``pull(d)``
computes the backward pass: ``d`` has the derivatives of the total loss with respect to the outputs,
and the result has the gradients of the total loss with respect to the parameters, by name.

In the equations ``.`` is the inner product, ``*`` multiplies element by element, and ``[a; b]`` is
``a`` followed by ``b``. ``d_x`` is the derivative of the total loss with respect to ``x``.
"""

from typing import Callable, Dict, Mapping, Tuple

import numpy as np

from d2l_recsys.baseline.port import Arrays

Drop = Callable[[np.ndarray], np.ndarray]
# The outputs of a net, and ``pull``.
Outputs = Tuple[np.ndarray, Callable]
Net = Callable[[Arrays, Mapping[str, np.ndarray], Drop], Outputs]


def keep(units: np.ndarray) -> np.ndarray:
    """No dropout: a factor of 1 for each of ``units``."""
    return np.ones_like(units)


def embedding(p: Arrays, name: str, ids: np.ndarray) -> Outputs:
    """Look up the rows ``ids`` of the table ``name``; the result is (*ids.shape, row length).

    ``pull(d)`` returns the gradient of the table. If an id occurs more than once, its row gets the
    sum of the gradients.
    """
    table = p[f"{name}.weight"]

    def pull(d: np.ndarray) -> Arrays:
        gradient = np.zeros_like(table)
        np.add.at(gradient, ids, d)
        return {f"{name}.weight": gradient}

    return table[ids], pull


def dense(p: Arrays, name: str, x: np.ndarray) -> Outputs:
    """A dense layer without activation: y = x W^T + b, (n, units).

    x is (n, inputs), W is (units, inputs) and b is (units,). ``pull(d_y)`` returns d_x = d_y W and
    the gradients by name: d_y^T x for W, and for b the sum of d_y over the n rows.
    """
    W, b = p[f"{name}.weight"], p[f"{name}.bias"]

    def pull(d: np.ndarray) -> Tuple[np.ndarray, Arrays]:
        return d @ W, {f"{name}.weight": d.T @ x, f"{name}.bias": d.sum(axis=0)}

    return x @ W.T + b, pull


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), computed without overflow."""
    return np.where(x >= 0, 1.0, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def relu_layers(p: Arrays, names: Tuple[str, ...], x: np.ndarray, drop: Drop) -> Outputs:
    """Dense layers ``names``, in order, each with relu and dropout: x = relu(x W^T + b) * drop.

    ``pull(d)`` returns the derivative with respect to the input, and the gradients by name.
    """
    pulls = []
    for name in names:
        y, pull_dense = dense(p, name, x)
        factor = (y > 0) * drop(y)
        x = y * factor
        pulls.append((pull_dense, factor))

    def pull(d: np.ndarray) -> Tuple[np.ndarray, Arrays]:
        gradients: Arrays = {}
        for pull_dense, factor in reversed(pulls):
            d, of_layer = pull_dense(d * factor)
            gradients.update(of_layer)
        return d, gradients

    return x, pull


def mf(p: Arrays, batch: Mapping[str, np.ndarray], drop: Drop) -> Outputs:
    """MF: r_hat = P[u] . Q[i] + b_u[u] + b_i[i] (eq. 15.3.2), the predicted ratings (n,)."""
    P_u, pull_P = embedding(p, "P", batch["user_id"])
    Q_i, pull_Q = embedding(p, "Q", batch["item_id"])
    b_u, pull_bu = embedding(p, "user_bias", batch["user_id"])
    b_i, pull_bi = embedding(p, "item_bias", batch["item_id"])

    def pull(d: np.ndarray) -> Arrays:
        d = d[:, None]
        return {**pull_P(d * Q_i), **pull_Q(d * P_u), **pull_bu(d), **pull_bi(d)}

    return (P_u * Q_i).sum(axis=1) + b_u[:, 0] + b_i[:, 0], pull


def autorec(p: Arrays, batch: Mapping[str, np.ndarray], drop: Drop) -> Outputs:
    """AutoRec: h(R_i) = W sigmoid(V R_i + mu) + b (eq. 15.4.1), completed rows (n, num_users).

    R_i is a row of ``ratings``. V and mu are the ``encoder``, W and b the ``decoder``. Dropout acts
    on the sigmoid's outputs.
    """
    hidden, pull_encoder = dense(p, "encoder", batch["ratings"])
    h = sigmoid(hidden)
    kept = drop(h)
    completed, pull_decoder = dense(p, "decoder", h * kept)

    def pull(d: np.ndarray) -> Arrays:
        d_h, of_decoder = pull_decoder(d)
        return {**of_decoder, **pull_encoder(d_h * kept * h * (1 - h))[1]}

    return completed, pull


def neumf(p: Arrays, batch: Mapping[str, np.ndarray], drop: Drop) -> Outputs:
    """NeuMF: y_hat = sum(P[u] * Q[i]) + sum(z), scores (n,) (eq. 15.6.1-3).

    z is the output of the MLP. The MLP reads [U[u]; V[i]], and each of its layers computes
    relu(W x + b). The net has no dropout.

    Like the chapter's code, the net has no weights h (eq. 15.6.3), unless ``p`` has them, (1,
    units), as ``prediction.weight``. Then y_hat = h . [P[u] * Q[i]; z].
    """
    P_u, pull_P = embedding(p, "P", batch["user_id"])
    Q_i, pull_Q = embedding(p, "Q", batch["item_id"])
    U_u, pull_U = embedding(p, "U", batch["user_id"])
    V_i, pull_V = embedding(p, "V", batch["item_id"])
    layers = tuple(f"mlp.{i}" for i in range(sum(name.startswith("mlp") for name in p) // 2))
    z, pull_mlp = relu_layers(p, layers, np.concatenate([U_u, V_i], axis=1), keep)
    k, x = U_u.shape[1], P_u * Q_i
    h = p.get("prediction.weight")
    h_x, h_z = (1, 1) if h is None else (h[:, :k], h[:, k:])

    def pull(d: np.ndarray) -> Arrays:
        d = d[:, None]
        d_in, of_mlp = pull_mlp(np.broadcast_to(d * h_z, z.shape))
        of_h = {} if h is None else {"prediction.weight": d.T @ np.concatenate([x, z], axis=1)}
        return {
            **pull_P(d * h_x * Q_i),
            **pull_Q(d * h_x * P_u),
            **pull_U(d_in[:, :k]),
            **pull_V(d_in[:, k:]),
            **of_mlp,
            **of_h,
        }

    return (x * h_x).sum(axis=1) + (z * h_z).sum(axis=1), pull


def with_sigmoid(outputs: Outputs) -> Outputs:
    """The sigmoid of ``outputs``, for NeuMF's head of the later editions."""
    y, pull = outputs
    s = sigmoid(y)
    return s, lambda d: pull(d * s * (1 - s))


def caser(p: Arrays, batch: Mapping[str, np.ndarray], drop: Drop) -> Outputs:
    """Caser: y_hat = Q'[i] . [z; P[u]] + b[i], scores (n,) (eq. 15.7.1-4).

    E = Q[seq] holds the factors of the last L items, oldest first, (L, k).

    - Vertical filters, f = 1 ... d': o'_f = sum over l of G[f, l] E[l] + b_f, k numbers without
      activation. o' = [o'_1; ...; o'_d'].
    - Horizontal filters of height h = 1 ... L, f = 1 ... d:
      o_hf = max over t of relu(sum(F_h[f] * E[t : t + h]) + b_hf). o = [o_11; ...; o_Ld].
    - z = relu(W [o'; o] + b_fc), k numbers. Dropout acts on [o'; o].

    The parameters: G is ``conv_v``, F_h is ``conv_h.{h - 1}``, W and b_fc are ``fc``, Q' is
    ``Q_prime`` (num_items, 2 k) and b is the table ``b``.
    """
    E, pull_E = embedding(p, "Q", batch["seq"])
    n, L, k = E.shape
    G = p["conv_v.weight"][:, 0, :, 0]
    # (n, d', k): reshaping to (n, d' k) puts the k numbers of a filter side by side.
    vertical = np.einsum("nlk,fl->nfk", E, G) + p["conv_v.bias"][:, None]
    # max(relu(x)) = relu(max(x)): keep the largest response of each filter, and apply relu below.
    horizontal, best = [], []
    for i in range(L):
        F, b = p[f"conv_h.{i}.weight"][:, 0], p[f"conv_h.{i}.bias"]
        height = F.shape[1]
        seen = np.stack(
            [np.einsum("nlk,flk->nf", E[:, t : t + height], F) + b for t in range(L - height + 1)]
        )
        best.append(seen.argmax(axis=0))
        horizontal.append(seen.max(axis=0))
    o = [np.maximum(part, 0) for part in horizontal]
    features = np.concatenate([vertical.reshape(n, -1), *o], axis=1)
    kept = drop(features)
    z, pull_fc = relu_layers(p, ("fc",), features * kept, keep)
    P_u, pull_P = embedding(p, "P", batch["user_id"])
    v_i, pull_v = embedding(p, "Q_prime", batch["item_id"])
    b_i, pull_b = embedding(p, "b", batch["item_id"])
    both = np.concatenate([z, P_u], axis=1)

    def pull(d: np.ndarray) -> Arrays:
        d = d[:, None]
        d_both = d * v_i
        d_features, gradients = pull_fc(d_both[:, :k])
        d_features = d_features * kept
        d_vertical = d_features[:, : vertical[0].size].reshape(vertical.shape)
        gradients["conv_v.weight"] = np.einsum("nfk,nlk->fl", d_vertical, E)[:, None, :, None]
        gradients["conv_v.bias"] = d_vertical.sum(axis=(0, 2))
        d_E = np.einsum("nfk,fl->nlk", d_vertical, G)
        start = vertical[0].size
        for i, (response, t_best) in enumerate(zip(horizontal, best)):
            F = p[f"conv_h.{i}.weight"][:, 0]
            num_filters, height, _ = F.shape
            d_o = d_features[:, start : start + num_filters] * (response > 0)
            start += num_filters
            d_F = np.zeros_like(F)
            for t in range(L - height + 1):
                d_t = d_o * (t_best == t)
                d_F += np.einsum("nf,nlk->flk", d_t, E[:, t : t + height])
                d_E[:, t : t + height] += np.einsum("nf,flk->nlk", d_t, F)
            gradients[f"conv_h.{i}.weight"] = d_F[:, None]
            gradients[f"conv_h.{i}.bias"] = d_o.sum(axis=0)
        return {
            **gradients,
            **pull_E(d_E),
            **pull_P(d_both[:, k:]),
            **pull_v(d * both),
            **pull_b(d),
        }

    return (both * v_i).sum(axis=1) + b_i[:, 0], pull


def fm(p: Arrays, batch: Mapping[str, np.ndarray], drop: Drop) -> Outputs:
    """FM: z = w_0 + w (sum over i of w_i) + sum over i < j of v_i . v_j, logits (n,) (eq. 15.9.1).

    i and j are fields. v_i is the row of ``embedding``, and w_i the number in ``fc``, of the
    feature id in field i. w and w_0 are the weight and bias of ``linear_layer``; eq. 15.9.1 has no
    w. The gradient of the pairs with respect to v_i is (sum over j of v_j) - v_i.
    """
    v, pull_v = embedding(p, "embedding", batch["features"])
    w_i, pull_w = embedding(p, "fc", batch["features"])
    linear, pull_linear = dense(p, "linear_layer", w_i.sum(axis=1))
    fields = v.shape[1]
    pairs = sum(
        (v[:, i] * v[:, j]).sum(axis=1) for i in range(fields) for j in range(i + 1, fields)
    )

    def pull(d: np.ndarray) -> Arrays:
        d = d[:, None]
        d_sum, of_linear = pull_linear(d)
        d_w = np.repeat(d_sum[:, None], fields, axis=1)
        d_v = d[:, None] * (v.sum(axis=1, keepdims=True) - v)
        return {**of_linear, **pull_w(d_w), **pull_v(d_v)}

    return linear[:, 0] + pairs, pull


def deepfm(p: Arrays, batch: Mapping[str, np.ndarray], drop: Drop) -> Outputs:
    """DeepFM: z = z_fm + z_mlp, logits (n,) (eq. 15.10.1-3).

    z_fm is the logit of ``fm``. The MLP reads [v_1; ...; v_m], the embeddings of the m fields
    that ``fm`` uses as well. Its hidden layers compute relu(W x + b) and have dropout. Its last
    layer, one unit, has no activation and gives z_mlp.
    """
    log_odds, pull_fm = fm(p, batch, drop)
    v, pull_v = embedding(p, "embedding", batch["features"])
    last = sum(name.startswith("mlp") for name in p) // 2 - 1
    hidden = tuple(f"mlp.{i}" for i in range(last))
    z, pull_hidden = relu_layers(p, hidden, v.reshape(len(v), -1), drop)
    deep, pull_last = dense(p, f"mlp.{last}", z)

    def pull(d: np.ndarray) -> Arrays:
        d_z, of_last = pull_last(d[:, None])
        d_v, of_hidden = pull_hidden(d_z)
        gradients = {**pull_fm(d), **of_hidden, **of_last}
        gradients["embedding.weight"] += pull_v(d_v.reshape(v.shape))["embedding.weight"]
        return gradients

    return log_odds + deep[:, 0], pull


MODELS: Dict[str, Net] = {
    "mf": mf, "autorec": autorec, "neumf": neumf, "caser": caser, "fm": fm, "deepfm": deepfm,
}  # fmt: skip
