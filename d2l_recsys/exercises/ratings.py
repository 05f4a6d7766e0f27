"""The exercises of sections 15.3 and 15.4: matrix factorization and AutoRec."""

from d2l_recsys.exercises.exercise import Exercise, Grid, OfOneMovie, Part

LRS = (0.002, 0.01, 0.1, 1.0, 10.0, 100.0)
OPTIMIZERS = ("sgd", "nag", "adagrad", "rmsprop", "adam")
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu")

EXERCISES = [
    Exercise(
        "15.3.1",
        "How does the number of latent factors change matrix factorization?",
        """\
The test error is lowest with 30 to 50 factors. With 5 factors the RMSE is
[test_rmse num_factors=5], with 30 it is [test_rmse num_factors=30], with 50
[test_rmse num_factors=50], and with 100 it rises to [test_rmse num_factors=100]. Between 30 and
50 these seeds show no difference.

The training loss tells why. It falls all the way, from [train_loss num_factors=5] with 5 factors
to [train_loss num_factors=100] with 100. So the model with 100 factors overfits: it learns the
training ratings better, and the test ratings worse. The number of epochs is the same for all.""",
        [
            Part(
                "MF by number of factors",
                [Grid("mf", {"num_factors": (5, 10, 30, 50, 100)})],
                5,
                ["train_loss"],
            )
        ],
        [
            "test_rmse: num_factors=30 < num_factors=5",
            "test_rmse: num_factors=50 < num_factors=10",
            "test_rmse: num_factors=30 ~ num_factors=50",
            "test_rmse: num_factors=100 > num_factors=50",
            "train_loss: num_factors=100 < num_factors=50",
        ],
    ),
    Exercise(
        "15.3.2",
        "What do the optimizer, the learning rate and the weight decay change?",
        """\
Each optimizer needs its own learning rate. Of the rates tried, the chapter's 0.002 is best for
Adam ([test_rmse optimizer=adam lr=0.002]). SGD needs 10, five thousand times as much
([test_rmse optimizer=sgd lr=10]), and diverges at 100. At the rate of Adam, SGD has hardly begun
([test_rmse optimizer=sgd lr=0.002] after 20 epochs). The reason: the step uses the mean gradient
of a batch, and a batch of 512 has, on average, half a rating of any one user. So the gradient of
a row of P is tiny. Adam and RMSProp divide it by its own size. SGD does not. NAG with the
momentum 0.9 at some rate is like SGD at ten times this rate, because its steps add up to ten
times as much. Each at the best rate tried, Adam has the lowest mean. Three seeds do not settle
whether it is better than SGD and NAG, but RMSProp ([test_rmse optimizer=rmsprop lr=0.002]) and
Adagrad ([test_rmse optimizer=adagrad lr=0.01]) are worse. (For Adam and RMSProp the best rate is
also the lowest one tried. Lower rates may be better still.)

The weight decay of the chapter, 1e-05, changes nothing that can be seen, compared with none.
More is worse: 0.0001 gives [2: test_rmse wd=0.0001], and 0.001 gives [2: test_rmse wd=0.001].
MXNet adds the decay to the mean gradient. This gradient is so small that a decay of 0.001
outweighs it.""",
        [
            Part(
                "MF by optimizer and learning rate",
                [Grid("mf", {"optimizer": OPTIMIZERS, "lr": LRS})],
            ),
            Part(
                "MF by weight decay",
                [Grid("mf", {"wd": (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)})],
            ),
        ],
        [
            "test_rmse: optimizer=adam lr=0.002 < optimizer=adam lr=0.01",
            "test_rmse: optimizer=adam lr=0.002 ~ optimizer=sgd lr=10",
            "test_rmse: optimizer=adam lr=0.002 < optimizer=rmsprop lr=0.002",
            "test_rmse: optimizer=sgd lr=10 < optimizer=sgd lr=1",
            "test_rmse: optimizer=sgd lr=10 ~ optimizer=nag lr=1",
            "test_rmse: optimizer=rmsprop lr=0.002 < optimizer=adagrad lr=0.01",
            "2: test_rmse: wd=1e-05 ~ wd=0",
            "2: test_rmse: wd=0.0001 > wd=1e-05",
            "2: test_rmse: wd=0.001 > wd=0.0001",
        ],
    ),
    Exercise(
        "15.3.3",
        "Which ratings does the model predict for all users and one movie?",
        """\
The model gives every user a rating, also those who never rated the movie. The tables and the
histograms are of a movie that many have rated and of one that few have rated. Three things can
be seen. The predictions lie around the mean of the real ratings. They spread by about half a
star, by the biases of the users and the factors. And nothing keeps them between 1 and 5: the
highest are near 6, so a program that shows them has to cut them off.

`d2l-recsys predict FOLDER --item 50` shows the same for any movie and any trained model, and
`--user 20 --item 30` shows a single rating.""",
        [OfOneMovie("Predicted ratings of one movie", "mf", (50, 30))],
    ),
    Exercise(
        "15.4.1",
        "How does the size of the hidden layer change AutoRec?",
        """\
The larger, the better, as far as 1,000 units: the RMSE falls from [test_rmse num_hidden=20] with
20 units to [test_rmse num_hidden=100] with 100, [test_rmse num_hidden=500] with 500 (the
chapter) and [test_rmse num_hidden=1000] with 1,000. Unlike with the factors of matrix
factorization (15.3.1), no size is too large here. The gain from 500 to 1,000 units is small, and
each step up takes longer.""",
        [
            Part(
                "AutoRec by hidden units",
                [Grid("autorec", {"num_hidden": (20, 50, 100, 250, 500, 1000)})],
            )
        ],
        [
            "test_rmse: num_hidden=100 < num_hidden=20",
            "test_rmse: num_hidden=500 < num_hidden=100",
            "test_rmse: num_hidden=1000 < num_hidden=500",
        ],
    ),
    Exercise(
        "15.4.2",
        "Do more hidden layers help AutoRec?",
        """\
Not here. One layer of 500 units gives [test_rmse nums_hiddens=500]. Two layers of 500 give
[test_rmse nums_hiddens=500,500], and three give [test_rmse nums_hiddens=500,250,500], or
[test_rmse nums_hiddens=250,100,250] if they are smaller. The chapter's settings are kept: all
weights begin near 0 and pass through sigmoids, so the gradient becomes smaller with each layer,
and 25 epochs are few. (Sedhain et al. 2015, who invented AutoRec, trained their deeper net layer
by layer first.) So this shows what depth does at these settings. It does not show what depth
could do.""",
        [
            Part(
                "AutoRec by hidden layers",
                [
                    Grid(
                        "autorec",
                        {"nums_hiddens": ([500], [500, 500], [500, 250, 500], [250, 100, 250])},
                    )
                ],
            )
        ],
        [
            "test_rmse: nums_hiddens=500,500 > nums_hiddens=500",
            "test_rmse: nums_hiddens=500,250,500 > nums_hiddens=500,500",
        ],
    ),
    Exercise(
        "15.4.3",
        "Is there a better pair of activations for encoder and decoder?",
        """\
Only by a little. The chapter's pair, a sigmoid in the encoder and none in the decoder, gives an
RMSE of [test_rmse encoder_activation=sigmoid decoder_activation=identity]. With a rectifier as
decoder it is [test_rmse encoder_activation=sigmoid decoder_activation=relu]: ratings are
positive, so a rectifier only cuts off predictions below 0. As encoder, tanh is not clearly worse
([test_rmse encoder_activation=tanh decoder_activation=identity]). The rectifier is worse
([test_rmse encoder_activation=relu decoder_activation=identity]), and the identity, which leaves
a linear model, is worst ([test_rmse encoder_activation=identity decoder_activation=identity]).
The rectifier has a lower training loss than the sigmoid (the last check), and a higher test
error, so it overfits.

A sigmoid or tanh as decoder cannot work: its output is at most 1, and ratings go up to 5. All of
them end at an RMSE of about 2.77.""",
        [
            Part(
                "AutoRec by activations",
                [
                    Grid(
                        "autorec",
                        {"encoder_activation": ACTIVATIONS, "decoder_activation": ACTIVATIONS},
                    )
                ],
            )
        ],
        [
            "test_rmse: encoder_activation=sigmoid decoder_activation=relu "
            "< encoder_activation=sigmoid decoder_activation=identity",
            "test_rmse: encoder_activation=sigmoid decoder_activation=identity "
            "~ encoder_activation=tanh decoder_activation=identity",
            "test_rmse: encoder_activation=tanh decoder_activation=identity "
            "< encoder_activation=relu decoder_activation=identity",
            "test_rmse: encoder_activation=relu decoder_activation=identity "
            "< encoder_activation=identity decoder_activation=identity",
            "test_rmse: encoder_activation=sigmoid decoder_activation=sigmoid "
            "> encoder_activation=identity decoder_activation=identity",
            "train_loss: encoder_activation=relu decoder_activation=identity "
            "< encoder_activation=sigmoid decoder_activation=identity",
        ],
    ),
]
