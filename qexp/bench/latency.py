"""Latency statistics, and speedups whose intervals pair within rounds."""

import numpy as np
from numpy.typing import NDArray

from qexp.bench.student import t_halfwidth
from qexp.results import Interval, LatencyStats, Measurement, Nanoseconds

ENOUGH = {95: 100, 99: 1000}  # samples without which a percentile is noise
DIFFERENT = {95: 100, 99: 500}  # queries among them, so that five lie beyond it: rounds repeat the same ones


def latency_stats(latencies: Nanoseconds, queries: int | None = None) -> LatencyStats:
    """Pool all samples [round, query] in nanoseconds, of so many different queries (null: a column for each).

    P95 needs 100 samples of 100 queries, P99 1,000 of 500, else it is None.
    """
    samples, queries = latencies.ravel() / 1e6, queries or latencies.shape[-1]
    known = {p: samples.size >= ENOUGH[p] and queries >= DIFFERENT[p] for p in ENOUGH}
    return LatencyStats(
        mean=float(samples.mean()),
        p50=float(np.percentile(samples, 50)),
        p95=float(np.percentile(samples, 95)) if known[95] else None,
        p99=float(np.percentile(samples, 99)) if known[99] else None,
    )


def server_stats(measured: Measurement) -> LatencyStats | None:
    """Pool the server's own times, None without a server."""
    return None if measured.server is None else latency_stats(measured.server)


def speedup_mean(baseline: Nanoseconds, trial: Nanoseconds) -> Interval:
    """Return how many times faster the trial's mean latency is; both [round, query], rounds paired."""
    return paired_ratio(baseline.mean(axis=1), trial.mean(axis=1))


def speedup_p50(baseline: Nanoseconds, trial: Nanoseconds) -> Interval:
    """Return how many times faster the trial's median is, round by round."""
    return paired_ratio(np.median(baseline, axis=1), np.median(trial, axis=1))


def speedup_p95(baseline: Nanoseconds, trial: Nanoseconds) -> Interval | None:
    """Return how many times faster the trial's P95 is; None with fewer than 100 queries in a round."""
    if baseline.shape[1] < DIFFERENT[95]:
        return None
    return paired_ratio(np.percentile(baseline, 95, axis=1), np.percentile(trial, 95, axis=1))


def paired_ratio(baseline: NDArray[np.float64], trial: NDArray[np.float64]) -> Interval:
    """Return the geometric mean of baseline/trial over rounds, both [round], with the t interval on its logarithm.

    The unit of replication is the round: queries of one round share the machine's mood, so that resampling them
    calls a collection different from itself half of the time.
    """
    logs = np.log(baseline / trial)
    mean = float(logs.mean())
    half = t_halfwidth(logs)
    return Interval(float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half)))
