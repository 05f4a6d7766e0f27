"""Options: declared in a signature, with help in ``SETTINGS`` or the enumeration of a choice."""

import inspect
import re
import subprocess
import sys
from typing import List, Optional

import pytest
from conftest import ROOT
from typing_extensions import Annotated

from d2l_recsys.errors import SettingError
from d2l_recsys.runs.section_run import DataRun
from d2l_recsys.sections.options import (
    SHARED,
    checked_options,
    choices_of,
    help_of,
    read_options,
    section,
)
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.settings import SETTINGS, Choice, Protocol, Split


class Recorded(DataRun):
    """A run that records the arguments that it was made with."""

    def __init__(self, name, settings, **options):
        self.name, self.made_settings, self.made_options = name, settings, options

    def __exit__(self, *exception):
        """This run holds nothing."""


Recorded.__name__ = "DataRun"


@section("movielens")
def main(
    run: Recorded,
    num_factors: int = 30,
    lr: Annotated[float, "How fast."] = 0.002,
    cutoff: List[int] = (),
    split: Split = Split.seq_aware,
):
    """Do nothing.

    But well.
    """
    return run, num_factors, lr, cutoff, split


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 2}, "--margin is 2, but it has no effect with --loss bpr; leave it out, or "
         "choose --loss hinge or hardest"),
        ({"loss": "log", "num_negatives": 3}, "--num-negatives is 3, .* --loss log; .*softmax or"),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused(options, message):
    signature = SYSTEMS["neumf"].options()
    defaults = {name: p.default for name, p in signature.parameters.items()}
    with pytest.raises(SettingError, match=message):
        checked_options(signature, {**defaults, **options})
    assert (
        checked_options(signature, {**defaults, **options, "loss": "hardest"})["loss"] == "hardest"
    )


def test_a_run_is_handed_in_with_the_shared_options_and_main_has_its_own():
    run, *own = main(num_factors=5, cutoff=[3], split="random", out="there")
    assert own == [5, 0.002, [3], Split.random]
    assert own[-1] is Split.random
    assert run.name == "movielens"
    assert run.made_options == {
        "data_dir": None,
        "out": "there",
        "force": False,
        "quiet": False,
        "changed": {"num_factors": 5, "cutoff": [3], "split": Split.random},
    }
    assert list(run.made_settings.items()) == [
        ("num_factors", 5), ("lr", 0.002), ("cutoff", [3]), ("split", Split.random),
    ]  # fmt: skip


@pytest.mark.parametrize("given", [(3, 5), range(3, 6, 2), iter([3, 5])])
def test_a_list_may_be_given_as_any_sequence(given):
    assert main(cutoff=given)[3] == [3, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_factors": 0}, r"^--num-factors is 0; it must lie between 1 and 100000$"),
        ({"lr": float("nan")}, r"^--lr is nan; it must lie between 0 and"),
        ({"cutoff": [3, 0]}, r"^--cutoff is 0; it must lie between 1 and"),
        ({"split": "by hand"}, r"^--split is 'by hand'; choose one of: seq-aware, random, val"),
    ],
)
def test_what_an_option_does_not_take_is_refused_before_a_run_is_made(options, message):
    with pytest.raises(SettingError, match=message):
        main(**options)


def test_options_are_given_by_name():
    with pytest.raises(TypeError, match=r"^main takes its options by name: write main\(data_dir=3"):
        main(3)
    with pytest.raises(
        TypeError, match=r"^main\(\) got an unexpected keyword argument 'num_factor'"
    ):
        main(num_factor=3)


def test_help_in_python_reads_as_it_is_written():
    text = inspect.getdoc(main)
    assert text.startswith("Do nothing.\n\nBut well.\n\nParameters\n----------\ndata_dir : Folder")
    assert "num_factors : Number of latent factors, k." in text
    assert "lr : How fast." in text
    assert "split : Held out: each user's last rating, " in text
    signature = str(inspect.signature(main))
    assert "num_factors: int = 30" in signature
    assert "split: d2l_recsys.settings.Split = 'seq-aware'" in signature
    assert not re.search("typer|OptionInfo|<", signature)


def test_the_section_that_a_reader_asks_about_has_readable_help():
    pytest.importorskip("d2l_recsys.backend")
    code = "from d2l_recsys.chapters import mf; help(mf.main)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("Help on function main in module d2l_recsys.chapters.mf:")
    assert "num_factors: int = 30" in done.stdout
    assert not re.search("typer|OptionInfo", done.stdout)
    assert len(done.stdout.splitlines()) < 60


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda system: system.name)
def test_the_options_that_are_read_from_the_source_are_those_of_main(system):
    pytest.importorskip("d2l_recsys.backend")
    read, real = system.options().parameters, inspect.signature(system.main()).parameters
    assert list(read) == list(real)
    for name, parameter in read.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default == real[name].default, name
        choices, actual = choices_of(parameter.annotation), choices_of(real[name].annotation)
        if choices is None:
            assert parameter.annotation == real[name].annotation, name
        else:
            # The same enumeration, or a copy of it if the section defines the enumeration itself.
            assert [m.value for m in choices] == [m.value for m in actual], name
        assert help_of(parameter) == help_of(real[name]) != "", name


def test_of_a_source_only_what_the_options_need_is_executed(tmp_path):
    path = tmp_path / "section.py"
    path.write_text(
        "from typing import List, Optional\n"
        "import mxnet_that_is_not_there\n"
        "from d2l_recsys.settings import Choice\n"
        "raise RuntimeError\n"
        "MOST = 3\n"
        "DEFAULT = MOST + 1\n"
        "class Kind(Choice):\n"
        "    '''Which kind.'''\n"
        "    one = 'one'\n"
        "@section('mf')\n"
        "def main(run: DataRun, kind: Kind = Kind.one, d: int = DEFAULT, L: List[int] = (1,)):\n"
        "    return undefined\n"
    )
    options = read_options(path).parameters
    assert list(options) == [*SHARED["DataRun"], "kind", "d", "L"]
    assert options["d"].default == 4
    assert options["kind"].default.value == "one"
    assert help_of(options["kind"]) == "Which kind."


def test_every_setting_has_help_and_a_choice_its_words():
    assert all(setting.help.endswith(".") for setting in SETTINGS.values())
    assert [str(Protocol.printed), repr(Protocol.printed), f"{Protocol.printed}"] == [
        "printed", "'printed'", "printed",
    ]  # fmt: skip
    assert choices_of(Optional[Protocol]) is Protocol
    assert choices_of(int) is None
    assert issubclass(Split, Choice)


def test_help_of_a_section_loads_neither_mxnet_nor_numpy_nor_the_section():
    code = (
        "import sys\n"
        "from d2l_recsys.__main__ import main\n"
        "try: main(['run', 'neumf', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'mxnet', 'numpy', 'pandas', 'matplotlib', 'd2l_recsys.chapters.neumf'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    *text, loaded = done.stdout.splitlines()
    assert loaded == "set()", done.stderr
    assert any("--head sum|linear|sigmoid" in line for line in text)
