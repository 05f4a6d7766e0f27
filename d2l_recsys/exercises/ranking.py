"""The exercises of sections 15.5 to 15.7: ranking losses, NeuMF and Caser."""

from typing import Any, Dict, List

from d2l_recsys.exercises.exercise import Exercise, Grid, Part

OPTIMIZERS = ("sgd", "nag", "adagrad", "rmsprop", "adam")
# The settings of NeuMF in the chapter. GMF and MLP have other defaults of their own.
OF_NEUMF: Dict[str, Any] = {
    "num_epochs": 10,
    "num_factors": 10,
    "lr": 0.01,
    "wd": 1e-5,
    "batch_size": 1024,
    "loss": "bpr",
}
PROTOCOLS = {"protocol": ("printed", "defined")}
# The losses of section 15.5 and beyond: the name of the row, and the options.
LOSSES: Dict[str, Dict[str, Any]] = {
    "bpr": {"loss": "bpr"},
    "hinge-0.25": {"loss": "hinge", "margin": 0.25},
    "hinge-1": {"loss": "hinge"},
    "hinge-4": {"loss": "hinge", "margin": 4.0},
    "log": {"loss": "log"},
    "softmax-5": {"loss": "softmax", "num_negatives": 5},
    "softmax-20": {"loss": "softmax", "num_negatives": 20},
    "hardest-5": {"loss": "hardest", "num_negatives": 5},
    "hardest-20": {"loss": "hardest", "num_negatives": 20},
}


def _by_loss(system: str) -> List[Grid]:
    return [Grid(system, {}, options, {"loss": name}) for name, options in LOSSES.items()]


EXERCISES = [
    Exercise(
        "15.5.1",
        "Which variants of BPR and of the hinge loss are there, and what do they change?",
        """\
The variants differ in three things: the shape of the loss, the number of unseen items that a
seen item is compared with, and which of them counts. The number in the name of a row is the
margin of the hinge loss, or the number of unseen items.

**The shape matters little for the hit rate of NeuMF,** more for that of Caser. BPR
([test_hit_rate loss=bpr]), the hinge loss ([test_hit_rate loss=hinge-1]) and the log loss
([test_hit_rate loss=log]) have hit rates within the spread of the seeds, and so have margins of
0.25 and 4. But the AUC is a little lower with the margin 0.25 ([test_auc loss=hinge-0.25], BPR
[test_auc loss=bpr]). In Caser, a margin of 0.25 is too small
([2: test_hit_rate loss=hinge-0.25]) and one of 4 too large ([2: test_hit_rate loss=hinge-4]).
The log loss has the highest mean of these ([2: test_hit_rate loss=log]).

**More unseen items help the sampled softmax.** It has, with 20 of them, a hit rate of
[test_hit_rate loss=softmax-20] in NeuMF and [2: test_hit_rate loss=softmax-20] in Caser, where
BPR has [2: test_hit_rate loss=bpr]. With one unseen item the sampled softmax is BPR, so the gain
comes from the number. In NeuMF, 5 are enough for the hit rate ([test_hit_rate loss=softmax-5]).

**The hardest of many is too hard for the AUC.** The hinge loss with the hardest of 5 has a
higher hit rate than BPR in NeuMF ([test_hit_rate loss=hardest-5]); for Caser, three seeds leave
it open. With the hardest of 20, the hit rate of NeuMF is not clearly different from that of BPR,
and the AUC falls to [test_auc loss=hardest-20]. In Caser it falls as well
([2: test_auc loss=hardest-20], BPR [2: test_auc loss=bpr]). This loss only looks at the top of
the list.""",
        [Part("NeuMF by loss", _by_loss("neumf")), Part("Caser by loss", _by_loss("caser"))],
        [
            "test_hit_rate: loss=bpr ~ loss=hinge-1",
            "test_hit_rate: loss=bpr ~ loss=log",
            "test_hit_rate: loss=hinge-0.25 ~ loss=hinge-4",
            "2: test_hit_rate: loss=hinge-0.25 < loss=bpr",
            "test_hit_rate: loss=softmax-20 > loss=bpr",
            "2: test_hit_rate: loss=softmax-20 > loss=bpr",
            "test_hit_rate: loss=hardest-5 > loss=bpr",
            "test_auc: loss=hardest-20 < loss=bpr",
            "test_auc: loss=hinge-0.25 < loss=bpr",
            "2: test_hit_rate: loss=hinge-4 < loss=bpr",
            "test_hit_rate: loss=softmax-5 ~ loss=softmax-20",
            "test_hit_rate: loss=hardest-20 ~ loss=bpr",
            "2: test_hit_rate: loss=hardest-5 ~ loss=bpr",
            "2: test_auc: loss=hardest-20 < loss=bpr",
        ],
    ),
    Exercise(
        "15.5.2",
        "Which models use BPR or the hinge loss?",
        """\
BPR comes from Rendle et al. (2009), who used it for matrix factorization. VBPR (with images),
NGCF and LightGCN (both on the graph of users and items) use it in their papers. Here,
`d2l-recsys run ngcf` and `run lightgcn` do so, and so do the chapter's NeuMF and Caser, although
their papers use the log loss. GRU4Rec, for sessions, was first trained with BPR and with a loss
of its own.

The hinge loss is in maximum-margin matrix factorization (Srebro et al. 2005), in WSABIE, whose
loss WARP draws unseen items until one is too high (Weston et al. 2011), and in collaborative
metric learning (Hsieh et al. 2017), which compares distances. With `--loss` each of NeuMF,
Caser, GMF, MLP and `fm_ranking` can be trained with any of the losses of 15.5.1.

The loss is a setting like others. On the validation items, the search of the
[leaderboard](leaderboard/leaderboard.md) could choose between BPR and the log loss for GMF, MLP,
NeuMF and the two factorization machines. It chose the log loss each time.""",
    ),
    Exercise(
        "15.6.1",
        "How does the number of latent factors change NeuMF?",
        """\
More factors help at first: the hit rate rises from [test_hit_rate num_factors=2] with 2 factors
to [test_hit_rate num_factors=5] with 5 and [test_hit_rate num_factors=10] with the chapter's 10.
From 10 on there is no clear gain: 50 factors give [test_hit_rate num_factors=50], 100 give
[test_hit_rate num_factors=100]. The training loss goes on falling, from
[train_loss num_factors=10] with 10 factors to [train_loss num_factors=100] with 100. So 100
factors learn the training pairs better, without any use for the test items. (The printed
training loss is a running sum, `ERRATA.md`, D1, and it depends on the number of devices. The
book had two.) Unlike in matrix factorization (15.3.1), they do no clear harm to the hit rate.""",
        [
            Part(
                "NeuMF by number of factors",
                [Grid("neumf", {"num_factors": (2, 5, 10, 20, 50, 100)})],
                5,
                ["train_loss"],
            )
        ],
        [
            "test_hit_rate: num_factors=5 > num_factors=2",
            "test_hit_rate: num_factors=10 > num_factors=5",
            "test_hit_rate: num_factors=50 ~ num_factors=10",
            "test_hit_rate: num_factors=100 ~ num_factors=50",
            "train_loss: num_factors=100 < num_factors=10",
        ],
    ),
    Exercise(
        "15.6.2",
        "How do the number and the width of the layers of the MLP change NeuMF?",
        """\
At the chapter's settings, hardly anything. From one layer of 10 units
([test_hit_rate nums_hiddens=10]) to five ([test_hit_rate nums_hiddens=10,10,10,10,10]), and with
layers of 64, 32 and 16 units ([test_hit_rate nums_hiddens=64,32,16]), the hit rates are within
the spread of the seeds. Exercise 15.6.5 shows why: at these settings, the other tower does the
work.""",
        [
            Part(
                "NeuMF by layers of the MLP",
                [
                    Grid(
                        "neumf",
                        {
                            "nums_hiddens": (
                                [10],
                                [10, 10],
                                [10, 10, 10],
                                [10, 10, 10, 10, 10],
                                [64, 32, 16],
                            )
                        },
                    )
                ],
                5,
            )
        ],
        [
            "test_hit_rate: nums_hiddens=10,10,10,10,10 ~ nums_hiddens=10",
            "test_hit_rate: nums_hiddens=64,32,16 ~ nums_hiddens=10,10,10",
            "test_auc: nums_hiddens=64,32,16 ~ nums_hiddens=10,10,10",
        ],
    ),
    Exercise(
        "15.6.3",
        "What do the optimizer, the learning rate and the weight decay change in NeuMF?",
        """\
As in matrix factorization (15.3.2), each optimizer needs its own learning rate. Adam is best at
the chapter's 0.01 ([test_hit_rate optimizer=adam lr=0.01]). NAG reaches the same at 10
([test_hit_rate optimizer=nag lr=10]) and Adagrad at 1 ([test_hit_rate optimizer=adagrad lr=1]).
SGD has not begun at 1: the AUC stays at [test_auc optimizer=sgd lr=1], that of the untrained
net. (This is below 0.5, because the printed AUC is 0 for users whose held-out item is not among
the first 943: `ERRATA.md`, K2.) At 10, the highest rate tried, it is still on its way
([test_hit_rate optimizer=sgd lr=10]). The reason: at first, all factors are close to 0, and the
gradient of each tower is a product of them, so it is close to 0 as well. RMSProp stays a little
behind (an AUC of [test_auc optimizer=rmsprop lr=0.1], Adam [test_auc optimizer=adam lr=0.01]).

Less weight decay than the chapter's 1e-05 is a little better: without any, the AUC is
[2: test_auc wd=0] instead of [2: test_auc wd=1e-05], and with 1e-06 it is
[2: test_auc wd=1e-06]. Ten times the chapter's decay is harmful ([2: test_auc wd=0.0001]). With
0.001 nothing is learned: the decay outweighs the gradient.""",
        [
            Part(
                "NeuMF by optimizer and learning rate",
                [Grid("neumf", {"optimizer": OPTIMIZERS, "lr": (0.001, 0.01, 0.1, 1.0, 10.0)})],
            ),
            Part(
                "NeuMF by weight decay",
                [Grid("neumf", {"wd": (0.0, 1e-6, 1e-5, 1e-4, 1e-3)})],
            ),
        ],
        [
            "test_hit_rate: optimizer=adam lr=0.01 > optimizer=adam lr=0.001",
            "test_hit_rate: optimizer=adam lr=0.01 > optimizer=adam lr=0.1",
            "test_hit_rate: optimizer=adam lr=0.01 ~ optimizer=nag lr=10",
            "test_hit_rate: optimizer=adam lr=0.01 ~ optimizer=adagrad lr=1",
            "test_hit_rate: optimizer=sgd lr=10 < optimizer=nag lr=10",
            "test_auc: optimizer=rmsprop lr=0.1 < optimizer=adam lr=0.01",
            "2: test_auc: wd=1e-05 < wd=0",
            "2: test_auc: wd=1e-05 < wd=1e-06",
            "2: test_auc: wd=0.0001 < wd=1e-05",
            "2: test_auc: wd=0.001 < wd=0.0001",
        ],
    ),
    Exercise(
        "15.6.4",
        "What does the hinge loss change in NeuMF, compared with BPR?",
        """\
Nothing that can be seen: BPR has a hit rate of [test_hit_rate loss=bpr] and the hinge loss of
[test_hit_rate loss=hinge], with AUCs of [test_auc loss=bpr] and [test_auc loss=hinge]. Exercise
15.5.1 has other margins and other losses; there, the number of unseen items matters more than
the shape of the loss.""",
        [Part("NeuMF with BPR and with hinge", [Grid("neumf", {"loss": ("bpr", "hinge")})], 5)],
        [
            "test_hit_rate: loss=bpr ~ loss=hinge",
            "test_auc: loss=bpr ~ loss=hinge",
        ],
    ),
    Exercise(
        "15.6.5",
        "Which of the two towers does the work: GMF alone, MLP alone, or both?",
        """\
GMF. At equal settings and on the same scale, no difference is seen between GMF alone and both
towers together: printed, the AUC is [test_auc model=GMF protocol=printed] and
[test_auc model=NeuMF protocol=printed]. MLP alone is worse:
[test_auc model=MLP protocol=printed]. So at the chapter's settings no gain from the MLP is seen
(compare Rendle et al. 2020). (The layers of the MLP alone start with larger weights than in
NeuMF. `chapters/extras/mlp.py` says why.)

Two things lead to wrong conclusions here. The printed AUC is on another scale than the defined
one ([test_auc model=NeuMF protocol=defined] for NeuMF), because the chapter's code ranks only
943 of the 1,682 items (`ERRATA.md`). And `d2l-recsys run gmf` has settings of its own: more
factors, more epochs and the log loss. Its defined AUC, 0.890 on the
[leaderboard](leaderboard/leaderboard.md), must not be compared with the printed AUC of NeuMF.""",
        [
            Part(
                "NeuMF and its two towers, at the settings of NeuMF",
                [
                    Grid("neumf", PROTOCOLS, {}, {"model": "NeuMF"}),
                    Grid("gmf", PROTOCOLS, OF_NEUMF, {"model": "GMF"}),
                    Grid(
                        "mlp",
                        PROTOCOLS,
                        {**OF_NEUMF, "nums_hiddens": [10, 10, 10]},
                        {"model": "MLP"},
                    ),
                ],
                5,
            )
        ],
        [
            "test_auc: model=GMF protocol=printed ~ model=NeuMF protocol=printed",
            "test_hit_rate: model=GMF protocol=printed ~ model=NeuMF protocol=printed",
            "test_auc: model=MLP protocol=printed < model=NeuMF protocol=printed",
            "test_hit_rate: model=MLP protocol=defined < model=NeuMF protocol=defined",
            "test_auc: model=NeuMF protocol=defined > model=NeuMF protocol=printed",
        ],
    ),
    Exercise(
        "15.7.1",
        "Which matters more in Caser, the horizontal or the vertical convolutions?",
        """\
The horizontal ones, but the difference is small. Without them, the AUC falls from
[test_auc filters=both] to [test_auc filters=vertical]. Without the vertical filters it stays at
[test_auc filters=horizontal], and the hit rate does not change clearly either. So the horizontal
filters, which see several items in their order, are enough here. They also have more weights: 16
filters of each height, against 4 vertical ones.""",
        [
            Part(
                "Caser without one kind of filters",
                [
                    Grid("caser", {}, {}, {"filters": "both"}),
                    Grid("caser", {}, {"d": 0}, {"filters": "vertical"}),
                    Grid("caser", {}, {"d_prime": 0}, {"filters": "horizontal"}),
                ],
                10,
            )
        ],
        [
            "test_hit_rate: filters=horizontal ~ filters=both",
            "test_auc: filters=horizontal ~ filters=both",
            "test_auc: filters=vertical < filters=both",
            "test_auc: filters=vertical < filters=horizontal",
        ],
    ),
    Exercise(
        "15.7.2",
        "How does the length L of the sequences change Caser?",
        """\
Five items are better than one. The hit rate rises from [test_hit_rate L=1] with one item to
[test_hit_rate L=5] with five (the chapter's text has 5, its code 3), and stays there:
[test_hit_rate L=8] with 8, [test_hit_rate L=12] with 12. With 20 it is [test_hit_rate L=20],
lower again. With three seeds, the chapter's 3 and 5 are not clearly different, and by AUC there
is no clear rise after 2 items. A user with c items gives c - L training examples, so a longer
history leaves fewer of them, and the model has more weights: filters of every height up to L.""",
        [Part("Caser by L", [Grid("caser", {"L": (1, 2, 3, 5, 8, 12, 20)})])],
        [
            "test_hit_rate: L=5 > L=1",
            "test_hit_rate: L=5 ~ L=3",
            "test_auc: L=5 ~ L=2",
            "test_hit_rate: L=8 ~ L=5",
            "test_hit_rate: L=12 ~ L=5",
            "test_hit_rate: L=20 < L=12",
        ],
    ),
    Exercise(
        "15.7.3",
        "How does session-based recommendation differ from sequence-aware recommendation?",
        """\
**Sequence-aware** (section 15.7): the user is known. The model has the whole history, often of
years, and can have factors p_u for each user, as Caser has. The last item of each user is
predicted.

**Session-based:** the visitor is anonymous. Only the items of this session are known, often three
or four. There are no factors of users, and nothing is known of earlier sessions. What counts is the
next item within the session, at every place of the session. So a session gives many tests, and a
test has few items to read.

The runs below have this task. The ratings of a user are cut where the user pauses for more than 30
minutes, and the last tenth of the 2,283 sessions is the test: 8,545 next items. At each of them, a
model ranks all movies that the session does not have yet. GRU4Rec (Hidasi et al. 2016) reads the
session with a recurrent net. "Caser" is the chapter's net without p_u, on the last five items of
the session. Two baselines are beside them on the same test: the movies with the most sessions, and
item-kNN, the movies that are most similar to the last one by their sessions.

**GRU4Rec does best,** with cross-entropy as its loss: its hit rate among the first 20 is
[test_hit_rate model=GRU4Rec]. Caser has [test_hit_rate model=Caser], item-kNN
[itemknn_hit_rate model=GRU4Rec], and popularity [popularity_hit_rate model=GRU4Rec]. By MRR,
GRU4Rec ([test_mrr model=GRU4Rec]) and Caser ([test_mrr model=Caser]) are not clearly different, and
the lead over item-kNN ([itemknn_mrr model=GRU4Rec]) is small. So a baseline that reads one item and
needs no training comes near.

**The loss matters more than the net.** With the losses of the paper, which compare the next item
with other items of the batch, GRU4Rec stays below item-kNN: TOP1 gives
[2: test_hit_rate loss=top1], and BPR [2: test_hit_rate loss=bpr]. Cross-entropy over all movies
gives [2: test_hit_rate loss=cross_entropy]. This loss is cheap here, because MovieLens has few
movies. (`chapters/extras/gru4rec.py` has the search for settings. TOP1 with another optimizer is a
little better, but also below item-kNN there.)

MovieLens is a poor stand-in for sessions. People enter, in one sitting, movies that they saw over
years. Half of the ratings have the same second as the rating before, so much of the order is that
of the file. These hit rates also cannot be compared with those of Caser in section 15.7: they are
of other tests.""",
        [
            Part(
                "Models of sessions",
                [
                    Grid("gru4rec", {}, {}, {"model": "GRU4Rec"}),
                    Grid("session_caser", {}, {}, {"model": "Caser"}),
                ],
                numbers=["itemknn_hit_rate", "itemknn_mrr", "popularity_hit_rate"],
            ),
            Part(
                "GRU4Rec by loss",
                [Grid("gru4rec", {"loss": ("cross_entropy", "top1", "bpr")})],
            ),
        ],
        [
            "test_hit_rate: model=GRU4Rec > model=Caser",
            "test_mrr: model=GRU4Rec ~ model=Caser",
            "2: test_hit_rate: loss=top1 < loss=cross_entropy",
            "2: test_hit_rate: loss=bpr < loss=cross_entropy",
        ],
    ),
]
