"""Initial weights as another library draws them."""

import math

from d2l_recsys.backend import init, nn


def draw_evenly(layer: nn.Dense) -> None:
    r"""Draw the weights and the biases of a dense layer from the uniform distribution.

    The bounds are :math:`\pm 1 / \sqrt n` for n inputs. PyTorch's ``Linear`` starts like this, and
    so does each of its biases. Gluon's ``Dense`` starts with biases of 0. The draws come from
    MXNet's own generator. The layer must know its number of inputs, and be initialized.
    """
    bound = init.Uniform(1 / math.sqrt(layer.weight.shape[1]))
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            parameter.initialize(bound, ctx=parameter.list_ctx(), force_reinit=True)
