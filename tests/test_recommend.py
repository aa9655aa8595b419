from dataclasses import replace
from functools import partial

import pytest

from qexp.config import SloConfig
from qexp.report.answers import _best
from qexp.report.frontier import dominators
from qexp.report.recommend import recommend, shortfalls
from qexp.report.verdict import verdict_lines
from qexp.report.words import more_cost
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


def test_of_a_point_that_two_jobs_have_measured_the_first_counts():
    rows = [baseline(), row("scalar", 2, p95=1.2), baseline(), row("scalar", 2, p95=1.0), row("scalar", 3, p95=1.4)]
    decided = recommend(rows, SLO)
    assert titles(decided.considered) == ["no quantization", "scalar, rescoring 2×", "scalar, rescoring 3×"]
    assert decided.choice.row is rows[1]
    assert all(one.choice is None or one.choice.baseline for one in decided.changes)
    assert list(map(titles, dominators(decided.considered))) == [["scalar, rescoring 3×", "scalar, rescoring 2×"]]


def test_the_runner_up_is_the_simplest_of_its_equals():
    scalar = partial(row, "scalar", accuracy=0.98, cost=4)
    rows = [baseline(), row("binary", 8, cost=1), scalar(10, p95=1.0), scalar(p95=1.004)]
    assert recommend(rows, SLO).runner_up.title == "scalar, no rescoring"


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
    cheaper = row("turbo", 5, accuracy=0.96, second=0.94, p95=0.95, cost=1)
    assert titles(recommend([*table, cheaper], SLO).refuted) == ["turbo, rescoring 5×", "binary, rescoring 5×"]


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
