"""The rungs of the check, and the models and protocols. Imports no numpy.

The check asks the rungs from 0 to 5, then 7, and 6 last, because its trainings take longest:

0. **data**: splits, candidates, windows and encoded clicks, from given ratings and clicks
1. **metrics**: the metrics of both protocols, from given scores and losses
2. **forward**: the outputs of a net, from given weights
3. **gradients**: the loss of a batch and its gradients
4. **step**: one step of the optimizer, from fresh weights and from the middle of training
5. **trajectory**: 50 steps on given batches
6. **convergence**: first weights, negative items, and the final metrics over seeds
7. **dropout**: the outputs in training and, after that, in evaluation
"""

from typing import Iterator, Tuple

RUNGS = (
    "data", "metrics", "forward", "gradients", "step", "trajectory", "convergence", "dropout",
)  # fmt: skip
CONVERGENCE, DROPOUT = 6, 7
# The order in which the check asks them.
ORDER = (0, 1, 2, 3, 4, 5, DROPOUT, CONVERGENCE)
# On these rungs a port draws random numbers, so there is no expected answer. The check tests the
# distribution of the answer.
DRAWN = (CONVERGENCE, DROPOUT)
# The models, grouped by the data that they learn from.
RATINGS, PAIRS, CLICKS = ("mf", "autorec"), ("neumf", "caser"), ("fm", "deepfm")
MODELS = (*RATINGS, *PAIRS, *CLICKS)
PROTOCOLS = ("printed", "defined")
# The precisions in which a net can compute.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
# These models minimize another loss under each protocol. All other models have one training, and
# only their metrics differ between the protocols.
TRAINED_APART = CLICKS


def tracks(model: str) -> Iterator[Tuple[str, Tuple[str, ...]]]:
    """Yield the name of each training of a model, and the protocols that it belongs to."""
    if model in TRAINED_APART:
        for protocol in PROTOCOLS:
            yield f"{model}-{protocol}", (protocol,)
    else:
        yield model, PROTOCOLS
