"""What holds of the recommendation for any table and any limits."""

from dataclasses import replace
from math import nextafter

from hypothesis import given
from hypothesis import strategies as st

from qexp.config import SloConfig
from qexp.config.cost import OBJECTIVES
from qexp.report.frontier import dominates
from qexp.report.recommend import recommend, shortfalls
from tests.tables import baseline, row

shares = st.floats(0.5, 1.0)
trials = st.builds(
    row,
    st.sampled_from(["scalar", "binary", "turbo_1bit"]),
    st.sampled_from([None, 1.0, 2.0, 5.0]),
    accuracy=shares,
    second=shares,
    p95=st.floats(0.1, 3.0),
    cost=st.sampled_from([1.0, 2.0, 2.001, 5.0, 12.0]),
    spread=st.sampled_from([0.0, 0.01, 0.1]),
)
tables = st.lists(trials, min_size=1, max_size=12).map(lambda rows: [baseline(), *rows])
limits = st.builds(
    SloConfig,
    name=st.just("any"),
    min_accuracy=st.floats(0.5, 1.0),
    max_p95_ms=st.none() | st.floats(0.1, 3.0),
    max_ram_mib=st.none() | st.floats(50, 1500),
    max_usd_month=st.none() | st.floats(0.5, 15),
)
objectives = st.lists(st.sampled_from(OBJECTIVES), min_size=2, max_size=3, unique=True)


@given(tables, limits)
def test_no_recommended_candidate_is_dominated(rows, slo):
    decided = recommend(rows, slo)
    if decided.choice:
        assert not shortfalls(decided.choice, slo)
        qualified = [one for one in decided.considered if not shortfalls(one, slo)]
        better = [one for one in decided.considered if dominates(one, decided.choice)]
        assert all(one not in qualified and one.price == decided.choice.price for one in better)
        assert decided.choice.price == min(one.price for one in qualified)
    else:
        assert all(shortfalls(one, slo) for one in decided.considered)


@given(tables, limits, objectives)
def test_of_the_objectives_chosen_none_dominates_the_choice(rows, slo, objectives):
    slo = replace(slo, objectives=objectives)
    decided = recommend(rows, slo)
    qualified = [one for one in decided.considered if not shortfalls(one, slo)]
    assert (decided.choice is None) == (not qualified)
    assert not any(dominates(other, decided.choice, objectives) for other in qualified)
    looser = [
        change for change in decided.changes if change.value < slo.min_accuracy and change.limit == "min_accuracy"
    ]
    assert all(change.choice.cost < decided.choice.cost for change in looser)


@given(tables, limits, st.sampled_from(["min_accuracy", "max_p95_ms", "max_ram_mib", "max_usd_month"]), st.data())
def test_loosening_a_limit_never_makes_the_answer_dearer(rows, slo, name, data):
    before = recommend(rows, slo).choice
    limit = getattr(slo, name)
    if name == "min_accuracy":
        looser = data.draw(st.floats(0.0, limit))
    else:
        looser = None if limit is None else data.draw(st.none() | st.floats(limit, 2 * limit))
    after = recommend(rows, replace(slo, **{name: looser})).choice
    assert before is None or after.price <= before.price


@given(tables, limits)
def test_a_change_changes_the_choice(rows, slo):
    decided = recommend(rows, slo)
    assert all(change.choice is not decided.choice for change in decided.changes)
    for change in decided.changes:
        less = change.value < slo.min_accuracy
        limit = getattr(slo, change.limit)
        if less if change.limit == "min_accuracy" else limit is not None and change.value > limit:
            assert change.choice.cost < decided.choice.cost
            told = change.value
        else:
            told = nextafter(change.value, 1.0 if change.limit == "min_accuracy" else 0.0)
        assert recommend(rows, replace(slo, **{change.limit: told})).choice == change.choice
