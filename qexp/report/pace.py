"""The speed of the machine in each job of a sweep, told by the baselines that jobs share."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import exp, inf, log, sqrt
from statistics import fmean

from qexp.report.settings import BASELINE_EFS, SETTINGS
from qexp.results import Row


def paced(rows: Sequence[Row]) -> Iterator[tuple[Row, float]]:
    """Yield every row with the factor that brings its job's latencies to the machine speed of all jobs.

    The factor is one for a job: the geometric mean over the hnsw_ef whose baseline other jobs have measured too. It is
    of the median latency (the mean where a record has none): a burst moves the P95 of one baseline, not the job.
    """
    bases = [row for row in rows if row.baseline]
    name = "latency_p50_ms" if all("latency_p50_ms" in row.metrics for row in bases) else "latency_mean_ms"
    logs: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for base in bases:
        logs[searched(base)].append(log(base.metrics[name]))
    for job in _jobs(rows):
        shared = [base for base in job if base.baseline and len(logs[searched(base)]) > 1]
        pace = exp(fmean(fmean(logs[searched(base)]) - log(base.metrics[name]) for base in shared)) if shared else 1.0
        yield from ((row, pace) for row in job)


def drifts_of(rows: Sequence[Row], name: str) -> dict[tuple[str, ...], float]:
    """Return how far the machine's mood may have moved the latency `name` of each kind of baseline.

    As half a width of a 95 % interval on the logarithm: Student's t with the standard deviation of jobs around the
    mean of those that share a baseline. Infinite where no two jobs do, for then nothing tells.
    """
    from scipy.special import stdtrit

    logs: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in (one for one in rows if one.baseline):
        logs[built(row)][row.params.get("hnsw_ef", "")].append(log(row.metrics[name]))
    jobs = {kind: next(iter(by_ef.values())) for kind, by_ef in logs.items()}  # one hnsw_ef of a job tells for all
    freedom = sum(len(own) - 1 for own in jobs.values())
    if not freedom:
        return dict.fromkeys(jobs, inf)
    squares = sum((one - sum(own) / len(own)) ** 2 for own in jobs.values() for one in own)
    width = float(stdtrit(freedom, 0.975)) * sqrt(squares / freedom)
    return {kind: width / sqrt(len(own)) for kind, own in jobs.items()}


def searched(baseline: Row) -> tuple[str, ...]:
    """Return what baselines that should take equally long have in common."""
    return (*built(baseline), baseline.params.get("hnsw_ef", ""))


def built(baseline: Row) -> tuple[str, ...]:
    """Return what baselines of different jobs must have in common to tell the machine's speed in one from the other."""
    return tuple(baseline.params.get(name, "") for name in ("storage", SETTINGS))


def share_baseline(one: Row, other: Row) -> bool:
    """Whether the jobs of two baselines, or the one that both are of, have measured the same baseline."""
    mine, its = (set(base.params.get(BASELINE_EFS, "").split()) for base in (one, other))
    return built(one) == built(other) and (mine == its or bool(mine & its))


def _jobs(rows: Sequence[Row]) -> list[list[Row]]:
    """Split rows into jobs: each begins with its first baseline, and has no second one at the same hnsw_ef."""
    jobs: list[list[Row]] = []
    for row in rows:
        if row.baseline and (
            not jobs or searched(row) in map(searched, jobs[-1]) or _setup(row) != _setup(jobs[-1][0])
        ):
            jobs.append([])
        if jobs:
            jobs[-1].append(row)
    return jobs


def _setup(baseline: Row) -> tuple[str, ...]:
    """Return what all baselines of a job have in common."""
    return (*built(baseline), baseline.params.get(BASELINE_EFS, ""))
