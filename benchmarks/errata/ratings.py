"""Measures the errata on ratings: sections 15.3 (MF) and 15.4 (AutoRec)."""

import numpy

from benchmarks.errata.figures import Figures, differences, mean_sd
from benchmarks.errata.lab import Lab, Rows
from d2l_recsys.backend import gluon, mx, np
from d2l_recsys.devices import share_bounds
from d2l_recsys.evaluation.rating_metrics import rating_scores
from d2l_recsys.runs.reported import reported_numbers
from d2l_recsys.settings import Scores

ROWS = Rows()

TEST_RMSE = [(protocol, protocol, "test_rmse") for protocol in ("printed", "defined")]


def rmse_on(
    labels: numpy.ndarray, predictions: numpy.ndarray, batch_size: int, devices: int
) -> Scores:
    """Returns the printed and the defined RMSE of a test set.

    The test set is cut into batches, and each batch is split across the devices. ``labels`` and
    ``predictions`` are one-dimensional, in the order of the test set. See ``rating_scores``.
    """
    batches = []
    for start in range(0, len(labels), batch_size):
        bounds = share_bounds(start, min(start + batch_size, len(labels)), devices)
        batches.append([(labels[a:b], predictions[a:b]) for a, b in bounds])
    return rating_scores(batches)


@ROWS.row("R1")
def two_test_sets(lab: Lab) -> Figures:
    """Compares MF and AutoRec as the chapter does, and on the same test set."""
    reported = [reported_numbers(section)["test_rmse"] for section in ("mf", "autorec")]
    on_one = [lab.values(name, "defined", "test_rmse") for name in ("mf-random", "autorec")]
    leads = differences(*on_one)
    return {
        "MF, reported": reported[0],
        "AutoRec, reported": reported[1],
        "AutoRec's lead, reported": reported[0] - reported[1],
        **lab.numbers("MF, last ratings", "mf", TEST_RMSE),
        **lab.numbers("MF, random tenth", "mf-random", TEST_RMSE),
        **lab.numbers("AutoRec, random tenth", "autorec", TEST_RMSE),
        **mean_sd("AutoRec's lead on one test set", leads),
        "seeds": len(leads),
        "seeds in which AutoRec leads": sum(lead > 0 for lead in leads),
    }


@ROWS.row("R2")
def mean_of_running_means(lab: Lab) -> Figures:
    """Compares the printed RMSE of MF with the defined one, and one device with two devices."""
    figures: Figures = {}
    for name, variant in (("last ratings", "mf"), ("random tenth", "mf-random")):
        both = [lab.values(variant, protocol, "test_rmse") for protocol in ("printed", "defined")]
        figures.update(mean_sd(f"printed less defined, {name}", differences(*both)))
    trained = lab.train("mf")
    batches = [[np.array(part, ctx=mx.cpu()) for part in batch] for batch in trained.test_iter]
    labels = numpy.concatenate([batch[-1].asnumpy() for batch in batches])
    predictions = numpy.concatenate([trained.net(*batch[:-1]).asnumpy() for batch in batches])
    sizes = trained.result["settings"]["batch_size"]
    one, two = (rmse_on(labels, predictions, sizes, number) for number in (1, 2))
    return {
        **figures,
        "test ratings": len(labels),
        "one net, printed on one device": one.printed["test_rmse"],
        "one net, printed on two devices": two.printed["test_rmse"],
        "one net, defined": one.defined["test_rmse"],
    }


@ROWS.row("R3")
def user_20_item_30(lab: Lab) -> Figures:
    """Measures the score that the chapter asks for and the score that its code reads."""
    name = "score_user20_item30"
    return {
        "reported": reported_numbers("mf")[name],
        **lab.mean_sd("printed, that of user 21 and item 31", "mf", "printed", name),
        **lab.mean_sd("defined, that of user 20 and item 30", "mf", "defined", name),
    }


def _without_decay_of_biases(net: gluon.Block) -> None:
    for parameter in net.collect_params(".*bias").values():
        parameter.wd_mult = 0.0


@ROWS.row("R4")
def decay_of_biases(lab: Lab) -> Figures:
    """Trains AutoRec without weight decay of the biases, as in eq. 15.4.2."""
    results = lab.results("autorec", _without_decay_of_biases)
    without = [result["defined"]["test_rmse"] for result in results]
    with_decay = lab.values("autorec", "defined", "test_rmse")[: len(without)]
    return {
        **mean_sd("RMSE, decay of all parameters", with_decay),
        **mean_sd("RMSE, decay of W and V", without),
        **mean_sd("difference by seed", differences(with_decay, without)),
        "seeds": len(without),
    }
