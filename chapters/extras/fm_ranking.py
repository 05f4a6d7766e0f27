"""FM and DeepFM as rankers: score a user and an item by their features (Rendle 2010).

The factorization machine of section 15.9 and the DeepFM of section 15.10 (Guo et al. 2017) score
impressions. Here the same models score how likely a user is to see an item next. The features of a
pair are the values of these user fields U and item fields I:

    U = {user, age (by ten years), gender, occupation, zip area},   I = {item, year, genres}

The zip area is the first character of the zip code. The year is the year of release. All genres of
a film together are one value. So the model can say something about a user or a film with few
ratings: it has learned from similar users and similar films.

The interactions of the factors (eq. 15.9.1) fall into three parts. The pairs within U give a number
for the user, and the pairs within I give a number for the item. The pairs across U and I are one
inner product of two sums:

    y_hat = w_0 + sum of w_f over f in U and I + pairs(U) + pairs(I)
                + <sum of v_f over f in U, sum of v_f over f in I>

DeepFM adds a network that reads all the factors side by side (eq. 15.10.1-3). The losses are the
same as in ``gmf.py``. With the loss ``bpr``, everything that depends only on the user cancels out.

Run this file from the root of the checkout:

    python chapters/extras/fm_ranking.py --seed 3
    python chapters/extras/fm_ranking.py --model deepfm --loss bpr
"""

import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy
import pandas as pd

from d2l_recsys.backend import mx, nn, np
from d2l_recsys.chapters.deepfm import DeepFM
from d2l_recsys.chapters.fm import FM
from d2l_recsys.datasets.movielens import find_ml100k, read_items_ml100k, read_users_ml100k
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.layers.operators import concatenate, fm_interaction, score_all_pairs, sum_fields
from d2l_recsys.model_bases.contract import Recommender
from d2l_recsys.runs.run import CompanionRun
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section
from d2l_recsys.settings import Choice, RankingLoss, as_choice

USER_FIELDS = ("user", "age", "gender", "occupation", "zip area")
ITEM_FIELDS = ("item", "year", "genres")


class Model(Choice):
    """Model that scores the features of a pair."""

    fm = "fm"
    deepfm = "deepfm"


class Features(NamedTuple):
    """The features of users and items, with one numbering for all fields.

    The numbers of the user fields come first. ``of_users`` is int32 (num_users, 5) and ``of_items``
    is int32 (num_items, 3). ``field_dims`` has the number of features of each of the eight fields.
    """

    of_users: numpy.ndarray
    of_items: numpy.ndarray
    field_dims: List[int]


def load_features(data_dir: Optional[pathlib.Path], num_users: int, num_items: int) -> Features:
    """Read the features of the users and items of MovieLens-100K.

    An unknown value counts as a value, too. Raises DataError if the file of users or the file of
    items, in the folder of the ratings, does not have each user or item exactly once, and what
    reading these files raises.
    """
    users = _by_id(data_dir, read_users_ml100k(data_dir), "user", num_users)
    items = _by_id(data_dir, read_items_ml100k(data_dir), "item", num_items)
    fields = [
        *(users.index, users["age"] // 10, users["gender"], users["occupation"]),
        users["zip_code"].str[:1],
        *(items.index, items["year"].fillna(0).astype(int), items["genres"].str.join("|")),
    ]
    # Number the values of each field in sorted order.
    codes = [numpy.unique(field, return_inverse=True)[1] for field in fields]
    dims = [int(code.max()) + 1 for code in codes]
    starts = numpy.cumsum([0, *dims])
    columns = [(code + start).astype(numpy.int32) for code, start in zip(codes, starts)]
    of_users, of_items = columns[: len(USER_FIELDS)], columns[len(USER_FIELDS) :]
    return Features(numpy.stack(of_users, axis=1), numpy.stack(of_items, axis=1), dims)


def _by_id(
    data_dir: Optional[pathlib.Path], table: pd.DataFrame, name: str, count: int
) -> pd.DataFrame:
    """Return the rows of the users or items 1 ... ``count``, in this order."""
    ids = table[f"{name}_id"]
    times = numpy.bincount(ids[ids.between(1, count)], minlength=count + 1)[1:]
    if (times != 1).any():
        number = numpy.argmax(times != 1)
        raise DataError(
            f"{find_ml100k(data_dir).ratings}: {name}_id {number + 1} occurs {times[number]} "
            f"times in the file of {name}s in the same folder; it must occur there exactly once"
        )
    return table.set_index(f"{name}_id").loc[numpy.arange(1, count + 1)]


class RankingFM(nn.HybridBlock, Recommender):
    """FM or DeepFM on the features of a user and an item.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns n scores.
    ``field_dims`` and the constants ``of_users`` and ``of_items`` are as in ``Features``.
    ``num_factors`` is as in ``FM`` and ``DeepFM``; only DeepFM uses ``mlp_dims`` and ``dropout``.

    Raises SettingError if ``model`` is unknown, or if a DeepFM has no hidden layer.
    """

    def __init__(
        self,
        model: str,
        field_dims: Sequence[int],
        num_factors: int,
        num_users: int,
        num_items: int,
        mlp_dims: Sequence[int],
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = as_choice(Model, "model", model)
        if self.model is Model.fm:
            self.machine = FM(field_dims, num_factors)
        elif mlp_dims:
            self.machine = DeepFM(field_dims, num_factors, mlp_dims, dropout)
        else:
            raise SettingError("--mlp-dims is empty; DeepFM needs a layer")
        constant = {"dtype": "int32", "init": "zeros", "grad_req": "null"}
        shapes = (num_users, len(USER_FIELDS)), (num_items, len(ITEM_FIELDS))
        self.of_users = self.params.get("of_users", shape=shapes[0], **constant)
        self.of_items = self.params.get("of_items", shape=shapes[1], **constant)

    def hybrid_forward(self, F, user_id, item_id, of_users, of_items):
        """Score the pairs; F is ``mxnet.nd`` or, once hybridized, ``mxnet.symbol``."""
        features = [F.np.take(of_users, user_id, axis=0), F.np.take(of_items, item_id, axis=0)]
        return F.np.squeeze(self.machine.logits(F, concatenate(F, *features)), axis=-1)

    def score_all(self, users: np.ndarray, sequences: Optional[np.ndarray] = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, (len(users), num_items)."""
        ctx, machine = users.ctx, self.machine
        of_users = np.take(self.of_users.data(ctx), users, axis=0)
        of_items = self.of_items.data(ctx)
        V_users, V_items = machine.embedding(of_users), machine.embedding(of_items)
        w_users, w_items = (sum_fields(mx.nd, machine.fc(part)) for part in (of_users, of_items))
        # The dense layer scales both sums of weights. Its bias w_0 must be added only once.
        users_own = machine.linear_layer(w_users) + fm_interaction(mx.nd, V_users)
        items_own = w_items * machine.linear_layer.weight.data(ctx) + fm_interaction(mx.nd, V_items)
        across = np.dot(sum_fields(mx.nd, V_users), sum_fields(mx.nd, V_items).T)
        scores = across + users_own + items_own.T
        if self.model is Model.fm:
            return scores
        *hidden, last = (layer for layer in machine.mlp if isinstance(layer, nn.Dense))
        beside = (part.reshape(len(part), -1) for part in (V_users, V_items))
        h, b = last.weight.data(ctx)[0], last.bias.data(ctx)
        return scores + score_all_pairs(hidden, h, *beside) + b

    def item_vectors(self) -> numpy.ndarray:
        """Return for each item the sum of the factors of its fields, (num_items, num_factors)."""
        return sum_fields(mx.nd, self.machine.embedding(self.of_items.data())).asnumpy()


@section("fm_ranking")
def main(
    run: CompanionRun,
    num_epochs: int = 20,
    num_factors: int = 32,
    mlp_dims: List[int] = (30, 20, 10),
    dropout: float = 0.1,
    lr: float = 0.005,
    wd: float = 1e-5,
    batch_size: int = 1024,
    model: Model = Model.fm,
    loss: RankingLoss = RankingLoss.log,
    margin: float = 1.0,
    num_negatives: int = 10,
) -> Dict[str, Any]:
    """Train a factorization machine or DeepFM to rank the items of MovieLens-100K."""
    data = run.data
    features = load_features(run.data_dir, *data.sizes)

    def place_features(net: RankingFM) -> None:
        net.of_users.set_data(np.array(features.of_users, dtype="int32"))
        net.of_items.set_data(np.array(features.of_items, dtype="int32"))

    sizes = num_factors, *data.sizes, mlp_dims
    pairs = {"loss": loss, "margin": margin, "num_negatives": num_negatives}
    options = {"batch_size": batch_size, "lr": lr, "wd": wd, "prepare": place_features}
    arguments = model, features.field_dims, *sizes, dropout
    return run.train_on_pairs(RankingFM, *arguments, **pairs, **options)


if __name__ == "__main__":
    command_line.run(main)
