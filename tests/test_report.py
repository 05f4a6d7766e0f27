import pytest

from d2l_recsys.report import main, table
from d2l_recsys.results import as_json


def result(**changes):
    return {
        "chapter": "mf",
        "printed": {"test_rmse": 1.05349, "score": 3.2},
        "defined": {"test_rmse": 1.037},
        "reported": {"test_rmse": 1.055, "examples_per_sec": 78035.0},
        "dataset": {"name": "ml-100k", "source": "here", "sha256": "0" * 64, "substitute": False},
        "settings": {"split": "seq-aware"},
        "examples_per_second": 350913.3,
        **changes,
    }


def cells(text):
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()
    ]


def test_each_number_stands_beside_the_reported_one():
    rows = cells(table([result()]))
    assert ["mf", "seq-aware", "test rmse", "1.055", "1.053", "1.037"] in rows
    assert ["examples per sec", "78035", "-", "350913"] in rows
    assert ["score", "-", "3.200", "-"] in rows


def test_a_substitute_is_marked_in_the_table_and_below_it(tmp_path, capsys):
    dataset = dict(result()["dataset"], substitute=True)
    (tmp_path / "result.json").write_bytes(as_json(result(dataset=dataset)))
    main([tmp_path])
    printed = capsys.readouterr().out
    assert "mf*" in printed
    assert "* not the chapter's data: its numbers do not compare" in printed
    assert f"{tmp_path}: result.json" in printed


def test_chapter_data_is_not_marked(tmp_path, capsys):
    (tmp_path / "result.json").write_bytes(as_json(result()))
    main([tmp_path])
    assert "*" not in capsys.readouterr().out


def test_integers_stay_integers_and_the_speed_comes_last():
    numbers = result(printed={"num_users": 943}, defined={}, reported={"examples_per_sec": 5.0})
    rows = cells(table([numbers]))
    assert rows[2:] == [
        ["mf", "seq-aware", "num users", "-", "943", "-"],
        ["examples per sec", "5", "-", "350913"],
    ]


def test_the_variant_is_named_by_what_sets_it_apart():
    settings = {"head": "sum", "loss": "bpr", "split": "seq-aware", "lr": 0.01}
    assert cells(table([result(settings=settings)]))[2][:2] == ["mf", "seq-aware, sum, bpr"]
    settings = {"L": 3, "split": "seq-aware"}
    assert cells(table([result(settings=settings)]))[2][:2] == ["mf", "seq-aware, L 3"]


def test_without_a_speed_there_is_no_row_for_it():
    assert "examples" not in table([result(reported={}, examples_per_second=None)])


@pytest.mark.parametrize("name", ["printed", "defined"])
def test_a_number_of_one_protocol_alone_has_its_row(name):
    other = {"printed": "defined", "defined": "printed"}[name]
    rows = cells(table([result(**{name: {"only": 1.0}, other: {}, "reported": {}})]))
    columns = ["1.000", "-"] if name == "printed" else ["-", "1.000"]
    assert ["mf", "seq-aware", "only", "-", *columns] in rows


def test_clicks_name_what_they_were_trained_on_and_with():
    settings = {"trained_on": "logits", "dataset": "MovieLens-100K as clicks", "lr": 0.01}
    row = cells(table([result(chapter="fm", settings=settings)]))[2]
    assert row[:2] == ["fm", "on logits, MovieLens-100K as clicks"]
