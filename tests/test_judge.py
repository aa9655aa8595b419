from dataclasses import replace

import numpy as np
import pytest

from qexp.bench.accuracy import Found, Share
from qexp.bench.halves import split
from qexp.bench.judge import Evidence, _widened, judge
from qexp.results import Ids, Interval, Loss, Measurement, OperatingPoint, Reads, Visit
from tests.test_retention import overlap

BASE = OperatingPoint(4)
CODES = OperatingPoint(4, None, False, 1.0)
IGNORE = OperatingPoint(4, None, False, 1.0, ignore=True)
RESCORED = OperatingPoint(4, None, True, 3.0)
EXACT = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])


def ids(*hits: int) -> Ids:
    """Results of two queries of which so many are right."""
    found = EXACT.copy()
    for row, right in enumerate(hits):
        found[row, right:] = 90 + np.arange(4 - right)
    return found


def evidence(control: float = 1.0, builds: list[Ids] | None = None) -> Evidence:
    steady = np.exp(0.001 * np.random.default_rng(0).standard_normal((5, 2)))[:, :, None] * np.full((5, 2, 100), 2e6)
    timed = {
        Visit("baseline", BASE): Measurement(steady[:, 0], ids(4, 4)),
        Visit("control", BASE): Measurement(steady[:, 1] * control, ids(4, 4)),
        Visit("trial", CODES): Measurement(steady[:, 1] / 2, ids(1, 2)),
        Visit("trial", RESCORED): Measurement(steady[:, 1], ids(4, 3)),
    }
    results = {
        CODES: [ids(1, 2), *(builds or [])],
        RESCORED: [ids(4, 3)] * (1 + len(builds or [])),
        IGNORE: [ids(4, 2)],
    }
    return Evidence(timed, {}, results, unscored, recall, retention, lambda found: (None, None))


def unscored(found: Ids) -> Found:
    return Found(found, np.zeros(found.shape))


def recall(found: Found) -> Share:
    """All row numbers below 90 are right."""
    return (found.ids < 90).mean(axis=1)


def retention(found: Found, reference: Found) -> Share:
    return overlap(found.ids, reference.ids)


def test_every_trial_is_held_against_the_baseline() -> None:
    (baseline,), (codes, rescored) = judge(evidence())
    assert baseline.accuracy.recall.estimate == 1.0
    assert not baseline.control.distinguishable or abs(baseline.control.estimate - 1) < 0.01
    assert codes.speedup_mean.estimate == pytest.approx(2.0, rel=0.01)
    assert codes.speedup_p95 is not None
    assert codes.accuracy.retention.estimate == pytest.approx(3 / 8)
    assert rescored.accuracy.recall.estimate == pytest.approx(7 / 8)


def test_the_baseline_returns_its_own_results_for_certain() -> None:
    for half in judge(evidence())[0][0].halves:
        assert (half.retention.low, half.retention.estimate, half.retention.high) == (1.0, 1.0, 1.0)
        assert half.recall.low < 1.0


def test_the_loss_splits_up_and_adds_up() -> None:
    loss = judge(evidence())[1][1].loss
    assert loss is not None
    assert (loss.hnsw, loss.graph, loss.coding, loss.rescoring) == (0.0, 0.25, 0.375, 0.5)
    assert 1 - loss.hnsw - loss.graph - loss.coding + loss.rescoring == loss.trial == 7 / 8


def test_a_step_that_loses_nothing_loses_exactly_nothing() -> None:
    loss = Loss(floats=0.1 + 0.2, code_graph=0.3, codes=0.3, trial=0.3)
    assert loss.floats != loss.code_graph
    assert (loss.graph, loss.coding, loss.rescoring) == (0, 0, 0)
    assert loss.hnsw == 0.7


def test_without_the_steps_the_loss_is_unknown() -> None:
    found = evidence()
    del found.results[IGNORE]  # type: ignore[attr-defined]
    assert judge(found)[1][0].loss is None


def test_a_control_that_fails_widens_every_interval_by_as_much() -> None:
    quiet, noisy = judge(evidence())[1][0], judge(evidence(control=1.1))
    (baseline,), (codes, _) = noisy
    assert baseline.control.distinguishable
    assert codes.speedup_mean.estimate == quiet.speedup_mean.estimate
    assert codes.speedup_mean.low == pytest.approx(quiet.speedup_mean.low / 1.1, rel=0.01)
    assert codes.speedup_mean.high == pytest.approx(quiet.speedup_mean.high * 1.1, rel=0.01)


def test_a_noisy_mean_widens_every_statistic() -> None:
    quiet, noise, wide = Interval(2.0, 1.9, 2.1), Interval(1.25, 1.2, 1.3), Interval(0.9, 0.7, 1.1)
    assert _widened(quiet, wide, noise) == quiet.widened(1.25)
    assert _widened(quiet, wide, None) == quiet


def test_builds_are_averaged() -> None:
    codes = judge(evidence(builds=[ids(3, 4)]))[1][0]
    assert codes.accuracy.builds == 2
    assert codes.accuracy.recall.estimate == pytest.approx((3 + 7) / 16)
    assert codes.accuracy.recall_build_sd == pytest.approx(np.std([3 / 8, 7 / 8], ddof=1))
    for measure in ("retention", "recall"):
        halves = [getattr(half, measure).estimate for half in codes.halves]
        assert np.mean(halves) == pytest.approx(getattr(codes.accuracy, measure).estimate)


def test_labels_and_queries_without_overlap_are_averaged_over_builds() -> None:
    found = replace(evidence(builds=[ids(0, 4)]), relevance=lambda found: (float((found < 90).mean()), None))
    (baseline,), (codes, _) = judge(found)
    assert (baseline.accuracy.ndcg, baseline.accuracy.zero_overlap) == (1.0, 0)
    assert codes.accuracy.ndcg == pytest.approx((3 / 8 + 4 / 8) / 2)
    assert codes.accuracy.mrr is None
    assert codes.accuracy.zero_overlap == 0.5


def test_cold_visits_are_reported_beside_the_warm_ones() -> None:
    found = evidence()
    cold = {
        Visit("baseline", BASE): Measurement(np.full((3, 100), 8e6), ids(4, 4), Reads(600, 0)),
        Visit("trial", CODES): Measurement(np.full((3, 100), 4e6), ids(1, 2), Reads(30, None)),
    }
    (baseline,), (codes, rescored) = judge(replace(found, cold=cold))
    assert baseline.cold is not None
    assert codes.cold is not None
    assert rescored.cold is None
    assert (baseline.cold.speedup, baseline.cold.latency.mean, baseline.cold.first) == (None, 8.0, 8.0)
    assert codes.cold.speedup is not None
    assert codes.cold.speedup.estimate == pytest.approx(2.0)
    assert codes.cold.reads.major_faults / codes.cold.queries == 0.1
    _, (noisy, _) = judge(replace(evidence(control=1.1), cold=cold))
    assert noisy.cold is not None
    assert noisy.cold.speedup is not None
    assert (noisy.cold.speedup.low, noisy.cold.speedup.high) == pytest.approx((2.0 / 1.1, 2.0 * 1.1), rel=0.01)


def skewed(fast: float, slow: float, server: float | None = None) -> Measurement:
    """Three rounds alike of 200 queries, a tenth of either half of them slow; milliseconds."""
    latencies = np.full((3, 200), round(fast * 1e6))
    for half in split(200):
        latencies[:, half[:10]] = round(slow * 1e6)
    own = None if server is None else np.full((3, 200), round(server * 1e6))
    return Measurement(latencies, np.tile(np.arange(4), (200, 1)), server=own)


def test_each_statistic_is_compared_with_its_own_and_widened_by_the_noisier_control() -> None:
    timed = {
        Visit("baseline", BASE): skewed(2.0, 20.0, server=1.0),
        Visit("control", BASE): skewed(2.5, 22.0, server=9.0),
        Visit("trial", CODES): skewed(1.0, 4.0, server=0.3),
    }
    results = {CODES: [timed[Visit("trial", CODES)].ids]}
    found = Evidence(timed, {}, results, unscored, recall, retention, lambda found: (None, None))
    (baseline,), (codes,) = judge(found)
    mean = 4.45 / 3.8  # how many times slower the control is; of the median 1.25, of P95 1.1
    assert baseline.control_p95 is not None
    controls = baseline.control, baseline.control_p50, baseline.control_p95
    assert [control.estimate for control in controls] == pytest.approx([1 / mean, 1 / 1.25, 1 / 1.1])
    for speedup, ratio, noise in (
        (codes.speedup_mean, 3.8 / 1.3, mean),
        (codes.speedup_p50, 2.0, 1.25),
        (codes.speedup_p95, 5.0, mean),
    ):
        assert speedup is not None
        assert (speedup.low, speedup.estimate, speedup.high) == pytest.approx((ratio / noise, ratio, ratio * noise))
    assert [half.latency_p95 and half.latency_p95.estimate for half in codes.halves] == [4.0, 4.0]
    assert [half.latency_p95 and half.latency_p95.estimate for half in baseline.halves] == [20.0, 20.0]
    assert baseline.server is not None
    assert codes.server is not None
    assert (baseline.server.mean, codes.server.mean) == pytest.approx((1.0, 0.3))


def test_every_hnsw_ef_has_a_baseline_and_a_loss_of_its_own() -> None:
    timed, results = {}, {}
    for ef, base, trial, right in ((None, 4e6, 2e6, 1), (64, 2e6, 1e6, 2)):
        point = OperatingPoint(4, ef)
        for role, took in (("baseline", base), ("control", 1.1 * base), ("trial", trial)):  # noisy
            timed[Visit(role, point)] = Measurement(np.full((3, 2), took), ids(3, 3))
        results |= {point: [ids(right, right)], replace(point, ignore=True): [ids(right + 1, right + 1)]}
    found = evidence()
    baselines, trials = judge(replace(found, timed=timed, results=results))
    assert [base.latency.mean for base in baselines] == [4.0, 2.0]
    assert [one.speedup_mean.estimate for one in trials] == pytest.approx([2.0, 2.0])
    assert [one.speedup_p95 for one in trials] == [None, None]  # of two queries
    assert [one.loss and (one.loss.code_graph, one.loss.codes) for one in trials] == [(0.5, 0.25), (0.75, 0.5)]


def test_retention_is_the_share_of_what_the_baseline_returned() -> None:
    found = evidence()
    few = np.array([[0, 1, -1, -1], [4, 5, -1, -1]])
    timed = {**found.timed, Visit("baseline", BASE): replace(found.timed[Visit("baseline", BASE)], ids=few)}
    results = {**found.results, CODES: [ids(4, 4)]}
    assert judge(replace(found, timed=timed, results=results))[1][0].accuracy.retention.estimate == 1.0


def test_the_first_query_of_a_cold_round_is_a_mean_over_rounds() -> None:
    cold = np.full((3, 100), 4e6)
    cold[:, 0] = [10e6, 20e6, 30e6]
    visits = {
        Visit("baseline", BASE): Measurement(np.full((3, 100), 8e6), ids(4, 4)),
        Visit("trial", CODES): Measurement(cold, ids(1, 2)),
    }
    codes = judge(replace(evidence(), cold=visits))[1][0]
    assert codes.cold is not None
    assert (codes.cold.first, codes.cold.queries) == (20.0, 300)


def test_results_are_scored_once() -> None:
    found, seen = evidence(builds=[ids(3, 4)]), []

    def scored(found: Ids) -> Found:
        seen.append(found)
        return unscored(found)

    judge(replace(found, scored=scored))
    assert len(seen) == 1 + sum(map(len, found.results.values()))
