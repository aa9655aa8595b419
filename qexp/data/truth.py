"""Exact neighbours: computed, given or the engine's own, cached by content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexp.cache import Kind
from qexp.data.kept import read_or_made, whole
from qexp.data.nearest import candidates
from qexp.data.vectors import Data
from qexp.errors import DataError
from qexp.results import Ids, Vectors, evenly

SCORE_BYTES = 2**19  # of the vectors compared at a time in double precision, which stay in the cache
WAY = "3"  # raise when neighbours are found in another way, so that none of the old ones are used
SPARE = 8  # candidates beyond k that single precision may have put in the wrong order

CHECKED_QUERIES = 20  # of given neighbours, against exact ones
WRONG = 0.01  # the share of given neighbours that may be farther than the k-th exact one
TIE = 1e-4  # of the magnitude; others compute distances in single precision too, and not in the same order
SINGLE = float(np.finfo(np.float32).eps)  # of squared lengths: how well they tell a small squared distance

Scores = NDArray[np.float64]


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

    `matching` are the row numbers, in order, of the points that a filter lets through; null: all. Raises DataError if
    they are fewer than k.
    """
    if data.neighbours is not None:
        return given_truth(data, k)
    key = [WAY, data.facts.digest, data.facts.queries_digest, data.facts.distance, str(k)]
    if matching is not None:
        if len(matching) < k:
            raise DataError(f"search.filter: {len(matching)} points match, fewer than search.limit={k}")
        key.append(hashlib.sha256(matching.data).hexdigest())
    name = hashlib.sha256("-".join(key).encode()).hexdigest()[:16]
    path = cache / Kind.TRUTH / f"{data.facts.title}-{name}.npz"

    def make() -> None:
        truth = neighbours(data.points(), data.query_vectors(), k, data.facts.distance, matching)
        with whole(path) as partial, partial.open("wb") as file:
            np.savez(file, ids=truth.ids, scores=truth.scores)

    return read_or_made(path, lambda: _saved(path), make)


def _saved(path: Path) -> Truth:
    with np.load(path) as saved:
        return Truth(saved["ids"], saved["scores"])


def given_truth(data: Data, k: int) -> Truth:
    """Return the neighbours that the dataset gives, of which a sample is compared with exact ones.

    Raises DataError for a list shorter than k or with repeats, for another distance and for shifted ids.
    """
    assert data.neighbours is not None
    place = "dataset.truth=neighbours"
    given: Ids = np.load(data.neighbours)
    short = np.flatnonzero((given[:, :k] < 0).any(axis=1) | (given.shape[1] < k))
    if short.size:
        query = int(short[0])
        raise DataError(
            f"{place}: the query in row {data.query_rows[query]}: {int((given[query] >= 0).sum())} neighbours given, "
            f"search.limit={k}; set dataset.truth=exact or a smaller search.limit"
        )
    used = np.sort(given[:, :k], axis=1)
    twice = np.argwhere(used[:, 1:] == used[:, :-1])
    if twice.size:
        raise DataError(
            f"{place}: the query in row {data.query_rows[twice[0, 0]]}: a point is twice among the first {k} given "
            "neighbours; set dataset.truth=exact"
        )
    wrong = farther(data, given[:, :k])
    if wrong > WRONG:
        raise DataError(
            f"{place}: {100 * wrong:.0f} % of the given neighbours are farther than the {k}-th exact one: "
            f"another distance than {data.facts.distance}, or shifted ids; set dataset.distance=… or "
            f"dataset.truth=exact"
        )
    return _sorted(given[:, :k], scores_of(data, given[:, :k]), k, "neighbours")


def farther(data: Data, ids: Ids, matching: Ids | None = None) -> float:
    """Return the share of the neighbours [query, k] farther than the k-th exact one, of 20 queries searched again."""
    points, queries, distance = data.points(), data.query_vectors(), data.facts.distance
    sample = evenly(len(queries), CHECKED_QUERIES)
    exact = neighbours(points, queries[sample], ids.shape[1], distance, matching)
    least = exact.scores[:, -1:] - TIE * magnitude(points, queries[sample], exact, distance)
    if distance == "euclid":  # others may take it from the squared lengths and a product
        squares = _lengths(queries[sample]) ** 2 + _lengths(points[exact.ids[:, -1]]) ** 2
        least = -np.sqrt(least**2 + SINGLE * squares)
    return float((exact_scores(points, queries[sample], ids[sample], distance) < least).mean())


def engine_truth(data: Data, found: Ids) -> Truth:
    """Return as truth the row numbers [query, k] of the engine's exact search; DataError if it found fewer."""
    if (found < 0).any():
        query = int(np.argmax((found < 0).any(axis=1)))
        row, results = data.query_rows[query], int((found[query] >= 0).sum())
        raise DataError(
            f"dataset.truth=engine: the query in row {row} has only {results} results, fewer than search.limit"
        )
    return _sorted(found, scores_of(data, found), found.shape[1], "engine")


def _sorted(ids: Ids, scores: Scores, k: int, source: str) -> Truth:
    """Put the k best first; among equals the smaller row number."""
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Truth(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1), source)


def neighbours(points: Vectors, queries: Vectors, k: int, distance: str, among: Ids | None = None) -> Truth:
    """Search exactly: candidates in single precision, their order in double precision.

    Where single precision cannot rule out that another point is nearer, candidates come from double precision too.
    Shapes: points [n, d], queries [q, d]; `among`: only these row numbers. Memory is constant in n.
    """
    width = min(k + SPARE, len(points) if among is None else len(among))
    ids, reach = candidates(points, queries, width, distance, among)
    scores = exact_scores(points, queries, ids, distance)
    sure = (np.sort(scores, axis=1)[:, -min(k, width)] >= reach) & (ids >= 0).all(axis=1)  # -1: squares overflowed
    unsure = np.flatnonzero(~sure)
    if unsure.size:
        ids[unsure], _ = candidates(points, queries[unsure], width, distance, among, np.float64)
        scores[unsure] = exact_scores(points, queries[unsure], ids[unsure], distance)
    return _sorted(ids, scores, k, "exact")


def scores_of(data: Data, ids: Ids) -> Scores:
    """Return the `exact_scores` [query, k] of the data's queries and the points with these row numbers."""
    return exact_scores(data.points(), data.query_vectors(), ids, data.facts.distance)


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


def magnitude(points: Vectors, queries: Vectors, truth: Truth, distance: str) -> Scores:
    """Return what rounding errors of each query's k-th score grow with, [query, 1], in the score's unit.

    Euclid and manhattan: the distance itself, however far from the origin points lie. They are given in single
    precision and subtracted in double, which rounds each difference by 2⁻⁵³ of itself, and terms of one sign are
    added, so `exact_scores` is off by (d + 3) · 2⁻⁵³ at most. Engines subtract first too, in single precision. Dot and
    cosine: |q||p|, as terms of a product may cancel out; 1 for normalised vectors.
    """
    kth = truth.scores[:, -1:]
    if distance == "cosine":
        return np.ones_like(kth)
    if distance == "dot":
        return _lengths(queries) * _lengths(points[truth.ids[:, -1]])
    return np.abs(kth)


def _lengths(vectors: Vectors) -> Scores:
    lengths: Scores = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return lengths
