"""Time exact neighbours against faiss.knn and against the bare matrix product, on the same vectors in the same run.

    pip install faiss-cpu; python scripts/bench/truth.py

It prints, per distance, the medians of the times and of their ratios, and whether faiss found the same neighbours.
Before every search nothing is done for a while: threads of a product that has just ended still spin, for a tenth of a
second, and take a CPU from whatever is timed next.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import faiss
import numpy as np
from _common import Verdict, arguments, finish, paired, ratio, seconds

from qexp.data.truth import neighbours

BLOCK = 2000  # points whose scores are kept at a time, as nobody keeps all of them
SPINNING = 0.3  # seconds that threads may take to fall asleep


def clustered(rows: int, size: int, seed: int) -> np.ndarray:
    """Return normalised vectors around 500 centres."""
    centres = np.random.default_rng(0).standard_normal((500, size), dtype=np.float32)
    rng = np.random.default_rng(seed)
    drawn = centres[rng.integers(500, size=rows)] + 0.7 * rng.standard_normal((rows, size), dtype=np.float32)
    return np.ascontiguousarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def rested(work: Callable[[], object]) -> float:
    """Return how long one call takes on idle CPUs."""
    time.sleep(SPINNING)
    return seconds(work)


def main() -> None:
    """Measure and record."""
    given = arguments(__doc__, points=60_000, queries=1_000, size=384, k=10, pairs=15)
    points, queries = clustered(given.points, given.size, 1), clustered(given.queries, given.size, 2)
    lengths = np.random.default_rng(3).uniform(0.5, 2, (given.points, 1)).astype(np.float32)
    rows, verdicts = [], []
    for distance, corpus, metric in (
        ("cosine", points, faiss.METRIC_INNER_PRODUCT),
        ("dot", points * lengths, faiss.METRIC_INNER_PRODUCT),
        ("euclid", points * lengths, faiss.METRIC_L2),
    ):
        row = compared(corpus, queries, given.k, distance, metric, given.pairs)
        rows.append(row)
        verdicts.append(Verdict(f"{distance} / faiss.knn", row["/ faiss"], 1.0))
        verdicts.append(Verdict(f"{distance} / matrix product", row["/ product"], 1.6))
    finish("truth", given, verdicts, rows)


def compared(corpus: Any, queries: Any, k: int, distance: str, metric: int, pairs: int) -> dict[str, Any]:
    """Time exact neighbours beside faiss, then beside the product; return a row."""
    scores = np.empty((len(queries), BLOCK), dtype=np.float32)

    def ours() -> float:
        return rested(lambda: neighbours(corpus, queries, k, distance))

    def knn() -> float:
        return rested(lambda: faiss.knn(queries, corpus, k, metric=metric))

    def product() -> float:
        return rested(lambda: [multiply(start) for start in range(0, len(corpus), BLOCK)])

    def multiply(start: int) -> None:
        some = corpus[start : start + BLOCK]
        np.matmul(queries, some.T, out=scores[:, : len(some)])

    found, (_, expected) = neighbours(corpus, queries, k, distance), faiss.knn(queries, corpus, k, metric=metric)
    same = float((np.sort(found.ids, axis=1) == np.sort(expected, axis=1)).mean())
    beside_faiss, beside_product = paired(ours, knn, pairs), paired(ours, product, pairs)
    return {
        "distance": distance,
        "qexp s": median(first for first, _ in beside_faiss),
        "faiss s": median(second for _, second in beside_faiss),
        "product s": median(second for _, second in beside_product),
        "/ faiss": ratio(beside_faiss),
        "/ product": ratio(beside_product),
        "same %": 100 * same,
    }


if __name__ == "__main__":
    main()
