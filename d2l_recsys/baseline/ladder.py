"""The ladder that a port climbs, and the models and protocols that climb it. Imports no numpy.

The rungs, in the order in which a port climbs them:

0. **data**: splits, candidates, windows and encoded clicks, from ratings and clicks
1. **metrics**: the numbers of both protocols, from given scores and losses
2. **forward**: what a net gives, from given weights
3. **gradients**: the loss of a batch and its gradients
4. **step**: one step of the optimizer, from its beginning and from the middle of a training
5. **trajectory**: 50 steps on given batches
6. **convergence**: first weights, drawn negatives, and the final numbers over seeds
"""

from typing import Iterator, Tuple

RUNGS = ("data", "metrics", "forward", "gradients", "step", "trajectory", "convergence")
CONVERGENCE = len(RUNGS) - 1
# The models by what they learn from.
RATINGS, PAIRS, CLICKS = ("mf", "autorec"), ("neumf", "caser"), ("fm", "deepfm")
MODELS = (*RATINGS, *PAIRS, *CLICKS)
PROTOCOLS = ("printed", "defined")
# These minimise another loss under each protocol; the others are only measured in another way.
TRAINED_APART = CLICKS


def tracks(model: str) -> Iterator[Tuple[str, Tuple[str, ...]]]:
    """The trainings of a model: the name of each, and the protocols that it is one of."""
    if model in TRAINED_APART:
        for protocol in PROTOCOLS:
            yield f"{model}-{protocol}", (protocol,)
    else:
        yield model, PROTOCOLS
