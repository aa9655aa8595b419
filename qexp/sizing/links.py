"""How many links a point of an HNSW graph has on average: it depends on the data, so a sample of it is asked."""

from collections.abc import Callable
from math import tanh
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.results import CollectionSpec, Vectors, evenly

Links: TypeAlias = Callable[[CollectionSpec], float]  # `forward_links` of one dataset, for any collection of it

SAMPLE_POINTS = 100_000
SAMPLE_PIVOTS = 200
BLOCK = 4096
SATURATION = 1.9  # fitted to 30 graphs of real and synthetic vectors (docs/memory.md); mean links within 10 %
TYPICAL_FORWARD = 15.0  # all-MiniLM-L6-v2 embeddings of WordNet: 10 at 1,000 points, 15.5 at 20,000


def forward_links(vectors: Vectors, m: int, ef_construct: int, distance: str, by_signs: bool = False) -> float:
    """Return how many links a point of `vectors` [n, size] chooses itself when it is added, on average.

    What Qdrant's builder does, with exact candidates: of the `ef_construct` nearest points that are there already,
    those are kept, nearest first, that are nearer to the new point than to any kept before, up to 2m. Asked of 200
    points, among at most 100,000 in the order of their rows; vectors for cosine must be normalised. The builder
    compares codes where there are some: `by_signs` stands for codes of one or two bits a component, and compares on
    which side of its mean each component is.
    """
    rows = evenly(len(vectors), SAMPLE_POINTS)
    if len(rows) < 2:
        return 0.0
    places = np.sort(np.random.default_rng(0).integers(1, len(rows), SAMPLE_PIVOTS))
    centre = vectors[rows[:: max(1, len(rows) // BLOCK)]].mean(axis=0) if by_signs else None

    def read(wanted: NDArray[np.int64]) -> Vectors:
        found = np.asarray(vectors[rows[wanted]], dtype=np.float32)
        return found if centre is None else np.where(found > centre, np.float32(1), np.float32(-1))

    scores, nearest = _nearest_before(read, places, min(ef_construct, int(places[-1])), distance)
    counts = []
    for own, candidates in zip(scores, nearest, strict=True):
        there = np.isfinite(own)
        counts.append(_kept(read(candidates[there]), own[there], 2 * m, distance))
    return float(np.mean(counts))


def mean_links(forward: float, most: int) -> float:
    """Return the mean links of a point that chooses `forward` itself and is chosen as often, of at most `most`.

    Without a limit it would have 2 × forward; links beyond `most` are thinned out: most × tanh(1.9 forward / most).
    """
    return most * tanh(SATURATION * forward / most)


def _nearest_before(
    read: Callable[[NDArray[np.int64]], Vectors], places: NDArray[np.int64], count: int, distance: str
) -> tuple[Vectors, NDArray[np.int64]]:
    """Return scores and places [pivot, count] of each pivot's nearest earlier points, nearest first; -inf is none."""
    pivots = read(places)
    scores = np.full((len(places), count), -np.inf, dtype=np.float32)
    nearest = np.zeros((len(places), count), dtype=np.int64)
    for start in range(0, int(places.max()), BLOCK):
        block = np.arange(start, min(start + BLOCK, int(places.max())))
        found = _scores(pivots, read(block), distance)
        found[block[None, :] >= places[:, None]] = -np.inf
        scores = np.concatenate([scores, found], axis=1)
        nearest = np.concatenate([nearest, np.broadcast_to(block, found.shape)], axis=1)
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        scores, nearest = np.take_along_axis(scores, best, axis=1), np.take_along_axis(nearest, best, axis=1)
    order = np.argsort(-scores, axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(nearest, order, axis=1)


def _kept(candidates: Vectors, own: Vectors, most: int, distance: str) -> int:
    """Return how many candidates [n, size], nearest first, the heuristic keeps; `own` are their scores."""
    nearest_kept = np.full(len(candidates), -np.inf, dtype=np.float32)
    kept = 0
    for candidate in range(len(candidates)):
        if nearest_kept[candidate] <= own[candidate]:
            kept += 1
            if kept == most:
                break
            scores = _scores(candidates[candidate : candidate + 1], candidates, distance)[0]
            nearest_kept = np.maximum(nearest_kept, scores)
    return kept


def _scores(left: Vectors, right: Vectors, distance: str) -> Vectors:
    """Return scores [left, right], larger is nearer."""
    scores: Vectors
    if distance in ("cosine", "dot"):
        scores = left @ right.T
    elif distance == "manhattan":
        scores = -np.stack([np.abs(right - row).sum(axis=1) for row in left])
    else:
        scores = 2 * (left @ right.T) - (left**2).sum(axis=1)[:, None] - (right**2).sum(axis=1)[None, :]
    return scores
