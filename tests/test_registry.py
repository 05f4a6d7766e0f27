import inspect

import pytest
from conftest import ROOT

from d2l_recsys.errors import SettingError
from d2l_recsys.sections.registry import (
    COMPANIONS,
    SECTIONS,
    SYSTEMS,
    TUTORIAL,
    TUTORIAL_PREFIX,
    VARIANTS,
    as_variants,
)


def test_every_module_of_the_chapter_is_registered_and_no_other():
    tutorial = {name[len(TUTORIAL_PREFIX) :] for name in TUTORIAL}
    for folder, names in (
        ("chapters", SECTIONS),
        ("chapters/extras", COMPANIONS),
        ("chapters/tutorial", tutorial),
    ):
        modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
        assert set(names) == modules
    assert all(name.startswith(TUTORIAL_PREFIX) for name in TUTORIAL)
    assert list(SYSTEMS) == [*SECTIONS, *COMPANIONS, *TUTORIAL]


def test_the_sections_are_in_the_order_of_the_book():
    numbers = [int(section.source.partition(".")[2]) for section in SECTIONS.values()]
    assert numbers == sorted(numbers)
    for section in SECTIONS.values():
        text = (ROOT / "chapters" / f"{section.name}.py").read_text()
        assert f"(section {section.source})" in text.split('"""')[1]


def test_a_companion_cites_its_papers():
    for companion in COMPANIONS.values():
        path = ROOT / "chapters" / "extras" / f"{companion.name}.py"
        text = path.read_text().split('"""')[1]
        for paper in companion.source.replace("after ", "").split(", "):
            authors, year = paper.rsplit(" ", 1)
            assert authors in text, companion.name
            assert year in text, companion.name
        assert companion.described == f"{companion.title} ({companion.source})"
        assert companion.trains
        assert companion.class_name


def test_every_section_that_trains_has_a_variant_as_in_the_chapter():
    trained = {section.name for section in SECTIONS.values() if section.trains}
    assert {v.section.name for v in VARIANTS.values()} == trained
    assert {name for name, v in VARIANTS.items() if not v.options} == trained


def test_a_variant_differs_from_the_chapters_settings():
    pytest.importorskip("d2l_recsys.backend")
    for variant in VARIANTS.values():
        arguments = inspect.signature(variant.section.main()).parameters
        for name, value in variant.options.items():
            assert arguments[name].default != value


def test_a_sections_name_stands_for_its_variants_and_a_variants_for_itself():
    assert [v.name for v in as_variants("neumf-sigmoid, mf")] == [
        "mf",
        "mf-random",
        "neumf-sigmoid",
    ]
    assert as_variants(",".join(VARIANTS)) == list(VARIANTS.values())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("mf,neumf-sigmod", r"--only has 'neumf-sigmod'; did you mean 'neumf-sigmoid'\? choose"),
        ("", r"--only has ''; choose from: mf, mf-random"),
        ("movielens", r"--only has 'movielens'; choose from"),
    ],
)
def test_other_names_are_refused(names, message):
    with pytest.raises(SettingError, match=message):
        as_variants(names)
