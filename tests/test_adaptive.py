"""Adaptive policies against fixed oversampling, on a collection of which everything is known."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from qexp.bench.adaptive import PolicyResult, _explained, _see, compare
from qexp.bench.halves import split
from qexp.bench.policies import Fixed, Margin, Policy
from qexp.config import AdaptiveConfig, SearchConfig
from qexp.results import Block, Ids, Interval, OperatingPoint

FIRST, SECOND = split(200)
# Gaps are small where little oversampling finds little: of 20 queries that calibrate, of 30 that judge.
HARD = np.zeros(200, dtype=bool)
HARD[FIRST[:20]] = HARD[SECOND[:30]] = True
UNSEEN = SECOND[99]  # little oversampling finds little, and the gap is wide
FOUND = {1.0: 50, 1.3: 60, 4.0: 90, 8.0: 100}  # percent of the results of hard queries, by factor
SEARCH = SearchConfig(limit=2, rounds=2, warmup=7)


def shares(ids: Ids) -> NDArray[np.float64]:
    assert ids.shape[1] == 2
    return ids[:, 0] / 100


@dataclass
class Known:
    """A fixed point takes as many ms as its factor, and longer the first time; results hold the percent found."""

    wide: float = 1.0  # gap of what is not hard
    seen: set[Policy] = field(default_factory=set)

    def found(self, point: OperatingPoint) -> Ids:
        ids = np.full((200, point.limit), 100)
        ids[HARD] = FOUND[point.oversampling]
        ids[UNSEEN] = 50 if point.oversampling == 1 else 100
        ids[:, 2:] = -1
        return ids

    def margins(self, point: OperatingPoint, k: int) -> NDArray[np.float64]:
        assert (point.limit, k) == (3, 2)
        return np.where(HARD, 0.0, self.wide)

    def policy(self, policy: Policy, warmup: int, with_ids: bool) -> Block:
        assert warmup == 7
        if isinstance(policy, Margin):
            again = self.margins(policy.first, 2) < policy.gap
            ms = policy.first.oversampling + again * policy.second.oversampling
            ids = np.where(again[:, None], self.found(policy.second), self.found(policy.first)[:, :2])
            ms[FIRST], ids[FIRST] = 100.0, 0  # nothing of the half that calibrated is judged
        elif isinstance(policy, Fixed):
            ms, ids = np.full(200, policy.point.oversampling), self.found(policy.point)
            ms += 0 if policy in self.seen else 50
            ms[FIRST[0]] = 999  # one slow query moves no median
        else:
            ms, ids = np.full(200, 5.0), np.full((200, 2), 100)
        self.seen.add(policy)
        return Block((1e6 * ms).astype(np.int64), ids if with_ids else None)


def test_what_one_half_calibrates_the_other_judges() -> None:
    findings = compare(Known(), SEARCH, AdaptiveConfig("recall", 0.95, [8.0, 1.0, 4.0]), 200, shares)
    course, accurate, fast = (finding.sentence for finding in findings)
    # fixed 4× finds 0.98 where it calibrates, in 4 ms; 1× then 4× as much in 1 + 0.2 · 4 ms, 1× then 8× all in 2.6 ms
    assert course.startswith(
        "course heuristic: by non-zero components around 4× against fixed rescore 4×: trades latency for accuracy; "
        "0.80× as fast (0.80–0.80), recall +0.0300 "
    )
    assert accurate.startswith(
        "adaptive at equal accuracy: by margin, 1× then 4× against fixed rescore 4×: "
        "faster, but its accuracy is not known well enough; 1.82× as fast (1.82–1.82), recall -0.0050 "
    )
    assert fast.startswith("adaptive at equal latency: by margin, 1× then 8× against fixed rescore 4×: ")
    alone = "; second calls for 30% of the queries: there the first call alone has 0.500, on the others 0.993"
    assert accurate.endswith(alone)
    assert fast.endswith(alone)
    assert findings[1].metrics["adaptive_at_equal_accuracy_speedup"] == pytest.approx(4 / (1 + 0.3 * 4))
    assert findings[2].metrics["adaptive_at_equal_latency_speedup"] == pytest.approx(4 / (1 + 0.3 * 8))
    assert findings[2].metrics["adaptive_at_equal_latency_gain"] == pytest.approx(0.3 * 0.1 - 0.005)


def test_a_comparison_is_told_with_both_ends_of_both_intervals() -> None:
    speedup, gain = Interval(1.0, 0.97, 1.03), Interval(0.1, -0.05, 0.25)
    found = PolicyResult("adaptive at equal latency", "a", "b", "recall", speedup, gain, (0.25, 0.5, 0.75)).finding
    assert found.sentence == (
        "adaptive at equal latency: a against b: no measurable difference in accuracy; 1.00× as fast (0.97–1.03), "
        "recall +0.1000 (-0.0500 to +0.2500); second calls for 25% of the queries: there the first call alone has "
        "0.500, on the others 0.750"
    )


def test_a_point_is_as_fast_as_it_was_for_the_queries_that_calibrate() -> None:
    class Uneven(Known):
        def policy(self, policy: Policy, warmup: int, with_ids: bool) -> Block:
            block = super().policy(policy, warmup, with_ids)
            block.latencies[SECOND] *= 9
            return block

    assert _see(Uneven(), SEARCH, OperatingPoint(2, None, True, 4.0), shares, FIRST).latency == 4.0


def test_without_a_factor_that_reaches_the_target_the_smallest_of_the_best_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FOUND, 8.0, FOUND[4.0])
    (finding,) = compare(Known(), SEARCH, AdaptiveConfig("recall", 0.99, [8.0, 1.0, 4.0]), 200, shares)
    assert finding.sentence == "adaptive: no factor reaches recall 0.99; best 0.980 at 4×"


def test_a_factor_is_searched_with_as_it_was_given() -> None:
    (finding,) = compare(Known(), SEARCH, AdaptiveConfig("recall", 0.99, [1.0, 1.3]), 200, shares)
    assert "at 1.3×" in finding.sentence  # of 2 results 2.6, which Qdrant cuts off


def test_a_policy_that_calibration_does_not_find_is_named() -> None:
    findings = compare(Known(wide=0.0), SEARCH, AdaptiveConfig("recall", 0.95, [1.0, 4.0]), 200, shares)
    assert [finding.sentence.partition(":")[0] for finding in findings] == [
        "course heuristic",
        "adaptive at equal latency",
        "adaptive at equal accuracy",
    ]
    assert "second calls" not in findings[1].sentence  # gaps alike single nothing out
    assert findings[2].sentence.endswith(": no margin policy reached it where it was calibrated")
    assert findings[2].metrics == {}


@pytest.mark.parametrize("gap", [0.0, 2.0])  # no query, and every one
def test_second_calls_are_told_where_they_single_queries_out(gap: float) -> None:
    result = PolicyResult("", "", "", "recall", Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.0))
    policy = Margin(OperatingPoint(3, None, True, 1.0), OperatingPoint(2, None, True, 4.0), gap)
    assert _explained(result, policy, Known(), shares, SECOND) is result
