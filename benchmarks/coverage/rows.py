"""The table of ``docs/coverage.md``: a row for each part of the chapter and of its companions.

To add a row, add a line here and run ``python -m benchmarks.coverage``.
"""

import enum
from typing import List, NamedTuple, Optional

from benchmarks.coverage.values import (
    DASH,
    Answered,
    Checked,
    Code,
    Counted,
    Figure,
    Link,
    Model,
    Seeds,
    Several,
    Value,
)
from d2l_recsys.exercises.answers import EXERCISES
from d2l_recsys.runs.reported import reported_decimals, reported_numbers


class Kind(enum.Enum):
    """What a row is about."""

    code = "code"
    output = "output"
    figure = "figure"
    exercise = "exercise"
    text = "text"


class Compared(enum.Enum):
    """How our number agrees with the source's."""

    # Rounded like the source's number, ours is the same.
    equal = "equal"
    # The source's number lies between our smallest and our largest number.
    in_range = "in the range of the seeds"
    # An entry of ERRATA.md says why.
    differs = "differs"


class Row(NamedTuple):
    """A part of a source, and what does the same here.

    ``section`` is the heading. ``command`` comes after ``d2l-recsys``; it is None if nothing can
    run, and ``note`` then has the reason. ``source`` is the value in the source. ``ours`` is where
    our value comes from. ``compared`` says how a test compares the two; ``erratum`` is the entry
    that explains a difference.
    """

    section: str
    kind: Kind
    what: str
    command: Optional[str] = None
    ours: Optional[Value] = None
    source: str = DASH
    compared: Optional[Compared] = None
    erratum: str = ""
    note: str = ""


DRAWING = "a drawing that explains; it shows no result"
OTHER_CLICKS = "other clicks: the book's full click data could not be downloaded"
SPEED = "a speed on the book's two GPUs"
SEED = "depends on the seed"
MOVIELENS, MF, AUTOREC, LOSSES = "15.2", "15.3", "15.4", "15.5"
NEUMF, CASER, CTR, FM, DEEPFM = "15.6", "15.7", "15.8", "15.9", "15.10"


def _code(section: str, what: str, command: str, path: str, *names: str) -> Row:
    return Row(section, Kind.code, what, command, Code(path, *names))


def _drawing(section: str, what: str) -> Row:
    return Row(section, Kind.figure, what, note=DRAWING)


def _curve(section: str, what: str, name: str) -> Row:
    curve = Link("curve over 20 seeds", f"docs/reference/figures/{name}.png")
    return Row(section, Kind.figure, what, f"run {name}", curve)


def _printed(section: str, what: str, name: str, number: str, erratum: str = "") -> Row:
    """A number that the book prints after training; with ``erratum`` if ours is another."""
    source = f"{reported_numbers(name)[number]:.{reported_decimals(name)[number]}f}"
    compared = Compared.differs if erratum else Compared.in_range
    note = OTHER_CLICKS if name in ("fm", "deepfm") else ""
    ours = Seeds(name, number)
    return Row(section, Kind.output, what, f"run {name}", ours, source, compared, erratum, note)


def _speed(section: str, name: str, ours: Value, erratum: str = "") -> Row:
    source = f"{reported_numbers(name)['examples_per_sec']:.1f}"
    what = "examples per second"
    compared = Compared.differs if erratum else None
    return Row(
        section, Kind.output, what, f"run {name}", ours, source, compared, erratum, note=SPEED
    )


def _statistic(what: str, number: str, kind: Kind = Kind.output) -> Row:
    """A number of the data set, which the book prints or tells."""
    decimals = reported_decimals("movielens")[number]
    source = f"{reported_numbers('movielens')[number]:,.{decimals}f}"
    ours = Counted("15.2.1", number, decimals)
    return Row(MOVIELENS, kind, what, "run movielens", ours, source, Compared.equal)


def _exercises(section: str) -> List[Row]:
    """The exercises of a section of the chapter, in their order."""
    return [
        Row(section, Kind.exercise, exercise.question, f"exercise {number}", Answered(number))
        for number, exercise in EXERCISES.items()
        if number.rpartition(".")[0] == section
    ]


def _model(section: str, what: str, name: str) -> Row:
    return Row(section, Kind.code, what, f"run {name}", Model(name))


def _answer(section: str, what: str, number: str) -> Row:
    return Row(section, Kind.exercise, what, f"exercise {number}", Answered(number))


EVALUATORS = "d2l_recsys/evaluation/evaluators.py"

CHAPTER: List[Row] = [
    _drawing("15.1", "how recommendation works"),
    *_exercises("15.1"),
    # 15.2
    Row(
        MOVIELENS, Kind.code, "the imports of this and of each other section",
        note="each file here imports what it needs",
    ),
    _code(
        MOVIELENS, "download and read the ratings", "run movielens",
        "d2l_recsys/data.py", "read_data_ml100k",
    ),
    _code(MOVIELENS, "print the statistics", "run movielens", "chapters/movielens.py", "main"),
    _statistic("number of users", "num_users"),
    _statistic("number of items", "num_items"),
    _statistic("sparsity of the matrix", "sparsity"),
    Row(
        MOVIELENS, Kind.output, "the first five ratings: user, item and rating", "run movielens",
        Checked(
            "the same", "tests/test_coverage.py", "test_the_first_five_ratings_are_the_books"
        ),
        "196 242 3, 186 302 3, 22 377 1, 244 51 2, 166 346 1",
    ),
    _statistic("the number of ratings", "num_ratings", Kind.text),
    _code(
        MOVIELENS, "draw how often each rating occurs", "run movielens",
        "d2l_recsys/runs/plots.py", "draw_rating_histogram",
    ),
    Row(
        MOVIELENS, Kind.figure, "how often each rating occurs", "run movielens",
        Link("histogram", "docs/reference/figures/movielens.png"),
    ),
    _code(
        MOVIELENS, "split the ratings", "run mf --split random",
        "d2l_recsys/data.py", "split_data_ml100k",
    ),
    _code(
        MOVIELENS, "load ratings into lists and a matrix", "run autorec",
        "d2l_recsys/data.py", "load_data_ml100k",
    ),
    _code(
        MOVIELENS, "split and load in one step", "run mf",
        "d2l_recsys/data.py", "split_and_load_ml100k",
    ),
    *_exercises(MOVIELENS),
    # 15.3
    _drawing(MF, "the two tables of factors"),
    _code(MF, "the model", "run mf", "chapters/mf.py", "MF"),
    _code(MF, "the test error", "run mf", EVALUATORS, "evaluate_rating"),
    _code(MF, "the training loop", "run mf", "d2l_recsys/train.py", "train_recsys_rating"),
    _code(MF, "train and test", "run mf", "chapters/mf.py", "main"),
    _printed(MF, "train loss", "mf", "train_loss"),
    _printed(MF, "test RMSE", "mf", "test_rmse"),
    _speed(MF, "mf", Link("speed here", "docs/speed.md")),
    _curve(MF, "train loss and test RMSE of each epoch", "mf"),
    _code(
        MF, "predict one rating", "run mf --user 20 --item 30", "chapters/mf.py", "predict_rating"
    ),
    _printed(MF, "rating of user 20 for item 30", "mf", "score_user20_item30")._replace(
        erratum="R3"
    ),
    *_exercises(MF),
    # 15.4
    _code(AUTOREC, "the model", "run autorec", "chapters/autorec.py", "AutoRec"),
    _code(AUTOREC, "the test error", "run autorec", EVALUATORS, "evaluate_reconstruction"),
    _code(AUTOREC, "train and test", "run autorec", "chapters/autorec.py", "main"),
    _printed(AUTOREC, "train loss", "autorec", "train_loss"),
    _printed(AUTOREC, "test RMSE", "autorec", "test_rmse"),
    _speed(AUTOREC, "autorec", Figure("D2", "AutoRec: rows per second here"), "D2"),
    _curve(AUTOREC, "train loss and test RMSE of each epoch", "autorec"),
    Row(
        AUTOREC, Kind.text, "AutoRec's error is lower than that of matrix factorization by",
        "run mf --split random", Figure("R1", "AutoRec's lead on one test set"), "0.155",
        Compared.differs, "R1",
    ),
    *_exercises(AUTOREC),
    # 15.5
    _drawing(LOSSES, "how BPR compares items"),
    _code(
        LOSSES, "the training data: user, seen item, unseen item", "run pairwise",
        "d2l_recsys/sampling.py", "NegativeSampler",
    ),
    _code(LOSSES, "the BPR loss", "run pairwise", "d2l_recsys/losses.py", "BPRLoss"),
    _code(LOSSES, "the hinge loss", "run pairwise", "d2l_recsys/losses.py", "HingeLossbRec"),
    Row(
        LOSSES, Kind.text, "BPR and the hinge loss are interchangeable", "exercise 15.6.4",
        Answered("15.6.4"),
    ),
    *_exercises(LOSSES),
    # 15.6
    _drawing(NEUMF, "the two towers of NeuMF"),
    _code(NEUMF, "the model", "run neumf", "chapters/neumf.py", "NeuMF"),
    _code(
        NEUMF, "a data set with negative items", "run neumf",
        "d2l_recsys/sampling.py", "PairwiseLoader", "NegativeSampler",
    ),
    _code(
        NEUMF, "hits and AUC of one user", "run neumf", "d2l_recsys/ranking.py", "hit_and_auc"
    ),
    _code(NEUMF, "hit rate and AUC of all users", "run neumf", EVALUATORS, "evaluate_ranking"),
    _code(NEUMF, "the training loop", "run neumf", "d2l_recsys/train.py", "train_ranking"),
    _code(NEUMF, "load the data", "run neumf", "d2l_recsys/data.py", "load_ranking_ml100k"),
    _code(NEUMF, "make the net; train and test", "run neumf", "chapters/neumf.py", "main"),
    _printed(NEUMF, "train loss", "neumf", "train_loss"),
    _printed(NEUMF, "test hit rate", "neumf", "test_hit_rate"),
    _printed(NEUMF, "test AUC", "neumf", "test_auc"),
    _speed(NEUMF, "neumf", Figure("D2", "NeuMF: examples/sec here"), "D2"),
    _curve(NEUMF, "test hit rate and AUC of each epoch", "neumf"),
    *_exercises(NEUMF),
    # 15.7
    _drawing(CASER, "the layers of Caser"),
    _code(CASER, "the model", "run caser", "chapters/caser.py", "Caser"),
    _drawing(CASER, "how sequences are cut from a history"),
    _code(
        CASER, "a data set of sequences", "run caser",
        "d2l_recsys/sequences.py", "sequence_windows",
    ),
    _code(CASER, "load the data", "run caser", "d2l_recsys/data.py", "load_ranking_ml100k"),
    Row(
        CASER, Kind.output, "the first training sample: user, sequence, next item", "run caser",
        Checked(
            "the same", "tests/test_caser.py",
            "test_the_first_training_sample_is_the_one_that_the_book_shows",
        ),
        "0, [110, 255, 4], 101", note="the negative item of the sample is drawn at random",
    ),
    _code(CASER, "train and test", "run caser", "chapters/caser.py", "main"),
    _printed(CASER, "train loss", "caser", "train_loss"),
    _printed(CASER, "test hit rate", "caser", "test_hit_rate"),
    _printed(CASER, "test AUC", "caser", "test_auc"),
    _speed(CASER, "caser", Figure("D2", "Caser: examples/sec here"), "D2"),
    _curve(CASER, "test hit rate and AUC of each epoch", "caser"),
    Row(
        CASER, Kind.text, "sequences of five items (the code has three): hit rate",
        "run caser --L 5", Figure("K5", "Hit@50 printed, L 5"), erratum="K5",
    ),
    *_exercises(CASER),
    Row(
        CASER, Kind.exercise, "a session-based model, for 15.7.3", "run gru4rec",
        Answered("15.7.3"),
    ),
    # 15.8
    _code(CTR, "download the clicks", "run ctr", "d2l_recsys/datasets/click_sets.py", "find_book"),
    Row(
        CTR, Kind.text, "number of training rows", None, None, "15,000",
        note="the book's training file could not be downloaded",
    ),
    Row(
        CTR, Kind.text, "number of test rows", "run ctr", Figure("C4", "book's test rows"),
        "3,000", Compared.equal, note="with the book's test file in `--data-dir`",
    ),
    _code(CTR, "a data set of clicks", "run ctr", "d2l_recsys/ctr.py", "CTRDataset"),
    _code(CTR, "show the first record", "run ctr", "chapters/ctr.py", "main"),
    Row(
        CTR, Kind.output, "the first record: numbers of 34 features, and a label", "run ctr",
        Link("field sizes", "docs/reference/figures/ctr.png"), erratum="C5",
        note="the book's numbers change from process to process",
    ),
    *_exercises(CTR),
    # 15.9
    _code(FM, "the model", "run fm", "chapters/fm.py", "FM"),
    _code(FM, "load the clicks", "run fm", "d2l_recsys/data.py", "load_data_ctr"),
    _code(FM, "train and test", "run fm", "d2l_recsys/train.py", "train_ctr"),
    _printed(FM, "train loss", "fm", "train_loss", "C2"),
    _printed(FM, "train accuracy", "fm", "train_acc", "C1"),
    _printed(FM, "test accuracy", "fm", "test_acc", "C1"),
    _speed(FM, "fm", Figure("C8", "FM, examples/sec printed"), "C8"),
    _curve(FM, "loss and accuracies of each epoch", "fm"),
    Row(
        FM, Kind.text, "a learning rate of 0.01 (the code has 0.02): accuracy",
        "run fm --lr 0.01", Figure("C3", "lr 0.01, accuracy printed"), erratum="C3",
    ),
    *_exercises(FM),
    # 15.10
    _drawing(DEEPFM, "the two parts of DeepFM"),
    _code(DEEPFM, "the model", "run deepfm", "chapters/deepfm.py", "DeepFM"),
    _code(DEEPFM, "load the clicks; train and test", "run deepfm", "chapters/deepfm.py", "main"),
    _printed(DEEPFM, "train loss", "deepfm", "train_loss", "C2"),
    _printed(DEEPFM, "train accuracy", "deepfm", "train_acc", "C1"),
    _printed(DEEPFM, "test accuracy", "deepfm", "test_acc", "C1"),
    _speed(DEEPFM, "deepfm", Link("speed here", "docs/speed.md")),
    _curve(DEEPFM, "loss and accuracies of each epoch", "deepfm"),
    Row(
        DEEPFM, Kind.text, "DeepFM is better than FM", "exercise 15.10.2", Answered("15.10.2")
    ),
    *_exercises(DEEPFM),
]  # fmt: skip

T_SVD, T_NEUMF, T_AUTOENCODER = "Tutorial 2", "Tutorial 3", "Tutorial 4"
T_OTHERS, NOTES = "Tutorial 5", "Lecture notes 21.3"


def _epochs(name: str) -> Several:
    return Several(*(Figure("T2", f"{name}, loss of epoch {epoch}") for epoch in range(1, 6)))


TUTORIAL: List[Row] = [
    _model(T_SVD, "SVD of all ratings, rows without their means", "tutorial_svd"),
    *(
        Row(
            T_SVD, Kind.output, f"user 837, movie {place}: {movie}", "run tutorial_svd",
            Figure("T1", f"score of movie {place} for user 837"), score, Compared.equal, "T1",
        )
        for place, (movie, score) in enumerate(
            [
                ("Il Postino", "1.975"),
                ("Toy Story", "1.739"),
                ("Cold Comfort Farm", "1.526"),
                ("The Spitfire Grill", "1.430"),
                ("Star Wars", "1.423"),
            ],
            1,
        )
    ),
    _model(T_SVD, "alternating least squares", "als"),
    _answer(T_SVD, "SVD, ALS and the unrated movies", "tutorial.2"),
    _model(T_NEUMF, "NeuMF on ratings", "tutorial_neumf"),
    Row(
        T_NEUMF, Kind.output, "loss of five epochs, one seed", "run tutorial_neumf",
        _epochs("usual"), "4.545, 1.305, 1.190, 1.118, 1.062", erratum="T2", note=SEED,
    ),
    Row(
        T_NEUMF, Kind.output, "loss of five epochs, another seed", "run tutorial_neumf --seed 47",
        _epochs("stuck"), "12.87, 10.35, 8.35, 6.68, 5.32", erratum="T2", note=SEED,
    ),
    _answer(T_NEUMF, "how often training is stuck", "tutorial.3"),
    _model(T_AUTOENCODER, "an autoencoder of the rows", "tutorial_autoencoder"),
    *(
        Row(
            T_AUTOENCODER, Kind.output, what, "run tutorial_autoencoder",
            Figure("T3", figure), source, compared, "T3", note,
        )
        for what, figure, source, compared, note in [
            ("loss of the first epoch", "rate 0.01, loss of epoch 1", "0.736", None, SEED),
            ("loss from epoch 4 on", "rate 0.01, loss of epoch 4", "0.7126", None, SEED),
            (
                "hidden units that are dead, of 32", "rate 0.01, fewest dead units", "32",
                Compared.equal, "",
            ),
            ("loss of the mean row", "loss of the mean row", "0.709", Compared.equal, ""),
        ]
    ),
    Row(
        T_AUTOENCODER, Kind.output, "the list of user 837", "run tutorial_autoencoder",
        Checked(
            "the same list", "tests/test_tutorial.py",
            "test_all_units_of_the_autoencoder_die_and_all_users_get_the_same_scores",
        ),
        "Star Wars, Fargo, Raiders of the Lost Ark, Toy Story, The Godfather", erratum="T3",
    ),
    _model(T_AUTOENCODER, "a denoising autoencoder", "cdae"),
    _model(T_AUTOENCODER, "a variational autoencoder", "multvae"),
    _answer(T_AUTOENCODER, "the dead units, and what helps", "tutorial.4"),
    _model(T_OTHERS, "a graph network", "ngcf"),
    _model(T_OTHERS, "a graph network without weights", "lightgcn"),
    _model(T_OTHERS, "self-attention over a history", "sasrec"),
    _answer(T_OTHERS, "these models beside the others", "tutorial.5"),
]  # fmt: skip

LECTURES: List[Row] = [
    Row(
        NOTES,
        Kind.code,
        "BPR and the hinge loss beside each other",
        "run pairwise",
        Model("pairwise"),
    ),
]

ROWS: List[Row] = [*CHAPTER, *TUTORIAL, *LECTURES]
