"""How a mistake is defined and registered. Each mistake is the oracle with one thing changed."""

import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

from d2l_recsys.baseline.ladder import MODELS, PAIRS, PROTOCOLS, RATINGS, variants
from d2l_recsys.baseline.oracle import Port
from d2l_recsys.baseline.oracle.metrics import Numbers
from d2l_recsys.baseline.oracle.models import Outputs
from d2l_recsys.baseline.oracle.port import Learner
from d2l_recsys.baseline.port import Arrays

Trained = Dict[str, Numbers]

# The models with weight decay. Their printed loss adds up running sums of the batch losses.
WITH_DECAY = (*RATINGS, *PAIRS)
WITH_TABLES = tuple(model for model in MODELS if model != "autorec")
PRINTED, DEFINED = ("printed",), ("defined",)

# For each model: its tables, and the array of a batch whose ids select the rows of the table.
TABLES = {
    "mf": {"P": "user_id", "Q": "item_id", "user_bias": "user_id", "item_bias": "item_id"},
    "autorec": {},
    "neumf": {"P": "user_id", "Q": "item_id", "U": "user_id", "V": "item_id"},
    "caser": {"P": "user_id", "Q": "seq", "Q_prime": "item_id", "b": "item_id"},
    "fm": {"embedding": "features", "fc": "features"},
    "deepfm": {"embedding": "features", "fc": "features"},
}


class Mistake(NamedTuple):
    """One usual mistake: what is wrong, where it shows, and a port that makes it.

    ``rung`` is the first rung that fails because of the mistake. ``variants`` and ``protocols``
    name the trainings in which the mistake is possible. ``says`` has two sentences: what is right,
    and what the port does instead. ``port(model, protocol)`` makes the oracle with only this
    mistake.
    """

    name: str
    rung: int
    variants: Tuple[str, ...]
    protocols: Tuple[str, ...]
    says: str
    port: Callable[[str, str], Port]


class Mistaken(Port):
    """The base class of the mistakes: the oracle, whose training contains the mistake as well.

    A mistake overrides methods or constants of ``oracle.Port``.
    """

    def learner(self) -> Learner:
        """The oracle's learner, with the overridden methods of this class."""
        return type("Learner", (type(self), Learner), {})(self.model, self.protocol)

    def start(self, settings: Mapping[str, Any], seed: int) -> None:
        """Start training with the weights of ``first_parameters``, which a mistake may override.

        ``super().start`` exists only in the class that ``learner`` makes, because that class also
        inherits from ``Learner``.
        """
        super().start(settings, seed)
        self.set_state(settings, self.first_parameters(settings, seed))


class Before:
    """The port that the function of a mistake gets. In it, the replaced method is the one before.

    That is the oracle's method. If a port makes two mistakes, it can be that of the other mistake.
    """

    def __init__(self, port: Port, owner: type) -> None:
        vars(self).update(_port=port, _owner=owner)

    def __getattr__(self, name: str) -> Any:
        replaced = name in vars(self._owner)
        return getattr(super(self._owner, self._port) if replaced else self._port, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._port, name, value)


def net_with(port: Port, p: Arrays, batch: Arrays) -> Outputs:
    """The net of ``port`` for ``batch``, with the parameters ``p`` in place of the port's own."""
    own, port.p = port.p, p
    try:
        return port.net(batch)
    finally:
        port.p = own


class Mistakes(List[Mistake]):
    """The mistakes of one module, in the order in which the module adds them."""

    def add(
        self,
        rung: int,
        models: Tuple[str, ...],
        protocols: Tuple[str, ...] = PROTOCOLS,
        method: str = "",
        but: Tuple[str, ...] = (),
    ) -> Callable:
        """Decorate a subclass of ``Mistaken``, or a function that replaces a ``method``, to add it.

        The mistake is possible in ``models`` and all their variants, except for those in ``but``. A
        variant in ``models`` stands for itself. The mistake's name is the name of the class or
        function in kebab case. Its ``says`` is the docstring, on one line.
        """
        found = tuple(name for name in variants(models) if name not in but)

        def made(thing: Any) -> Any:
            port = _replacing(method, thing) if method else thing
            name = re.sub("(?<=[a-z])(?=[A-Z])", "-", thing.__name__).replace("_", "-").lower()
            says = " ".join((thing.__doc__ or "").split())
            self.append(Mistake(name, rung, found, protocols, says, port))
            return thing

        return made


def _replacing(method: str, function: Callable) -> type:
    """A subclass of ``Mistaken`` whose ``method`` is ``function``, which gets a ``Before``."""
    owner = type(function.__name__, (Mistaken,), {})

    def replaced(port: Port, *arguments: Any) -> Any:
        return function(Before(port, owner), *arguments)

    setattr(owner, method, replaced)
    return owner
