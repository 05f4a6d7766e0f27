"""``d2l-recsys rerun FOLDER``: repeat a run, and see whether it gives the same bits."""

import pathlib
from typing import Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show

DIFFERENT = 1


def rerun(
    folder: Annotated[pathlib.Path, typer.Argument(help="The folder of a finished run.")],
    data_dir: Optional[pathlib.Path] = None,
    json: AsJson = False,
    quiet: Annotated[bool, "Show no progress; still print the comparison."] = False,
) -> None:
    """Repeat the run in FOLDER, and compare its numbers and weights with those of the first run.

    Takes section, settings, seed, protocol and devices from FOLDER/result.json, and writes the run
    into FOLDER-again. The exit code is 0 if both runs are the same, and 1 if they differ.
    """
    import contextlib
    import io

    from d2l_recsys.runs.again import check_data, differences, options_of
    from d2l_recsys.runs.results import folder_of, read_result
    from d2l_recsys.saved_models import MODEL, arrays_of_model

    folder = folder_of(folder)
    first = read_result(folder)
    section, options = options_of(folder, first)
    # Read the weights now: a damaged file must not be found after a long run.
    has_weights = (folder / MODEL).exists()
    if has_weights:
        arrays_of_model(folder)
    check_data(section, first, data_dir)
    again = folder.with_name(f"{folder.name}-again") if folder.name else pathlib.Path("again")
    # The bar of the run goes to standard error. Its lines are not wanted here.
    with contextlib.redirect_stdout(io.StringIO()):
        section.main()(data_dir=data_dir, out=again, quiet=quiet, **options)
    second = read_result(again)
    found = differences(folder, again, [first, second])
    before = first.get("environment")
    before = before if isinstance(before, dict) else {}
    made_with = [
        f"{name}: {before.get(name)} became {value}"
        for name, value in second["environment"].items()
        if before.get(name) != value
    ]
    if first.get("processor") != second["processor"]:
        made_with.append(f"processor: {first.get('processor')} became {second['processor']}")
    document = {
        "folder": str(folder),
        "again": str(again),
        "same": not found,
        "differences": found,
        "environment": made_with,
    }

    def text() -> str:
        verdict = f"{again} has the same numbers{' and weights' * has_weights} as {folder}"
        if not has_weights:
            verdict += ", which has no weights"
        lines = [f"{again} differs from {folder}:", *found] if found else [verdict]
        if found and made_with:
            lines += ["The runs were not made with the same:", *made_with]
        return "\n".join(lines)

    show(document, text, json)
    if found:
        raise typer.Exit(DIFFERENT)
