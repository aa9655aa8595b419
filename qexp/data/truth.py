"""Exact neighbours: blocked matrix products over memory-mapped vectors, cached by content."""

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexp.data.progress import Progress
from qexp.data.vectors import Data
from qexp.errors import DataError
from qexp.results import Ids, Vectors

BLOCK_BYTES = 4 * 2**20  # scores of one block, which stay in the processor's cache
POINT_BYTES = 16 * 2**20  # of one block
FIRST_BLOCK = 256
SCORE_BYTES = 2 * 2**20
SPARE = 8  # candidates beyond k that single precision may have put in the wrong order

Scores = NDArray[np.float64]


CHECKED_QUERIES = 20  # of given neighbours, against exact ones
WRONG = 0.01  # the share of given neighbours that may be farther than the k-th exact one
TIE = 1e-4  # relative; others compute distances in single precision too, and not in the same order


@dataclass(frozen=True)
class Truth:
    """Exact neighbours of every query, best first: row numbers and scores [query, k]; a larger score is nearer.

    `source` says where they come from: `exact`, `neighbours` or `engine`.
    """

    ids: Ids
    scores: Scores
    source: str = "exact"


def find_truth(data: Data, k: int, cache: Path, matching: Ids | None = None) -> Truth:
    """Return the k nearest points of every query: the given ones, else computed, or from the cache.

    `matching` are the row numbers, in order, of the points that a filter lets through; null: all.
    """
    if data.neighbours is not None:
        return given_truth(data, k)
    key = [data.facts.digest, data.facts.queries_digest, data.facts.distance, str(k)]
    if matching is not None:
        if len(matching) < k:
            raise DataError(f"search.filter: {len(matching)} points match, fewer than search.limit={k}")
        key.append(hashlib.sha256(matching.data).hexdigest())
    name = hashlib.sha256("-".join(key).encode()).hexdigest()[:16]
    path = cache / "truth" / f"{data.facts.title}-{name}.npz"
    if path.exists():
        with np.load(path) as saved:
            return Truth(saved["ids"], saved["scores"])
    truth = neighbours(data.points(), np.asarray(data.query_vectors()), k, data.facts.distance, matching)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as partial:
        np.savez(partial, ids=truth.ids, scores=truth.scores)
    Path(partial.name).replace(path)
    return truth


def given_truth(data: Data, k: int) -> Truth:
    """Return the neighbours that the dataset gives, of which a sample is compared with exact ones.

    Raises DataError for a list shorter than k and for neighbours of another distance or of shifted ids.
    """
    assert data.neighbours is not None
    given: Ids = np.load(data.neighbours)
    short = np.flatnonzero((given[:, :k] < 0).any(axis=1) | (given.shape[1] < k))
    if short.size:
        row = int(short[0])
        raise DataError(
            f"{data.facts.source} query {row}: {int((given[row] >= 0).sum())} neighbours given, search.limit={k}; "
            "set dataset.truth=exact or a smaller search.limit"
        )
    points, queries, distance = data.points(), np.asarray(data.query_vectors()), data.facts.distance
    scores = exact_scores(points, queries, given[:, :k], distance)
    sample = np.unique(np.linspace(0, len(queries) - 1, min(CHECKED_QUERIES, len(queries))).astype(int))
    kth = neighbours(points, queries[sample], k, distance).scores[:, -1:]
    wrong = float((scores[sample] < kth - TIE * np.maximum(1.0, np.abs(kth))).mean())
    if wrong > WRONG:
        raise DataError(
            f"{data.facts.source}: {100 * wrong:.0f} % of the given neighbours are farther than the {k}-th exact one: "
            f"another distance than {distance}, or shifted ids; set dataset.distance=… or dataset.truth=exact"
        )
    return _sorted(given[:, :k], scores, k, "neighbours")


def engine_truth(data: Data, found: Ids) -> Truth:
    """Return as truth what the engine's exact search found, row numbers [query, k], with scores of our own."""
    if (found < 0).any():
        row = int(np.argmax((found < 0).any(axis=1)))
        results = int((found[row] >= 0).sum())
        raise DataError(f"dataset.truth=engine: query {row} has only {results} results, fewer than search.limit")
    scores = exact_scores(data.points(), np.asarray(data.query_vectors()), found, data.facts.distance)
    return _sorted(found, scores, found.shape[1], "engine")


def _sorted(ids: Ids, scores: Scores, k: int, source: str) -> Truth:
    """Put the k best first; among equals the smaller row number."""
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Truth(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1), source)


def neighbours(points: Vectors, queries: Vectors, k: int, distance: str, among: Ids | None = None) -> Truth:
    """Search exactly: candidates in single precision block by block, their order in double precision.

    Shapes: points [n, d], queries [q, d]; `among`: only these row numbers. Memory is constant in n.
    """
    count = len(points) if among is None else len(among)
    best = _Best(len(queries), min(k + SPARE, count))
    progress = Progress("exact neighbours", count)
    block = max(1, min(BLOCK_BYTES // max(1, len(queries)), POINT_BYTES // points.shape[1]) // 4)
    first = min(block, FIRST_BLOCK)  # few points give thresholds, so that few of the rest are looked at
    if distance == "euclid":  # nearest is where the product less half the squared length is largest
        queries = np.hstack([queries, np.ones((len(queries), 1), dtype=np.float32)])
    buffers = cycle(np.empty((2, len(queries) * block), dtype=np.float32))
    with ThreadPoolExecutor(1) as pool:  # the next block is scored while this one is looked through
        looking = None
        for start, end in pairwise([0, *range(first, count, block), count]):
            part = np.asarray(points[start:end] if among is None else points[among[start:end]])
            out = next(buffers)[: len(queries) * len(part)].reshape(len(queries), len(part))
            found = _block_scores(part, queries, distance, out)
            if looking:
                looking.result()
            looking = pool.submit(best.offer, start, found)
            progress.advance(len(part))
        if looking:
            looking.result()
    ids = best.ids() if among is None else among[best.ids()]
    exact = exact_scores(points, queries[:, : points.shape[1]], ids, distance)
    return _sorted(ids, exact, k, "exact")


class _Best:
    """The `width` best candidates of every query so far.

    Only scores above a query's threshold, the worst of its best, are looked at again; they wait until merging them is
    worth it, and every merge raises the thresholds.
    """

    def __init__(self, queries: int, width: int) -> None:
        self._ids: Ids = np.full((queries, width), -1, dtype=np.int64)
        self._scores = np.full((queries, width), -np.inf, dtype=np.float32)
        self._threshold = np.full((queries, 1), -np.inf, dtype=np.float32)
        self._waiting: list[tuple[Ids, Ids, NDArray[np.float32]]] = []
        self._count = self._seen = self._merged = 0

    def offer(self, start: int, found: NDArray[np.float32]) -> None:
        """Consider scores [query, block] of the points from row number `start` on."""
        place = np.flatnonzero(found > self._threshold)
        query = place // found.shape[1]
        self._waiting.append((query, place - query * found.shape[1] + start, found.ravel()[place]))
        self._count += len(place)
        self._seen += found.shape[1]
        if self._count > self._ids.size or self._seen >= 2 * self._merged:
            self._merge()

    def ids(self) -> Ids:
        """Return the candidates [query, width], in no order."""
        self._merge()
        return self._ids

    def _merge(self) -> None:
        if not self._waiting:
            return
        queries, width = self._ids.shape
        owner, ids, scores = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=queries)
        column = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + width
        all_ids = np.full((queries, width + counts.max()), -1, dtype=np.int64)
        all_scores = np.full(all_ids.shape, -np.inf, dtype=np.float32)
        all_ids[:, :width], all_scores[:, :width] = self._ids, self._scores
        all_ids[owner[order], column], all_scores[owner[order], column] = ids[order], scores[order]
        chosen = np.argpartition(-all_scores, width - 1, axis=1)[:, :width]
        self._ids = np.take_along_axis(all_ids, chosen, axis=1)
        self._scores = np.take_along_axis(all_scores, chosen, axis=1)
        self._threshold = self._scores.min(axis=1, keepdims=True)
        self._waiting, self._count, self._merged = [], 0, self._seen


def exact_scores(points: Vectors, queries: Vectors, ids: Ids, distance: str) -> Scores:
    """Return the scores [query, k] of given points in double precision; -inf where the id is -1.

    Cosine (of normalised vectors) and dot: the inner product. Euclid and manhattan: the negative distance.
    """
    scores = np.empty(ids.shape, dtype=np.float64)
    step = max(1, SCORE_BYTES // (8 * max(1, ids.shape[1] * points.shape[1])))
    for start in range(0, len(ids), step):
        found = np.maximum(ids[start : start + step], 0)
        query = queries[start : start + step, None, :].astype(np.float64)
        candidates = points[found.ravel()].astype(np.float64).reshape(*found.shape, -1)
        if distance in ("cosine", "dot"):
            part = (candidates @ query.swapaxes(1, 2))[:, :, 0]
        elif distance == "euclid":
            candidates -= query
            part = -np.sqrt(np.einsum("qkd,qkd->qk", candidates, candidates))
        else:
            candidates -= query
            part = -np.abs(candidates, out=candidates).sum(axis=2)
        scores[start : start + step] = part
    return np.where(ids < 0, -np.inf, scores)


def _block_scores(points: Vectors, queries: Vectors, distance: str, out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score every query against a block of points in single precision, in the order of the true distance.

    For euclid the queries have a last component 1.
    """
    if distance == "manhattan":
        from scipy.spatial.distance import cdist

        return -cdist(queries, points, "cityblock").astype(np.float32)
    if distance == "euclid":
        halves = np.einsum("ij,ij->i", points, points)[:, None] / -2
        points = np.hstack([points, halves])
    return np.matmul(queries, points.T, out=out)
