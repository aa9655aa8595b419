"""The nearest points by blocked matrix products over memory-mapped vectors, in single or double precision."""

from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from qexp.machine import cpus_allowed
from qexp.progress import Progress
from qexp.results import Ids, Vectors

BLOCK_BYTES = 4 * 2**20  # scores of one block, which stay in the processor's cache
POINT_BYTES = 4 * 2**20  # of one block
FIRST_BLOCK = 768
PART = 64  # queries that keep a CPU busy
FAR = 0.5  # of the mean squared length, from which on the centre of points is taken off: lengths would hide distances

Precision = type[np.float32] | type[np.float64]


def candidates(
    points: Vectors,
    queries: Vectors,
    width: int,
    distance: str,
    among: Ids | None = None,
    precision: Precision = np.float32,
) -> tuple[Ids, NDArray[np.float64]]:
    """Return row numbers [query, width], in no order, and the exact score [query] that no other point can exceed.

    Shapes: points [n, d], queries [q, d]; `among`: only these row numbers. Memory is constant in n. Where squares
    exceed the precision, row numbers are -1 or the score is infinite. Every CPU searches for a part of the queries.
    """
    progress = Progress("exact neighbours", len(points) if among is None else len(among))
    stopped = Event()

    def search(number: int, part: Vectors) -> tuple[Ids, NDArray[np.float64]]:
        def on_block(looked_at: int) -> None:
            if stopped.is_set():
                raise CancelledError
            if number == 0:  # the other parts are about as far
                progress.advance(looked_at)

        return _candidates(points, part, width, distance, among, precision, on_block)

    parts = np.array_split(queries, max(1, min(cpus_allowed(), len(queries) // PART)))
    # Threads of the product's own would wait for each other, and spin when it is done, in the way of what comes next.
    limit = (1 if len(parts) > 1 else None, "blas")
    # Some libraries have a limit for each thread, others one for all, which is given back at the end.
    with threadpool_limits(*limit), ThreadPoolExecutor(len(parts), "", threadpool_limits, limit) as pool:
        try:
            searches = [pool.submit(search, number, part) for number, part in enumerate(parts)]
            for ended in as_completed(searches):
                ended.result()
        finally:
            stopped.set()
    ids, reach = (np.concatenate(each) for each in zip(*(one.result() for one in searches), strict=True))
    return ids, reach


@np.errstate(over="ignore", invalid="ignore")  # which holds for one thread
def _candidates(
    points: Vectors,
    queries: Vectors,
    width: int,
    distance: str,
    among: Ids | None,
    precision: Precision,
    on_block: Callable[[int], None],
) -> tuple[Ids, NDArray[np.float64]]:
    """Return `candidates` for one part of the queries; `on_block` is told the size of every block looked at."""
    count = len(points) if among is None else len(among)

    def read(start: int, end: int) -> Vectors:
        return points[start:end] if among is None else points[among[start:end]]

    best = _Best(len(queries), width, precision)
    block = max(1, min(BLOCK_BYTES // max(1, len(queries)), POINT_BYTES // points.shape[1]) // 4)
    first = min(block, FIRST_BLOCK)  # few points give thresholds, so that few of the rest are looked at
    scores = _Scores(queries, read(0, first), distance, precision)
    room = np.empty(len(queries) * block, dtype=precision)
    for start, end in pairwise([0, *range(first, count, block), count]):
        out = room[: len(queries) * (end - start)].reshape(len(queries), end - start)
        best.offer(start, scores.of(read(start, end), out))
        on_block(end - start)
    ids, bar = best.found()
    reach = scores.reach(bar) if width < count else np.full(len(queries), -np.inf)
    return ids if among is None else np.where(ids < 0, -1, among[ids]), reach


class _Scores:
    """Scores of queries against blocks of points, in the order of the true distance, and how far off they may be.

    For euclid nearest is where the product less half the squared length is largest; the centre of `some` of the points
    is taken off where lengths would hide distances.
    """

    def __init__(self, queries: Vectors, some: Vectors, distance: str, precision: Precision) -> None:
        self._distance, self._precision = distance, precision
        self._queries: NDArray[Any] = queries.astype(precision, copy=False)
        self._centre: NDArray[Any] | None = None
        self._longest = 1.0 if distance == "cosine" else 0.0
        if distance == "euclid":
            wide = np.asarray(some, dtype=np.float64)
            mean = wide.mean(axis=0)
            if mean @ mean > FAR * (wide**2).sum() / len(wide):
                self._centre = mean.astype(precision)
                self._queries = self._queries - self._centre
        ones = np.ones((len(queries), 1), dtype=precision)
        self._factors = np.hstack([self._queries, ones]) if distance == "euclid" else self._queries

    def of(self, points: Vectors, out: NDArray[Any]) -> NDArray[Any]:
        """Return the scores [query, point] of a block of points, which may be in `out`."""
        points = np.asarray(points, dtype=self._precision)
        if self._distance == "manhattan":
            from scipy.spatial.distance import cdist

            return -cdist(self._queries, points, "cityblock").astype(out.dtype)
        if self._centre is not None:
            points = points - self._centre
        if self._distance != "cosine":
            squares: NDArray[Any] = np.einsum("ij,ij->i", points, points)
            self._longest = max(self._longest, float(squares.max(initial=0.0)) ** 0.5)
            if self._distance == "euclid":
                points = np.hstack([points, squares[:, None] / -2])
        return np.matmul(self._factors, points.T, out=out)

    def reach(self, bar: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the exact score [query] that points may have whose computed score is at most `bar`."""
        return _reach(bar, self._queries, self._longest, self._distance, self._precision)


def _reach(
    bar: NDArray[np.float64], queries: Vectors, longest: float, distance: str, precision: Precision
) -> NDArray[np.float64]:
    """Return the exact score that points may have whose computed score is at most `bar`.

    A product of d terms is off by at most d·u·|q|·|p| in any order of summation, u the unit roundoff (Higham, Accuracy
    and Stability of Numerical Algorithms, section 3.1), and by what underflows. A few more u are for the squared
    lengths and their sum, and for taking off the centre, from which `queries` and points of euclid count.
    """
    unit = float(np.finfo(precision).eps) / 2
    if distance == "manhattan":  # computed in double precision, then rounded
        return np.asarray(bar + 2 * unit * np.abs(bar))
    squares = np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
    share, lost = (queries.shape[1] + 16) * unit, queries.shape[1] * float(np.finfo(precision).tiny)
    if distance == "euclid":
        nearest = squares - 2 * (bar + lost + share * (np.sqrt(squares) + longest) ** 2)
        return np.asarray(-np.sqrt(np.maximum(nearest, 0.0)))
    return np.asarray(bar + lost + share * np.sqrt(squares) * longest)


class _Best:
    """The `width` best candidates of every query so far.

    Only scores above a query's threshold, the worst of its best, are looked at again; they wait until merging them is
    worth it, and every merge raises the thresholds.
    """

    def __init__(self, queries: int, width: int, precision: Precision) -> None:
        self._ids: Ids = np.full((queries, width), -1, dtype=np.int64)
        self._scores = np.full((queries, width), -np.inf, dtype=precision)
        self._threshold = np.full((queries, 1), -np.inf, dtype=precision)
        self._waiting: list[tuple[Ids, Ids, NDArray[Any]]] = []
        self._count = self._seen = self._merged = 0

    def offer(self, start: int, found: NDArray[Any]) -> None:
        """Consider scores [query, block] of the points from row number `start` on."""
        if not self._seen and found.shape[1] >= self._ids.shape[1]:
            self._threshold = _below(found, self._ids.shape[1])
        above = np.flatnonzero(found > self._threshold)
        query = above // found.shape[1]
        self._waiting.append((query, above - query * found.shape[1] + start, found.ravel()[above]))
        self._count += len(above)
        self._seen += found.shape[1]
        if self._count > self._ids.size or self._seen >= 2 * self._merged:
            self._merge()

    def found(self) -> tuple[Ids, NDArray[np.float64]]:
        """Return the candidates [query, width], in no order, and the score [query] that no other point exceeds."""
        self._merge()
        return self._ids, self._threshold[:, 0].astype(np.float64)

    def _merge(self) -> None:
        if not self._waiting:
            return
        queries, width = self._ids.shape
        owner, ids, scores = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=queries)
        all_ids = np.full((queries, width + counts.max()), -1, dtype=np.int64)
        all_scores = np.full(all_ids.shape, -np.inf, dtype=self._scores.dtype)
        all_ids[:, :width], all_scores[:, :width] = self._ids, self._scores
        taken = np.arange(counts.max()) < counts[:, None]  # of the places behind the best so far
        all_ids[:, width:][taken], all_scores[:, width:][taken] = ids[order], scores[order]
        chosen = np.argpartition(-all_scores, width - 1, axis=1)[:, :width]
        self._ids = np.take_along_axis(all_ids, chosen, axis=1)
        self._scores = np.take_along_axis(all_scores, chosen, axis=1)
        self._threshold = self._scores.min(axis=1, keepdims=True)
        self._waiting, self._count, self._merged = [], 0, self._seen


def _below(found: NDArray[Any], width: int) -> NDArray[Any]:
    """Return [query, 1] the number below the `width`-th largest of each row [query, n ≥ width]; -inf without one."""
    worst = -np.partition(-found, width - 1, axis=1)[:, width - 1 : width]  # what is not a number is put last
    below: NDArray[Any] = np.nextafter(np.fmax(worst, -np.inf), -np.inf, dtype=found.dtype)
    return below
