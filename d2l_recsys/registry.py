"""The sections of the chapter, and the runs that reproduce it.

Whatever goes over sections, the command line, ``make reproduce`` or the report, finds them here. A
new section is a module in ``chapters`` with a ``main`` and a line in ``SECTIONS``; a way to run it
that has its own numbers is a line in ``VARIANTS``.
"""

import difflib
import enum
import importlib
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Sequence

from d2l_recsys.errors import SettingError

__all__ = [
    "CHAPTERS",
    "SECTIONS",
    "VARIANTS",
    "Kind",
    "Section",
    "Variant",
    "as_variants",
]


# Where the folder ``chapters`` is installed.
CHAPTERS = "d2l_recsys.chapters"


class Kind(enum.Enum):
    """What a section does: describe data, or learn to predict ratings, rankings or clicks."""

    data = "data"
    ratings = "ratings"
    ranking = "ranking"
    clicks = "clicks"


class Section(NamedTuple):
    """A section of the chapter: the module's name, its number in the book, what it does.

    ``class_name`` is its model's, where it has one; ``figure`` is the file that its run leaves,
    beside ``result.json``.
    """

    name: str
    number: str
    title: str
    kind: Kind
    class_name: str = ""
    figure: str = "curve.png"

    @property
    def trains(self) -> bool:
        """Whether there is a seed, a history and a curve."""
        return self.kind is not Kind.data

    @property
    def on_clicks(self) -> bool:
        """Whether it learns from clicks, not from ratings."""
        return self.kind is Kind.clicks

    def main(self) -> Callable[..., Dict[str, Any]]:
        """The section's ``main``; a section that trains imports MXNet for it."""
        return self._module().main

    def model(self) -> Callable[..., Any]:
        """The class of the section's model."""
        return getattr(self._module(), self.class_name)

    def _module(self) -> ModuleType:
        return importlib.import_module(f"{CHAPTERS}.{self.name}")


class Variant(NamedTuple):
    """A section with some of its options: a run that has numbers of its own."""

    name: str
    section: Section
    options: Mapping[str, Any]
    description: str


def _by_name(items: Sequence[Any]) -> Dict[str, Any]:
    return {item.name: item for item in items}


SECTIONS: Dict[str, Section] = _by_name(
    [
        Section("movielens", "15.2", "The MovieLens data set", Kind.data, figure="histogram.png"),
        Section("mf", "15.3", "Matrix factorization", Kind.ratings, "MF"),
        Section(
            "autorec",
            "15.4",
            "AutoRec: rating prediction with autoencoders",
            Kind.ratings,
            "AutoRec",
        ),
        Section("neumf", "15.6", "NeuMF: neural collaborative filtering", Kind.ranking, "NeuMF"),
        Section("caser", "15.7", "Caser: sequence-aware recommendation", Kind.ranking, "Caser"),
        Section("ctr", "15.8", "Click data", Kind.data, figure="fields.png"),
        Section("fm", "15.9", "Factorization machines", Kind.clicks, "FM"),
        Section("deepfm", "15.10", "DeepFM", Kind.clicks, "DeepFM"),
    ]
)


def _variant(name: str, description: str, **options: Any) -> Variant:
    return Variant(name, SECTIONS[name.split("-")[0]], options, description)


VARIANTS: Dict[str, Variant] = _by_name(
    [
        _variant("mf", "as in the chapter: tested on each user's last rating"),
        _variant("mf-random", "tested on a random tenth, as AutoRec is", split="random"),
        _variant("autorec", "as in the chapter: items' rows"),
        _variant("autorec-user", "users' rows", variant="user"),
        _variant("neumf", "as in the chapter: the head is a sum"),
        _variant("neumf-linear", "weights, as eq. 15.6.3 has, but no sigmoid", head="linear"),
        _variant("neumf-hinge", "the hinge loss of section 15.5", loss="hinge"),
        _variant("neumf-sigmoid", "weights and sigmoid, as in the later editions", head="sigmoid"),
        _variant("caser", "as in the chapter's code: L is 3"),
        _variant("caser-L5", "as in the chapter's text: L is 5", L=5),
        _variant("fm", "as in the chapter: trained on scores"),
        _variant("fm-defined", "trained on logits", protocol="defined"),
        _variant("deepfm", "as in the chapter: trained on scores"),
        _variant("deepfm-defined", "trained on logits", protocol="defined"),
    ]
)


def as_variants(names: str) -> List[Variant]:
    """The variants that ``names``, separated by commas, stand for, in the registry's order.

    A section's name stands for all its variants, a variant's with a dash for that one alone.
    Raises SettingError for a name that is neither.
    """
    chosen = [name.strip() for name in names.split(",")]
    found = [v for v in VARIANTS.values() if {v.name, v.section.name} & set(chosen)]
    known = {name for v in found for name in (v.name, v.section.name)}
    for name in chosen:
        if name not in known:
            raise SettingError(f"--only has {name!r}; {_nearest(name, VARIANTS)}")
    return found


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"choose from: {', '.join(names)}"
