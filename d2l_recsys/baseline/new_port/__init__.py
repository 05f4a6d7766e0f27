"""Ports to fill in, one for each framework: the files beside this one. Nothing imports them."""

import pathlib
from typing import List

FOLDER = pathlib.Path(__file__).resolve().parent


def frameworks() -> List[str]:
    """The frameworks that have a port to fill in."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def new_port(framework: str, name: str) -> bytes:
    """The content of a new port to ``framework``; ``name`` is the name of its file."""
    text = (FOLDER / f"{framework}.py").read_text(encoding="utf-8")
    return text.replace("MY_PORT.py", name).encode("utf-8")
