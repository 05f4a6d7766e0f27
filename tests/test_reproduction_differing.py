import pytest
from test_reproduction_tables import result

from d2l_recsys.reproduction.differing import CHECKSUM, differing_settings


def of(section="mf", settings=(), **beside):
    return result(chapter=section, settings=dict(settings), **beside)


def data(name, sha256):
    return {**result()["dataset"], "name": name, "sha256": sha256}


def test_only_settings_that_are_not_the_same_in_all_runs_of_a_section_are_told():
    runs = [
        of(settings={"num_factors": 50, "lr": 0.001, "wd": 1e-5}, seed=3),
        of("neumf", {"nums_hiddens": [10], "lr": 0.01}),
        of(settings={"num_factors": 30, "lr": 0.001, "wd": 1e-5}, seed=3),
        of("neumf", {"nums_hiddens": [20, 10], "lr": 0.01}),
        of("caser", {"lr": 7}),
    ]
    assert differing_settings(runs) == [
        {"num_factors": 50},
        {"nums_hiddens": [10]},
        {"num_factors": 30},
        {"nums_hiddens": [20, 10]},
        {},
    ]
    assert differing_settings([]) == []


def test_settings_come_in_the_order_of_the_result_and_then_the_others():
    one = of(settings={"num_factors": 50, "lr": 0.001}, seed=3, protocol="printed")
    other = of(settings={"num_factors": 30, "lr": 0.002}, seed=4, protocol="defined")
    found = differing_settings([one, other])
    assert [list(of_run.items()) for of_run in found] == [
        [("num_factors", 50), ("lr", 0.001), ("seed", 3), ("protocol", "printed")],
        [("num_factors", 30), ("lr", 0.002), ("seed", 4), ("protocol", "defined")],
    ]


def test_a_setting_that_a_result_lacks_is_the_default_of_its_option():
    whole = {"nums_hiddens": [10, 10, 10], "loss": "bpr", "lr": 0.01}
    new = of("neumf", whole, seed=0, protocol="printed")
    assert differing_settings([new, of("neumf")]) == [{}, {}]
    changed = of("neumf", {**whole, "nums_hiddens": [8], "loss": "hinge"}, seed=1)
    assert differing_settings([of("neumf"), changed]) == [
        {"nums_hiddens": [10, 10, 10], "loss": "bpr", "seed": 0},
        {"nums_hiddens": [8], "loss": "hinge", "seed": 1},
    ]


@pytest.mark.parametrize("section", ["mf", "of an older version"])
def test_a_setting_that_is_no_option_is_told_of_the_runs_that_have_it(section):
    runs = [of(section, {"gone": 1}), of(section), of(section, {"gone": 2})]
    assert differing_settings(runs) == [{"gone": 1}, {}, {"gone": 2}]


def test_the_kind_of_device_is_told():
    runs = [
        of(environment={"devices": devices}) for devices in (["cpu(0)"], ["gpu(0)", "gpu(1)"], [])
    ]
    assert differing_settings(runs) == [{"device": "cpu"}, {"device": "gpu"}, {}]
    assert differing_settings(runs[:1] * 2) == [{}, {}]


def test_other_data_is_told_by_its_name_or_else_by_its_checksum():
    a, b, b2 = (
        of(dataset=data(name, sha256)) for name, sha256 in (("a", "1"), ("b", "2"), ("b", "3"))
    )
    assert differing_settings([a, b]) == [{"dataset": "a"}, {"dataset": "b"}]
    assert differing_settings([b, b2]) == [{CHECKSUM: "2"}, {CHECKSUM: "3"}]
    assert differing_settings([a, b, b2]) == [
        {"dataset": "a"},
        {"dataset": "b", CHECKSUM: "2"},
        {"dataset": "b", CHECKSUM: "3"},
    ]
