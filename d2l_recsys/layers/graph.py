r"""The graph of users and items: who has seen what, as nets send embeddings along it.

An edge joins a user and an item that the user has seen. With the degrees D, the adjacency A of all
nodes is normalised, and falls into the halves of a graph that joins nothing but users with items:

.. math:: \tilde A = D^{-1/2} A D^{-1/2}
    = \begin{pmatrix} 0 & \tilde R \\ \tilde R^T & 0 \end{pmatrix}, \qquad
    \tilde R_{ui} = \frac{1}{\sqrt{|N_u| |N_i|}}

(NGCF calls it the Laplacian.) The halves alone are kept, and as sparse matrices.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy
import scipy.sparse

from d2l_recsys.backend import autograd, gluon, mx, nn, np, npx
from d2l_recsys.errors import DataError
from d2l_recsys.loaders.interactions import RankingData, interaction_matrix
from d2l_recsys.losses import softplus
from d2l_recsys.model_bases.contract import Recommender


def normalized_adjacency(
    users: numpy.ndarray, items: numpy.ndarray, num_users: int, num_items: int
) -> scipy.sparse.csr_matrix:
    """The half R~ of the graph whose edges are these pairs: float32 (num_users, num_items).

    ``users`` and ``items`` are zero-based, and no pair stands twice. A node without an edge has a
    row or column of zeros. Raises DataError for one beyond the tables.
    """
    for what, nodes, count in (("user", users, num_users), ("item", items, num_items)):
        outside = (nodes < 0) | (nodes >= count)
        if outside.any():
            raise DataError(
                f"{what} {nodes[outside][0]} of the graph is beyond the table of {count} {what}s"
            )
    degrees = numpy.bincount(users)[users] * numpy.bincount(items)[items]
    return interaction_matrix(users, items, num_users, num_items, 1 / numpy.sqrt(degrees))


class Adjacency:
    """A~ on one device, from its half ``to_users`` (the R~ of ``normalized_adjacency``)."""

    def __init__(self, to_users: scipy.sparse.csr_matrix, device: mx.Context) -> None:
        self.device, self._half = device, to_users
        self._to_users, self._to_items = (
            mx.nd.sparse.csr_matrix(
                (m.data, m.indices, m.indptr), shape=m.shape, ctx=device, dtype="float32"
            )
            for m in (to_users, to_users.T.tocsr())
        )

    def send(self, users: np.ndarray, items: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """``A~ E``: what arrives at the users and at the items, each from its neighbours.

        ``users`` (num_users, k) and ``items`` (num_items, k) are what the nodes send, float32, on
        the device; the shapes of what is returned are theirs.
        """
        to_users, to_items = self._to_users, self._to_items
        return _product(to_users, to_items, items), _product(to_items, to_users, users)

    def without_edges(self, share: float) -> "Adjacency":
        """The graph without a random ``share`` of its edges, the others weighted up to make up.

        MXNet's generator draws, in training; else it is the whole graph.
        """
        if not share or not autograd.is_training():
            return self
        weights = npx.dropout(np.array(self._half.data, ctx=self.device), p=share).asnumpy()
        half = scipy.sparse.csr_matrix(
            (weights, self._half.indices, self._half.indptr), shape=self._half.shape
        )
        return Adjacency(half, self.device)


class _SparseProduct(autograd.Function):
    """A sparse matrix times a dense one; ``transposed`` is the sparse one's transpose.

    The gradient of MXNet's own product goes through a dense copy of the matrix. (Where that of
    ``dense`` is to be added to another, ``grad_req="add"``, MXNet leaves a function's out.)
    """

    def __init__(self, matrix: Any, transposed: Any) -> None:
        super().__init__()
        self.matrix, self.transposed = matrix, transposed

    def forward(self, dense: Any) -> Any:
        return mx.nd.sparse.dot(self.matrix, dense)

    def backward(self, gradient: Any) -> Any:
        return mx.nd.sparse.dot(self.transposed, gradient)


def _product(matrix: Any, transposed: Any, dense: np.ndarray) -> np.ndarray:
    # MXNet hands its functions gradients without numpy's semantics.
    return _SparseProduct(matrix, transposed)(dense.as_nd_ndarray()).as_np_ndarray()


class _Kept(NamedTuple):
    values: List[numpy.ndarray]
    result: Any


class Memory:
    """What was computed last on each device from parameters, for as long as they keep their values.

    That they do is seen from the values themselves: to compare them costs next to nothing.
    """

    def __init__(self) -> None:
        self._kept: Dict[mx.Context, _Kept] = {}

    def get(
        self,
        device: mx.Context,
        parameters: Sequence[gluon.Parameter],
        compute: Callable[[], Any],
    ) -> Any:
        """What ``compute()`` returns on ``device``, where it depends on ``parameters`` alone."""
        values = [parameter.data(device).asnumpy() for parameter in parameters]
        kept = self._kept.get(device)
        if kept is None or not all(map(numpy.array_equal, kept.values, values)):
            kept = self._kept[device] = _Kept(values, compute())
        return kept.result


class UserItemGraph(gluon.Block):
    """The edges of a graph as constants of a net: they are saved with it, and never trained."""

    def __init__(self, num_users: int, num_items: int, num_edges: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_users, self.num_items = num_users, num_items
        constant = dict(shape=(num_edges,), dtype="int32", init="zeros", grad_req="null")
        self.users = self.params.get("users", **constant)
        self.items = self.params.get("items", **constant)
        self._memory = Memory()

    def set_edges(self, users: numpy.ndarray, items: numpy.ndarray) -> None:
        """Make ``num_edges`` distinct pairs, zero-based, the edges; on every device."""
        self.users.set_data(np.array(users, dtype="int32"))
        self.items.set_data(np.array(items, dtype="int32"))

    def adjacency(self, device: mx.Context) -> Adjacency:
        """The normalised adjacency on ``device``. Raises DataError for nodes beyond the tables."""

        def normalized() -> Adjacency:
            users, items = (edges.data(device).asnumpy() for edges in (self.users, self.items))
            half = normalized_adjacency(users, items, self.num_users, self.num_items)
            return Adjacency(half, device)

        return self._memory.get(device, (self.users, self.items), normalized)


def with_edges_of(data: RankingData) -> Callable[["GraphRecommender"], None]:
    """What gives a net the training pairs of ``data`` as the edges of its graph."""
    return lambda net: net.graph.set_edges(data.users, data.items)


class GraphRecommender(gluon.Block, Recommender):
    """The base of nets that score by inner products of embeddings, once a graph has changed them.

    ``P`` and ``Q`` hold the embeddings of users and items before that, ``num_factors`` long; a net
    says in ``propagate`` what becomes of them. Called with int arrays ``user_id`` and ``item_id``
    of shape (n,), zero-based; returns n scores. ``graph.set_edges`` has to be called before.
    """

    def __init__(
        self, num_factors: int, num_users: int, num_items: int, num_edges: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.graph = UserItemGraph(num_users, num_items, num_edges)
        self._memory = Memory()

    def propagate(self, device: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """Final embeddings of all users and all items on ``device``, a row for each."""
        raise NotImplementedError

    def forward(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Score the pairs."""
        users, items = self.propagate(user_id.ctx)
        return dot_rows(np.take(users, user_id, axis=0), np.take(items, item_id, axis=0))

    def bpr_losses(
        self, F: Any, users: np.ndarray, items: np.ndarray, negatives: np.ndarray
    ) -> np.ndarray:
        """``-ln sigmoid(d)``, (n,), of the distances d between the scores of two items of users.

        The graph is gone through once for all. ``F`` is ``mxnet.nd``.
        """
        of_users, of_items = self.propagate(users.ctx)
        leads = np.take(of_items, items, axis=0) - np.take(of_items, negatives, axis=0)
        return softplus(F, -dot_rows(np.take(of_users, users, axis=0), leads))

    def squared_norms(
        self, users: np.ndarray, items: np.ndarray, negatives: np.ndarray
    ) -> np.ndarray:
        """``|p_u|^2 + |q_i|^2 + |q_j|^2`` of the embeddings before propagation, (n,)."""
        of_users, of_items = (
            dot_rows(weight, weight)
            for weight in (part.weight.data(users.ctx) for part in (self.P, self.Q))
        )
        return np.take(of_users, users) + np.take(of_items, items) + np.take(of_items, negatives)

    def embeddings(self, device: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """What ``propagate`` returns when nothing is trained; as long as nothing was, the same."""
        with autograd.pause():
            parameters = list(self.collect_params().values())
            return self._memory.get(device, parameters, lambda: self.propagate(device))

    def score_all(self, users: np.ndarray, read: Any = None) -> np.ndarray:
        """Scores of all items for each of ``users``, (len(users), num_items): one product."""
        of_users, of_items = self.embeddings(users.ctx)
        return np.dot(np.take(of_users, users, axis=0), of_items.T)

    def item_vectors(self) -> numpy.ndarray:
        """The items' final embeddings, a row for each."""
        _, of_items = self.embeddings(self.Q.weight.list_ctx()[0])
        return of_items.asnumpy()


def dot_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products of the rows of two arrays (n, k), of shape (n,).

    A product with ones: MXNet's sum takes ten times as long.
    """
    return np.dot(a * b, np.ones(a.shape[1], ctx=a.ctx))
