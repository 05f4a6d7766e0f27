"""Matrix factorization (section 15.3).

A rating is the inner product of a user's and an item's latent factors, plus how generously that
user rates and how well that item is liked (eq. 15.3.2):

    r_hat[u, i] = p_u . q_i + b_u + b_i

P (num_users x num_factors), Q (num_items x num_factors) and the biases minimise the squared error
over the observed ratings K, with weight decay (eq. 15.3.3):

    sum over (u, i) in K of (r[u, i] - r_hat[u, i])^2
        + lambda (|P|^2 + |Q|^2 + |b_user|^2 + |b_item|^2)

and the test RMSE (eq. 15.3.4) says how far off a rating is. Run it, from the root of the checkout:

    python chapters/mf.py --seed 3
    python chapters/mf.py --split random     # the test set of AutoRec, so that the two compare
"""

import pathlib
import time
from typing import Any, Dict

from typer import Option
from typing_extensions import Annotated

from d2l_recsys import command_line as cli
from d2l_recsys.backend import gluon, init, mx, nn, np, npx
from d2l_recsys.data import dataset_ml100k, split_and_load_ml100k
from d2l_recsys.devices import pick_devices
from d2l_recsys.errors import SettingError
from d2l_recsys.plots import draw_curves, png
from d2l_recsys.results import as_json, make_result, prepare_folder, reported_numbers, write_files
from d2l_recsys.seeds import seed_streams
from d2l_recsys.settings import Protocol, Split, as_choice, check_settings
from d2l_recsys.train import train_recsys_rating


class MF(nn.HybridBlock):
    """Matrix factorization with biases, eq. 15.3.2.

    Called with int arrays ``user_id`` and ``item_id`` of shape (n,), zero-based; returns the n
    predicted ratings.
    """

    def __init__(self, num_factors: int, num_users: int, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.P = nn.Embedding(input_dim=num_users, output_dim=num_factors)
        self.Q = nn.Embedding(input_dim=num_items, output_dim=num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def hybrid_forward(self, F, user_id, item_id):
        """Predict; F is ``mxnet``'s or, once hybridized, ``mxnet.symbol``'s namespace."""
        P_u, Q_i = self.P(user_id), self.Q(item_id)
        b_u = F.np.squeeze(self.user_bias(user_id), axis=-1)
        b_i = F.np.squeeze(self.item_bias(item_id), axis=-1)
        return (P_u * Q_i).sum(axis=-1) + b_u + b_i


def predict_rating(net: MF, user_id: int, item_id: int, device: mx.Context) -> float:
    """The rating that row ``user_id`` of P gives row ``item_id`` of Q (both zero-based)."""
    user, item = (np.array([i], dtype="int32", ctx=device) for i in (user_id, item_id))
    return float(net(user, item)[0])


def main(
    seed: cli.Seed = 0,
    num_epochs: cli.NumEpochs = 20,
    num_devices: cli.NumDevices = 1,
    protocol: cli.ShownProtocol = "printed",
    data_dir: cli.DataDir = None,
    out: cli.Out = None,
    quiet: cli.Quiet = False,
    split: Annotated[
        str, Option(metavar="seq-aware|random", help="Test set: each user's last rating, or 10 %.")
    ] = "seq-aware",
    num_factors: Annotated[int, Option(help="Length of the latent factors, k.")] = 30,
    lr: Annotated[float, Option(help="Learning rate of Adam.")] = 0.002,
    wd: Annotated[float, Option(help="Weight decay, lambda.")] = 1e-5,
    batch_size: Annotated[int, Option(help="Ratings in a batch.")] = 512,
    user: Annotated[int, Option(help="User, as in u.data, whose rating to predict.")] = 20,
    item: Annotated[int, Option(help="Item, as in u.data, whose rating to predict.")] = 30,
) -> Dict[str, Any]:
    """Train matrix factorization on MovieLens-100K (section 15.3)."""
    started = time.perf_counter()
    protocol, split = as_choice(Protocol, "protocol", protocol), as_choice(Split, "split", split)
    settings = dict(
        num_epochs=num_epochs,
        num_devices=num_devices,
        num_factors=num_factors,
        lr=lr,
        wd=wd,
        batch_size=batch_size,
        user=user,
        item=item,
    )
    check_settings(seed=seed, **settings)
    devices = pick_devices(num_devices)

    streams = seed_streams(seed)
    dataset = dataset_ml100k(data_dir)
    num_users, num_items, train_iter, test_iter = split_and_load_ml100k(
        split,
        test_ratio=0.1,
        batch_size=batch_size,
        data_dir=data_dir,
        split_rng=streams.split,
        shuffle_rng=streams.shuffle,
    )
    for name, number, count in (("user", user, num_users), ("item", item, num_items)):
        if number > count:
            raise SettingError(f"--{name} is {number}; the data has {name}s 1 to {count}")
    folder = prepare_folder(out or pathlib.Path("results", "mf", f"seed-{seed}"))
    loaded = time.perf_counter()

    npx.set_np()
    mx.random.seed(seed)
    net = MF(num_factors, num_users, num_items)
    net.initialize(ctx=devices, init=init.Normal(0.01))
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr, "wd": wd})
    history = train_recsys_rating(
        net,
        train_iter,
        test_iter,
        loss,
        trainer,
        num_epochs,
        devices,
        protocol=protocol,
        quiet=quiet,
    )

    # Printed: the chapter asks for "user 20, item 30" and reads rows 20 and 30 of the tables, which
    # belong to user 21 and item 31, since ids start at 1. Defined: the rows of user 20, item 30.
    scores, name = history.final, f"score_user{user}_item{item}"
    if user < num_users and item < num_items:
        scores.printed[name] = predict_rating(net, user, item, devices[0])
    scores.defined[name] = predict_rating(net, user - 1, item - 1, devices[0])

    chapters_split = split is Split.seq_aware
    result = make_result(
        chapter="mf",
        protocol=protocol,
        seed=seed,
        scores=scores,
        reported=reported_numbers("mf") if chapters_split else {},
        dataset=dataset,
        settings=dict(settings, split=split),
        seconds={
            "load": loaded - started,
            "train": history.total("seconds_train"),
            "evaluate": history.total("seconds_evaluate"),
            "total": time.perf_counter() - started,
        },
        examples_per_second=history.examples_per_second,
        devices=devices,
    )
    figure = draw_curves(
        history.curve(protocol, "test_rmse"),
        ("train loss", "test RMSE"),
        ylim=(0, 2),
        reported=None if dataset["substitute"] else result["reported"].get("test_rmse"),
    )
    write_files(
        folder,
        {"curve.png": png(figure), "history.csv": history.csv(), "result.json": as_json(result)},
    )
    if not quiet:
        shown = getattr(scores, protocol.value)
        if name in shown:
            print(f"user {user} would give item {item} the rating {shown[name]:.3f}")
        print(f"left in {folder}: curve.png, history.csv, result.json")
    return result


if __name__ == "__main__":
    cli.run(main)
