"""The settings in which the runs of a section differ."""

import itertools
from typing import Any, Dict, List, Mapping, Sequence

from d2l_recsys.runs.results import device_kind
from d2l_recsys.sections.options import plain
from d2l_recsys.sections.registry import SYSTEMS

# The name of a setting that is beside the options.
CHECKSUM = "SHA-256 of the data"
MISSING = object()


def differing_settings(results: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """For each result, its settings that are not the same in all ``results`` of its section.

    Seed, protocol, kind of device and name of the data count as settings. The checksum of the data
    counts if other data has the same name. A setting that a result lacks has the default of its
    option. If there is no such option, only the other results have this setting.
    """
    found: List[Dict[str, Any]] = [{} for _ in results]
    for section in {result["chapter"] for result in results}:
        places = [n for n, result in enumerate(results) if result["chapter"] == section]
        settings = _complete_settings(section, [results[place] for place in places])
        different = _names_that_differ(settings)
        for place, of_run in zip(places, settings):
            found[place] = {name: of_run[name] for name in different if name in of_run}
    return found


def _names_that_differ(settings: Sequence[Mapping[str, Any]]) -> List[str]:
    first = settings[0]
    return [
        name
        for name in dict.fromkeys(itertools.chain.from_iterable(settings))
        if any(of_run.get(name, MISSING) != first.get(name, MISSING) for of_run in settings)
    ]


def _complete_settings(section: str, results: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """All settings of each result of one section: the defaults, its own, and those beside them."""
    names = dict.fromkeys(itertools.chain.from_iterable(r["settings"] for r in results))
    defaults = _defaults(section, [*names, "seed", "protocol"])
    checksums = {(r["dataset"]["name"], r["dataset"]["sha256"]) for r in results}
    names_of_data = [name for name, _ in checksums]
    found = []
    for result in results:
        dataset = result["dataset"]
        several = names_of_data.count(dataset["name"]) > 1
        beside = {
            "seed": result.get("seed"),
            "protocol": result.get("protocol"),
            "device": device_kind(result),
            "dataset": dataset["name"],
            CHECKSUM: dataset["sha256"] if several else None,
        }
        known = {name: value for name, value in beside.items() if value is not None}
        found.append({**defaults, **result["settings"], **known})
    return found


def _defaults(section: str, names: Sequence[str]) -> Dict[str, Any]:
    """The defaults of those ``names`` that are options of the section."""
    options = SYSTEMS[section].options().parameters if section in SYSTEMS else {}
    return {name: plain(options[name].default) for name in names if name in options}
