r"""The graph of users and items, and the base of the nets that use it.

The nodes of the graph are the users and the items. An edge joins a user and an item that the user
has seen. A is the adjacency matrix of all nodes, and D has the degrees of the nodes on its
diagonal. No edge joins two users or two items, so two blocks of the normalized matrix are 0:

.. math:: \tilde A = D^{-1/2} A D^{-1/2}
    = \begin{pmatrix} 0 & \tilde R \\ \tilde R^T & 0 \end{pmatrix}, \qquad
    \tilde R_{ui} = \frac{1}{\sqrt{|N_u| |N_i|}}

for each edge between u and i, where N_u and N_i are the neighbors of the two nodes. (The paper of
NGCF calls this matrix the Laplacian.) The code keeps only the blocks R~ and R~^T, as sparse
matrices.
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
    """Return the block R~ of the graph with these edges, float32 (num_users, num_items).

    ``users`` and ``items`` are zero-based, and each pair occurs once. A node without an edge has a
    row or column of zeros. Raises DataError if a user or an item is outside its table.
    """
    for what, nodes, count in (("user", users, num_users), ("item", items, num_items)):
        outside = (nodes < 0) | (nodes >= count)
        if outside.any():
            raise DataError(
                f"{what} {nodes[outside][0]} of the graph is outside the table of {count} {what}s; "
                "numbers start at 0"
            )
    degrees = numpy.bincount(users)[users] * numpy.bincount(items)[items]
    return interaction_matrix(users, items, num_users, num_items, 1 / numpy.sqrt(degrees))


class Adjacency:
    """The normalized adjacency matrix A~ on one device.

    ``to_users`` is its block R~, as from ``normalized_adjacency``.
    """

    def __init__(self, to_users: scipy.sparse.csr_matrix, device: mx.Context) -> None:
        self.device, self._half = device, to_users
        self._to_users, self._to_items = (
            mx.nd.sparse.csr_matrix(
                (m.data, m.indices, m.indptr), shape=m.shape, ctx=device, dtype="float32"
            )
            for m in (to_users, to_users.T.tocsr())
        )

    def send(self, users: np.ndarray, items: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Send embeddings along the edges: return ``A~ E``, the sums at the users and at the items.

        ``users`` (num_users, k) and ``items`` (num_items, k) are the embeddings that the nodes
        send, float32, on the device. The two results have the same shapes.
        """
        to_users, to_items = self._to_users, self._to_items
        return _product(to_users, to_items, items), _product(to_items, to_users, users)

    def without_edges(self, share: float) -> "Adjacency":
        """Return the graph without a random ``share`` of its edges, for dropout in training.

        The weights of the other edges are divided by 1 - ``share``. MXNet's generator draws the
        edges. Outside training, or if ``share`` is 0, the result is the whole graph.
        """
        if not share or not autograd.is_training():
            return self
        weights = npx.dropout(np.array(self._half.data, ctx=self.device), p=share).asnumpy()
        half = scipy.sparse.csr_matrix(
            (weights, self._half.indices, self._half.indptr), shape=self._half.shape
        )
        return Adjacency(half, self.device)


class _SparseProduct(autograd.Function):
    """The product of a sparse matrix and a dense one, with a gradient for the dense one.

    ``transposed`` is the transpose of the sparse ``matrix``. MXNet's own product makes a dense copy
    of the sparse matrix to compute the gradient; this one does not. (Do not use it if ``dense`` has
    ``grad_req="add"``: MXNet then ignores the gradient of a custom function.)
    """

    def __init__(self, matrix: Any, transposed: Any) -> None:
        super().__init__()
        self.matrix, self.transposed = matrix, transposed

    def forward(self, dense: Any) -> Any:
        return mx.nd.sparse.dot(self.matrix, dense)

    def backward(self, gradient: Any) -> Any:
        return mx.nd.sparse.dot(self.transposed, gradient)


def _product(matrix: Any, transposed: Any, dense: np.ndarray) -> np.ndarray:
    # MXNet passes gradients to a custom function as arrays of its older interface, so convert here.
    return _SparseProduct(matrix, transposed)(dense.as_nd_ndarray()).as_np_ndarray()


class _Kept(NamedTuple):
    values: List[numpy.ndarray]
    result: Any


class Memory:
    """A cache of a result for each device, valid while the parameters keep their values.

    The cache compares the values themselves, which takes almost no time.
    """

    def __init__(self) -> None:
        self._kept: Dict[mx.Context, _Kept] = {}

    def get(
        self,
        device: mx.Context,
        parameters: Sequence[gluon.Parameter],
        compute: Callable[[], Any],
    ) -> Any:
        """Return the result of ``compute()`` on ``device``, from the cache if it is valid.

        The result may depend only on the values of ``parameters``.
        """
        values = [parameter.data(device).asnumpy() for parameter in parameters]
        kept = self._kept.get(device)
        if kept is None or not all(map(numpy.array_equal, kept.values, values)):
            kept = self._kept[device] = _Kept(values, compute())
        return kept.result


class UserItemGraph(gluon.Block):
    """The edges of a graph as constants of a net, which are saved with it but not trained."""

    def __init__(self, num_users: int, num_items: int, num_edges: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_users, self.num_items = num_users, num_items
        constant = dict(shape=(num_edges,), dtype="int32", init="zeros", grad_req="null")
        self.users = self.params.get("users", **constant)
        self.items = self.params.get("items", **constant)
        self._memory = Memory()

    def set_edges(self, users: numpy.ndarray, items: numpy.ndarray) -> None:
        """Set the ``num_edges`` edges on every device: distinct pairs of zero-based numbers."""
        self.users.set_data(np.array(users, dtype="int32"))
        self.items.set_data(np.array(items, dtype="int32"))

    def adjacency(self, device: mx.Context) -> Adjacency:
        """Return the normalized adjacency matrix on ``device``.

        Raises DataError if an edge has a user or an item outside its table.
        """

        def normalized() -> Adjacency:
            users, items = (edges.data(device).asnumpy() for edges in (self.users, self.items))
            half = normalized_adjacency(users, items, self.num_users, self.num_items)
            return Adjacency(half, device)

        return self._memory.get(device, (self.users, self.items), normalized)


def with_edges_of(data: RankingData) -> Callable[["GraphRecommender"], None]:
    """Return a function that makes the training pairs of ``data`` the edges of a net's graph."""
    return lambda net: net.graph.set_edges(data.users, data.items)


class GraphRecommender(gluon.Block, Recommender):
    """The base of nets that score with embeddings which were changed along a graph.

    ``P`` and ``Q`` have the first embeddings of users and items, with ``num_factors`` numbers each.
    A subclass overrides ``propagate``, which computes the final embeddings from the first ones.
    Scores are inner products of final embeddings. Called with int arrays ``user_id`` and
    ``item_id`` of shape (n,), zero-based; returns n scores. Call ``graph.set_edges`` first.
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
        """Return the final embeddings on ``device``: a row for each user, and for each item."""
        raise NotImplementedError

    def forward(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Score the pairs."""
        users, items = self.propagate(user_id.ctx)
        return dot_rows(np.take(users, user_id, axis=0), np.take(items, item_id, axis=0))

    def bpr_losses(
        self, F: Any, users: np.ndarray, items: np.ndarray, negatives: np.ndarray
    ) -> np.ndarray:
        """Return the BPR loss ``-ln sigmoid(d)`` of each pair of a seen and an unseen item, (n,).

        d is the score of the seen item minus the score of the unseen item in ``negatives``. The
        final embeddings are computed once for the whole batch. ``F`` is ``mxnet.nd``.
        """
        of_users, of_items = self.propagate(users.ctx)
        leads = np.take(of_items, items, axis=0) - np.take(of_items, negatives, axis=0)
        return softplus(F, -dot_rows(np.take(of_users, users, axis=0), leads))

    def squared_norms(
        self, users: np.ndarray, items: np.ndarray, negatives: np.ndarray
    ) -> np.ndarray:
        """Return ``|p_u|^2 + |q_i|^2 + |q_j|^2`` of the first embeddings, (n,)."""
        of_users, of_items = (
            dot_rows(weight, weight)
            for weight in (part.weight.data(users.ctx) for part in (self.P, self.Q))
        )
        return np.take(of_users, users) + np.take(of_items, items) + np.take(of_items, negatives)

    def embeddings(self, device: mx.Context) -> Tuple[np.ndarray, np.ndarray]:
        """Return the final embeddings as in evaluation, without dropout.

        They are computed again only after a parameter has changed.
        """
        with autograd.pause():
            parameters = list(self.collect_params().values())
            return self._memory.get(device, parameters, lambda: self.propagate(device))

    def score_all(self, users: np.ndarray, read: Any = None) -> np.ndarray:
        """Return the scores of all items for each of ``users``, (len(users), num_items)."""
        of_users, of_items = self.embeddings(users.ctx)
        return np.dot(np.take(of_users, users, axis=0), of_items.T)

    def item_vectors(self) -> numpy.ndarray:
        """Return the final embeddings of the items, a row for each item."""
        _, of_items = self.embeddings(self.Q.weight.list_ctx()[0])
        return of_items.asnumpy()


def dot_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the inner product of each row of ``a`` (n, k) with the same row of ``b``, (n,).

    A product with ones adds up the columns, because MXNet's sum takes ten times as long.
    """
    return np.dot(a * b, np.ones(a.shape[1], ctx=a.ctx))
