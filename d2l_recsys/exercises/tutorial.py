"""The questions of a tutorial on recommender systems, with its own systems and ours beside them."""

from d2l_recsys.exercises.exercise import BestOfUsers, Exercise, Grid, OverEpochs, Part

# Seeds below 100 with which the tutorial's NeuMF is stuck.
STUCK = (47, 65, 74, 80, 84)
AUTOENCODER_LRS = (0.01, 0.001, 0.0003)

EXERCISES = [
    Exercise(
        "tutorial.2",
        "What does an SVD of all ratings recommend to user 837? And alternating least squares?",
        """\
The tutorial subtracts from each user's row its mean over all 1,682 items. An unrated item counts
as 0 in this mean. It keeps 50 singular values, adds the mean again, and sorts the movies that the
user has not rated. The first list is the tutorial's own, to three decimals. A score is no rating:
the user has rated few of the items, so the mean of the row is near 0 (`ERRATA.md`, T1). With 20
factors, three of the five movies stay.

`d2l-recsys run svd` fills an unrated cell with the mean of the user's *ratings* instead, so its
scores are ratings. Its list has none of the five movies. ALS needs no fill. It fits the rated
cells only (explicit), or it fits 1 where there is a rating and gives these cells a higher weight
(implicit, the default).

Which list is better cannot be said by looking at it. The second table tests the same ideas on
held-out items. To fill with 0 ranks better than to fill with the user's mean (with 50 factors,
the NDCG@10 is [2: test_ndcg model=svd,fill=zero num_factors=50] and
[2: test_ndcg model=svd,fill=mean num_factors=50]). With 0, the matrix also tells which movies are
rated at all, and the test asks for the next movie that the user rates. For the same reason,
implicit ALS ([2: test_ndcg model=als,implicit]) ranks better than explicit ALS
([2: test_ndcg model=als,explicit]), each with the settings of the leaderboard.""",
        [
            BestOfUsers(
                "What each model recommends to user 837",
                [
                    Grid("tutorial_svd", {"num_factors": (50, 20)}, {}, {"model": "tutorial_svd"}),
                    Grid("svd", {"num_factors": (50,)}, {}, {"model": "svd"}),
                    Grid("als", {"num_factors": (50,)}, {}, {"model": "als"}),
                ],
                (837,),
            ),
            Part(
                "SVD and ALS on held-out items",
                [
                    *(
                        Grid(
                            "svd",
                            {"num_factors": (20, 50)},
                            {"fill": fill},
                            {"model": f"svd,fill={fill}"},
                        )
                        for fill in ("mean", "zero")
                    ),
                    Grid(
                        "als",
                        {"num_factors": (32,)},
                        {"feedback": "explicit", "reg": 0.1},
                        {"model": "als,explicit"},
                    ),
                    Grid("als", {"num_factors": (64,)}, {}, {"model": "als,implicit"}),
                ],
            ),
        ],
        ["2: test_ndcg: model=als,implicit > model=als,explicit"],
    ),
    Exercise(
        "tutorial.3",
        "How does the loss of NeuMF on ratings fall over five epochs, and why not always?",
        """\
There are two regimes. The usual one starts near 5 and ends at about 1.05, as in the tutorial
(4.545, 1.305, 1.190, 1.118, 1.062). Of 100 seeds, [count stuck] are in the other one: the loss
falls slowly and is still near 5 after five epochs. (The tutorial's second example is 12.87,
10.35, 8.35, 6.68, 5.32.) With seeds 0 to 19 alone, there is no stuck run.

All predictions start around 0, so the first steps raise them all to the mean rating, 3.53. A unit
of the last layer of the MLP with a positive weight in the output grows. A unit with a negative
weight is turned down, and may reach 0 for all pairs. A rectifier that is off has the gradient 0,
so it stays off. If all units go this way, the net is *stuck*. Then it is almost only the bias of
the output that learns the mean rating. Adam moves it by about the learning rate a step or less:
391 steps of 0.001 an epoch. (We count a net as stuck if fewer than 1 % of the pairs have an
active unit.)

The second table tests this explanation. It starts the same stuck nets with another bias of the
output. *Learned* is the tutorial's. If the bias starts at the mean rating, nothing has to be
raised: [2: count stuck output_bias=mean] of the 5 nets are stuck, and the loss ends at
[2: train_loss output_bias=mean]. Without a bias, [2: count stuck output_bias=none] of them are
still stuck after five epochs, and their loss is near the mean square of the ratings, 13.7. The
other net begins to learn in the fifth epoch. In the third table the weights start with Xavier's
values and the biases at 0: [3: count stuck start=xavier] of the same seeds are stuck.""",
        [
            OverEpochs(
                "The tutorial's NeuMF over 100 seeds",
                [Grid("tutorial_neumf")],
                ["train_loss"],
                (1, 2, 3, 4, 5),
                100,
                "stuck",
            ),
            OverEpochs(
                "The stuck nets, with other biases of the output",
                [Grid("tutorial_neumf", {"output_bias": ("learned", "mean", "none")})],
                ["train_loss"],
                (1, 2, 3, 4, 5),
                STUCK,
            ),
            OverEpochs(
                "The same seeds, with weights that start as in Gluon",
                [Grid("tutorial_neumf", {"start": ("xavier",)})],
                ["train_loss"],
                (1, 2, 3, 4, 5),
                STUCK,
                "stuck",
            ),
        ],
        [
            "2: train_loss: output_bias=mean < output_bias=learned",
            "2: train_loss: output_bias=none > output_bias=learned",
        ],
    ),
    Exercise(
        "tutorial.4",
        "What does an autoencoder of the rows of ratings learn, one row a step?",
        """\
At the tutorial's rate of 0.01: nothing about the users. Its units die within a few epochs
([dead_units lr=0.01] of 32 at the end). Then all 943 users get the same scores. User 837 gets
Star Wars, Fargo, Raiders of the Lost Ark, Toy Story and The Godfather, as in the tutorial. Other
users have rated other movies, so their lists differ only in what is left out. The loss is
[train_loss lr=0.01]. To restore the mean row for everybody gives [mean_row_loss lr=0.01], so even
this is a little better.

The step is too large. A row has about a hundred ratings, so one step of Adam moves the input of a
unit by several units at once, and a unit that gets below 0 for all users has no gradient any
more. A smaller rate mends it. With 0.001 the loss is [train_loss lr=0.001], with 0.0003
[train_loss lr=0.0003], where [dead_units lr=0.0003] units are dead and the users have
[num_lists lr=0.0003] different lists of five.

Beside it stand two other autoencoders. A *denoising* one (`d2l-recsys run cdae`) leaves out a
part of each row in training and must restore it. So it cannot just copy its input, and it learns
which movies go together. A *variational* one (`d2l-recsys run multvae`) has a distribution as its
hidden layer, draws from it, and is kept near the standard normal distribution. On the
[leaderboard](leaderboard/leaderboard.md) both have a higher NDCG@10 than the plain autoencoder of
`d2l-recsys run autoencoder`. That one has sigmoid units, which cannot die in this way, and reads
64 users a step.""",
        [
            OverEpochs(
                "The tutorial's autoencoder by learning rate",
                [Grid("tutorial_autoencoder", {"lr": AUTOENCODER_LRS})],
                ["train_loss", "dead_units", "num_lists"],
                (1, 2, 3, 4, 10, 20),
            ),
            BestOfUsers(
                "What it recommends",
                [Grid("tutorial_autoencoder", {"lr": (0.01, 0.0003)})],
                (837, 1, 100),
            ),
        ],
        [
            "train_loss: lr=0.001 < lr=0.01",
            "train_loss: lr=0.0003 < lr=0.001",
            "dead_units: lr=0.0003 < lr=0.01",
        ],
    ),
    Exercise(
        "tutorial.5",
        "How do graph models and self-attention compare with the rest?",
        """\
`d2l-recsys run ngcf` and `d2l-recsys run lightgcn` pass the factors along the graph of users and
items, and `d2l-recsys run sasrec` reads a history by self-attention. The
[leaderboard](leaderboard/leaderboard.md) compares them with 21 other entries, over five seeds,
each at settings that were chosen on validation data.

By NDCG@10, SASRec comes second, behind a linear model that knows the order of a history
(`ordered_ease`). The two are not clearly different. The two models behind them are Caser, which
also reads the order, and CDAE, which does not. LightGCN comes eighth and NGCF fifteenth: without
weights and activations, the graph model is simpler, faster and here also better, as its authors
found elsewhere (He et al. 2020). So on this data it helps more to know the order of a history
than to pass factors along the graph. The times differ by a factor of hundreds: `ordered_ease`
takes a second, LightGCN ten seconds, SASRec six minutes.""",
    ),
]
