"""The benchmark that counts how often the check calls a right port wrong."""

from benchmarks import false_alarms
from d2l_recsys.baseline.mistakes import MISTAKES


def test_right_ports_are_right_and_others_are_counted(monkeypatch, capsys):
    monkeypatch.setattr(false_alarms, "VARIANTS", ("mf",))
    false_alarms.main(repetitions=1, only="float32,tf32")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "float32: 0 of 2 rows wrong", "tf32: 0 of 2 rows wrong",
    ]  # fmt: skip

    (mistake,) = (mistake for mistake in MISTAKES if mistake.name == "no-user-bias")
    monkeypatch.setattr(false_alarms, "right_port", lambda name, repetition: mistake.port)
    false_alarms.main(repetitions=2, only="float64")
    told = capsys.readouterr().out
    assert "no-user-bias" in told
    assert "float64: 4 of 4 rows wrong; the largest distance is" in told


def test_each_repetition_has_its_own_order_and_seed():
    drawn = [
        false_alarms.right_port("float32", repetition)("mf", "printed").first_parameters(
            {"num_factors": 2, "num_users": 3, "num_items": 4}, 0
        )["P.weight"]
        for repetition in (0, 0, 1)
    ]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
