"""How right results are: against the baseline, against exact search, against labels."""

import numpy as np
from numpy.typing import NDArray

from qexp.results import Ids

TIE = 1e-6  # relative; the engine computes in single precision

Share = NDArray[np.float64]


def overlap(found: Ids, reference: Ids) -> Share:
    """Return per query the share of the reference's results that were found; both [query, k], -1 is no result."""
    hits = (found[:, :, None] == reference[:, None, :]) & (found[:, :, None] >= 0)
    shares: Share = hits.any(axis=2).sum(axis=1) / np.maximum((reference >= 0).sum(axis=1), 1)
    return shares


def recall(found_scores: NDArray[np.float64], exact_scores: NDArray[np.float64]) -> Share:
    """Return per query the share of the k results that are as near as the k-th exact neighbour.

    Both are exact scores [query, k], larger is nearer, -inf for no result; ties at the k-th count as hits.
    """
    k = exact_scores.shape[1]
    kth = exact_scores[:, -1:]
    shares: Share = (found_scores >= kth - TIE * np.maximum(1.0, np.abs(kth))).sum(axis=1) / k
    return shares


def worst_decile(shares: Share) -> float:
    """Return the mean over the worst tenth of the queries, at least one."""
    worst = np.sort(shares)[: max(1, len(shares) // 10)]
    return float(worst.mean())


def ndcg(found: Ids, qrels: Ids, k: int) -> float | None:
    """Return the mean nDCG@k over labelled queries, None without any; rows of `qrels`: query row, point row, grade."""
    if not len(qrels):
        return None
    import ir_measures

    labels = [ir_measures.Qrel(str(query), str(point), int(grade)) for query, point, grade in qrels]
    run = [
        ir_measures.ScoredDoc(str(query), str(point), float(-rank))
        for query in np.unique(qrels[:, 0])
        for rank, point in enumerate(found[query])
        if point >= 0
    ]
    measure = ir_measures.nDCG @ k
    return float(ir_measures.calc_aggregate([measure], labels, run)[measure])
