from dataclasses import replace

import numpy as np
import pytest

from qexp.bench.accuracy import overlap
from qexp.bench.judge import Evidence, _widened, judge
from qexp.results import Ids, Interval, Measurement, OperatingPoint, Reads, Visit

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
    return Evidence(timed, {}, results, lambda found: (found < 90).mean(axis=1), overlap, lambda found: (None, None))


def test_every_trial_is_held_against_the_baseline() -> None:
    (baseline,), (codes, rescored) = judge(evidence())
    assert baseline.accuracy.recall == 1.0
    assert not baseline.control.distinguishable or abs(baseline.control.estimate - 1) < 0.01
    assert codes.speedup_mean.estimate == pytest.approx(2.0, rel=0.01)
    assert codes.speedup_p50 is not None
    assert codes.speedup_p95 is not None
    assert codes.accuracy.retention == pytest.approx(3 / 8)
    assert rescored.accuracy.recall == pytest.approx(7 / 8)


def test_the_baseline_returns_its_own_results_for_certain() -> None:
    for half in judge(evidence())[0][0].halves:
        assert (half.retention.low, half.retention.estimate, half.retention.high) == (1.0, 1.0, 1.0)
        assert half.recall.low < 1.0


def test_the_loss_splits_up_and_adds_up() -> None:
    loss = judge(evidence())[1][1].loss
    assert loss is not None
    assert (loss.hnsw, loss.graph, loss.coding, loss.rescoring) == (0.0, 0.25, 0.375, 0.5)
    assert 1 - loss.hnsw - loss.graph - loss.coding + loss.rescoring == loss.trial == 7 / 8


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
    assert _widened(quiet, wide) == quiet
    assert _widened(None, noise) is None


def test_builds_are_averaged() -> None:
    codes = judge(evidence(builds=[ids(3, 4)]))[1][0]
    assert codes.accuracy.builds == 2
    assert codes.accuracy.recall == pytest.approx((3 + 7) / 16)
    assert codes.accuracy.recall_build_sd == pytest.approx(np.std([3 / 8, 7 / 8], ddof=1))
    for measure in ("retention", "recall"):
        halves = [getattr(half, measure).estimate for half in codes.halves]
        assert np.mean(halves) == pytest.approx(getattr(codes.accuracy, measure))


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
