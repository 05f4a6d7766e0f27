"""Mult-VAE: a variational autoencoder with a multinomial likelihood (Liang et al. 2018).

The model assumes that the taste of user u is a random vector z_u from a normal distribution. A net
f, the decoder, turns z_u into a probability for each item. The N_u items that the user has seen,
the row x_u, are drawn with these probabilities (section 2.1 of the paper):

    z_u ~ N(0, I)        pi_u = softmax(f(z_u))        x_u ~ Mult(N_u, pi_u)

The probabilities of a user sum to 1, so the items compete with one another. A second net, the
encoder, estimates z_u from the row. It scales the row to length 1 and, in training, sets a random
part of it to 0. Then it computes, for each number of z_u, the mean m and the logarithm of the
variance v of a normal distribution (Kingma and Welling 2014):

    m_u, v_u = W_m . h + b_m, W_v . h + b_v        h = tanh(V . dropout(x_u / |x_u|) + mu)

Both nets are trained together on a sample z_u = m_u + exp(v_u / 2) * e with e ~ N(0, I). In this
form, the gradient reaches m and v through the sample (section 2.2):

    sum over users u of -x_u . log softmax(f(z_u)) + beta KL(N(m_u, exp(v_u)), N(0, I))

If ``beta`` is 1, minus this loss is a lower bound of the log likelihood. The paper finds that a
smaller ``beta`` ranks better. The weight of the KL term starts at 0 and rises to ``beta`` over
``anneal_epochs`` epochs. To rank items, the net uses the mean m_u for z_u and draws nothing. The
paper uses layers of 600 and 200 units, for data sets with many more users.

Run this file from the root of the checkout:

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
    """Return KL(N(mean, exp(log_variance)), N(0, I)), the divergence from the standard normal.

    ``mean`` and ``log_variance`` are (n, k). The result is the sum over the k numbers, (n,)
    (appendix B of Kingma and Welling 2014). F is ``mxnet.nd`` or, in a hybridized block,
    ``mxnet.symbol``.
    """
    terms = F.np.exp(log_variance) + F.np.square(mean) - 1 - log_variance
    return F.np.sum(terms, axis=1) / 2


def annealed(beta: float, anneal_epochs: int, epoch: int) -> float:
    """Return the weight of the KL term in ``epoch``, counted from 1.

    The weight is 0 in the first epoch, rises by the same amount in each epoch, and is ``beta`` from
    epoch ``anneal_epochs`` + 1 on.
    """
    return beta if epoch > anneal_epochs else beta * (epoch - 1) / anneal_epochs


class MultVAE(nn.HybridBlock, Recommender):
    """Mult-VAE: an encoder and a decoder with one hidden layer each.

    Called with rows, float32 (n, num_items); returns the logits of the items' probabilities, of the
    same shape. In training, a random share ``dropout`` of each row, scaled to length 1, is set to
    0.
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
        """Return the encoder's mean of z and the logarithm of its variance, (n, k) each."""
        at_length_1 = F.L2Normalization(rows.as_nd_ndarray()).as_np_ndarray()
        hidden = self.encoder(self.dropout(at_length_1))
        return self.mean(hidden), self.log_variance(hidden)

    def hybrid_forward(self, F, rows):
        """Score all items with z at its mean; F is ``mxnet.nd`` or ``mxnet.symbol``."""
        return self.decoder(self.encode(F, rows)[0])

    def batch_loss(self, F, rows, weights):
        """Return the loss of each row, (n,), computed with one sample of z.

        ``weights`` (n,) has the weight of the KL term for each row.
        """
        mean, log_variance = self.encode(F, rows)
        noise = F.random.normal_like(mean.as_nd_ndarray()).as_np_ndarray()
        outputs = self.decoder(mean + F.np.exp(log_variance / 2) * noise)
        likelihood = F.np.sum(rows * F.npx.log_softmax(outputs, axis=-1), axis=1)
        return weights * kl_divergence(F, mean, log_variance) - likelihood

    def user_inputs(self, data: RankingData) -> numpy.ndarray:
        """Return a row for each user with 1 at the items seen, as ``seen_rows`` does."""
        return seen_rows(data)

    def score_all(self, users: np.ndarray, rows: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each user, (len(users), num_items).

        The scores depend only on the users' ``rows``, not on ``users``. Raises DataError if
        ``rows`` is None or does not have ``num_items`` columns.
        """
        check_rows(rows, self.num_items)
        # Do not call the net as a graph: MXNet would warn that the variance is not used.
        return self.hybrid_forward(mx.nd, rows)

    def item_vectors(self) -> numpy.ndarray:
        """Return the weights of the last layer, (num_items, num_hidden): a row for each item."""
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
    """Train Mult-VAE on MovieLens-100K.

    --dropout is the share of each user's row that is set to 0 when the net reads it in training.
    """
    data = run.data
    # Each batch has the weight of the KL term as an array. A plain number would become a constant
    # of the hybridized graph and could not change from epoch to epoch.
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
