"""Mult-VAE: a variational autoencoder with a multinomial likelihood (Liang et al. 2018).

A user's taste z is a point that a normal law has drawn, and a net f turns it into the chances of
the items, from which the user's N items x_u are drawn (section 2.1 of the paper):

    z_u ~ N(0, I)        pi_u = softmax(f(z_u))        x_u ~ Mult(N_u, pi_u)

Items thus compete for a user's attention: the chances sum to 1. What z was, given a row, is guessed
by a second net, the encoder: from the row at length 1, with part of it dropped, it tells the mean m
and the logarithm of the variance v of a normal law for each number of z (Kingma and Welling 2014),

    m_u, v_u = W_m . h + b_m, W_v . h + b_v        h = tanh(V . dropout(x_u / |x_u|) + mu)

and the two are trained together, on a sample z_u = m_u + exp(v_u / 2) * e with e ~ N(0, I), through
which the gradient reaches m and v (section 2.2):

    sum over users u of -x_u . log softmax(f(z_u)) + beta KL(N(m_u, exp(v_u)), N(0, I))

With ``beta`` 1 its negative bounds the log likelihood from below; the paper finds that a smaller
one ranks better. It begins at 0 and rises, a step an epoch, for ``anneal_epochs``. Scores take the
mean for z and draw nothing. The paper's layers are 600 and 200 wide, for many more users. Run it,
from the root of the checkout:

    python chapters/extras/multvae.py --seed 3
    python chapters/extras/multvae.py --beta 1 --anneal-epochs 0
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import mx, nn, np
from d2l_recsys.loaders.interactions import RankingData, check_rows, row_loader, seen_rows
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.training.objectives import own_loss


def kl_divergence(F: Any, mean: Any, log_variance: Any) -> Any:
    """How far normal laws are from the standard one, KL(N(mean, exp(log_variance)), N(0, 1)).

    Arrays (n, k), F as in a block; the sum over the k numbers, (n,) (appendix B of Kingma and
    Welling 2014).
    """
    terms = F.np.exp(log_variance) + F.np.square(mean) - 1 - log_variance
    return F.np.sum(terms, axis=1) / 2


def annealed(beta: float, anneal_epochs: int, epoch: int) -> float:
    """The weight of the KL term in ``epoch`` (from 1): 0 in the first, ``beta`` in the end."""
    return beta if epoch > anneal_epochs else beta * (epoch - 1) / anneal_epochs


class MultVAE(nn.HybridBlock, Recommender):
    """The variational autoencoder: an encoder and a decoder with a hidden layer each.

    Called with rows, float32 (n, num_items); returns for each item the logarithm of its chance, up
    to a number that is the user's, of the same shape. A share ``dropout`` of the row is dropped in
    training.
    """

    reads_rows = True

    def __init__(
        self,
        num_hidden: int,
        num_factors: int,
        num_items: int,
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.Dense(num_hidden, activation="tanh", in_units=num_items)
        self.mean = nn.Dense(num_factors, in_units=num_hidden)
        self.log_variance = nn.Dense(num_factors, in_units=num_hidden)
        self.decoder = nn.HybridSequential()
        self.decoder.add(
            nn.Dense(num_hidden, activation="tanh", in_units=num_factors),
            nn.Dense(num_items, in_units=num_hidden),
        )

    def encode(self, F, rows):
        """What the encoder says of z: its mean and the logarithm of its variance, (n, k) each."""
        at_length_1 = F.L2Normalization(rows.as_nd_ndarray()).as_np_ndarray()
        hidden = self.encoder(self.dropout(at_length_1))
        return self.mean(hidden), self.log_variance(hidden)

    def hybrid_forward(self, F, rows):
        """Score all items from the mean; F is ``mxnet.nd`` or, hybridized, ``mxnet.symbol``."""
        return self.decoder(self.encode(F, rows)[0])

    def batch_loss(self, F, rows, weights):
        """The loss of each row, (n,), from one sample of z.

        ``weights`` (n,) are those of the KL term.
        """
        mean, log_variance = self.encode(F, rows)
        noise = F.random.normal_like(mean.as_nd_ndarray()).as_np_ndarray()
        outputs = self.decoder(mean + F.np.exp(log_variance / 2) * noise)
        likelihood = F.np.sum(rows * F.npx.log_softmax(outputs, axis=-1), axis=1)
        return weights * kl_divergence(F, mean, log_variance) - likelihood

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """What each user has seen, as ``seen_rows``."""
        return seen_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items), from their ``rows``.

        Raises DataError as ``check_rows`` does.
        """
        check_rows(rows, self.num_items)
        # Called as a graph of its own, it would warn that it has no use for the variance.
        return self.hybrid_forward(mx.nd, rows)

    def item_vectors(self) -> numpy.ndarray:
        """The items' rows of the decoder's last weights, (num_items, num_hidden)."""
        return self.decoder[-1].weight.data().asnumpy()


@section("multvae")
def main(
    run: CompanionRun,
    num_epochs: int = 105,
    num_hidden: int = 200,
    num_factors: int = 64,
    dropout: float = 0.5,
    beta: float = 0.2,
    anneal_epochs: int = 50,
    lr: float = 0.001,
    wd: float = 0.0,
    batch_size: int = 64,
) -> Dict[str, Any]:
    """Train Mult-VAE on MovieLens-100K."""
    data = run.data
    # The weight of the KL term is an array of the batch: a number in the graph would stay as it is.
    weights = numpy.zeros(data.num_users, dtype="float32")

    def begin_epoch(epoch: int) -> None:
        weights[:] = annealed(beta, anneal_epochs, epoch)

    return run.train(
        MultVAE,
        num_hidden,
        num_factors,
        data.num_items,
        dropout,
        loss=own_loss,
        train_iter=row_loader(seen_rows(data), weights, batch_size=batch_size, streams=run.streams),
        lr=lr,
        wd=wd,
        begin_epoch=begin_epoch,
    )


if __name__ == "__main__":
    command_line.run(main)
