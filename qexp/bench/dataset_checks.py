"""Checks of the dataset itself: its exact neighbours, queries, and what a datatype keeps of its vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexp.bench.checks import Checks
from qexp.results import Vectors

TRUTH_TOLERANCE = 1e-9  # of a query's largest score
WRONG_NEIGHBOURS = 0.01
MOST_REPEATS = 0.05  # of the queries
MOST_LOST = 0.1  # of the vectors' length


def check_truth(claimed: NDArray[np.float64], computed: NDArray[np.float64], checks: Checks) -> None:
    """Look for exact neighbours that are another dataset's or shifted (T12): scores [query, k], saved and new."""
    largest = np.abs(computed).max(axis=1, keepdims=True)
    checks.expect(
        np.allclose(claimed, computed, rtol=0, atol=TRUTH_TOLERANCE * largest),
        "T12",
        f"exact neighbours of {len(claimed)} queries have the scores that were saved with them",
        "the exact neighbours in the cache are not this dataset's; remove the folder 'truth' from the cache",
    )


def check_nearest(wrong: float, source: str, checks: Checks) -> None:
    """Look for exact neighbours that are not the nearest (T12): the share of a sample that is farther than the k-th."""
    remedy = "remove the folder 'truth' from the cache"
    if source == "engine":
        remedy = "the engine's exact search finds others; set dataset.truth=exact"
    checks.expect(
        wrong <= WRONG_NEIGHBOURS,
        "T12",
        "exact neighbours of a sample of queries are the nearest of all points, searched again",
        f"{wrong:.0%} of a sample of exact neighbours are farther than the k-th nearest point; {remedy}",
    )


def check_whole_numbers(what: str, sample: Vectors, checks: Checks) -> None:
    """Look for vectors [rows, size] of which uint8 keeps little (T12): no fractions, signs, nor what exceeds 255.

    Qdrant turns queries (`what`) into bytes as it does points.
    """
    lost = _lost(sample, np.trunc(np.clip(sample, 0, 255)))
    checks.expect(
        lost <= MOST_LOST,
        "T12",
        f"storage.datatype=uint8 keeps the components of {what}, which are from 0 to 255, but for {lost:.1%}",
        f"storage.datatype=uint8 keeps whole numbers from 0 to 255; {what} of components from {sample.min():.3g} to "
        f"{sample.max():.3g} lose {lost:.0%} of their length; set storage.datatype=float16, or for such whole numbers "
        f"dataset.distance=dot or euclid: for cosine qexp scales vectors to length 1, as Qdrant does not with uint8",
    )


def check_halves(what: str, sample: Vectors, checks: Checks) -> None:
    """Look for vectors [rows, size] that float16 does not keep (T12): components beyond its largest, or near none.

    Qdrant turns queries (`what`) into float16 as it does points.
    """
    with np.errstate(over="ignore"):
        kept = sample.astype(np.float16)
    checks.expect(
        _lost(sample, kept) <= MOST_LOST,
        "T12",
        f"storage.datatype=float16 keeps {what}",
        f"storage.datatype=float16 keeps no {what} of components from {sample.min():.3g} to {sample.max():.3g}: its "
        f"numbers are up to 65,504, in steps of 6e-08 or more; set storage.datatype=float32",
    )


def _lost(sample: Vectors, kept: NDArray[Any]) -> float:
    """Return the share of the length of vectors that is not kept, in double precision: squares of floats underflow."""
    length = float(np.linalg.norm(sample.astype(np.float64)))
    return float(np.linalg.norm(sample - kept.astype(np.float64))) / length if length else 0.0


KEEPS = {"uint8": check_whole_numbers, "float16": check_halves}


def check_queries(duplicates: int, queries: Vectors, checks: Checks) -> None:
    """Look for queries [q, d] that are points, of which there are `duplicates`, and for repeats among them (T10)."""
    count, different = len(queries), len(np.unique(queries, axis=0))
    checks.prefer(
        different >= (1 - MOST_REPEATS) * count,
        "T10",
        f"{different:,} of {count:,} queries differ",
        f"only {different:,} of {count:,} queries differ: intervals of accuracy are too narrow, P95 is of few, and "
        f"both halves share queries; give each once",
    )
    checks.prefer(
        duplicates == 0,
        "T10",
        f"none of {count:,} queries is a point",
        f"{duplicates} of {count} queries are points of the collection: they find themselves, and accuracy looks "
        f"better than for new queries; hold the queries out of the points, and give rows that repeat once",
    )


def duplicates(points: Vectors, queries: Vectors) -> int:
    """Count queries whose vector is a point's, bit for bit; shapes [n, d], [q, d], memory constant in n."""
    wanted = {row.tobytes() for row in np.asarray(queries)}
    found: set[bytes] = set()
    first = np.asarray(queries)[:, 0]
    for start in range(0, len(points), 65_536):
        block = np.asarray(points[start : start + 65_536])
        found |= {row.tobytes() for row in block[np.isin(block[:, 0], first)]} & wanted
    return sum(row.tobytes() in found for row in np.asarray(queries))
