"""``d2l-recsys sweep NAME``: run a system with several values of its options, and compare them."""

import inspect
import pathlib
from typing import Any, Callable, Iterable, List, Mapping, Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.cli.reproduce import JOBS, Jobs
from d2l_recsys.cli.run import SectionCommand, SectionGroup
from d2l_recsys.sections.options import help_of, kind_of
from d2l_recsys.settings import check_settings, option
from d2l_recsys.storage.files import default_folder
from d2l_recsys.sweeps.grid import NOT_SWEPT, Point, as_text, check_seeds, points_of, read_values


class SweepCommand(SectionCommand):
    """A sweep over one system: its options take several values, with commas between them."""

    begin = (
        "Run the system below with each combination of the given values, over seeds. Commas "
        "separate the values of an option. An option that takes a list is given once for each "
        "value. Without options, the system runs as it is, over seeds.\n\n"
    )

    def _run(self) -> Callable[..., None]:
        own = list(inspect.signature(sweep).parameters.values())[2:]
        if not self.section.draws:
            own = [p for p in own if p.name not in ("seeds", "first_seed")]
        swept = [p for p in self.signature.parameters.values() if p.name not in NOT_SWEPT]

        def run(**given: Any) -> None:
            mine = {p.name: given.pop(p.name) for p in own}
            fixed, values = dict(self.own), {}
            for parameter in swept:
                told = given[parameter.name]
                if kind_of(parameter) is bool:
                    fixed.update({parameter.name: True} if told else {})
                elif told:
                    values[parameter.name] = read_values(parameter, told)
            several = {name: found for name, found in values.items() if len(found) > 1}
            fixed.update({name: v[0] for name, v in values.items()})
            fixed = {name: value for name, value in fixed.items() if name not in several}
            sweep(self.name, points_of(self.section, fixed, several), **mine)

        parameters = [p if kind_of(p) is bool else _several(p) for p in swept]
        keyword = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(
            [p.replace(kind=keyword) for p in [*parameters, *own]]
        )
        return run


def _several(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter as an option of typer that takes texts, each with values between commas."""
    default, about = parameter.default, help_of(parameter)
    if default not in (None, ()):
        about += f"  [default: {as_text(default)}]"
    described = typer.Option(
        option(parameter.name), metavar="VALUE,...", help=about, show_default=False
    )
    return parameter.replace(annotation=Annotated[Optional[List[str]], described], default=None)


class SweepGroup(SectionGroup):
    """The group of sweeps: one for each name in ``d2l-recsys list``."""

    command_of = SweepCommand


def sweep(
    name: str,
    points: List[Point],
    *,
    seeds: Annotated[int, "Number of runs of each setting, with consecutive seeds."] = 3,
    first_seed: Annotated[int, "The first of the seeds."] = 0,
    jobs: Jobs = JOBS,
    data_dir: Optional[pathlib.Path] = None,
    out: Annotated[
        Optional[pathlib.Path],
        "Folder for all files of the sweep. Default: results/sweeps/NAME/OPTIONS.",
    ] = None,
    json: AsJson = False,
    quiet: Annotated[bool, "Show no progress; still print the table."] = False,
) -> None:
    """Run ``points`` over seeds, write table, figure, CSV and JSON, and print the table."""
    check_settings(jobs=jobs)
    check_seeds(seeds, first_seed)
    from d2l_recsys.storage.in_use import alone_in
    from d2l_recsys.sweeps.pages import Sweep, refuse_another_sweep, write_sweep
    from d2l_recsys.sweeps.runs import run_points

    # The options that differ from the defaults and are the same in all points.
    swept = points[0].labels
    fixed = {option: v for option, v in points[0].options.items() if option not in swept}
    folder = out or _default_folder(name, swept, fixed)
    title = _title(name, swept, fixed)
    with alone_in(folder):
        refuse_another_sweep(folder, title)
        span = range(first_seed, first_seed + seeds)
        outcomes = run_points(points, span, folder / "runs", data_dir, jobs, quiet)
        done = Sweep(title, outcomes)
        files = write_sweep(done, folder)
    show(done.as_dict(), lambda: f"{done.text()}\nwritten to {folder}: {', '.join(files)}", json)


def _title(name: str, swept: Iterable[str], fixed: Mapping[str, Any]) -> str:
    by = " and ".join(swept)
    told = ", ".join(f"{option} {as_text(value)}" for option, value in fixed.items())
    return name + f" by {by}" * bool(by) + f", with {told}" * bool(told)


def _default_folder(name: str, swept: Iterable[str], fixed: Mapping[str, Any]) -> pathlib.Path:
    """The folder of a sweep if none is named; it does not depend on the values of ``swept``.

    So a sweep with more values finds the runs of the sweep before.
    """
    whole = default_folder(f"sweeps/{name}", changed=fixed)
    return whole / (",".join(swept) or "seeds")
