"""Matrix factorization (section 15.3).

A predicted rating is the inner product of the user's and the item's latent factors, plus two biases
(eq. 15.3.2). The user's bias says how generously this user rates. The item's bias says how well
this item is liked:

    r_hat[u, i] = p_u . q_i + b_u + b_i

Training finds the factors P (num_users x num_factors) and Q (num_items x num_factors) and the
biases. It minimizes the squared error over the observed ratings K, with weight decay (eq. 15.3.3):

    sum over (u, i) in K of (r[u, i] - r_hat[u, i])^2
        + lambda (|P|^2 + |Q|^2 + |b_user|^2 + |b_item|^2)

The test RMSE (eq. 15.3.4) measures the error on the test ratings, in units of a rating. Run the
section from the root of the checkout:

    python chapters/mf.py --seed 3
    python chapters/mf.py --split random     # the test set of AutoRec, to compare both models
"""

from typing import Any, Dict, Optional

import numpy

from d2l_recsys.backend import gluon, init, mx, nn, np
from d2l_recsys.data import split_and_load_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import Run
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Protocol, Scores, Split
from d2l_recsys.train import train_recsys_rating


class MF(nn.HybridBlock, Recommender):
    """Matrix factorization with biases, eq. 15.3.2.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based. Returns the n
    predicted ratings.
    """

    def __init__(self, num_factors: int, num_users: int, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.P = nn.Embedding(input_dim=num_users, output_dim=num_factors)
        self.Q = nn.Embedding(input_dim=num_items, output_dim=num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def hybrid_forward(self, F, user_id, item_id):
        """Predict the ratings; F is ``mxnet.nd``, or ``mxnet.symbol`` if hybridized."""
        P_u, Q_i = self.P(user_id), self.Q(item_id)
        b_u = F.np.squeeze(self.user_bias(user_id), axis=-1)
        b_i = F.np.squeeze(self.item_bias(item_id), axis=-1)
        return (P_u * Q_i).sum(axis=-1) + b_u + b_i

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Predicted ratings of all items by each of ``users``, (len(users), num_items)."""
        Q, b_i = (part.weight.data(users.ctx) for part in (self.Q, self.item_bias))
        return np.dot(self.P(users), Q.T) + self.user_bias(users) + b_i.T

    def item_vectors(self) -> numpy.ndarray:
        """The factors Q of the items, (num_items, num_factors)."""
        return self.Q.weight.data().asnumpy()


def predict_rating(net: MF, user_id: int, item_id: int, device: mx.Context) -> float:
    """The predicted rating for row ``user_id`` of P and row ``item_id`` of Q (zero-based)."""
    user, item = (np.array([i], dtype="int32", ctx=device) for i in (user_id, item_id))
    return float(net(user, item)[0])


def rating_line(scores: Scores, protocol: str, user: int, item: int) -> str:
    """A sentence with the predicted rating of ``protocol``, and the other one in parentheses."""
    name = f"score_user{user}_item{item}"
    defined = scores.defined[name]
    printed = scores.printed.get(name)
    rows = f"rows {user} and {item}"
    if printed is None:
        first, other = defined, f"as defined; the printed code reads {rows}, which do not exist"
    else:
        belong = f"the printed code reads {rows}: user {user + 1}, item {item + 1}"
        first, other = printed, f"as defined: {defined:.3f}; {belong}"
        if protocol == Protocol.defined:
            first, other = defined, f"as printed: {printed:.3f}; {belong}"
    return f"user {user} would give item {item} the rating {first:.3f} ({other})"


@section("mf")
def main(
    run: Run,
    num_epochs: int = 20,
    num_factors: int = 30,
    lr: float = 0.002,
    wd: float = 1e-5,
    batch_size: int = 512,
    split: Split = Split.seq_aware,
    user: int = 20,
    item: int = 30,
) -> Dict[str, Any]:
    """Train matrix factorization on MovieLens-100K (section 15.3)."""
    num_users, num_items, train_iter, test_iter = split_and_load_ml100k(
        split,
        test_ratio=0.1,
        batch_size=batch_size,
        data_dir=run.data_dir,
        split_rng=run.streams.split,
        shuffle_rng=run.streams.shuffle,
    )
    for name, number, count in (("user", user, num_users), ("item", item, num_items)):
        if number > count:
            raise SettingError(f"--{name} is {number}; the data has {name}s 1 to {count}")

    ids = RatingIds.consecutive(num_users, num_items)
    net = run.build(MF, num_factors, num_users, num_items, ids=ids)
    net.initialize(ctx=run.devices, init=init.Normal(0.01))
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), run.optimizer(lr, wd))
    history = train_recsys_rating(
        net, train_iter, test_iter, loss, trainer, num_epochs, run.devices, **run.options
    )

    # The chapter asks for the rating of user 20 and item 30. Printed: its code reads rows 20 and 30
    # of the tables. Ids start at 1, so these are the rows of user 21 and item 31. Defined: rows 19
    # and 29, which are those of user 20 and item 30.
    scores, name = history.final, f"score_user{user}_item{item}"
    if user < num_users and item < num_items:
        scores.printed[name] = predict_rating(net, user, item, run.devices[0])
    scores.defined[name] = predict_rating(net, user - 1, item - 1, run.devices[0])
    run.say(rating_line(scores, run.protocol, user, item))
    return run.finish(history, compares=split is Split.seq_aware, scores=scores)


if __name__ == "__main__":
    command_line.run(main)
