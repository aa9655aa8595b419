"""How right results are: against the baseline, against exact search, against labels."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.bench.student import CONFIDENCE, t_halfwidth
from qexp.results import Accuracy, Ids, Interval

RESAMPLES = 4000
PAIRS = 2**22  # of results that are compared at a time
TIE = 1e-6  # of the magnitude; 16 roundings of single precision, in which the engine computes

Share = NDArray[np.float64]


class Found(NamedTuple):
    """Results of every query with their exact scores: row numbers, -1 for none, and scores [query, k], -inf then."""

    ids: Ids
    scores: NDArray[np.float64]


Relevance = Callable[[Ids], tuple[float | None, float | None]]


def retention(
    found: Ids,
    reference: Ids,
    found_scores: NDArray[np.float64],
    reference_scores: NDArray[np.float64],
    magnitude: NDArray[np.float64],
) -> Share:
    """Return per query the share of the reference's results that were found, or for which a point as near stands.

    Otherwise data with duplicates would lose what no user can miss. All [query, k], -1 is no result, scores and
    magnitude as in `recall`; every point stands for one lost result at most.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    common = np.zeros(len(found), dtype=np.int64)
    step = max(1, PAIRS // found.shape[1] ** 2)
    for start in range(0, len(found), step):
        rows = slice(start, start + step)
        same = found[rows, :, None] == reference[rows, None, :]
        hits = same.any(axis=2) & (found[rows] >= 0)
        common[rows] = hits.sum(axis=1)
        instead, lost = ~hits & (found[rows] >= 0), ~same.any(axis=1) & (reference[rows] >= 0)
        with np.errstate(invalid="ignore"):  # -inf from -inf, of results that are none
            apart = np.abs(found_scores[rows, :, None] - reference_scores[rows, None, :])
        ties = (apart <= TIE * magnitude[rows, :, None]) & instead[:, :, None] & lost[:, None, :]
        for query in np.flatnonzero(ties.any(axis=(1, 2))):
            common[start + query] += (maximum_bipartite_matching(csr_array(ties[query])) >= 0).sum()
    shares: Share = common / np.maximum((reference >= 0).sum(axis=1), 1)
    return shares


def recall(
    found_scores: NDArray[np.float64], exact_scores: NDArray[np.float64], magnitude: NDArray[np.float64]
) -> Share:
    """Return per query the share of the k results that are as near as the k-th exact neighbour.

    Both are exact scores [query, k], larger is nearer, -inf for no result; ties at the k-th count as hits. `magnitude`
    [query, 1] is what rounding errors of the k-th score grow with (`data/truth.py`), so that recall knows no units.
    """
    k = exact_scores.shape[1]
    shares: Share = (found_scores >= exact_scores[:, -1:] - TIE * magnitude).sum(axis=1) / k
    return shares


def worst_decile(shares: Share) -> float:
    """Return the mean over the worst tenth of the queries, at least one."""
    worst = np.sort(shares)[: max(1, len(shares) // 10)]
    return float(worst.mean())


def labels_of(qrels: Ids, points: Ids) -> Ids:
    """Return the labels of these points: under a filter, those of others are no fault of a search."""
    return judging(qrels[np.isin(qrels[:, 1], points)])


def judging(qrels: Ids) -> Ids:
    """Return the labels [n, 3] of queries with a relevant point, of a grade above 0: nothing is right for others."""
    return qrels[np.isin(qrels[:, 0], qrels[qrels[:, 2] > 0, 0])]


def relevance(qrels: Ids, k: int) -> Relevance:
    """Return what judges results [query, k] by labels: mean nDCG@k and MRR@k over labelled queries, None without any.

    `qrels`: query row, point row, grade, of queries that have a relevant point.
    """
    if not len(qrels):
        return lambda found: (None, None)
    import ir_measures

    labels: dict[str, dict[str, int]] = {}
    for query, point, grade in qrels.tolist():
        labels.setdefault(str(query), {})[str(point)] = grade
    ndcg, mrr = ir_measures.nDCG @ k, ir_measures.RR  # results end at k, and with a cutoff it takes twice as long
    evaluator = ir_measures.evaluator([ndcg, mrr], labels)

    def judged(found: Ids) -> tuple[float | None, float | None]:
        rows = {query: found[int(query)].tolist() for query in labels}
        run = {query: {str(id): -rank for rank, id in enumerate(row) if id >= 0} for query, row in rows.items()}
        measured = evaluator.calc_aggregate(run)
        return float(measured[ndcg]), float(measured[mrr])

    return judged


def mean_interval(shares: Share, seed: int = 0) -> Interval:
    """Return the mean of shares [build, query] with its interval: bootstrap over queries, widened by builds.

    Two queries are added to those that are drawn from, one with share 0 and one with share 1: when every query scores
    1, drawing from them alone would call the mean certain (`docs/methodology.md`). With several builds the t interval
    of the build means is added in quadrature.
    """
    builds, queries = shares.shape
    per_query = shares.mean(axis=0)
    mean = float(per_query.mean())
    values, counts = np.unique(np.append(per_query, [0.0, 1.0]), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(queries, counts / counts.sum(), size=RESAMPLES)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn @ values / queries, [tail, 100 - tail])
    spread = t_halfwidth(shares.mean(axis=1)) if builds > 1 else 0.0
    return Interval(
        mean,
        max(0.0, mean - math.hypot(mean - low, spread)),
        min(1.0, mean + math.hypot(high - mean, spread)),
    )


def summarize(retention: Share, recall: Share, ndcg: float | None, mrr: float | None) -> Accuracy:
    """Summarize a trial's shares [build, query] of the baseline's results and of the exact ones."""
    return Accuracy(
        retention=mean_interval(retention),
        recall=mean_interval(recall),
        recall_worst_decile=worst_decile(recall.mean(axis=0)),
        ndcg=ndcg,
        mrr=mrr,
        zero_overlap=float((retention == 0).sum(axis=1).mean()),
        builds=len(recall),
        retention_build_sd=_between(retention),
        recall_build_sd=_between(recall),
    )


def _between(shares: Share) -> float | None:
    """Return the standard deviation of the means of builds of shares [build, query]; None of one build."""
    return float(shares.mean(axis=1).std(ddof=1)) if len(shares) > 1 else None
