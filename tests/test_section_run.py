import pytest

from d2l_recsys.runs.section_run import ClickDataRun, DataRun, SectionRun
from d2l_recsys.settings import ClickDataset, Split

COMMON = {"data_dir": None, "out": None, "quiet": False}


def test_a_results_settings_are_numbers_and_then_choices():
    settings = {"split": Split.random, "lr": 0.1, "dataset": ClickDataset.book, "dims": (3, 2)}
    run = SectionRun("mf", settings, **COMMON)
    assert list(run.settings.items()) == [
        ("lr", 0.1), ("dims", [3, 2]), ("split", "random"), ("dataset", "book"),
    ]  # fmt: skip


@pytest.mark.parametrize(("quiet", "printed"), [(False, "a line\n"), (True, "")])
def test_a_quiet_run_says_nothing(quiet, printed, capsys):
    SectionRun("mf", {}, **{**COMMON, "quiet": quiet}).say("a line")
    assert capsys.readouterr().out == printed


def test_a_figure_warns_of_other_data_than_the_chapters():
    run = DataRun("movielens", {}, **COMMON)
    run.dataset = {"name": "mine", "substitute": True}
    assert run.title == "mine, not the chapter's data"
    run.dataset["substitute"] = False
    assert run.title == ""


def test_clicks_are_described_with_what_they_were_read_by(clicks_dir, tmp_path):
    options = {"dataset": ClickDataset.book, "strict": True, "min_threshold": 9}
    run = ClickDataRun("ctr", {}, data_dir=clicks_dir, out=tmp_path, quiet=True, **options)
    data = run.load_data()
    assert run.dataset == data.dataset
    assert run.settings == {"dataset": "ctr", "min_threshold": 9}
    assert data.loaders == (data.train_iter, data.test_iter)
