"""Caser for sessions: convolutions over the last items of a session (after Tang and Wang 2018).

Session-based recommendation has another task than Caser's in section 15.7. There, a user is known
by a long history, has factors p_u, and the last item of each user is predicted. Here a session is
anonymous and short: the model knows only the items of the session so far, has no factors of users,
and predicts every next item of the session (``gru4rec.py`` says more).

This model is Caser (``chapters/caser.py``) without p_u. E has the factors of the last L items of
the session. The filters make the vector z from E as in eq. 15.7.1-3, and z scores the items
(eq. 15.7.4 without p_u):

    z = relu(W [o'; o] + b)
    y_hat[i] = v_i . z + b_i

At the first places of a session there are fewer than L items. Then E starts with copies of the
first item, as the chapter does for a user with a short history.

Training takes every place of every training session as an example. The losses are those of GRU4Rec
(Hidasi et al. 2016): ``top1`` and ``bpr`` compare the next item with the next items of the other
examples of the batch, ``cross_entropy`` compares it with all items.

This file differs from Tang and Wang (2018) in more than the users. Their model predicts several
next items at once, and its loss is the log loss with random negative items.

The settings were chosen on ``--split validation`` with seed 0, by hit rate and MRR after each of up
to 6 epochs: 50 or 64 factors, L of 5 or 8, batches of 256 or 512, dropout of 0.2 or 0.4, learning
rates of 0.003 and 0.006. The defaults have a hit rate of 0.302 and an MRR of 0.077 (seed 1: 0.291
and 0.072, seed 2: 0.297 and 0.072). L = 8 with 64 factors had 0.311 and 0.076, but takes more
than twice as long. With ``--loss top1`` the hit rate is 0.170, with ``bpr`` 0.141.

Run this file from the root of the checkout:

    python chapters/extras/session_caser.py --seed 3
    python chapters/extras/session_caser.py --loss top1
"""

from typing import Any, Dict

import numpy

from d2l_recsys.backend import mx, np
from d2l_recsys.chapters.caser import ItemConvolutions
from d2l_recsys.layers.session_scores import SessionNet
from d2l_recsys.loaders.batches import training_loader
from d2l_recsys.runs.on_sessions import SessionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.sequences import session_windows
from d2l_recsys.settings import SessionLoss
from d2l_recsys.training.objectives import own_loss


class SessionCaser(ItemConvolutions, SessionNet):
    """Caser without factors of users.

    The arguments are those of ``Caser`` and the loss of ``SessionNet``. Raises SettingError if
    ``d`` and ``d_prime`` are both 0.
    """

    def __init__(
        self,
        num_factors: int,
        num_items: int,
        L: int = 5,
        d: int = 16,
        d_prime: int = 4,
        dropout: float = 0.05,
        loss: str = SessionLoss.cross_entropy,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_items, loss, **kwargs)
        self.add_convolutions(num_factors, num_items, L, d, d_prime, dropout)

    def batch_loss(self, F, seq, targets):
        """The loss of each of n windows ``seq``, whose next items are ``targets`` (n,): (n,)."""
        return self.losses(F, self.convolve(F, seq), targets)

    def session_vectors(self, sessions: np.ndarray) -> np.ndarray:
        """The vector z after each item of each session, float32 (n, length, num_factors)."""
        n, length = sessions.shape
        places = numpy.arange(length)[:, None] + numpy.arange(1 - self.L, 1)
        windows = sessions.asnumpy()[:, numpy.maximum(places, 0)].reshape(-1, self.L)
        z = self.convolve(mx.nd, np.array(windows, dtype="int32", ctx=sessions.ctx))
        return z.reshape(n, length, self.num_factors)


@section("session_caser")
def main(
    run: SessionRun,
    num_epochs: int = 4,
    idle: int = 30,
    L: int = 5,
    d: int = 16,
    d_prime: int = 4,
    num_factors: int = 50,
    dropout: float = 0.2,
    lr: float = 0.003,
    wd: float = 0.0,
    batch_size: int = 512,
    loss: SessionLoss = SessionLoss.cross_entropy,
) -> Dict[str, Any]:
    """Train Caser without factors of users on sessions of MovieLens-100K."""
    windows = session_windows(run.data.train, L)
    return run.train(
        SessionCaser,
        num_factors,
        run.data.num_items,
        L,
        d,
        d_prime,
        dropout,
        loss,
        loss=own_loss,
        train_iter=training_loader(*windows, batch_size=batch_size, rng=run.streams.shuffle),
        lr=lr,
        wd=wd,
    )


if __name__ == "__main__":
    command_line.run(main)
