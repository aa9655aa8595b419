"""Exact neighbours: blocked matrix products over memory-mapped vectors, cached by content."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexp.data.vectors import Data
from qexp.results import Ids, Vectors

BLOCK_BYTES = 32 * 2**20
SPARE = 16  # candidates beyond k that single precision may have put in the wrong order

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Exact neighbours of every query, best first: row numbers and scores [query, k]; a larger score is nearer."""

    ids: Ids
    scores: Scores


def exact_truth(data: Data, k: int, cache: Path) -> Truth:
    """Return the k nearest points of every query, from the cache if they are there."""
    key = f"{data.facts.digest}-{data.facts.queries_digest}-{data.facts.distance}-{k}"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache / "truth" / f"{data.facts.title}-{name}.npz"
    if path.exists():
        with np.load(path) as saved:
            return Truth(saved["ids"], saved["scores"])
    truth = neighbours(data.points(), np.asarray(data.query_vectors()), k, data.facts.distance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as partial:
        np.savez(partial, ids=truth.ids, scores=truth.scores)
    Path(partial.name).replace(path)
    return truth


def neighbours(points: Vectors, queries: Vectors, k: int, distance: str) -> Truth:
    """Search exactly: candidates in single precision block by block, their order in double precision.

    Shapes: points [n, d], queries [q, d]. Memory is constant in n.
    """
    wanted = min(k + SPARE, len(points))
    block = max(wanted, BLOCK_BYTES // (4 * max(1, len(queries))))
    found = _block_scores(np.asarray(points[:block]), queries, distance)
    ids: Ids = np.argpartition(-found, wanted - 1, axis=1)[:, :wanted]
    scores = np.take_along_axis(found, ids, axis=1)
    for start in range(block, len(points), block):
        found = _block_scores(np.asarray(points[start : start + block]), queries, distance)
        query, column = np.nonzero(found > scores.min(axis=1, keepdims=True))
        ids, scores = _merge(ids, scores, query, column + start, found[query, column])
    exact = exact_scores(points, queries, ids, distance)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    return Truth(np.take_along_axis(ids, order, axis=1), np.take_along_axis(exact, order, axis=1))


def _merge(
    ids: Ids, scores: NDArray[np.float32], query: Ids, new_ids: Ids, new_scores: NDArray[np.float32]
) -> tuple[Ids, NDArray[np.float32]]:
    """Put candidates (query, id, score) into the best lists [query, wanted], which keep their width."""
    width = ids.shape[1]
    owner = np.concatenate([np.repeat(np.arange(len(ids)), width), query])
    all_ids = np.concatenate([ids.ravel(), new_ids])
    all_scores = np.concatenate([scores.ravel(), new_scores])
    order = np.lexsort((-all_scores, owner))
    counts = np.bincount(owner, minlength=len(ids))
    first = np.cumsum(counts) - counts
    kept = order[first[:, None] + np.arange(width)]
    return all_ids[kept], all_scores[kept]


def exact_scores(points: Vectors, queries: Vectors, ids: Ids, distance: str) -> Scores:
    """Return the scores [query, k] of given points in double precision; -inf where the id is -1.

    Cosine (of normalised vectors) and dot: the inner product. Euclid and manhattan: the negative distance.
    """
    scores = np.empty(ids.shape, dtype=np.float64)
    for row, (query, found) in enumerate(zip(queries, ids, strict=True)):
        candidates = points[np.maximum(found, 0)].astype(np.float64)
        if distance in ("cosine", "dot"):
            scores[row] = candidates @ query.astype(np.float64)
        elif distance == "euclid":
            scores[row] = -np.linalg.norm(candidates - query, axis=1)
        else:
            scores[row] = -np.abs(candidates - query).sum(axis=1)
    return np.where(ids < 0, -np.inf, scores)


def _block_scores(points: Vectors, queries: Vectors, distance: str) -> NDArray[np.float32]:
    """Score every query against a block of points in single precision, in the order of the true distance."""
    scores: NDArray[np.float32]
    if distance == "manhattan":
        from scipy.spatial.distance import cdist

        return -cdist(queries, points, "cityblock").astype(np.float32)
    scores = queries @ points.T
    if distance == "euclid":
        scores -= np.einsum("ij,ij->i", points, points)[None, :] / 2
    return scores
