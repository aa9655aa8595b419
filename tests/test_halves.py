import numpy as np
import pytest

from qexp.bench.halves import halves, p95_interval, split


@pytest.mark.parametrize("queries", [2, 3, 500])
def test_halves_share_no_query_and_leave_none_out(queries):
    first, second = split(queries)
    assert sorted([*first, *second]) == list(range(queries))
    assert 0 <= len(first) - len(second) <= 1


def test_runs_agree_on_who_is_in_which_half():
    first, _ = split(10)
    assert first.tolist() == [2, 3, 4, 6, 7]


def test_p95_needs_a_hundred_queries():
    assert p95_interval(np.full((5, 99), 1_000_000)) is None
    found = p95_interval(np.full((5, 100), 2_000_000))
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_each_half_is_judged_on_its_own_queries():
    first, _ = split(200)
    retention = np.zeros(200)
    retention[first] = 1.0
    one, two = halves(np.full((2, 200), 1_000_000), retention[None], 1 - retention[None])
    assert (one.retention.estimate, two.retention.estimate) == (1.0, 0.0)
    assert (one.recall.estimate, two.recall.estimate) == (0.0, 1.0)


def test_builds_are_averaged_and_widen_both_halves():
    shares = np.random.default_rng(0).integers(0, 11, 200) / 10
    latencies = np.full((2, 200), 1_000_000)
    alike = halves(latencies, *[np.stack([shares, shares])] * 2)
    apart = halves(latencies, *[np.stack([0.8 * shares, shares])] * 2)
    assert sum(half.retention.estimate for half in apart) / 2 == pytest.approx(0.9 * shares.mean())
    assert all(half.recall.estimate < same.recall.estimate for half, same in zip(apart, alike, strict=True))
    assert all(half.recall.low < same.recall.low - 0.2 for half, same in zip(apart, alike, strict=True))


def test_a_half_in_which_every_query_agrees_is_not_certain():
    half, _ = halves(np.full((2, 200), 1_000_000), np.ones((1, 200)), np.ones((1, 200)))
    assert (half.retention.estimate, half.retention.high) == (1.0, 1.0)
    assert 0.95 < half.retention.low < 1.0


def test_the_interval_of_p95_is_students_on_the_rounds_own_p95():
    latencies = np.full((2, 100), 1_000_000)
    latencies[:, 94:] = 5_000_000
    latencies[:, 94:96] = [[2_000_000], [4_000_000]]  # P95 2 and 4 ms, pooled 2.1
    spread = np.exp(12.7062047 * np.log(2) / 2)
    found = p95_interval(latencies)
    assert (found.low, found.estimate, found.high) == pytest.approx((2.1 / spread, 2.1, 2.1 * spread))


def test_each_half_has_the_p95_of_its_own_queries():
    first, second = split(200)
    latencies = np.full((2, 200), 1_000_000)
    latencies[:, second] = 3_000_000
    one, two = halves(latencies, np.ones((1, 200)), np.ones((1, 200)))
    assert (one.latency_p95.estimate, two.latency_p95.estimate) == (1.0, 3.0)
    assert len(first) == 100
