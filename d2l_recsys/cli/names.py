"""``d2l-recsys list``: the names of all that can be run."""

from typing import Dict, List

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.leaderboard.entries import ENTRIES
from d2l_recsys.sections.registry import COMPANIONS, SECTIONS, SYSTEMS, TUTORIAL, VARIANTS


def all_names() -> List[Dict[str, str]]:
    """What each name stands for: kind, name, source and title.

    A leaderboard entry with the name of a section or a companion is left out: it is the same
    system, with the settings of the leaderboard.
    """
    rows = []
    kinds = {"section": SECTIONS, "companion": COMPANIONS, "tutorial": TUTORIAL}
    for kind, systems in kinds.items():
        for system in systems.values():
            rows.append((kind, system.name, system.source, system.title))
    for variant in VARIANTS.values():
        if variant.name not in SECTIONS:
            section = variant.section
            rows.append(("variant", variant.name, section.source, variant.description))
    for entry in ENTRIES.values():
        if entry.name not in SYSTEMS:
            rows.append(("leaderboard", entry.name, entry.section.source, entry.titled))
    return [dict(zip(("kind", "name", "source", "title"), row)) for row in rows]


def list_names(json: AsJson = False) -> None:
    """List the names that 'run' takes: sections, companions, variants and leaderboard entries."""
    from tabulate import tabulate

    names = all_names()
    show({"names": names}, lambda: tabulate(names, headers="keys"), json)
