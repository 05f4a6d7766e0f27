"""Ranking losses: BPR and the hinge loss on the same model (section 15.5).

A ranking loss compares an item i that user u has seen with an item j that the user has not seen. So
the training data are triples:

    D = {(u, i, j) : u has seen i, and u has not seen j}

Both losses of the section depend only on the lead of the seen item, d = y_hat[u, i] - y_hat[u, j]:

    BPR    -ln sigmoid(d)        derivative  -(1 - sigmoid(d))           (eq. 15.5.2)
    hinge  max(margin - d, 0)    derivative  -1 if d < margin, else 0    (eq. 15.5.3)

If the seen item is far behind, both derivatives are about -1. If it leads, the derivative of BPR
goes to 0 slowly. That of the hinge loss is -1 as long as the lead is less than ``margin``, and then
0.

The section has no code beside the two losses. This file shows them: it prints the first triples,
draws both losses and their derivatives, and trains one model with each. The model is matrix
factorization (eq. 15.3.2), whose user biases have no effect here: they are the same for i and j.
The settings are those of section 15.6. Both runs start from the same weights and get the same
triples. Run the section from the root of the checkout:

    python chapters/pairwise.py --seed 3
    python chapters/pairwise.py --margin 0.5
"""

from typing import Any, Dict, Tuple

import numpy

from d2l_recsys.backend import autograd, gluon, init, np
from d2l_recsys.chapters.mf import MF
from d2l_recsys.losses import make_ranking_loss
from d2l_recsys.runs.losses_run import LossesRun
from d2l_recsys.runs.plots import draw_losses
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import RankingLoss

# The figure draws the losses for leads from -LARGEST_LEAD to LARGEST_LEAD.
LARGEST_LEAD = 4.0
NUM_TRIPLES = 3


def loss_and_derivative(
    loss: gluon.loss.Loss, leads: numpy.ndarray
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """The values of ``loss`` at ``leads``, and its derivatives by the lead, both (n,).

    ``leads`` and the derivatives are float32, the values float64.
    """
    seen, unseen = np.array(leads), np.zeros(1)
    seen.attach_grad()
    with autograd.record():
        # The loss sums over the pairs, so give it one pair at a time.
        values = [np.sum(loss(seen[i : i + 1], unseen)) for i in range(len(leads))]
    autograd.backward(values)
    return numpy.array([float(value) for value in values]), seen.grad.asnumpy()


@section("pairwise")
def main(
    run: LossesRun,
    num_epochs: int = 10,
    num_factors: int = 10,
    lr: float = 0.01,
    wd: float = 1e-5,
    batch_size: int = 1024,
    margin: float = 1.0,
) -> Dict[str, Any]:
    """Train one model with BPR and with the hinge loss on MovieLens-100K (section 15.5)."""
    triples = ", ".join(map(str, map(tuple, run.first_triples(NUM_TRIPLES))))
    run.say(f"the first triples (user, seen item, unseen item): {triples}")
    losses = {
        "bpr": make_ranking_loss(RankingLoss.bpr),
        "hinge": make_ranking_loss(RankingLoss.hinge, margin),
    }
    histories = run.train_with_each(
        losses,
        MF,
        num_factors,
        *run.data.sizes,
        batch_size=batch_size,
        lr=lr,
        wd=wd,
        initializer=init.Normal(0.01),
    )
    leads = numpy.linspace(-LARGEST_LEAD, LARGEST_LEAD, 161, dtype="float32")
    curves = {
        told: {loss: h.frame[f"{run.protocol}_{name}"] for loss, h in histories.items()}
        for told, name in (("test hit rate", "test_hit_rate"), ("test AUC", "test_auc"))
    }
    drawn = {name: loss_and_derivative(loss, leads) for name, loss in losses.items()}
    return run.finish(histories, draw_losses(leads, drawn, curves))


if __name__ == "__main__":
    command_line.run(main)
