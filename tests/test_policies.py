from functools import partial

import numpy as np
import pytest

from qexp.bench.adaptive import EQUAL_ACCURACY, EQUAL_LATENCY, PolicyResult, compare, difference
from qexp.bench.policies import Fixed, Margin, NonZero, Seen, calibrate_fixed, calibrate_margin, margin
from qexp.config import AdaptiveConfig, SearchConfig
from qexp.data.truth import neighbours
from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.results import Interval, OperatingPoint, Search
from tests.test_edge import build_collection, spec, vectors


def point(factor):
    return OperatingPoint(10, None, True, factor)


def counting(calls):
    """An engine whose searches note how they were called; the query's first component is the gap at rank k."""

    def at(asked):
        def call(request):
            assert request[0] == asked  # prepared for this operating point
            calls.append(asked)
            return request

        def scores(found):
            asked, query = found
            return [1.0] * (asked.limit - 1) + [1.0 - query[0]]

        return Search(lambda query: (asked, query), call, lambda found: list(range(found[0].limit)), scores)

    return at


def test_margin_calls_again_only_where_the_gap_is_small():
    calls = []
    policy = Margin(OperatingPoint(11, None, True, 1), point(8), gap=0.25)
    search = policy.search(counting(calls))
    easy = search.call(search.prepare([0.25]))
    assert [one.oversampling for one in calls] == [1]
    assert search.ids(easy) == list(range(10))
    search.call(search.prepare([0.1]))
    assert [one.oversampling for one in calls] == [1, 1, 8]


def test_a_gap_beyond_the_last_result_is_wide():
    assert margin([3.0, 2.0, 1.5], 2) == 0.5
    assert margin([0.1, 0.4], 1) == pytest.approx(0.3)  # distances grow
    assert margin([3.0], 1) == float("inf")


def test_the_courses_heuristic():
    policy = NonZero(point(3))
    assert policy.factor([1.0] * 1001) == 4.5
    assert policy.factor([1.0] * 500 + [0.0] * 600) == 3.0
    assert policy.factor([1.0] * 1000) == policy.factor([1.0] * 100) == 3.0
    assert policy.factor([1.0] * 99) == pytest.approx(2.4)
    assert NonZero(point(1)).factor([1.0]) == 1.0
    calls = []
    search = policy.search(counting(calls))
    for components in (50, 500, 5000):
        found = search.call(search.prepare([1.0] * components))
        assert search.ids(found) == list(range(10))
    assert [one.oversampling for one in calls] == pytest.approx([2.4, 3.0, 4.5])


def test_a_fixed_point_is_the_engines_own_search():
    calls = []
    search = Fixed(point(3)).search(counting(calls))
    assert search.ids(search.call(search.prepare([1.0]))) == list(range(10))
    assert calls == [point(3)]
    assert Fixed(point(3)).limit == NonZero(point(3)).limit == 10


def test_a_policy_that_takes_as_long_as_fixed_oversampling_is_as_fast():
    margins = np.array([0.0, 0.0, 1.0, 1.0])  # the first two are called again: 1 + 0.5 · 2 ms
    cheap, dear = Seen(point(1), np.array([0.5, 0.5, 1.0, 1.0]), margins, 1.0), Seen(point(8), np.ones(4), margins, 2.0)
    fixed = Seen(point(4), np.ones(4), margins, 2.0)
    for found in calibrate_margin([cheap, dear], fixed):
        assert (found.first.oversampling, found.second.oversampling) == (1, 8)
        assert found.gap > 0  # up to it no query is called again


def test_calibration_prefers_the_cheapest_and_the_most_accurate():
    margins = np.arange(100) / 100
    hard = margins < 0.2  # exactly the queries with small gaps need more
    cheap = Seen(point(1), np.where(hard, 0.5, 1.0), margins, latency=1.0)
    dear = Seen(point(8), np.ones(100), margins, latency=3.0)
    assert calibrate_fixed([cheap, dear], 0.95) is dear
    assert calibrate_fixed([dear, cheap], 0.9) is cheap
    assert calibrate_fixed([cheap], 0.95) is None
    fastest, accurate = calibrate_margin([cheap, dear], dear)
    assert fastest == accurate
    assert fastest.gap == pytest.approx(0.2, abs=0.01)
    assert (fastest.first.limit, fastest.first.oversampling, fastest.second.oversampling) == (11, 1, 8)
    assert calibrate_margin([dear], dear) == (None, None)


def test_what_is_slower_than_fixed_oversampling_is_not_as_fast():
    margins = np.arange(100) / 100
    hard, unseen = margins < 0.2, margins == 0.99  # whose gap does not tell that little oversampling finds little
    cheap = Seen(point(1), np.where(hard | unseen, 0.5, 1.0), margins, latency=1.0)
    fixed = Seen(point(4), np.where(hard, 0.9, 1.0), margins, latency=3.0)
    dear = Seen(point(8), np.ones(100), margins, latency=6.0)
    # 1× then 4× finds 0.975, less than the 0.98 of 4×; 1× then 8× 0.995 in 1 + 0.2 · 6; 4× then 8× all, in 3 + 0.2 · 6
    for found in calibrate_margin([cheap, fixed, dear], fixed):
        assert (found.first.oversampling, found.second.oversampling) == (1, 8)
        assert found.gap == pytest.approx(0.2, abs=0.01)


def test_of_policies_as_fast_the_more_accurate_is_chosen_and_of_those_as_accurate_the_faster():
    margins = np.arange(100) / 100
    hard = margins < 0.2
    cheap = Seen(point(1), np.where(hard, 0.5, 1.0), margins, latency=1.0)
    fixed = Seen(point(4), np.where(hard, 0.9, 1.0), margins, latency=3.0)
    slow, fast = Seen(point(9), np.ones(100), margins, 4.0), Seen(point(8), np.ones(100), margins, 3.0)
    for found in calibrate_margin([cheap, fixed, slow, fast], fixed):
        assert (found.first.oversampling, found.second.oversampling) == (1, 8)


@pytest.mark.filterwarnings("error")
def test_without_a_next_result_no_margin_policy_calls_again():
    endless = np.full(100, np.inf)  # as many results as there are points
    cheap, dear = Seen(point(1), np.ones(100), endless, 1.0), Seen(point(8), np.ones(100), endless, 3.0)
    fastest, _ = calibrate_margin([cheap, dear], dear)
    assert not (endless < fastest.gap).any()


@pytest.mark.parametrize(
    ("name", "speedup", "gain", "verdict"),
    [
        (EQUAL_ACCURACY, (1.2, 1.1, 1.3), (0.0, -0.01, 0.01), "beats it"),
        (EQUAL_ACCURACY, (1.2, 1.1, 1.3), (0.0, -0.011, 0.01), "faster, but its accuracy is not known well enough"),
        (EQUAL_ACCURACY, (0.8, 0.5, 1.4), (0.1, 0.05, 0.15), "no measurable difference in latency"),
        (EQUAL_ACCURACY, (0.8, 0.7, 0.9), (0.0, -0.01, 0.01), "loses"),
        (EQUAL_LATENCY, (1.0, 0.97, 1.03), (0.1, 0.05, 0.15), "beats it"),
        (
            EQUAL_LATENCY,
            (1.0, 0.949, 1.06),
            (0.1, 0.05, 0.15),
            "more accurate, but its latency is not known well enough",
        ),
        (EQUAL_LATENCY, (1.0, 0.97, 1.03), (0.0, -0.01, 0.01), "no measurable difference in accuracy"),
        (EQUAL_LATENCY, (0.8, 0.7, 0.9), (0.1, 0.05, 0.15), "trades latency for accuracy"),
        (EQUAL_ACCURACY, (1.2, 1.1, 1.3), (-0.1, -0.15, -0.05), "trades accuracy for latency"),
        (EQUAL_ACCURACY, (1.0, 0.97, 1.03), (-0.1, -0.15, -0.05), "loses"),
        (EQUAL_LATENCY, (1.0, 0.97, 1.03), (-0.1, -0.15, -0.05), "loses"),
        (EQUAL_LATENCY, (0.8, 0.7, 0.9), (0.0, -0.01, 0.01), "loses"),
        (EQUAL_LATENCY, (1.0, 0.95, 1.03), (0.1, 0.05, 0.15), "beats it"),
        (EQUAL_ACCURACY, (1.1, 1.0, 1.2), (0.0, 0.0, 0.0), "no measurable difference in latency"),
        (EQUAL_LATENCY, (0.9, 0.8, 1.0), (0.1, 0.0, 0.2), "no measurable difference in accuracy"),
        (EQUAL_LATENCY, (1.1, 1.05, 1.2), (-0.1, -0.2, 0.0), "no measurable difference in accuracy"),
    ],
)
def test_verdicts_claim_no_more_than_the_intervals(name, speedup, gain, verdict):
    assert PolicyResult(name, "t", "a", "recall", Interval(*speedup), Interval(*gain)).verdict == verdict


def test_paired_difference():
    found = difference(np.array([0.1, 0.0, 0.2]))
    assert found.estimate == pytest.approx(0.1)
    # Student's t of 4 degrees, standard deviation of these and of -1 and 1
    assert found.low == pytest.approx(0.1 - 2.776445 * np.sqrt(0.508) / np.sqrt(5))
    assert found.high == pytest.approx(0.2 - found.low)


def test_queries_that_all_agree_are_not_certain():
    found = difference(np.zeros(250))
    assert (found.low, found.estimate) == (pytest.approx(-found.high), 0.0)
    assert 0.010 < found.high < 0.012


@pytest.fixture
def place(tmp_path):
    built = spec("binary", 64)
    build_collection(EdgeEngine(tmp_path), built, vectors(64))
    np.save(tmp_path / "queries.npy", vectors(64, 200, seed=1))
    with Worker(partial(EdgeEngine, tmp_path), tmp_path / "queries.npy", "test") as worker:
        worker.open(built)
        yield worker


def test_policies_on_the_engine(place, tmp_path):
    queries = np.load(tmp_path / "queries.npy")
    exact = neighbours(vectors(64), queries, 10, "cosine").ids

    def shares(ids):
        return (ids[:, :, None] == exact[:, None, :]).any(axis=2).mean(axis=1)

    never = place.policy(Margin(OperatingPoint(11, None, True, 1.0), point(8.0), -1.0), 0, True).ids
    always = place.policy(Margin(OperatingPoint(11, None, True, 1.0), point(8.0), np.inf), 0, True).ids
    dear = place.policy(Fixed(point(8.0)), 0, True).ids
    assert (always == dear).all()
    assert shares(never).mean() < shares(dear).mean()
    search = SearchConfig(rounds=2, warmup=5)
    findings = compare(place, search, AdaptiveConfig("recall", 0.9, [1.0, 2.0, 4.0, 8.0]), 200, shares)
    assert "course heuristic" in findings[0].sentence
    assert "course_heuristic_speedup" in findings[0].metrics
    assert {"adaptive at equal accuracy", "adaptive at equal latency"} <= {
        finding.sentence.partition(":")[0] for finding in findings
    }
    nothing = compare(place, search, AdaptiveConfig("recall", 1.0, [1.0, 2.0]), 200, shares)
    assert [finding.sentence.partition(";")[0] for finding in nothing] == ["adaptive: no factor reaches recall 1"]
