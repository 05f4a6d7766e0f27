import itertools

import pytest

from d2l_recsys.errors import SettingError
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.sweeps.grid import as_text, check_seeds, points_of, read_values


def values(system, name, *texts):
    return read_values(SYSTEMS[system].options().parameters[name], texts)


def test_commas_separate_values_and_each_has_the_type_of_its_option():
    assert values("mf", "num_factors", "5, 10", "30") == [5, 10, 30]
    assert values("mf", "lr", "0.1,1e-3,2") == [0.1, 0.001, 2.0]
    assert values("neumf", "loss", "hinge,bpr") == ["hinge", "bpr"]
    assert values("autorec", "decoder_activation", "relu") == ["relu"]


def test_an_option_that_takes_a_list_has_one_value_each_time():
    assert values("deepfm", "mlp_dims", "100,50", "30") == [[100, 50], [30]]
    assert values("autorec", "nums_hiddens", "8") == [[8]]


@pytest.mark.parametrize(
    ("system", "name", "text", "message"),
    [
        ("mf", "num_factors", "5,x", "--num-factors has 'x'; give whole numbers, separated by"),
        ("mf", "num_factors", "5.5", "--num-factors has '5.5'; give whole numbers"),
        ("mf", "lr", "0.1,fast", "--lr has 'fast'; give numbers, separated by commas"),
        ("mf", "lr", "0.1,,1", "--lr is '0.1,,1'; a value is missing beside a comma"),
        ("mf", "split", "random,last", "--split is 'last'; choose one of: seq-aware, random"),
        ("mf", "lr", "0.1,0.10", "--lr has 0.1 twice; give it once"),
        ("deepfm", "mlp_dims", "30,x", "--mlp-dims has 'x'; give whole numbers"),
    ],
)
def test_a_text_that_is_no_value_is_refused(system, name, text, message):
    with pytest.raises(SettingError, match=message):
        values(system, name, text)


def test_a_grid_has_every_combination_once():
    grid = {"num_factors": [2, 30], "lr": [0.1, 0.002, 0.5]}
    points = points_of(SYSTEMS["mf"], {"wd": 0.0}, grid)
    assert [tuple(p.labels.values()) for p in points] == list(itertools.product(*grid.values()))
    # The options are those that differ from the defaults: 30 and 0.002 are defaults.
    assert points[0].options == {"num_factors": 2, "lr": 0.1, "wd": 0.0}
    assert points[4].options == {"wd": 0.0}
    assert str(points[0]) == "mf, num_factors 2, lr 0.1, wd 0"


@pytest.mark.parametrize(
    ("system", "options", "grid", "message"),
    [
        ("mf", {}, {"num_factors": [5, 0]}, "--num-factors is 0; it must lie between 1 and"),
        ("mf", {"margin": 1.0}, {}, "mf has no option --margin"),
        ("neumf", {"margin": 2.0}, {"loss": ["hinge", "bpr"]}, "has no effect with --loss bpr"),
    ],
)
def test_a_point_that_cannot_run_is_refused(system, options, grid, message):
    with pytest.raises(SettingError, match=message):
        points_of(SYSTEMS[system], options, grid)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-05"), (0.0, "0"), (1e9, "1e+09"), (0.1 + 0.2, "0.30000000000000004"),
     ([100, 50], "100,50"), ((), ""), ("bpr", "bpr")],
)  # fmt: skip
def test_a_value_is_told_as_it_is_typed(value, text):
    assert as_text(value) == text


def test_all_seeds_of_a_sweep_must_be_allowed():
    check_seeds(2, 2**31 - 2)
    for seeds, first in ((2, 2**31 - 1), (0, 0), (1, -1)):
        with pytest.raises(SettingError, match=r"--(seeds|first-seed) is"):
            check_seeds(seeds, first)
