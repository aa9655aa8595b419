"""Time exact neighbours against faiss.knn on the same vectors in the same run, in pairs: 60,000 × 384, 1,000 queries.

    pip install faiss-cpu; python scripts/bench/truth.py

It prints, per distance, the median of both times and of their ratio, and whether both found the same neighbours.
"""

import argparse
from collections.abc import Callable
from time import perf_counter

import faiss
import numpy as np

from qexp.data.truth import neighbours


def clustered(rows: int, size: int, seed: int) -> np.ndarray:
    """Return normalised vectors around 500 centres."""
    centres = np.random.default_rng(0).standard_normal((500, size), dtype=np.float32)
    rng = np.random.default_rng(seed)
    drawn = centres[rng.integers(500, size=rows)] + 0.7 * rng.standard_normal((rows, size), dtype=np.float32)
    return np.ascontiguousarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = perf_counter()
    call()
    return perf_counter() - started


def main() -> None:
    """Run the pairs, each in a new order, and print one line per distance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=15)
    given = parser.parse_args()
    points, queries = clustered(given.points, given.size, 1), clustered(given.queries, given.size, 2)
    lengths = np.random.default_rng(3).uniform(0.5, 2, (given.points, 1)).astype(np.float32)
    metrics = {
        "cosine": (points, faiss.METRIC_INNER_PRODUCT),
        "dot": (points * lengths, faiss.METRIC_INNER_PRODUCT),
        "euclid": (points * lengths, faiss.METRIC_L2),
    }
    rng = np.random.default_rng(4)
    print(f"{given.points:,} × {given.size}, {given.queries:,} queries, k={given.k}, {given.pairs} pairs")
    for distance, (corpus, metric) in metrics.items():
        ours = lambda: neighbours(corpus, queries, given.k, distance)  # noqa: B023, E731 - called at once
        theirs = lambda: faiss.knn(queries, corpus, given.k, metric=metric)  # noqa: B023, E731
        found, (_, expected) = ours(), theirs()
        same = float((np.sort(found.ids, axis=1) == np.sort(expected, axis=1)).mean())
        pairs = []
        for _ in range(given.pairs):
            order = rng.permutation(2)
            times = {int(which): seconds((ours, theirs)[which]) for which in order}
            pairs.append((times[0], times[1]))
        taken = np.array(pairs)
        low, ratio, high = np.percentile(taken[:, 0] / taken[:, 1], [25, 50, 75])
        print(
            f"{distance:8} qexp {np.median(taken[:, 0]):.3f} s  faiss {np.median(taken[:, 1]):.3f} s  "
            f"ratio {ratio:.2f} (quartiles {low:.2f} to {high:.2f})  same neighbours {100 * same:.2f} %"
        )


if __name__ == "__main__":
    main()
