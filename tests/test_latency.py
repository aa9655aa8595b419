from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from qexp.bench.latency import latency_stats, server_stats, speedup_mean, speedup_p50, speedup_p95
from qexp.results import Interval, Measurement


def test_percentiles_are_numpys_over_all_samples() -> None:
    latencies = np.random.default_rng(0).integers(10**5, 10**7, size=(10, 500))
    found = latency_stats(latencies)
    pooled = latencies.ravel() / 1e6
    assert found.mean == pytest.approx(pooled.mean(), rel=1e-12)
    assert (found.p50, found.p95, found.p99) == tuple(np.percentile(pooled, [50, 95, 99]))
    assert found.qps == pytest.approx(1000 / pooled.mean())


@pytest.mark.parametrize(
    ("samples", "p95", "p99"), [(99, False, False), (100, True, False), (999, True, False), (1000, True, True)]
)
def test_t15_a_percentile_without_enough_samples_is_absent(samples: int, p95: bool, p99: bool) -> None:
    for found in (latency_stats(np.arange(1, samples + 1).reshape(1, -1)), latency_stats(np.ones(samples), 1000)):
        assert (found.p95 is not None, found.p99 is not None) == (p95, p99)


@pytest.mark.parametrize(
    ("queries", "p95", "p99"),
    [(5, False, False), (99, False, False), (100, True, False), (499, True, False), (500, True, True)],
)
def test_t15_rounds_are_no_further_queries(queries: int, p95: bool, p99: bool) -> None:
    latencies = np.random.default_rng(0).integers(1000, 2000, size=(200, queries))
    for found in (latency_stats(latencies), latency_stats(latencies.ravel(), queries)):
        assert (found.p95 is not None, found.p99 is not None) == (p95, p99)


def test_a_speedup_of_p95_needs_100_queries_in_a_round() -> None:
    latencies = np.random.default_rng(0).integers(1000, 2000, size=(20, 99))
    assert speedup_p95(latencies, latencies) is None
    assert speedup_p95(np.ones((5, 100)), np.ones((5, 100))) == Interval(1.0, 1.0, 1.0)


def test_the_interval_is_students_on_the_logarithm_of_each_rounds_ratio() -> None:
    base = np.array([[2.0, 4.0], [6.0, 6.0], [4.0, 4.0]])
    trial = np.array([[1.0, 2.0], [2.0, 2.0], [2.0, 2.0]])
    logs = np.log([2.0, 3.0, 2.0])
    expected = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    found = speedup_mean(base, trial)
    assert found.estimate == pytest.approx(np.exp(logs.mean()))
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found.halfwidth == pytest.approx(np.exp((np.log(found.high) - np.log(found.low)) / 2) - 1)


def test_a_median_is_not_moved_by_one_slow_query() -> None:
    base, trial = np.full((5, 101), 2.0), np.full((5, 101), 1.0)
    trial[:, 0] = 1000.0
    assert speedup_p50(base, trial).estimate == pytest.approx(2.0)
    assert speedup_mean(base, trial).estimate < 0.5


@pytest.mark.parametrize("speedup", [speedup_mean, speedup_p50, speedup_p95])
def test_what_slows_a_whole_round_down_cancels(
    speedup: Callable[[NDArray[np.float64], NDArray[np.float64]], Interval],
) -> None:
    rng = np.random.default_rng(0)
    base = rng.lognormal(size=(5, 200))
    moods = np.array([1.0, 3.0, 0.5, 2.0, 1.0])[:, None]
    found = speedup(base * moods, base * moods / 1.5)
    assert (found.low, found.high) == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize("truth", [1.0, 1.05])
def test_intervals_hold_the_truth_as_often_as_they_say(truth: float) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        blocks = np.exp(0.04 * rng.standard_normal((2, 5, 1)))
        found = speedup_mean(truth * blocks[0] * np.ones((5, 2)), blocks[1] * np.ones((5, 2)))
        held += found.low <= truth <= found.high
    assert 930 <= held <= 970


def test_widening() -> None:
    assert Interval(2.0, 1.0, 4.0).widened(2.0) == Interval(2.0, 0.5, 8.0)


def test_a_speedup_of_p95_is_that_of_the_95th_percentiles() -> None:
    base = np.tile(np.arange(1.0, 101.0), (3, 1))
    trial = base / 2
    trial[:, :90], trial[:, 99] = base[:, :90] / 3, 1000.0
    found = speedup_p95(base, trial)
    assert found is not None
    assert (found.low, found.estimate, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert speedup_p50(2 * base, base).estimate == pytest.approx(2.0)


def test_the_servers_own_time_is_summed_up_on_its_own() -> None:
    ids = np.zeros((2, 1), dtype=np.int64)
    found = server_stats(Measurement(np.full((3, 2), 5_000_000), ids, server=np.array([[1_000_000, 2_000_000]] * 3)))
    assert found is not None
    assert (found.mean, found.p50) == (1.5, 1.5)
    assert server_stats(Measurement(np.full((3, 2), 5_000_000), ids)) is None
