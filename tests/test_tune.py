from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.bench.halves import split
from qexp.bench.tune import narrowed, oversampling_of, smallest, tune
from qexp.config import SearchConfig, TuneConfig
from qexp.errors import ConfigError
from qexp.results import OperatingPoint
from tests.conftest import QUICK


@given(st.integers(1, 50), st.integers(0, 400), st.integers(1, 500))
def test_bisection_finds_the_smallest_with_few_questions(least, span, threshold):
    most, asked = least + span, []

    def reaches(number):
        asked.append(number)
        return number >= threshold

    found = smallest(reaches, least, most)
    assert found == (None if threshold > most else max(least, threshold))
    assert all(least <= number <= most for number in asked)
    assert len(asked) <= 2 * np.log2(most + 1) + 3


@given(st.integers(1, 100_000), st.integers(0, 10_000_000))
def test_the_engine_fetches_as_many_as_was_meant(limit, more):
    assert int(limit * oversampling_of(limit + more, limit)) == limit + more


@pytest.mark.parametrize(
    ("number", "limit", "factor"),
    [(4, 3, 1.4), (37, 10, 3.7), (5, 1, 5), (10, 9, 1.2), (115, 100, 1.151), (1, 1, 1), (10_007, 9999, 1.0009)],
)
def test_factors_have_few_digits(number, limit, factor):
    assert oversampling_of(number, limit) == factor


def test_what_is_measured_is_what_was_found():
    search = SearchConfig(limit=9, oversampling=[1.0])  # 1.2 × 9 is nearer to 11 than to the 10 that are fetched
    found = tune(search, TuneConfig(target=0.95), lambda point: np.full(400, float(int(point.oversampling * 9) >= 10)))
    assert found.value == 1.2
    assert narrowed(search, found).oversampling[0] == 1.2


SEARCH = SearchConfig(limit=10, oversampling=[1.0])


def accuracy_at(point):
    """Half of the queries are found always, the rest from 3.7× on."""
    shares = np.ones(400)
    shares[::2] = 1.0 if point.oversampling >= 3.7 else 0.5
    return shares


def test_tuning_finds_what_reaches_the_target():
    found = tune(SEARCH, TuneConfig(target=0.95), accuracy_at)
    assert found.reached
    assert found.value == pytest.approx(3.7)
    assert narrowed(SEARCH, found).oversampling == [pytest.approx(factor) for factor in (3.7, 4.7, 6.0)]
    assert found.finding.metrics == {
        "tuned_oversampling": pytest.approx(3.7),
        "tuned_retention_b": found.confirmed.estimate,
        "tuned_searches": 7,  # 10, 20, 40, 30, 35, 37 and 36 candidates
    }
    assert "3.7× is the smallest that reaches 0.95" in found.finding.sentence
    assert found.finding.sentence.endswith("; confirmed")
    sentence = tune(replace(SEARCH, hnsw_ef=[32, 64]), TuneConfig(target=0.95), accuracy_at).finding.sentence
    assert sentence.startswith("oversampling 3.7× (hnsw_ef 32) is the smallest that reaches 0.95")


def test_not_reachable_is_an_answer():
    found = tune(SEARCH, TuneConfig(target=0.95, most=3), accuracy_at)
    assert not found.reached
    assert "not reachable by oversampling: best at 1× of up to 3×, retention 0.735" in found.finding.sentence
    assert "tuned_oversampling" not in found.finding.metrics
    assert len(narrowed(SEARCH, found).oversampling) == 1


def test_what_too_few_queries_cannot_vouch_for_is_not_called_out_of_reach():
    found = tune(SEARCH, TuneConfig(target=0.95), lambda point: np.ones(100))
    assert not found.reached
    assert found.finding.sentence == (
        "so few queries cannot vouch for retention 0.95: best at 1× of up to 32×, retention 1.000 (0.940–1.000) on the "
        "queries that looked for it, 1.000 (0.940–1.000) on the others; give more of them"
    )
    just = tune(SEARCH, TuneConfig(target=0.5), lambda point: np.full(100, 0.5)).finding.sentence
    assert just.startswith("so few queries cannot vouch for retention 0.5: best at 1× of up to 32×, retention 0.500")
    never = tune(SEARCH, TuneConfig(target=1), lambda point: np.ones(100)).finding.sentence
    assert never.startswith("no number of queries vouches for retention 1: best at 1× of up to 32×, retention 1.000")


def test_confirmed_only_if_the_other_half_says_so():
    _, second = split(400)

    def lucky(point):
        shares = np.ones(400)
        shares[second[:12]] = 0.0
        return shares

    found = tune(SEARCH, TuneConfig(target=0.95), lucky)
    assert found.confirmed.low < 0.95 < found.confirmed.high
    assert found.finding.sentence.endswith("not confirmed by the low end of the interval")


@pytest.mark.parametrize(
    ("parameter", "rescore", "expected"),
    [
        ("oversampling", [True], [(32, True, 1.0), (32, True, 2.0)]),
        ("hnsw_ef", [False, True], [(10, True, 4.0), (20, True, 4.0)]),
        ("hnsw_ef", [False], [(10, False, 1.0), (20, False, 1.0)]),
    ],
)
def test_what_is_tuned_is_searched_with_all_else_as_it_will_be_measured(parameter, rescore, expected):
    search = SearchConfig(limit=10, rescore=rescore, oversampling=[4.0, 2.0], hnsw_ef=[32, 64])
    asked, most = [], 20.9 if parameter == "hnsw_ef" else 2

    def nothing(point):
        asked.append(point)
        return np.zeros(100)

    tune(search, TuneConfig(parameter=parameter, measure="recall", most=most), nothing)
    assert asked[1:] == [OperatingPoint(10, *point) for point in expected]


def test_the_best_that_was_tried_is_that_of_the_half_that_looked():
    first, second = split(400)

    def low(point):
        shares = np.empty(400)
        shares[first], shares[second] = (0.6, 0.5) if point.oversampling == 2 else (0.5, 0.7)
        return shares

    found = tune(SEARCH, TuneConfig(target=0.95, most=3), low)
    assert (found.reached, found.value, found.searches) == (False, 2.0, 3)
    assert (found.found.estimate, found.confirmed.estimate) == pytest.approx((0.6, 0.5))


def test_a_target_is_reached_by_a_low_end_that_equals_it():
    low = tune(SEARCH, TuneConfig(target=0.5), accuracy_at).found.low
    found = tune(SEARCH, TuneConfig(target=low), accuracy_at)
    assert (found.reached, found.value, found.found.low) == (True, 1.0, low)
    assert replace(found, confirmed=found.found).finding.sentence.endswith("; confirmed")


def test_no_more_is_tried_than_most() -> None:
    tried = []

    def low(point: OperatingPoint) -> np.ndarray:
        tried.append(point.oversampling)
        return np.full(100, 0.5)

    found = tune(SEARCH, TuneConfig(target=0.95, most=1.29), low)
    assert (found.most, max(tried)) == (1.2, 1.2)
    found = tune(replace(SEARCH, limit=100), TuneConfig(target=0.95, most=1.15), low)  # 114.99… in floats
    assert found.most == oversampling_of(115, 100)


def test_tuning_hnsw_ef_needs_recall():
    with pytest.raises(ConfigError, match="add slo=recall"):
        TuneConfig(parameter="hnsw_ef")
    with pytest.raises(ConfigError, match=r"^search\.tune\.most=5: an hnsw_ef below search\.limit=10 "):
        SearchConfig(tune=TuneConfig(parameter="hnsw_ef", measure="recall", most=5))
    asked = TuneConfig(parameter="hnsw_ef", measure="recall")

    def at(point, queries=400):
        return np.full(queries, 0.99 if point.hnsw_ef >= 77 else 0.9)

    found = tune(replace(SEARCH, rescore=[True]), asked, at)
    assert found.reached
    assert found.value == 77
    assert narrowed(SEARCH, found).hnsw_ef == [77, 97, 124]
    sentence = tune(replace(SEARCH, rescore=[True], hnsw_ef=[32]), asked, at).finding.sentence
    assert sentence.startswith("hnsw_ef 77 is the smallest that reaches 0.95: ")
    never = tune(SEARCH, asked, lambda point: np.full(400, 0.5 if point.hnsw_ef < 1024 else 0.9))
    assert "not reachable by hnsw_ef: best at 1024 of up to 1024, recall 0.9" in never.finding.sentence
    assert narrowed(SEARCH, never).hnsw_ef == [1024]
    beyond = tune(replace(SEARCH, limit=2000), asked, lambda point: np.ones(400))
    assert (beyond.reached, beyond.value, beyond.most) == (True, 2000, 2000)
    least = tune(replace(SEARCH, limit=1, rescore=[True]), asked, lambda point: np.ones(400))
    assert narrowed(SEARCH, least).hnsw_ef == [1, 2]
    few = tune(replace(SEARCH, rescore=[True]), asked, lambda point: at(point, queries=100))
    assert not few.reached  # 50 queries that agree at 0.99 do not vouch for 0.95
    assert few.found.low < 0.95 < few.found.estimate


@pytest.mark.slow
def test_tune_from_the_command_line(qexp):
    tune = ("search=tune", "search.budget_seconds=0", "slo.min_accuracy=0.9", "quantization=binary")
    done = qexp(*QUICK, *tune)
    assert done.returncode == 0, done.stderr
    assert "is the smallest that reaches 0.9" in done.stderr
    quiet = qexp("-m", "--quiet", *QUICK, *tune)
    (found,) = [line for line in quiet.stdout.splitlines() if line.startswith("Found: oversampling ")]
    assert "is the smallest that reaches 0.9" in found
    bad = qexp(*QUICK, "search=tune", "search.tune.target=2")
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert "search.tune.target=2" in bad.stderr
