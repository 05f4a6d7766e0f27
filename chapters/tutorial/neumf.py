"""The tutorial's NeuMF: the two towers of section 15.6 predict ratings (He et al. 2017).

The net is that of ``chapters/extras/neumf_ratings.py``: GMF with 8 factors, MLP with 8 factors and
layers of 16, 8 and 4 units, and a linear layer that joins them into a rating:

    r_hat[u, i] = h . [p_u * q_i; z] + b

It learns from all ratings for five epochs with Adam, and minimizes the mean squared error. Nothing
is held out, so only the training loss is known.

**Two regimes.** What differs is how the weights start. The tutorial's library is PyTorch. There, an
embedding starts with the standard normal distribution. A linear layer starts with weights and
biases that are even in +-1/sqrt(n), where n is the number of inputs. So the output starts around 0,
and the first steps must raise it to the mean rating, 3.53.

In most nets, a unit of the last layer with a positive weight h is active. Then this unit grows, the
output reaches the mean rating within an epoch, and the loss falls to about 1. In some nets, all
active units have a negative weight. To raise the output, the gradient turns these units down. If
they reach 0 for all pairs before their weight h changes its sign, the MLP is off. The gradient of a
rectifier that is off is 0, so it stays off. GMF starts with products around 0, so it is almost only
the bias b that learns the mean rating. Adam moves it by about ``lr`` a step or less: 0.39 in an
epoch, about 2 in five epochs. The loss falls slowly and is still near 5 at the end. The number
``stuck`` says in which regime a run is.

Three options test this. With ``--output-bias mean``, b starts at the mean rating. Then the errors
have no common direction, and no unit is turned off. With ``--output-bias none`` there is no b, and
a net that is stuck learns the mean much later, if at all. With ``--start xavier``, the weights
start as in ``chapters/extras/neumf_ratings.py``.

Run this file from the root of the checkout:

    python chapters/tutorial/neumf.py --seed 3
    python chapters/tutorial/neumf.py --output-bias mean
"""

from typing import Any, Dict, List

from d2l_recsys.backend import init, np
from d2l_recsys.chapters.extras.neumf_ratings import NeuMFRatings
from d2l_recsys.layers.initial_weights import draw_evenly
from d2l_recsys.loaders.batches import BatchLoader
from d2l_recsys.loaders.interactions import RankingData
from d2l_recsys.runs.run import AllRatingsRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice
from d2l_recsys.training.objectives import own_loss

# A net is stuck if fewer than this share of the pairs have an active unit in the last layer.
FEW_PAIRS = 0.01


class Start(Choice):
    """How weights start: as in PyTorch, or with Xavier's values and biases of 0."""

    pytorch = "pytorch"
    xavier = "xavier"


class OutputBias(Choice):
    """The bias b of the output: learned from near 0, learned from the mean rating, or none."""

    learned = "learned"
    mean = "mean"
    none = "none"


class TutorialNeuMF(NeuMFRatings):
    """``NeuMFRatings`` with the mean squared error as its loss."""

    def batch_loss(self, F, users, items, ratings):
        """Return the squared error of each of n ratings, (n,)."""
        return F.np.square(self(users, items) - ratings)


def draw_weights(
    net: TutorialNeuMF, start: Start, output_bias: OutputBias, mean_rating: float
) -> None:
    """Give the initialized ``net`` its first weights, from MXNet's own generator.

    With the start ``pytorch``, the embeddings must be initialized already. ``output_bias`` says
    where the bias of the output starts; for ``none`` it stays 0.
    """
    if start is Start.pytorch:
        for layer in [*net.mlp, net.prediction]:
            draw_evenly(layer)
        bound = net.prediction.weight.shape[1] ** -0.5
        net.bias.set_data(np.random.uniform(-bound, bound, size=(1,)))
    if output_bias is OutputBias.mean:
        net.bias.set_data(np.full((1,), mean_rating))
    if output_bias is OutputBias.none:
        net.bias.set_data(np.zeros((1,)))
        net.bias.grad_req = "null"


def activity(net: TutorialNeuMF, data: RankingData) -> Dict[str, float]:
    """How alive the last layer of the MLP is over all pairs of a user and a rated item.

    ``active_pairs`` is the share of the pairs for which at least one unit is above 0.
    ``dead_units`` is the number of units that are 0 for every pair. ``stuck`` is 1 if
    ``active_pairs`` is less than ``FEW_PAIRS``, else 0.
    """
    ctx = net.bias.list_ctx()[0]
    users, items = (np.array(ids, dtype="int32", ctx=ctx) for ids in (data.users, data.items))
    pairs = np.concatenate([net.U(users), net.V(items)], axis=1)
    active = net.mlp(pairs).asnumpy() > 0
    share = float(active.any(axis=1).mean())
    return {
        "active_pairs": share,
        "dead_units": int((~active.any(axis=0)).sum()),
        "stuck": int(share < FEW_PAIRS),
    }


@section("tutorial_neumf")
def main(
    run: AllRatingsRun,
    num_epochs: int = 5,
    num_factors: int = 8,
    nums_hiddens: List[int] = (16, 8, 4),
    lr: float = 0.001,
    wd: float = 0.0,
    batch_size: int = 256,
    start: Start = Start.pytorch,
    output_bias: OutputBias = OutputBias.learned,
) -> Dict[str, Any]:
    """Train NeuMF on all ratings of MovieLens-100K as the tutorial does."""
    data = run.data
    ratings = data.users, data.items, data.ratings
    result = run.train(
        TutorialNeuMF,
        num_factors,
        *data.sizes,
        nums_hiddens,
        loss=own_loss,
        train_iter=BatchLoader(
            *ratings, batch_size=batch_size, shuffle=True, rng=run.streams.shuffle
        ),
        lr=lr,
        wd=wd,
        initializer=init.Normal(1) if start is Start.pytorch else init.Xavier(),
        prepare=lambda net: draw_weights(net, start, output_bias, float(data.ratings.mean())),
        measure=lambda net: activity(net, data),
    )
    if result["defined"]["stuck"]:
        run.say(
            "this net is stuck: hardly any pair has an active unit in the last layer of the MLP"
        )
    return result


if __name__ == "__main__":
    command_line.run(main)
