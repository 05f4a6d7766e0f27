"""The command ``d2l-recsys baseline``: check a port, write its questions, make the baseline."""

import difflib
import os
import pathlib
import platform
import re
import sys
from typing import Any, Dict, Iterable, List, Optional, Tuple

import typer
from typing_extensions import Annotated

from d2l_recsys.baseline.ladder import (
    CONVERGENCE,
    DRAWN,
    MODELS,
    PRECISIONS,
    PROTOCOLS,
    RUNGS,
    VARIANTS,
)
from d2l_recsys.errors import OutputError, SettingError
from d2l_recsys.settings import check_settings

SIX = ",".join(MODELS)
EVERYTHING = "all"
ON_CHAPTER_DATA = (0, CONVERGENCE)
NOT_RIGHT = 1
STANDARD_OUTPUT = pathlib.Path("-")

Models = Annotated[
    str,
    typer.Option(
        help="Models and variants, separated by commas, or all.", show_default="the six models"
    ),
]
Rungs = Annotated[str, "Rungs, for example 0-5, 1-5,7 or 2,3."]
Seeds = Annotated[int, "Number of trainings of each model on rung 6; at least 7."]
MadeUp = Annotated[bool, "Leave out the questions that need MovieLens-100K (rungs 0 and 6)."]


def check(
    port: Annotated[
        str, typer.Argument(help="A module with a class Port, its file, or a folder of answers.")
    ],
    models: Models = SIX,
    protocol: Annotated[
        str, typer.Option(metavar="printed|defined|both", help="The protocol of the port.")
    ] = "both",
    rungs: Rungs = "0-7",
    seeds: Seeds = 10,
    accept: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Known mistakes that count as right; 'baseline causes' lists them.",
            show_default="none",
        ),
    ] = "",
    precision: Annotated[
        str,
        typer.Option(metavar="|".join(PRECISIONS), help="The precision in which the net computes."),
    ] = PRECISIONS[0],
    data_dir: Optional[pathlib.Path] = None,
    no_chapter_data: MadeUp = False,
    json_file: Annotated[
        Optional[pathlib.Path],
        typer.Option("--json", help="Write all findings to this file; - prints them instead."),
    ] = None,
    junit_file: Annotated[
        Optional[pathlib.Path], typer.Option("--junit", help="Write JUnit XML to this file.")
    ] = None,
    quiet: Annotated[bool, "Show no progress; still print the results."] = False,
) -> None:
    """Check a port of the chapter, and name the first wrong rung.

    Asks the PORT questions, rung by rung. The exit code is 0 if the port is right, 1 if a rung is
    wrong or has no answer, and 2 if the port cannot be asked. A port that is right except for the
    mistakes in --accept counts as right.
    """
    import numpy

    from d2l_recsys.baseline import report
    from d2l_recsys.baseline.answers import answers_of
    from d2l_recsys.baseline.check import check as climb
    from d2l_recsys.baseline.files import Baseline

    chosen, numbers = _models(models), _rungs(rungs)
    protocols = PROTOCOLS if protocol == "both" else (_one_of("protocol", protocol, PROTOCOLS),)
    _check_seeds(seeds)
    accepted = _accepted(accept)
    _one_of("precision", precision, PRECISIONS)
    prints_json = json_file == STANDARD_OUTPUT
    if prints_json:
        json_file = None
    _check_files(json_file, junit_file)
    baseline = Baseline()
    answers = answers_of(port)
    inputs = {} if no_chapter_data else _inputs(baseline, chosen, numbers, data_dir)
    on_terminal = sys.stderr.isatty() and not quiet

    def note(line: str) -> None:
        if on_terminal:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    rows = climb(
        baseline, answers, chosen, protocols, numbers, inputs, range(seeds), note, accepted,
        precision,
    )  # fmt: skip
    note("")
    about = {
        "port": port,
        "precision": precision,
        "baseline": baseline.about,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
    }
    wrong = report.first_wrong(rows, [mistake.name for mistake in accepted])
    explained = (
        "Each number is a distance from the right answer, divided by the tolerance; above 1 is "
        "wrong."
    )
    drawn = [str(rung) for rung in DRAWN if rung in numbers]
    if drawn:
        explained += f" On rung {' and '.join(drawn)} it is the threshold over the p-value."
    left_out = ""
    if not inputs and set(numbers) & set(ON_CHAPTER_DATA):
        left_out = "The questions of rungs 0 and 6 that need MovieLens-100K were left out."
    verdict = f"{report.verdict(rows)} (baseline {baseline.sha256[:12]})"
    if prints_json:
        print(report.as_json(rows, about))
    else:
        print("\n\n".join(filter(None, [report.table(rows), explained, wrong, left_out, verdict])))
    for path, content in (
        (json_file, lambda: report.as_json(rows, about)),
        (junit_file, lambda: report.as_junit(rows, port)),
    ):
        if path is not None:
            _write(path.absolute().parent, {path.name: content().encode()})
    if wrong:
        raise typer.Exit(NOT_RIGHT)


def new(
    name: Annotated[str, typer.Argument(help="Name of the port; its file is NAME.py.")],
    framework: Annotated[
        str, typer.Option(metavar="jax|numpy|pytorch", help="The framework of the port.")
    ] = "pytorch",
) -> None:
    """Write a port to fill in. It runs at once, and the check says what is missing."""
    from d2l_recsys.baseline.new_port import frameworks, new_port

    _one_of("framework", framework, tuple(frameworks()))
    path = pathlib.Path(name if name.endswith(".py") else f"{name}.py")
    if not path.stem.isidentifier():
        raise SettingError(f"{path.name} is no name of a module; use letters, digits and _")
    if path.exists():
        raise SettingError(f"{path} exists; choose another name")
    _write(path.parent, {path.name: new_port(framework, path.name)})
    print(f"written: {path}; next: d2l-recsys baseline check {path} --models mf --rungs 0-5,7")


def questions(
    folder: Annotated[pathlib.Path, typer.Argument(help="Folder for the files; made if missing.")],
    models: Models = SIX,
    rungs: Rungs = "0-7",
    seeds: Seeds = 10,
    data_dir: Optional[pathlib.Path] = None,
    no_chapter_data: MadeUp = False,
) -> None:
    """Write the questions as files, for a port in any language.

    Writes a .npz file for each question and the index questions.json into FOLDER. The port writes a
    .npz file of the same name for each answer into another folder. ``check`` takes this other
    folder as PORT.
    """
    from d2l_recsys.baseline.files import Baseline
    from d2l_recsys.baseline.question_files import question_files

    chosen, numbers = _models(models), _rungs(rungs)
    _check_seeds(seeds)
    baseline = Baseline()
    inputs = {} if no_chapter_data else _inputs(baseline, chosen, numbers, data_dir)
    files = question_files(baseline, chosen, numbers, inputs, seeds)
    _write(folder, files)
    print(f"{len(files) - 1} questions in {folder}; its questions.json describes each question")


def make(
    add: Annotated[bool, "Only add what the baseline lacks; keep all of its files."] = False,
    seeds: Annotated[int, "Number of seeds; the final metrics of each are kept."] = 30,
    results: Annotated[
        pathlib.Path, "Folder of these trainings; finished ones are reused."
    ] = pathlib.Path("results/baseline"),
    out: Annotated[
        Optional[pathlib.Path],
        typer.Option(help="Folder for the files.", show_default="the package's"),
    ] = None,
    jobs: int = 2,
    data_dir: Optional[pathlib.Path] = None,
    quiet: Annotated[bool, "Show no progress; still print the results."] = False,
) -> None:
    """Make the files of the baseline again; needs MXNet.

    Trains the chapter with each seed on one device, which takes an hour or more. Then asks this
    project's own code all questions, and writes its answers as the expected answers.
    """
    from d2l_recsys.baseline.files import FILES, Baseline
    from d2l_recsys.baseline.generate import (
        FEWEST_TRAININGS,
        add_to,
        make_baseline,
        missing,
        numbers_over_seeds,
        trainings,
    )

    check_settings(seeds=seeds, jobs=jobs)
    if seeds < FEWEST_TRAININGS:
        raise SettingError(f"--seeds is {seeds}; a baseline needs {FEWEST_TRAININGS} or more")
    tracks = missing(Baseline()) if add else trainings()
    numbers = numbers_over_seeds(tracks, seeds, results, jobs, data_dir, quiet)
    files = add_to(Baseline(), numbers, data_dir) if add else make_baseline(numbers, data_dir)
    out = out or FILES
    _write(out, files)
    print(f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB, in {out}")


def causes() -> None:
    """Print the semantics map: known mistakes and their rungs."""
    from d2l_recsys.baseline.report import semantics_map

    print(semantics_map())


COMMANDS = (new, check, questions, causes, make)


def _write(folder: pathlib.Path, files: Dict[str, bytes]) -> None:
    """Write files below ``folder`` in the order of ``files``; a name can contain slashes."""
    from d2l_recsys.storage.files import prepare_folder, write_files

    for name, content in files.items():
        path = folder / name
        try:
            prepare_folder(path.parent)
            write_files(path.parent, {path.name: content})
        except OutputError as error:
            reason = getattr(error.__cause__, "strerror", None) or error.__cause__
            raise OutputError(f"cannot write {path}: {reason}; name another folder") from error


def _inputs(
    baseline: Any, models: List[str], rungs: List[int], data_dir: Optional[pathlib.Path]
) -> Dict[str, Any]:
    """The chapter's data for each model; empty if ``rungs`` do not need it."""
    if not set(rungs) & set(ON_CHAPTER_DATA):
        return {}
    from d2l_recsys.baseline.chapter_data import check_inputs, read_inputs

    inputs = read_inputs(models, data_dir)
    check_inputs(inputs, baseline.index["chapter_data"]["inputs"])
    return inputs


def _models(names: str) -> List[str]:
    known = (*VARIANTS, EVERYTHING)
    chosen = [_one_of("models", name.strip(), known) for name in names.split(",")]
    return [variant for variant in VARIANTS if {variant, EVERYTHING} & set(chosen)]


def _one_of(option: str, name: str, names: Tuple[str, ...]) -> str:
    if name not in names:
        raise SettingError(f"--{option} is {name!r}; choose from: {', '.join(names)}")
    return name


def _accepted(names: str) -> List[Any]:
    """The mistakes called ``names``. Raises SettingError if one cannot be accepted."""
    from d2l_recsys.baseline.mistakes import MISTAKES

    # The answers of rung 6 are random, so a mistake of this rung has no expected answer.
    known = {mistake.name: mistake for mistake in MISTAKES if mistake.rung != CONVERGENCE}
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            raise SettingError(f"--accept has {name!r}; {_similar(name, known)}")
    return [known[name] for name in dict.fromkeys(chosen)]


def _similar(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown mistake: the nearest, or those with a word of it."""
    words = set(name.lower().replace("_", "-").split("-"))
    near = difflib.get_close_matches(name, known, n=1)
    near = near or [mistake for mistake in known if words & set(mistake.split("-"))]
    did_you_mean = f"did you mean {' or '.join(near[:3])}? " if near else ""
    return f"{did_you_mean}'d2l-recsys baseline causes' lists all mistakes"


def _rungs(text: str) -> List[int]:
    found = set()
    for part in text.split(","):
        bounds = part.split("-")
        if not all(re.fullmatch("[0-9]{1,3}", bound) for bound in bounds) or len(bounds) > 2:
            raise SettingError(f"--rungs is {text!r}; give numbers like 0-5 or 2,3")
        first, last = int(bounds[0]), int(bounds[-1])
        if not first <= last < len(RUNGS):
            raise SettingError(
                f"--rungs is {text!r}; the rungs are 0 to {len(RUNGS) - 1}, the lower one first"
            )
        found.update(range(first, last + 1))
    return sorted(found)


def _check_seeds(seeds: int) -> None:
    from d2l_recsys.baseline.convergence import FEWEST_SEEDS, MOST_SEEDS

    check_settings(seeds=seeds)
    if not FEWEST_SEEDS <= seeds <= MOST_SEEDS:
        raise SettingError(
            f"--seeds is {seeds}; the tests of rung 6 need {FEWEST_SEEDS} to {MOST_SEEDS} trainings"
        )


def _check_files(*paths: Optional[pathlib.Path]) -> None:
    """Raise SettingError, before the work begins, if a report cannot be written."""
    named = [path for path in paths if path is not None]
    for path in named:
        if not path.absolute().parent.is_dir():
            raise SettingError(
                f"there is no folder {path.parent} for {path.name}; make the folder first"
            )
        # A report replaces an existing file. It must not replace a device or a link.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise SettingError(f"{path} is not a file; name another file for the report")
        if not os.access(path.absolute().parent, os.W_OK):
            raise SettingError(f"{path} cannot be written; name another file for the report")
    if len({path.absolute() for path in named}) < len(named):
        raise SettingError("--json and --junit name the same file; name two files")
