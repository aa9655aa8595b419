from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.config import SloConfig
from qexp.config.cost import OBJECTIVES
from qexp.report.answers import _best
from qexp.report.frontier import dominates, dominators
from qexp.report.recommend import recommend, shortfalls
from qexp.report.words import more_cost, verdict_lines
from tests.tables import baseline, row

SLO = SloConfig(name="test")

TABLE = [
    baseline(p95=2.0, cost=10),
    row("scalar", accuracy=0.98, p95=1.2, cost=4),
    row("scalar", 2, accuracy=0.99, p95=1.5, cost=4),
    row("binary", accuracy=0.60, p95=0.8, cost=2),
    row("binary", 3, accuracy=0.90, p95=0.9, cost=2),
    row("binary", 8, accuracy=0.96, p95=1.1, cost=2),
]


def titles(found):
    return [one.title for one in found]


def test_the_cheapest_that_meets_the_limits():
    decided = recommend(TABLE, SLO)
    assert decided.choice.title == "binary, rescoring 8×"
    assert decided.runner_up.title == "scalar, no rescoring"
    assert decided.slo is SLO  # a trial of low recall is no poor baseline
    first, second = decided.changes
    assert (first.limit, first.value, first.choice.title) == ("min_accuracy", 0.96, "scalar, no rescoring")
    assert (second.limit, second.value, second.choice) == ("max_p95_ms", pytest.approx(1.111), None)
    assert [(one.collection.method, one.reached.title) for one in decided.matched] == [
        ("scalar", "scalar, no rescoring"),
        ("binary", "binary, rescoring 8×"),
    ]


def test_the_runner_up_is_the_simplest_of_its_equals():
    scalar = partial(row, "scalar", accuracy=0.98, cost=4)
    rows = [baseline(), row("binary", 8, cost=1), scalar(10, p95=1.0), scalar(p95=1.004)]
    assert recommend(rows, SLO).runner_up.title == "scalar, no rescoring"


@pytest.mark.parametrize(
    ("limits", "change"),
    [
        ({"max_p95_ms": 1.0}, ("max_p95_ms", pytest.approx(1.111), "binary, rescoring 8×")),
        ({"max_ram_mib": 300}, ("max_ram_mib", 500, "binary, rescoring 8×")),
        ({"min_accuracy": 0.97}, ("min_accuracy", 0.96, "binary, rescoring 8×")),
    ],
)
def test_a_limit_that_alone_keeps_out_something_cheaper_is_named(limits, change):
    rows = [baseline(cost=10), row("scalar", accuracy=0.98, p95=0.9, cost=4, ram=200)]
    rows.append(row("binary", 8, accuracy=0.96, p95=1.1, cost=2, ram=500))
    decided = recommend(rows, replace(SLO, **limits))
    assert decided.choice.title == "scalar, no rescoring"
    last = decided.changes[-1]
    assert (last.limit, last.value, last.choice.title) == change


def test_a_tighter_limit_on_ram_is_told_where_there_is_one():
    rows = [baseline(cost=10), row("scalar", accuracy=0.98, cost=2, ram=300), row("binary", 8, cost=4, ram=100)]
    assert "max_ram_mib" not in {change.limit for change in recommend(rows, SLO).changes}
    told = {change.limit: change for change in recommend(rows, replace(SLO, max_ram_mib=310)).changes}
    assert (told["max_ram_mib"].value, told["max_ram_mib"].choice.title) == (300, "binary, rescoring 8×")


def test_titles_have_the_storage_where_there_are_several():
    hot = [replace(one, params=one.params | {"storage": "hot"}) for one in TABLE[:2]]
    one, two = recommend(TABLE, SLO), recommend([*TABLE, *hot], SLO)
    assert [one.title(found) for found in one.considered[:2]] == ["no quantization", "scalar, no rescoring"]
    assert [two.title(found) for found in two.considered if found.collection.storage == "hot"] == [
        "no quantization (hot)",
        "scalar (hot), no rescoring",
    ]


def test_every_limit_binds():
    def choice(**limits):
        found = recommend(TABLE, replace(SLO, **limits)).choice
        return found and found.title

    assert choice(min_accuracy=0.985) == "scalar, rescoring 2×"
    assert choice(min_accuracy=0.995) == "no quantization"
    assert choice(min_accuracy=0.90, max_p95_ms=1.0) == "binary, rescoring 3×"
    assert choice(min_accuracy=0.97, max_ram_mib=500) == "scalar, no rescoring"
    assert choice(min_accuracy=0.97, max_ram_mib=300) is None
    assert choice(min_accuracy=0.97, max_usd_month=3) is None
    assert choice(max_p95_ms=0.5) is None


def test_what_keeps_to_a_limit_on_ram_is_not_beaten_by_what_does_not():
    rows = [baseline(), row("scalar", p95=0.8, ram=130), row("binary", accuracy=0.96, p95=0.9, ram=60)]
    assert recommend(rows, SLO).choice.title == "scalar, no rescoring"
    assert recommend(rows, replace(SLO, max_ram_mib=100)).choice.title == "binary, no rescoring"


def test_an_accuracy_of_nothing_is_no_limit_to_loosen():
    def loosened(accuracy):
        rows = [baseline(cost=10), row("scalar", accuracy=accuracy, spread=0.5, cost=2)]
        return [change.value for change in recommend(rows, SLO).changes if change.limit == "min_accuracy"]

    assert loosened(0.5) == []
    assert loosened(0.75) == [0.25]


def test_an_upper_end_of_p95_from_too_few_rounds_changes_nothing():
    wide = row("scalar")
    wide.metrics.update(latency_p95_ms_a_high=1e6, latency_p95_ms_b_high=1e6)
    assert [change.limit for change in recommend([baseline(), wide], SLO).changes] == ["min_accuracy"]


def test_a_collection_without_quantization_is_not_its_own_runner_up():
    again = row("none")
    again.metrics["compression_ratio"] = 1.0
    decided = recommend([baseline(), again], SLO)
    assert titles(decided.considered) == ["no quantization"]
    assert decided.runner_up is None


def test_a_choice_that_the_second_half_does_not_confirm_is_refuted():
    lucky = row("binary", 5, accuracy=0.96, second=0.94, p95=0.95, cost=2)
    table = [*TABLE[:5], lucky]
    decided = recommend(table, SLO)
    assert decided.choice.title == "scalar, no rescoring"
    assert titles(decided.refuted) == ["binary, rescoring 5×"]


def test_the_interval_must_meet_the_limit_not_the_estimate():
    table = [baseline(), row("binary", 8, accuracy=0.96, spread=0.02, cost=2), row("scalar", accuracy=0.98, cost=4)]
    assert recommend(table, SLO).choice.title == "scalar, no rescoring"


def test_equal_cost_and_speed_goes_to_the_simplest():
    two = row("scalar", 2, p95=1.001, accuracy=0.98, spread=0.01)
    five = row("scalar", 5, p95=1.0, accuracy=0.99, spread=0.01)
    assert recommend([baseline(), five, two], SLO).choice.title == "scalar, rescoring 2×"
    five = row("scalar", 5, p95=0.9, accuracy=0.99, spread=0.01)
    assert recommend([baseline(), five, two], SLO).choice.title == "scalar, rescoring 5×"


@pytest.mark.parametrize(
    ("slow", "fast"),
    [({"p95": 1.001, "accuracy": 0.98}, {"p95": 1.0}), ({"p95": 1.0}, {"p95": 1.0, "accuracy": 0.98})],
)
def test_of_equally_simple_ones_the_faster_goes_first_and_then_the_more_accurate(slow, fast):
    rows = [baseline(), row("scalar", 2, spread=0.01, **slow), row("binary", 2, spread=0.01, **fast)]
    assert recommend(rows, SLO).choice.title == "binary, rescoring 2×"


def test_the_fastest_is_what_speedups_tell_where_the_tails_of_one_job_were_longer():
    table = [baseline(p95=2.0), row("scalar", p95=1.0, cost=2), baseline(p95=2.6), row("turbo", p95=1.18, cost=2)]
    for one, gain in ((table[1], 2.0), (table[3], 2.2)):  # medians were the same: P95 alone was 30 % longer
        one.metrics.update(speedup_p95=gain, speedup_p95_low=gain / 1.02, speedup_p95_high=gain * 1.02)
    for one in table:
        one.metrics["latency_p50_ms"] = 0.8
    decided = recommend(table, SLO)
    assert [one.latency for one in decided.considered] == [2.0, 1.0, 1.18]
    assert (decided.choice.title, decided.runner_up.title) == ("turbo, no rescoring", "scalar, no rescoring")
    best = _best(decided)
    assert "the fastest by P95 latency is turbo, no rescoring (" in best
    assert best.endswith(" It is measurably ahead of the rest.")


def test_the_disk_of_codes_is_no_reason_where_all_rent_the_same_machines():
    bare, quick = baseline(cost=156.3724), row("scalar", p95=0.5, cost=156.3739)
    decided = recommend([bare, quick], SLO)
    assert [(one.cost, one.price) for one in decided.considered] == [(156.3724, 156.0), (156.3739, 156.0)]
    assert (decided.choice.title, decided.runner_up.title) == ("scalar, no rescoring", "no quantization")
    assert more_cost(*decided.considered) == "costs the same"
    assert recommend([bare, quick], replace(SLO, max_usd_month=156.373)).choice.baseline  # limits are exact
    dearer = row("scalar", p95=0.5, cost=157.6)
    assert recommend([bare, dearer], SLO).choice.baseline


def test_nothing_qualifies_names_the_nearest():
    decided = recommend(TABLE, replace(SLO, min_accuracy=0.97, max_usd_month=2.5))
    assert decided.choice is None
    assert decided.nearest.title == "binary, rescoring 8×"
    assert shortfalls(decided.nearest, decided.slo) == {"min_accuracy": pytest.approx(1 - 0.96 / 0.97)}


def test_rows_without_halves_are_not_candidates():
    bare = row("scalar")
    for name in [name for name in bare.metrics if name.endswith(("_a", "_b"))]:
        del bare.metrics[name]
    decided = recommend([bare], SLO)
    assert (decided.choice, decided.nearest) == (None, None)
    assert verdict_lines(decided) == ["Nothing can be recommended: no row has figures for both halves of the queries."]


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


@pytest.mark.parametrize(
    ("objectives", "choice", "dominated"),
    [
        (["accuracy", "p95", "cost"], "binary, rescoring 8×", []),
        (["cost", "accuracy"], "binary, rescoring 20×", ["binary, rescoring 8×"]),
        (["accuracy", "p95"], "scalar, no rescoring", ["binary, rescoring 8×", "binary, rescoring 20×"]),
        (["p95", "cost"], "binary, rescoring 8×", ["no quantization", "binary, rescoring 20×"]),
    ],
)
def test_what_dominates_is_told_by_the_objectives(objectives, choice, dominated):
    rows = [baseline(cost=10), row("scalar", accuracy=0.98, p95=1.0, cost=4)]
    rows += [row("binary", 8, accuracy=0.96, p95=1.1, cost=2), row("binary", 20, accuracy=0.97, p95=1.3, cost=2)]
    decided = recommend(rows, replace(SLO, objectives=objectives))
    assert decided.choice.title == choice
    assert titles(one for one, _ in dominators(decided.considered, objectives)) == dominated


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
            assert recommend(rows, replace(slo, **{change.limit: change.value})).choice.title == change.choice.title


def test_caps_count_for_a_limit_on_ram_where_they_contradict_the_prediction():
    rows = [baseline(), row("scalar", accuracy=0.99, ram=8)]
    within = replace(SLO, max_ram_mib=10)
    assert recommend(rows, within).choice.title == "scalar, no rescoring"
    rows[1].metrics["ram_floor_mib"] = 12.0  # nothing smaller was tried
    assert recommend(rows, within).choice.title == "scalar, no rescoring"
    rows[1].metrics["ram_fallen_mib"] = 7.9
    assert recommend(rows, within).choice.title == "scalar, no rescoring"
    rows[1].metrics["ram_fallen_mib"] = 9.0
    decided = recommend(rows, within)
    assert decided.choice is None
    assert decided.nearest.ram == 12.0


def test_what_fell_under_every_cap_needs_more_than_the_largest():
    rows = [baseline(), row("scalar", accuracy=0.99, ram=8)]
    rows[1].metrics["ram_fallen_mib"] = 40.0
    assert recommend(rows, replace(SLO, max_ram_mib=40)).choice is None
    assert recommend(rows, replace(SLO, max_ram_mib=41)).choice.title == "scalar, no rescoring"


def test_what_has_no_p95_is_not_nearest():
    rows = [baseline(p95=3.0), row("scalar", accuracy=0.99, p95=1.1), row("binary", accuracy=0.99, p95=0.9)]
    for name in [name for name in rows[2].metrics if name.startswith("latency_p95_ms_")]:
        del rows[2].metrics[name]
    assert recommend(rows, replace(SLO, max_p95_ms=1.0)).nearest.title == "scalar, no rescoring"


@pytest.mark.parametrize(
    ("params", "by"),
    [
        (("index.m=8", "index.m=16"), "recall"),
        (("engine.shards=1", "engine.shards=2"), "recall"),
        (("storage.datatype=uint8 cost.name=a", "cost.name=a"), "recall"),
        (("cost.name=course", "cost.name=production"), "retention"),
        (("search.rounds=2", "search.rounds=3"), "retention"),
    ],
)
def test_recall_decides_where_settings_change_what_baselines_find(params, by):
    rows = [one for settings in params for one in (baseline(settings=settings), row("scalar", settings=settings))]
    assert recommend(rows, SLO).slo.accuracy == by


def test_recall_decides_where_storages_keep_vectors_in_other_datatypes():
    kept = [("on_disk", "float32"), ("half", "float16")]
    rows = [one for storage, kind in kept for one in (baseline(storage=storage, datatype=kind), row("scalar"))]
    assert recommend(rows, SLO).slo.accuracy == "recall"


def test_the_recommended_point_stands_for_its_collection() -> None:
    simple, fast = row("scalar", 2, p95=1.0, hnsw_ef="64"), row("scalar", 3, p95=0.2, hnsw_ef="32")
    rows = [baseline(hnsw_ef="64"), simple, row("binary", 2, cost=2.0, hnsw_ef="64"), baseline(hnsw_ef="32"), fast]
    decided = recommend(rows, SLO)
    assert decided.choice is not None
    assert decided.choice.row is fast
    scalar, binary = decided.matched
    assert scalar.reached is not None
    assert scalar.reached.row is simple  # the least that it needs
    assert decided.shown(scalar) is decided.choice
    assert [one.row for one in decided.compared(scalar)] == [fast]
    assert decided.shown(binary) is binary.reached


@pytest.mark.parametrize(("high", "told"), [(1.0, True), (4.0, True), (4.01, False)])
def test_an_upper_end_of_p95_is_told_up_to_twice_the_slowest_latency(high, told):
    wide = row("scalar")
    wide.metrics.update(latency_p95_ms_a_high=high, latency_p95_ms_b_high=high)
    changes = recommend([baseline(p95=2.0), wide], SLO).changes
    assert ("max_p95_ms" in {change.limit for change in changes}) == told


LIMITS = {"min_accuracy": 0.96, "max_p95_ms": 1.01, "max_ram_mib": 300.0, "max_usd_month": 3.0}


@pytest.mark.parametrize(
    ("limit", "missed"), [("min_accuracy", 0.961), ("max_p95_ms", 1.009), ("max_ram_mib", 299), ("max_usd_month", 2.99)]
)
def test_a_limit_that_is_met_exactly_is_kept(limit, missed):
    rows = [baseline(cost=10), row("scalar", accuracy=0.96, p95=1.0, cost=3.0)]
    decided = recommend(rows, replace(SLO, **LIMITS))
    assert decided.choice.title == "scalar, no rescoring"
    assert shortfalls(decided.choice, decided.slo) == {}
    assert (decided.nearest, shortfalls(decided.choice, replace(SLO, min_accuracy=0))) == (None, {})
    decided = recommend(rows, replace(SLO, **LIMITS | {limit: missed}))
    assert decided.choice is None
    assert limit in shortfalls(decided.considered[1], decided.slo)


def test_only_what_is_cheaper_than_the_choice_is_refuted_or_unsure():
    rows = [
        baseline(),
        row("binary", 8, accuracy=0.96, cost=2),
        row("scalar", 2, accuracy=0.96, second=0.94, cost=2),
        row("scalar", 3, accuracy=0.97, spread=0.03, cost=2),
    ]
    decided = recommend(rows, replace(SLO, min_accuracy=0.95))
    assert (decided.choice.title, decided.refuted, decided.unsure) == ("binary, rescoring 8×", (), None)
    cheaper = [row("turbo", 2, accuracy=0.96, second=0.94, cost=1), row("turbo", 3, accuracy=0.94, second=0.96, cost=1)]
    decided = recommend([*rows, *cheaper], replace(SLO, min_accuracy=0.95))
    assert titles(decided.refuted) == ["turbo, rescoring 2×"]


def test_the_unsure_one_lacks_nothing_but_queries():
    def unsure(*rows, **limits):
        found = recommend([baseline(cost=10), *rows], replace(SLO, **{"min_accuracy": 0.95} | limits)).unsure
        return found and found.title

    near, nearer = row("scalar", 2, accuracy=0.96, spread=0.02), row("scalar", 3, accuracy=0.97, spread=0.025)
    assert unsure(near) == "scalar, rescoring 2×"
    assert unsure(row("scalar", 2, accuracy=0.95, spread=0.02)) == "scalar, rescoring 2×"
    assert unsure(near, nearer) == "scalar, rescoring 3×"  # as cheap, and vouched for by more
    assert unsure(row("binary", accuracy=0.96, spread=0.03, cost=0.5), nearer) == "binary, no rescoring"
    assert unsure(row("scalar", accuracy=0.96, second=0.94, spread=0.02)) is None
    assert unsure(near, max_p95_ms=1.0) is None
    assert unsure(row("scalar", accuracy=1.0, spread=0.02), min_accuracy=1.0) is None


@pytest.mark.parametrize(("worst", "by"), [(0.9, "retention"), (0.899, "recall")])
def test_the_poorest_baseline_says_whether_retention_can_decide(worst, by):
    poor, good = baseline(), baseline(storage="hot")
    poor.metrics["recall"], good.metrics["recall"] = worst, 0.99
    rows = [poor, row("scalar"), good, row("scalar", storage="hot")]
    assert recommend(rows, SLO).slo.accuracy == by


def test_a_job_that_failed_is_no_further_ef():
    failed = replace(row("binary"), params={"quantization": "binary", "role": "failed", "error": "why"}, metrics={})
    assert recommend([baseline(), row("scalar"), failed], SLO).slo.accuracy == "retention"


def test_the_nearest_misses_its_worst_limit_by_the_least():
    rows = [
        baseline(cost=100),
        row("scalar", accuracy=0.94, p95=1.2 / 1.01, cost=1),  # 20 % too slow, and 1 % of the accuracy
        row("binary", accuracy=0.82, p95=1.15 / 1.01, cost=2),  # 15 % too slow, and 14 % of the accuracy
    ]
    limits = replace(SLO, min_accuracy=0.95, max_p95_ms=1.0)
    assert recommend(rows, limits).nearest.title == "binary, no rescoring"
    rows = [baseline(cost=100), *(row(name, accuracy=0.94, cost=cost) for name, cost in (("scalar", 3), ("binary", 2)))]
    assert recommend(rows, limits).nearest.title == "binary, no rescoring"  # as near, and cheaper
    rows[1:] = [row("scalar", accuracy=0.94, p95=1.2), row("turbo", accuracy=0.99, p95=1.2, cost=2)]
    assert recommend(rows, limits).nearest.title == "turbo, no rescoring"  # which misses nothing else


@pytest.mark.parametrize(("accuracy", "beaten"), [(0.96, True), (0.94, False)])
def test_another_collection_that_qualifies_and_is_dominated_is_beaten(accuracy, beaten):
    rows = [baseline(p95=3.0, cost=9), row("scalar", accuracy=accuracy, p95=1.5, cost=4), row("binary", 8, cost=2)]
    decided = recommend(rows, replace(SLO, min_accuracy=0.95, max_p95_ms=2.0))
    assert (decided.choice.title, decided.runner_up, decided.beaten) == ("binary, rescoring 8×", None, beaten)


def test_the_least_that_has_to_be_loosened_is_told():
    dear, cheap = row("scalar", accuracy=0.99, p95=0.5, cost=4, ram=100), {"p95": 0.5, "cost": 2}
    rows = [baseline(), dear, row("binary", 2, accuracy=0.9, **cheap), row("binary", 3, accuracy=0.92, **cheap)]
    change = recommend(rows, replace(SLO, min_accuracy=0.95)).changes[-1]
    assert (change.limit, change.value) == ("min_accuracy", 0.92)
    rows[2:] = [row(name, 2, accuracy=0.99, ram=ram, **cheap) for name, ram in (("binary", 500), ("turbo", 400))]
    change = recommend(rows, replace(SLO, min_accuracy=0.95, max_ram_mib=200)).changes[-1]
    assert (change.limit, change.value, change.choice.title) == ("max_ram_mib", 400, "turbo, rescoring 2×")


def test_a_collection_is_matched_by_its_simplest_that_is_vouched_for_or_its_most_accurate():
    rows = [
        baseline(),
        row("scalar", 2, accuracy=0.97, spread=0.03, p95=0.6),
        row("scalar", 3, accuracy=0.97, p95=0.9),
        row("scalar", 5, accuracy=0.99, p95=0.8),
        row("binary", 2, accuracy=0.93, spread=0.02),
        row("binary", 3, accuracy=0.92),
        row("turbo", 2, accuracy=0.95),
    ]
    scalar, binary, turbo = recommend(rows, replace(SLO, min_accuracy=0.95)).matched
    assert (scalar.reached.title, scalar.best.title) == ("scalar, rescoring 3×", "scalar, rescoring 5×")
    assert (binary.reached, binary.best.title) == (None, "binary, rescoring 2×")
    assert turbo.reached is turbo.best  # exactly


def without_p95(one):
    return replace(one, metrics={name: value for name, value in one.metrics.items() if "p95_ms_" not in name})


def test_recall_decides_where_several_efs_were_measured():
    rows = [one for ef in ("64", "128") for one in (baseline(hnsw_ef=ef), row("scalar", hnsw_ef=ef))]
    assert recommend(rows[:2], SLO).slo.accuracy == "retention"
    assert recommend(rows, SLO).slo.accuracy == "recall"


def test_of_those_whose_p95_is_unknown_what_else_they_miss_says_which_is_nearest():
    rows = [baseline(cost=9), row("scalar", accuracy=0.5, cost=1), row("binary", accuracy=0.9, cost=2)]
    limits = replace(SLO, max_p95_ms=1.0, max_usd_month=3)
    assert recommend(list(map(without_p95, rows)), limits).nearest.title == "binary, no rescoring"
    rows.append(row("turbo", accuracy=0.99, cost=2.5))  # misses nothing that is known
    assert recommend(list(map(without_p95, rows)), limits).nearest.title == "turbo, no rescoring"


CHEAP = {"accuracy": 0.9, "p95": 0.5, "cost": 2, "ram": 9}


@pytest.mark.parametrize(
    ("cheap", "told"),
    [
        (row("binary", **CHEAP), ["min_accuracy"]),
        (row("binary", **CHEAP | {"p95": 1.5}), []),  # kept out by two limits
        (without_p95(row("binary", **CHEAP | {"accuracy": 0.99})), []),  # no limit on P95 lets in what has none
        (row("binary", **CHEAP | {"cost": 4.001}), []),
    ],
)
def test_what_one_limit_alone_keeps_out_is_told_if_it_is_cheaper(cheap, told):
    rows = [baseline(cost=10), row("scalar", accuracy=0.98, p95=0.9, cost=4, ram=9), cheap]
    decided = recommend(rows, replace(SLO, min_accuracy=0.95, max_ram_mib=10, max_p95_ms=1.0))
    assert decided.choice.title == "scalar, no rescoring"
    assert [change.limit for change in decided.changes if change.choice is not None] == told


def test_the_limit_with_the_least_room_is_told_first():
    rows = [
        baseline(p95=30.0, cost=9),
        row("scalar", accuracy=0.96, p95=10.0),
        row("binary", accuracy=0.99, p95=5.0, cost=2),
    ]
    for limits, order in (
        ({"min_accuracy": 0.95, "max_p95_ms": 15}, ["min_accuracy", "max_p95_ms"]),  # 1 % and a third
        ({"min_accuracy": 0.80, "max_p95_ms": 10.2}, ["max_p95_ms", "min_accuracy"]),
        ({"min_accuracy": 0.80}, ["min_accuracy", "max_p95_ms"]),  # what has no limit comes last
    ):
        assert [change.limit for change in recommend(rows, replace(SLO, **limits)).changes] == order


def test_what_another_limit_keeps_out_hides_nothing():
    rows = [baseline(cost=9), row("scalar", accuracy=0.98, p95=0.9, cost=4)]
    rows += [row("turbo", accuracy=0.99, p95=2.0, cost=2), row("binary", accuracy=0.9, p95=0.5, cost=2)]
    *_, first, last = recommend(rows, replace(SLO, max_p95_ms=1.0)).changes
    assert (first.limit, first.value, first.choice.title) == ("min_accuracy", 0.9, "binary, no rescoring")
    assert (last.limit, last.value, last.choice.title) == ("max_p95_ms", 2.02, "turbo, no rescoring")


@pytest.mark.parametrize("cost", [4, 6])
def test_what_is_no_cheaper_hides_nothing_cheaper(cost):
    rows = [baseline(cost=9), row("scalar", accuracy=0.98, cost=4)]
    rows += [row("product", accuracy=0.94, cost=cost), row("binary", accuracy=0.9, cost=2)]
    last = recommend(rows, replace(SLO, min_accuracy=0.95)).changes[-1]
    assert (last.limit, last.value, last.choice.title) == ("min_accuracy", 0.9, "binary, no rescoring")


def test_money_that_is_no_objective_is_not_saved():
    rows = [baseline(cost=10), row("scalar", accuracy=0.98, p95=0.9, cost=4), row("binary", accuracy=0.9, cost=2)]
    decided = recommend(rows, replace(SLO, objectives=["accuracy", "p95"]))
    assert decided.choice.title == "scalar, no rescoring"
    assert 0.9 not in {change.value for change in decided.changes}
    assert recommend(rows, replace(SLO, min_accuracy=0.9, objectives=["accuracy", "p95"])).refuted == ()  # both confirm


def test_without_a_choice_a_collection_is_shown_by_what_reaches_the_accuracy():
    rows = [baseline(), row("scalar", 2), row("scalar", 3, accuracy=0.99), row("binary", 2, accuracy=0.9)]
    decided = recommend(rows, replace(SLO, min_accuracy=0.95, max_usd_month=0.5))
    assert decided.choice is None
    assert titles(map(decided.shown, decided.matched)) == ["scalar, rescoring 2×", "binary, rescoring 2×"]


def test_latency_is_p95_only_where_every_candidate_has_it():
    rows = [baseline(), row("scalar"), row("binary")]
    assert recommend(rows, SLO).latency == "P95 latency"
    del rows[2].metrics["latency_p95_ms"]
    decided = recommend(rows, SLO)
    assert decided.latency == "mean latency"
    assert [one.latency for one in decided.considered] == pytest.approx([1.8, 0.9, 0.9])


def test_points_at_another_ef_are_not_compared():
    rows = [baseline(hnsw_ef="64"), row("scalar", hnsw_ef="64"), row("scalar", 2, hnsw_ef="64")]
    rows += [baseline(hnsw_ef="128"), row("scalar", 3, hnsw_ef="128")]
    decided = recommend(rows, SLO)
    assert titles(decided.compared(decided.matched[0])) == [
        "scalar, no rescoring, ef 64",
        "scalar, rescoring 2×, ef 64",
    ]
