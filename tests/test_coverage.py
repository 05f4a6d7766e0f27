"""docs/coverage.md: its commands exist, its numbers are those of the results, its links resolve."""

import importlib
import re
import shlex

import pytest
import typer
from conftest import ROOT

pytest.importorskip("d2l_recsys.backend")
from benchmarks.coverage import __main__ as command
from benchmarks.coverage.rows import CHAPTER, ROWS, Compared, Kind
from benchmarks.coverage.values import DASH, Checked, Code, Model, anchor, read_results
from d2l_recsys.cli.commands import make_app
from d2l_recsys.data import read_data_ml100k
from d2l_recsys.errors import SettingError
from d2l_recsys.exercises.answers import EXERCISES
from d2l_recsys.runs.reported import all_reported
from d2l_recsys.sections import command_line
from d2l_recsys.sections.registry import SYSTEMS

PAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
RESULTS = read_results()
COMMANDS = sorted({row.command for row in ROWS if row.command})
COMPARED = [row for row in ROWS if row.compared]


def named(row):
    return f"{row.section}: {row.what}"


def test_the_page_is_made_from_the_table():
    assert command.page(RESULTS) == PAGE, "run python -m benchmarks.coverage"


def test_the_command_writes_the_page(tmp_path, capsys):
    command.main(tmp_path / "coverage.md")
    assert (tmp_path / "coverage.md").read_text(encoding="utf-8") == PAGE
    assert f"{len(ROWS)} rows" in capsys.readouterr().out


def test_each_section_has_its_parts():
    rows = {}
    for row in CHAPTER:
        rows.setdefault(row.section, set()).add(row.kind)
    assert list(rows) == [f"15.{number}" for number in range(1, 11)]
    for section, kinds in rows.items():
        assert Kind.exercise in kinds
        assert section == "15.1" or Kind.code in kinds
    trained = [kinds for section, kinds in rows.items() if section not in ("15.1", "15.5", "15.8")]
    assert all({Kind.output, Kind.figure} <= kinds for kinds in trained)


def test_every_exercise_of_the_chapter_has_a_row():
    commands = [row.command for row in CHAPTER if row.kind is Kind.exercise]
    for number in EXERCISES:
        if number.startswith("15."):
            assert commands.count(f"exercise {number}") == 1


def test_every_number_in_the_book_has_a_row():
    """Each number is the source's value of a row that runs its section."""
    for section, numbers in all_reported().items():
        told = [row.source for row in CHAPTER if row.command and section in row.command.split()]
        for value in numbers.values():
            assert value in [float(text.replace(",", "")) for text in told if is_number(text)]


def test_a_row_without_a_command_has_a_reason():
    assert all(row.command or row.note for row in ROWS)


def parse(words):
    """Parse a command line as ``d2l-recsys`` does, without running it."""
    found, context, rest = typer.main.get_command(make_app(words)), None, list(words)
    name = "d2l-recsys"
    while True:
        context = found.make_context(name, rest, parent=context)
        if not hasattr(found, "resolve_command"):
            return context
        rest = [*getattr(context, "_protected_args", context.args), *context.args]
        name, found, rest = found.resolve_command(context, rest)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line):
    verb, name, *_ = words = shlex.split(line)
    known = {"run": SYSTEMS, "exercise": EXERCISES}[verb]
    assert name in known
    parse(words)


@pytest.mark.parametrize("line", ["run mf --factors 3", "run mff", "runs mf", "run mf --lr x"])
def test_a_wrong_command_is_seen(line):
    with pytest.raises((command_line.UsageError, SettingError)):
        parse(line.split())


def is_number(text):
    return re.fullmatch(r"-?[\d,]+(\.\d+)?", text) is not None


def agrees(row, results):
    """Whether the source's number is ours (a range, for several seeds), rounded like the source."""
    source, (low, high) = row.source.replace(",", ""), row.ours.bounds(results)
    decimals = len(source.partition(".")[2])
    return round(low, decimals) <= float(source) <= round(high, decimals)


@pytest.mark.parametrize("row", COMPARED, ids=named)
def test_the_source_and_ours_compare_as_the_row_says(row):
    assert is_number(row.source)
    if row.compared is Compared.differs:
        assert row.erratum in RESULTS.errata
        assert not agrees(row, RESULTS)
        return
    assert agrees(row, RESULTS)
    low, high = row.ours.bounds(RESULTS)
    assert (low == high) == (row.compared is Compared.equal)


def test_a_wrong_number_is_seen():
    """A value in range is in range by its seeds: a little beyond them, it is not."""
    ranged = [row for row in COMPARED if row.compared is Compared.in_range]
    assert len(ranged) == 11
    for row in ranged:
        _, high = row.ours.bounds(RESULTS)
        decimals = len(row.source.partition(".")[2])
        beyond = f"{high + 1.5 * 10**-decimals:.{decimals}f}"
        assert agrees(row, RESULTS)
        assert not agrees(row._replace(source=beyond), RESULTS)


def test_every_number_is_compared_or_its_row_says_why_not():
    for row in ROWS:
        if is_number(row.source) and not row.compared:
            assert row.note, named(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.erratum], ids=named)
def test_an_erratum_that_a_row_names_exists(row):
    assert row.erratum in RESULTS.errata


@pytest.mark.parametrize("row", [row for row in ROWS if row.ours], ids=named)
def test_ours_is_known(row):
    assert row.ours.text(RESULTS) != DASH
    if isinstance(row.ours, Model):
        name, path = re.fullmatch(r"\[`(\w+)`\]\(\.\./(.+)\)", row.ours.text(RESULTS)).groups()
        assert re.search(rf"(?m)^(class|def) {name}\b", (ROOT / path).read_text(encoding="utf-8"))
    if isinstance(row.ours, Code):
        module = row.ours.path[: -len(".py")].replace("/", ".")
        module = module if module.startswith("d2l_recsys") else f"d2l_recsys.{module}"
        for name in row.ours.names:
            assert callable(getattr(importlib.import_module(module), name))
    if isinstance(row.ours, Checked):
        assert f"\ndef {row.ours.test}(" in (ROOT / row.ours.path).read_text(encoding="utf-8")


def test_every_link_leads_to_a_file_and_a_heading():
    links = set(re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", PAGE))
    assert len(links) > 50
    for path, heading in links:
        file = ROOT / "docs" / path
        assert file.is_file(), path
        if heading:
            headings = re.findall(r"(?m)^#+ (.+)$", file.read_text(encoding="utf-8"))
            assert heading in map(anchor, headings), (path, heading)


@pytest.mark.network
def test_the_first_five_ratings_are_the_books(ml100k_dir):
    data, _, _ = read_data_ml100k(ml100k_dir)
    rows = [" ".join(map(str, row)) for row in data.iloc[:5, :3].to_numpy()]
    (row,) = [row for row in CHAPTER if row.what.startswith("the first five ratings")]
    assert ", ".join(rows) == row.source
