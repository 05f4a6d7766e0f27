"""The rungs of the check, and the models, variants and protocols. Imports no numpy.

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

from typing import Any, Dict, Iterable, Iterator, Mapping, NamedTuple, Tuple

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


class Change(NamedTuple):
    """What a variant changes in its model: some ``settings``, and the answers to some questions.

    The variant asks these ``kinds`` of questions anew. It shares all others with its model.
    """

    settings: Mapping[str, Any]
    kinds: Tuple[str, ...]


_OF_NET = ("forward", "gradients", "step", "trajectory", "first")
CHANGES: Dict[str, Change] = {
    "autorec-user": Change({"variant": "user"}, ("data", *_OF_NET, "dropout")),
    "neumf-linear": Change({"head": "linear"}, (*_OF_NET, "dropout")),
    "neumf-sigmoid": Change({"head": "sigmoid"}, (*_OF_NET, "dropout")),
    "neumf-hinge": Change({"loss": "hinge"}, ("gradients", "step", "trajectory")),
    "caser-L5": Change({"L": 5}, ("data", *_OF_NET)),
}


def base(variant: str) -> str:
    """The model of a variant. The model's name also names the variant without changes."""
    return variant.partition("-")[0]


def variants(models: Iterable[str]) -> Tuple[str, ...]:
    """Each of ``models``, followed by its variants."""
    return tuple(
        name
        for model in models
        for name in (model, *(variant for variant in CHANGES if base(variant) == model))
    )


VARIANTS = variants(MODELS)
# The precisions in which a net can compute.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
# These models minimize another loss under each protocol. All other models have one training, and
# only their metrics differ between the protocols.
TRAINED_APART = CLICKS


def tracks(variant: str) -> Iterator[Tuple[str, Tuple[str, ...]]]:
    """Yield the name of each training of a variant, and the protocols that it belongs to."""
    if variant in TRAINED_APART:
        for protocol in PROTOCOLS:
            yield f"{variant}-{protocol}", (protocol,)
    else:
        yield variant, PROTOCOLS
