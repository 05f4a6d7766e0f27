"""The sections of the chapter, its companions, and the runs that reproduce it.

Whatever goes over sections, the command line, ``make reproduce`` or the report, finds them here. A
new section is a module in ``chapters`` with a ``main`` and a line in ``SECTIONS``; a way to run it
that has its own numbers is a line in ``VARIANTS``. A system that is no section, but belongs beside
them, is a module of the same shape and a line in ``COMPANIONS``.
"""

import difflib
import enum
import importlib
import importlib.util
import inspect
import pathlib
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Sequence

from d2l_recsys.errors import SettingError
from d2l_recsys.sections.options import read_options

# Where the folder ``chapters`` is installed.
CHAPTERS = "d2l_recsys.chapters"
# And that of the systems beside the book's.
EXTRAS = "d2l_recsys.chapters.extras"


class Kind(enum.Enum):
    """What a section does: describe data, or learn to predict ratings, rankings or clicks."""

    data = "data"
    ratings = "ratings"
    ranking = "ranking"
    clicks = "clicks"


class Section(NamedTuple):
    """A section of the chapter or a companion: the module's name, its source, what it does.

    The source is a number in the book, or a companion's paper. ``class_name`` is its model's, where
    it has one; ``figure`` is the file that its run leaves, beside ``result.json``.
    """

    name: str
    source: str
    title: str
    kind: Kind
    class_name: str = ""
    figure: str = "curve.png"

    @property
    def described(self) -> str:
        """Title and source, in a line."""
        source = f"section {self.source}" if self.name in SECTIONS else self.source
        return f"{self.title} ({source})"

    @property
    def trains(self) -> bool:
        """Whether there is a seed, a history and a curve."""
        return self.kind is not Kind.data

    @property
    def on_clicks(self) -> bool:
        """Whether it learns from clicks, not from ratings."""
        return self.kind is Kind.clicks

    @property
    def draws(self) -> bool:
        """Whether its numbers depend on a seed."""
        return "seed" in self.options().parameters

    def options(self) -> inspect.Signature:
        """The options of the section's ``main``, from its source: MXNet is not loaded."""
        return read_options(pathlib.Path(importlib.util.find_spec(self._module_name).origin))

    def main(self) -> Callable[..., Dict[str, Any]]:
        """The section's ``main``; a section that trains imports MXNet for it."""
        return self._module().main

    def model(self) -> Callable[..., Any]:
        """The class of the section's model."""
        return getattr(self._module(), self.class_name)

    def _module(self) -> ModuleType:
        return importlib.import_module(self._module_name)

    @property
    def _module_name(self) -> str:
        return f"{CHAPTERS if self.name in SECTIONS else EXTRAS}.{self.name}"


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

# What a run of a system that is not trained by gradient leaves in place of a curve over epochs.
HITS = "hits.png"

COMPANIONS: Dict[str, Section] = _by_name(
    [
        Section(
            "popularity",
            "Cremonesi et al. 2010",
            "Popularity: what most users have seen",
            Kind.ranking,
            "Popularity",
            HITS,
        ),
        Section(
            "bias",
            "Koren and Bell 2011",
            "Bias: how users rate and how items are rated",
            Kind.ranking,
            "Bias",
            HITS,
        ),
        Section(
            "itemknn",
            "Sarwar et al. 2001",
            "Item-based nearest neighbours",
            Kind.ranking,
            "ItemKNN",
            HITS,
        ),
        Section("ease", "Steck 2019", "EASE: a linear autoencoder", Kind.ranking, "EASE", HITS),
        Section(
            "ordered_ease",
            "after Steck 2019",
            "EASE that knows the order of a history",
            Kind.ranking,
            "OrderedEASE",
            HITS,
        ),
        Section("svd", "Cremonesi et al. 2010", "SVD of the ratings", Kind.ranking, "SVD", HITS),
        Section(
            "als",
            "Zhou et al. 2008, Hu et al. 2008",
            "Alternating least squares",
            Kind.ranking,
            "ALS",
            HITS,
        ),
        Section("gmf", "He et al. 2017", "GMF: NeuMF's first tower alone", Kind.ranking, "GMF"),
        Section("mlp", "He et al. 2017", "MLP: NeuMF's second tower alone", Kind.ranking, "MLP"),
        Section(
            "neumf_ratings", "He et al. 2017", "NeuMF on ratings", Kind.ranking, "NeuMFRatings"
        ),
        Section(
            "autoencoder",
            "Hinton and Salakhutdinov 2006",
            "An autoencoder of users' rows",
            Kind.ranking,
            "Autoencoder",
        ),
        Section("cdae", "Wu et al. 2016", "CDAE: a denoising autoencoder", Kind.ranking, "CDAE"),
        Section(
            "multvae",
            "Liang et al. 2018",
            "Mult-VAE: a variational autoencoder",
            Kind.ranking,
            "MultVAE",
        ),
        Section(
            "ngcf", "Wang et al. 2019", "NGCF: a graph of users and items", Kind.ranking, "NGCF"
        ),
        Section(
            "lightgcn",
            "He et al. 2020",
            "LightGCN: a graph without layers between",
            Kind.ranking,
            "LightGCN",
        ),
        Section(
            "sasrec",
            "Kang and McAuley 2018",
            "SASRec: self-attention over a history",
            Kind.ranking,
            "SASRec",
        ),
        Section(
            "fm_ranking",
            "Rendle 2010, Guo et al. 2017",
            "FM and DeepFM as rankers",
            Kind.ranking,
            "RankingFM",
        ),
    ]
)
# All that can be run.
SYSTEMS: Dict[str, Section] = {**SECTIONS, **COMPANIONS}


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
            raise SettingError(f"--only has {name!r}; {nearest(name, VARIANTS)}")
    return found


def nearest(name: str, names: Iterable[str]) -> str:
    """What to say of a ``name`` that is not one of ``names``: the most similar one, and all."""
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"choose from: {', '.join(names)}"
