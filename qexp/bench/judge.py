"""From what was measured to what may be said: every trial, and every control, against the baseline of its hnsw_ef."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qexp.bench import accuracy, latency
from qexp.bench.accuracy import Found, Relevance, Share
from qexp.bench.halves import halves
from qexp.results import Accuracy, Baseline, Cold, Half, Ids, Interval, Loss, Measurement, OperatingPoint, Trial, Visit


@dataclass(frozen=True)
class Evidence:
    """What one experiment measured.

    `timed` and `cold` hold visits in rounds. `results` holds, for each operating point of the quantized collection,
    what every build of it returned, the timed one first. `scored` gives results [query, limit] their exact scores,
    once; `recall` judges them query by query, as `retention` does against others, `relevance` all of them by labels.
    """

    timed: Mapping[Visit, Measurement]
    cold: Mapping[Visit, Measurement]
    results: Mapping[OperatingPoint, Sequence[Ids]]
    scored: Callable[[Ids], Found]
    recall: Callable[[Found], Share]
    retention: Callable[[Found, Found], Share]
    relevance: Relevance


def judge(evidence: Evidence) -> tuple[tuple[Baseline, ...], tuple[Trial, ...]]:
    """Return the baselines with their controls, and the trials, in the order in which they were given."""
    bases = {visit.point.hnsw_ef: visit for visit in evidence.timed if visit.role == "baseline"}
    references = {ef: evidence.scored(evidence.timed[visit].ids) for ef, visit in bases.items()}
    results = {point: [evidence.scored(ids) for ids in builds] for point, builds in evidence.results.items()}
    recalls = {point: np.stack([evidence.recall(found) for found in builds]) for point, builds in results.items()}

    def retention(point: OperatingPoint) -> Share:
        return np.stack([evidence.retention(found, references[point.hnsw_ef]) for found in results[point]])

    baselines = {ef: _baseline(visit, references[ef], evidence) for ef, visit in bases.items()}
    trials = [
        _trial(visit, baselines[visit.point.hnsw_ef], evidence, retention(visit.point), recalls)
        for visit in evidence.timed
        if visit.role == "trial"
    ]
    return tuple(baselines.values()), tuple(trials)


def _baseline(visit: Visit, found: Found, evidence: Evidence) -> Baseline:
    base = evidence.timed[visit]
    retention, recall = evidence.retention(found, found)[None], evidence.recall(found)[None]
    first, second = halves(base.latencies, retention, recall)
    control = evidence.timed[Visit("control", visit.point)].latencies
    return Baseline(
        visit.point,
        latency.latency_stats(base.latencies),
        _accuracy([base.ids], retention, recall, evidence),
        latency.speedup_mean(base.latencies, control),
        latency.speedup_p50(base.latencies, control),
        latency.speedup_p95(base.latencies, control),
        (_itself(first), _itself(second)),
        cold=_cold(visit, None, evidence),
        server=latency.server_stats(base),
    )


def _itself(half: Half) -> Half:
    """Return the half as that of the baseline, which returns its own results whatever the queries are."""
    return replace(half, retention=Interval(1.0, 1.0, 1.0))


def _visit(baseline: Baseline) -> Visit:
    return Visit("baseline", baseline.point)


def _trial(
    visit: Visit, baseline: Baseline, evidence: Evidence, retention: Share, recalls: Mapping[OperatingPoint, Share]
) -> Trial:
    base, trial = evidence.timed[_visit(baseline)], evidence.timed[visit]
    p95 = latency.speedup_p95(base.latencies, trial.latencies)
    builds, recall = evidence.results[visit.point], recalls[visit.point]
    return Trial(
        visit.point,
        latency.latency_stats(trial.latencies),
        _accuracy(builds, retention, recall, evidence),
        _widened(latency.speedup_mean(base.latencies, trial.latencies), baseline.control),
        _widened(latency.speedup_p50(base.latencies, trial.latencies), baseline.control, baseline.control_p50),
        p95 and _widened(p95, baseline.control, baseline.control_p95),
        halves(trial.latencies, retention, recall),
        loss=_loss(visit.point, baseline, recalls),
        cold=_cold(visit, baseline, evidence),
        server=latency.server_stats(trial),
    )


def _widened(speedup: Interval, *controls: Interval | None) -> Interval:
    """Return a speedup; where a control was told from the baseline, wider by what told them apart.

    The control of the mean says whether a run is noisy, and holds for every statistic beside its own.
    """
    noise = [abs(math.log(one.estimate)) for one in controls if one is not None and one.distinguishable]
    return speedup.widened(math.exp(max(noise))) if noise else speedup


def _accuracy(builds: Sequence[Ids], retention: Share, recall: Share, evidence: Evidence) -> Accuracy:
    """Summarize what builds returned, and their shares [build, query]; labels judge each build."""
    ndcg, mrr = zip(*(evidence.relevance(ids) for ids in builds), strict=True)
    return accuracy.summarize(retention, recall, _mean(ndcg), _mean(mrr))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _loss(point: OperatingPoint, baseline: Baseline, recalls: Mapping[OperatingPoint, Share]) -> Loss | None:
    """Split the loss of a trial, where the steps on the way to it were visited."""
    codes = replace(point, rescore=False, oversampling=1.0)
    floats = replace(codes, ignore=True)
    if floats not in recalls:
        return None
    return Loss(baseline.accuracy.recall.estimate, *(float(recalls[step].mean()) for step in (floats, codes, point)))


def _cold(visit: Visit, base: Baseline | None, evidence: Evidence) -> Cold | None:
    """Judge a visit's cold rounds, against those of `base`; they have no control but that of the warm rounds."""
    if visit not in evidence.cold:
        return None
    trial, speedup = evidence.cold[visit], None
    if base is not None:
        speedup = _widened(latency.speedup_mean(evidence.cold[_visit(base)].latencies, trial.latencies), base.control)
    return Cold(
        latency.latency_stats(trial.latencies),
        first=float(trial.latencies[:, 0].mean()) / 1e6,
        speedup=speedup,
        reads=trial.reads,
        queries=trial.latencies.size,
    )
