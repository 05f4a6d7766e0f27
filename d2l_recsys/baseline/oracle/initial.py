"""The first weights of each model: their names, their shapes and their distributions."""

from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

Law = Tuple[str, float]
SIGMA = 0.01


def shapes(model: str, settings: Mapping[str, Any]) -> Dict[str, Tuple[int, ...]]:
    """The shape of each parameter of a model, by name.

    The weight of a dense layer is (units, inputs), its bias (units,). A table has one row per id.
    """
    k = settings.get("num_factors", 0)
    if model in ("fm", "deepfm"):
        num_features = int(sum(settings["field_dims"]))
        found = {
            "embedding.weight": (num_features, k),
            "fc.weight": (num_features, 1),
            **_dense("linear_layer", 1, 1),
        }
        if model == "deepfm":
            widths = [len(settings["field_dims"]) * k, *settings["mlp_dims"], 1]
            found.update(_layers("mlp", widths))
        return found
    num_users, num_items = settings["num_users"], settings["num_items"]
    if model == "autorec":
        num_hidden = settings["num_hidden"]
        row_length = num_items if settings.get("variant") == "user" else num_users
        return {
            **_dense("encoder", num_hidden, row_length),
            **_dense("decoder", row_length, num_hidden),
        }
    found = {"P.weight": (num_users, k), "Q.weight": (num_items, k)}
    if model == "mf":
        found.update({"user_bias.weight": (num_users, 1), "item_bias.weight": (num_items, 1)})
    elif model == "neumf":
        found.update({"U.weight": (num_users, k), "V.weight": (num_items, k)})
        found.update(_layers("mlp", [2 * k, *settings["nums_hiddens"]]))
        if settings.get("head", "sum") != "sum":
            found["prediction.weight"] = (1, k + settings["nums_hiddens"][-1])
    else:
        L, d, d_prime = settings["L"], settings["d"], settings["d_prime"]
        found.update({"conv_v.weight": (d_prime, 1, L, 1), "conv_v.bias": (d_prime,)})
        for i in range(L):
            found.update({f"conv_h.{i}.weight": (d, 1, i + 1, k), f"conv_h.{i}.bias": (d,)})
        found.update(_dense("fc", k, d_prime * k + d * L))
        found.update({"Q_prime.weight": (num_items, 2 * k), "b.weight": (num_items, 1)})
    return found


def _dense(name: str, units: int, inputs: int) -> Dict[str, Tuple[int, ...]]:
    return {f"{name}.weight": (units, inputs), f"{name}.bias": (units,)}


def _layers(name: str, widths: List[int]) -> Dict[str, Tuple[int, ...]]:
    layers: Dict[str, Tuple[int, ...]] = {}
    for i, (inputs, units) in enumerate(zip(widths, widths[1:])):
        layers.update(_dense(f"{name}.{i}", units, inputs))
    return layers


def laws(model: str, settings: Mapping[str, Any]) -> Dict[str, Law]:
    """The distribution of each parameter's first value, by name.

    - ``("normal", s)``: N(0, s^2). The weights of MF, AutoRec, NeuMF and Caser have s = 0.01.
    - ``("uniform", a)``: uniform between -a and a. The weights of FM and DeepFM have Xavier's
      bound a = sqrt(6 / (inputs + units)). A table counts as a layer, so its bound is
      sqrt(6 / (rows + columns)).
    - ``("zero", 0)``: all zeros, for the biases of layers. The user and item biases of MF and the
      item bias of Caser are tables, so they are normal.
    """
    found: Dict[str, Law] = {}
    for name, shape in shapes(model, settings).items():
        if name.endswith(".bias"):
            found[name] = ("zero", 0.0)
        elif model in ("fm", "deepfm"):
            found[name] = ("uniform", float(np.sqrt(6 / sum(shape))))
        else:
            found[name] = ("normal", SIGMA)
    return found


def draw(
    model: str, settings: Mapping[str, Any], rng: np.random.Generator
) -> Dict[str, np.ndarray]:
    """Draw the first weights of a model from their distributions; float64 arrays by name."""
    drawn = {}
    of_name = shapes(model, settings)
    for name, (law, scale) in laws(model, settings).items():
        shape = of_name[name]
        if law == "normal":
            drawn[name] = rng.normal(0, scale, shape)
        else:
            drawn[name] = rng.uniform(-scale, scale, shape) if scale else np.zeros(shape)
    return drawn
