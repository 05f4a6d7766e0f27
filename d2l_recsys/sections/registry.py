"""The registry: the sections of the chapter, the companions, the tutorial's systems, the variants.

The command line, ``make reproduce`` and the report find all sections here. To add a section, add a
module with a ``main`` to ``chapters`` and a line to ``SECTIONS``. A variant is a way to run a
section that gets its own numbers in the report: add a line to ``VARIANTS``. A companion is a system
beside the chapter's six models: add a module of the same shape to ``chapters/extras`` and a line to
``COMPANIONS``. ``TUTORIAL`` has the systems of a tutorial, whose modules are in
``chapters/tutorial``.
"""

import enum
import importlib
import importlib.util
import inspect
import pathlib
from types import ModuleType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence

from d2l_recsys.errors import SettingError
from d2l_recsys.sections.options import read_options
from d2l_recsys.settings import nearest

# The package name of the folder ``chapters``.
CHAPTERS = "d2l_recsys.chapters"
# The package name of the folder of the companions.
EXTRAS = "d2l_recsys.chapters.extras"
# The prefix of the names of the tutorial's systems. The names of their modules lack it.
TUTORIAL_PREFIX = "tutorial_"


class Kind(enum.Enum):
    """What a section does: describe data, compare losses, or learn from data in one of these ways.

    ``ratings``, ``ranking`` and ``clicks`` are tested on held-out data. ``sessions`` is tested on
    the next item of a session. ``all_ratings`` learns from all ratings, so it has no test.
    """

    data = "data"
    ratings = "ratings"
    ranking = "ranking"
    clicks = "clicks"
    sessions = "sessions"
    all_ratings = "all ratings"
    losses = "losses"


class Section(NamedTuple):
    """A section of the chapter or a companion.

    ``name`` is the name of its module. ``source`` is the number of the section in the book, or the
    paper of the companion. ``class_name`` is the name of its model's class, empty if it has no
    model. ``figure`` is the name of the figure that a run writes beside ``result.json``.
    """

    name: str
    source: str
    title: str
    kind: Kind
    class_name: str = ""
    figure: str = "curve.png"

    @property
    def described(self) -> str:
        """Title and source in one line."""
        source = f"section {self.source}" if self.name in SECTIONS else self.source
        return f"{self.title} ({source})"

    @property
    def trains(self) -> bool:
        """Whether it trains a model and keeps it; others describe data or compare losses."""
        return self.kind not in (Kind.data, Kind.losses)

    @property
    def on_clicks(self) -> bool:
        """Whether its model learns from clicks, not from ratings."""
        return self.kind is Kind.clicks

    @property
    def draws(self) -> bool:
        """Whether its numbers depend on a seed."""
        return "seed" in self.options().parameters

    def options(self) -> inspect.Signature:
        """The options of the section's ``main``, read from its source without loading MXNet."""
        return read_options(pathlib.Path(importlib.util.find_spec(self._module_name).origin))

    def main(self) -> Callable[..., Dict[str, Any]]:
        """The section's ``main``. Imports the section, and MXNet if its model is a Gluon net."""
        return self._module().main

    def model(self) -> Callable[..., Any]:
        """The class of the section's model."""
        return getattr(self._module(), self.class_name)

    def _module(self) -> ModuleType:
        return importlib.import_module(self._module_name)

    @property
    def _module_name(self) -> str:
        if self.name in TUTORIAL:
            return f"{CHAPTERS}.tutorial.{self.name[len(TUTORIAL_PREFIX) :]}"
        return f"{CHAPTERS if self.name in SECTIONS else EXTRAS}.{self.name}"


class Variant(NamedTuple):
    """A section with some options set, which gets its own numbers in the report."""

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
        Section("pairwise", "15.5", "Ranking losses", Kind.losses, "MF", "losses.png"),
        Section("neumf", "15.6", "NeuMF: neural collaborative filtering", Kind.ranking, "NeuMF"),
        Section("caser", "15.7", "Caser: sequence-aware recommendation", Kind.ranking, "Caser"),
        Section("ctr", "15.8", "Click data", Kind.data, figure="fields.png"),
        Section("fm", "15.9", "Factorization machines", Kind.clicks, "FM"),
        Section("deepfm", "15.10", "DeepFM", Kind.clicks, "DeepFM"),
    ]
)

# The figure of a closed form, which is not trained by gradient and has no curve over epochs.
HITS = "hits.png"

COMPANIONS: Dict[str, Section] = _by_name(
    [
        Section(
            "popularity",
            "Cremonesi et al. 2010",
            "Popularity: the items with the most users",
            Kind.ranking,
            "Popularity",
            HITS,
        ),
        Section(
            "bias",
            "Koren and Bell 2011",
            "Bias: how high users rate and how high items are rated",
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
        Section("gmf", "He et al. 2017", "GMF: only NeuMF's first tower", Kind.ranking, "GMF"),
        Section("mlp", "He et al. 2017", "MLP: only NeuMF's second tower", Kind.ranking, "MLP"),
        Section(
            "neumf_ratings", "He et al. 2017", "NeuMF on ratings", Kind.ranking, "NeuMFRatings"
        ),
        Section(
            "autoencoder",
            "Hinton and Salakhutdinov 2006",
            "An autoencoder on the rows of users",
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
            "ngcf",
            "Wang et al. 2019",
            "NGCF: a network on the graph of users and items",
            Kind.ranking,
            "NGCF",
        ),
        Section(
            "lightgcn",
            "He et al. 2020",
            "LightGCN: NGCF without weights and activations",
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
        Section(
            "gru4rec",
            "Hidasi et al. 2016",
            "GRU4Rec: a recurrent net over a session",
            Kind.sessions,
            "GRU4Rec",
        ),
        Section(
            "session_caser",
            "after Tang and Wang 2018",
            "Caser on sessions, without factors of users",
            Kind.sessions,
            "SessionCaser",
        ),
    ]
)
# The systems of a tutorial on recommender systems. They learn from all ratings.
TUTORIAL: Dict[str, Section] = _by_name(
    [
        Section(
            "tutorial_svd",
            "Sarwar et al. 2000",
            "The tutorial's SVD of all ratings",
            Kind.all_ratings,
            "SVD",
            "singular-values.png",
        ),
        Section(
            "tutorial_neumf",
            "He et al. 2017",
            "The tutorial's NeuMF on ratings",
            Kind.all_ratings,
            "TutorialNeuMF",
        ),
        Section(
            "tutorial_autoencoder",
            "Hinton and Salakhutdinov 2006",
            "The tutorial's autoencoder of the rows of ratings",
            Kind.all_ratings,
            "TutorialAutoencoder",
        ),
    ]
)
# All that ``d2l-recsys run`` can run, except variants and entries of the leaderboard.
SYSTEMS: Dict[str, Section] = {**SECTIONS, **COMPANIONS, **TUTORIAL}


def _variant(name: str, description: str, **options: Any) -> Variant:
    return Variant(name, SECTIONS[name.split("-")[0]], options, description)


VARIANTS: Dict[str, Variant] = _by_name(
    [
        _variant("mf", "as in the chapter: tested on each user's last rating"),
        _variant("mf-random", "tested on a random tenth, as AutoRec is", split="random"),
        _variant("autorec", "as in the chapter: items' rows"),
        _variant("autorec-user", "users' rows", variant="user"),
        _variant("neumf", "as in the chapter: the head is a sum"),
        _variant("neumf-linear", "the weights h of eq. 15.6.3, without its sigmoid", head="linear"),
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


def defaults_of(name: str) -> Dict[str, Any]:
    """The defaults of the options of a section or companion, by name."""
    options = SYSTEMS[name].options().parameters
    return {option: parameter.default for option, parameter in options.items()}


def as_variants(names: str) -> List[Variant]:
    """The variants named in ``names`` (separated by commas), in the order of the registry.

    A section's name stands for all its variants. A name with a dash stands for one variant. Raises
    SettingError for an unknown name.
    """
    chosen = [name.strip() for name in names.split(",")]
    found = [v for v in VARIANTS.values() if {v.name, v.section.name} & set(chosen)]
    known = {name for v in found for name in (v.name, v.section.name)}
    for name in chosen:
        if name not in known:
            raise SettingError(f"--only has {name!r}; {nearest(name, VARIANTS)}")
    return found
