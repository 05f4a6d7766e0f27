"""How a mistake is made: the oracle with one thing changed."""

import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

from d2l_recsys.baseline.ladder import MODELS, PAIRS, PROTOCOLS, RATINGS
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.metrics import Numbers
from d2l_recsys.baseline.oracle.port import Learner

Trained = Dict[str, Numbers]

# All but the models of clicks: decayed, and their losses printed as a running sum.
WITH_DECAY = (*RATINGS, *PAIRS)
WITH_TABLES = tuple(model for model in MODELS if model != "autorec")
PRINTED, DEFINED = ("printed",), ("defined",)

# The tables of each model, and by which ids of a batch their rows are looked up.
TABLES = {
    "mf": {"P": "user_id", "Q": "item_id", "user_bias": "user_id", "item_bias": "item_id"},
    "autorec": {},
    "neumf": {"P": "user_id", "Q": "item_id", "U": "user_id", "V": "item_id"},
    "caser": {"P": "user_id", "Q": "seq", "Q_prime": "item_id", "b": "item_id"},
    "fm": {"embedding": "features", "fc": "features"},
    "deepfm": {"embedding": "features", "fc": "features"},
}


class Mistake(NamedTuple):
    """One usual mistake.

    It first shows at ``rung``, in these ``models`` and ``protocols``; ``says`` is what is right,
    and what is done instead. ``port`` makes the oracle with this mistake alone.
    """

    name: str
    rung: int
    models: Tuple[str, ...]
    protocols: Tuple[str, ...]
    says: str
    port: Callable[[str, str], Port]


class Mistaken(Port):
    """The oracle, which trains with the mistakes that it is asked with."""

    def learner(self) -> Learner:
        """The oracle's learner with the same mistakes."""
        return type("Learner", (type(self), Learner), {})(self.model, self.protocol)

    def start(self, settings: Mapping[str, Any], seed: int) -> None:
        """In training, where the oracle's learner is among the bases, the weights are these."""
        super().start(settings, seed)
        self.set_state(settings, self.first_parameters(settings, seed))


class Mistakes(List[Mistake]):
    """The mistakes that a module makes, in order."""

    def add(
        self,
        rung: int,
        models: Tuple[str, ...],
        protocols: Tuple[str, ...] = PROTOCOLS,
        method: str = "",
    ) -> Callable:
        """Add that of a subclass of ``Mistaken``, or of a function in place of a ``method``.

        Its name comes from the name of either, and what it says is the docstring.
        """

        def made(thing: Any) -> Any:
            port = type(thing.__name__, (Mistaken,), {method: thing}) if method else thing
            name = re.sub("(?<=[a-z])(?=[A-Z])", "-", thing.__name__).replace("_", "-").lower()
            says = " ".join((thing.__doc__ or "").split())
            self.append(Mistake(name, rung, models, protocols, says, port))
            return thing

        return made
