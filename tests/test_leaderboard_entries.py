import inspect
import json

import pytest
from conftest import ROOT

from d2l_recsys.errors import SettingError
from d2l_recsys.leaderboard.entries import ENTRIES, POPULARITY, STANDING, as_entries
from d2l_recsys.leaderboard.search import recorded
from d2l_recsys.sections.registry import COMPANIONS, SECTIONS, SYSTEMS, Kind

SEARCH = recorded()


def test_the_standing_is_that_of_the_leaderboard_in_docs():
    path = ROOT / "docs" / "leaderboard" / "numbers.json"
    standings = json.loads(path.read_text(encoding="utf-8"))["standings"]
    assert list(STANDING) == [standing["name"] for standing in standings]


def test_every_system_that_can_rank_is_on_the_leaderboard():
    on_board = {entry.section.name for entry in ENTRIES.values()}
    ratings_or_ranking = {
        name for name, s in SECTIONS.items() if s.kind in (Kind.ratings, Kind.ranking)
    }
    companions = {name for name, s in COMPANIONS.items() if s.kind is Kind.ranking}
    assert on_board == ratings_or_ranking | companions
    assert {"fm-ranking", "deepfm-ranking"} <= set(ENTRIES)
    # A name means the same system everywhere.
    assert all(e.section.name == name for name, e in ENTRIES.items() if name in SYSTEMS)
    assert POPULARITY in ENTRIES


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_options_and_what_was_tried_are_options_of_the_system(entry):
    pytest.importorskip("d2l_recsys.backend")
    arguments = inspect.signature(entry.section.main()).parameters
    assert set(entry.options) | set(entry.space) <= set(arguments)
    assert "split" in arguments
    # An entry names only options that differ from the defaults.
    for name, value in entry.options.items():
        assert arguments[name].default != value, name


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_the_settings_are_those_that_the_search_found_best(entry):
    """A run uses the options of the entry, and the defaults of the system's main for the rest."""
    pytest.importorskip("d2l_recsys.backend")
    arguments = inspect.signature(entry.section.main()).parameters
    runs_with = {name: entry.options.get(name, arguments[name].default) for name in entry.space}
    if not entry.space:
        assert entry.name not in SEARCH or len(SEARCH[entry.name]) == 1
        return
    trials = SEARCH[entry.name]
    tried = [{**trial.options} for trial in trials]
    if entry.chooses_epoch:
        most = entry.space["num_epochs"][0]
        assert all(1 <= options["num_epochs"] <= most for options in tried)
        for options in tried:
            options["num_epochs"] = most
    assert sorted(map(str, tried)) == sorted(map(str, entry.trials()))
    best = max(trials, key=lambda trial: trial.ndcg)
    assert runs_with == best.options


def test_names_choose_entries_in_order_and_popularity_is_always_there():
    assert as_entries("") == list(ENTRIES.values())
    assert [e.name for e in as_entries("gmf, itemknn")] == ["popularity", "itemknn", "gmf"]
    with pytest.raises(SettingError, match=r"--only has 'esae'; did you mean 'ease'\? choose"):
        as_entries("gmf,esae")
