"""Runs of models that predict the next item of a session."""

from typing import Any, Callable, Dict, List, Mapping, Sequence

import numpy

from d2l_recsys.backend import gluon, mx, np
from d2l_recsys.data import load_sessions_ml100k
from d2l_recsys.evaluation.next_items import NextItems, item_similarities, num_sessions_of
from d2l_recsys.layers.session_scores import SessionNet
from d2l_recsys.loaders.sessions import Sessions
from d2l_recsys.runs.run import OwnLossRun
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.settings import Scores, TimeSplit

# How many sessions a net reads at once in a test.
SESSIONS_AT_ONCE = 64
# The best of 0, 5, 20, 50, 100 and 200 on the split validation.
SHRINK = 100


class SessionRun(OwnLossRun):
    """One training run of a model that is tested on the next item of held-out sessions.

    Parameters
    ----------
    split : which tenth of the sessions is held out
    cutoff : further cutoffs k of the metrics
    name, settings, options : as in ``Run``; ``settings`` has ``idle``. There is one device, because
        the negative items of a row are in the other rows of its batch

    Attribute ``data`` is what ``load_sessions_ml100k`` returns. Raises what that function raises.
    """

    # A GRU keeps its state from batch to batch, and a checkpoint does not have this state.
    whole_epochs = True

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        split: TimeSplit,
        cutoff: List[int],
        **options: Any,
    ) -> None:
        settings = {"split": split, **settings, "cutoff": list(cutoff)}
        super().__init__(name, settings, num_devices=1, **options)
        # This is no option of such a run.
        del self.settings["num_devices"]
        self.data = load_sessions_ml100k(self.data_dir, split, settings["idle"])
        self._test = NextItems(self.data.test, self.data.num_items)

    def build(self, model: Callable[..., gluon.Block], *arguments: Any) -> gluon.Block:
        """Do what ``Run.build`` does, with the ids of the data."""
        return super().build(model, *arguments, ids=RatingIds.consecutive(*self.data.sizes))

    def evaluator(self, net: SessionNet) -> Callable[[], Scores]:
        """A function that ranks the next items with ``net``; printed and defined are the same.

        Its numbers are those of ``NextItems.scores``, and the same numbers of two baselines, such
        as ``popularity_hit_rate`` and ``itemknn_mrr``.
        """
        (device,), cutoffs = self.devices, self.settings["cutoff"]
        baselines = baseline_scores(self.data.train, self._test)

        def evaluate() -> Scores:
            numbers = self._test.scores(net_ranks(net, self._test, device), cutoffs)
            return Scores(*[{**numbers, **baselines}] * 2)

        return evaluate


def net_ranks(net: SessionNet, test: NextItems, device: mx.Context) -> List[numpy.ndarray]:
    """The ranks of all next items by the scores of ``net``, block by block."""
    vectors = np.array(_vectors(net, test.sessions, device), ctx=device)
    return [
        test.ranks(block, net.score_vectors(vectors[block]).asnumpy()) for block in test.blocks()
    ]


def _vectors(net: SessionNet, sessions: Sessions, device: mx.Context) -> numpy.ndarray:
    """The vector of ``net`` after each item but the last of each session, float32."""
    lengths, lists = sessions.lengths, sessions.lists()
    read = numpy.empty((len(sessions.items), net.num_factors), dtype=numpy.float32)
    # Sessions of about the same length are read together.
    order = numpy.argsort(lengths, kind="stable")
    for first in range(0, len(order), SESSIONS_AT_ONCE):
        block = order[first : first + SESSIONS_AT_ONCE]
        # A short session is filled up at its end: what comes later changes no vector before.
        items = numpy.zeros((len(block), lengths[block[-1]]), dtype=numpy.int32)
        for row, session in zip(items, block):
            row[: lengths[session]] = lists[session]
        vectors = net.session_vectors(np.array(items, dtype="int32", ctx=device)).asnumpy()
        for of_session, session in zip(vectors, block):
            start = sessions.starts[session]
            read[start : start + lengths[session]] = of_session[: lengths[session]]
    return numpy.delete(read, sessions.starts[1:] - 1, axis=0)


def baseline_scores(train: Sessions, test: NextItems) -> Dict[str, float]:
    """Hit rate and MRR of two baselines, learned from ``train``.

    ``popularity`` scores an item with the number of its sessions. ``itemknn`` scores an item by its
    similarity to the item that was read last, as Hidasi et al. (2016) do.
    """
    popularity = num_sessions_of(train, test.num_items)
    similar = item_similarities(train, test.num_items, SHRINK)
    baselines: Dict[str, Callable[[Sequence[int]], numpy.ndarray]] = {
        "popularity": lambda last: numpy.tile(popularity, (len(last), 1)),
        "itemknn": lambda last: similar[last],
    }
    numbers = {}
    for name, score in baselines.items():
        ranks = (test.ranks(block, score(test.last[block])) for block in test.blocks())
        numbers.update({n.replace("test", name): value for n, value in test.scores(ranks).items()})
    return numbers
