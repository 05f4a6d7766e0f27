from benchmarks.against_d2l import rows


def side(train, whole, scaled=()):
    """The figures of one run, whose loading takes 1 s, and all whose evaluations take 2 s."""
    return {
        "load": 1.0,
        "train": train,
        "evaluate": 2.0,
        "file to number": train + 3,
        "whole": whole,
        "memory": 100.0,
        "scaled": list(scaled),
    }


def test_a_line_has_medians_and_the_ratios_of_the_pairs():
    runs = {
        "chapter": [side(10, 20), side(40, 80), side(20, 60)],
        "no figure": [side(8, 10), side(12, 18), side(9, 12)],
        "ours": [side(1, 2), side(2, 4), side(4, 10)],
    }
    assert rows("mf", runs, " *") == [
        ["mf *", "load", "1.00 s", "1.00 s", "1.0x [1.0, 1.0]"],
        ["", "train, 20 epochs", "20.00 s", "2.00 s", "10.0x [5.0, 20.0]"],
        ["", "the same, no live figure", "9.00 s", "2.00 s", "6.0x [2.2, 8.0]"],
        ["", "one evaluation", "0.10 s", "0.10 s", "1.0x [1.0, 1.0]"],
        ["", "from file to final number", "23.00 s", "5.00 s", "3.3x [3.2, 8.6]"],
        ["", "the same, no live figure", "12.00 s", "5.00 s", "2.8x [1.7, 3.0]"],
        ["", "whole script", "60.00 s", "4.00 s", "10.0x [6.0, 20.0]"],
        ["", "the same, no live figure", "12.00 s", "4.00 s", "4.5x [1.2, 5.0]"],
        ["", "peak memory", "100 MiB", "100 MiB", "1.0x [1.0, 1.0]"],
    ]


def test_what_is_scaled_up_is_marked():
    runs = {"chapter": [side(10, 20, ["train"])], "no figure": [], "ours": [side(1, 2)]}
    shown = {line[1]: line[2] for line in rows("neumf", runs)}
    assert shown == {
        "load": "1.00 s",
        "train, 10 epochs": "~ 10.00 s",
        "one evaluation": "0.20 s",
        "from file to final number": "~ 13.00 s",
        "whole script": "~ 20.00 s",
        "peak memory": "100 MiB",
    }
