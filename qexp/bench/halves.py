"""Two halves of the queries: a configuration is chosen on the first and confirmed on the second."""

import numpy as np

from qexp.bench.accuracy import Share, mean_interval
from qexp.bench.latency import DIFFERENT
from qexp.bench.student import t_halfwidth
from qexp.results import Half, Ids, Interval, Nanoseconds

SEED = 0


def split(queries: int) -> tuple[Ids, Ids]:
    """Return the rows of the first and of the second half, each in order: a fixed shuffle, so runs agree on it."""
    order = np.random.default_rng(SEED).permutation(queries)
    return np.sort(order[: (queries + 1) // 2]), np.sort(order[(queries + 1) // 2 :])


def p95_interval(latencies: Nanoseconds) -> Interval | None:
    """Return the pooled P95 in ms of [round, query], with the t interval of the rounds' own P95 around it.

    None with fewer than 100 queries.
    """
    if latencies.shape[1] < DIFFERENT[95]:
        return None
    spread = float(np.exp(t_halfwidth(np.log(np.percentile(latencies, 95, axis=1)))))
    pooled = float(np.percentile(latencies, 95)) / 1e6
    return Interval(pooled, pooled / spread, pooled * spread)


def halves(latencies: Nanoseconds, retention: Share, recall: Share) -> tuple[Half, Half]:
    """Judge both halves on their own: latencies [round, query], shares [build, query]."""

    def half(rows: Ids) -> Half:
        kept, found = (mean_interval(shares[:, rows]) for shares in (retention, recall))
        return Half(kept, found, p95_interval(latencies[:, rows]))

    first, second = split(retention.shape[1])
    return half(first), half(second)
