"""The option ``--json`` of the commands that print a table. ``docs/json.md`` has the documents."""

from typing import Any, Callable, Mapping

import typer
from typing_extensions import Annotated

from d2l_recsys.storage.files import as_json

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of the table.")
]


def show(document: Mapping[str, Any], text: Callable[[], str], in_json: bool) -> None:
    """Print ``document`` as JSON if ``in_json``, otherwise ``text()``."""
    print(as_json(document).decode("utf-8").rstrip("\n") if in_json else text())
