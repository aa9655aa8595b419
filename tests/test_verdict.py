"""The recommendation as it is told, from rows made by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.config import SloConfig
from qexp.config.cost import OBJECTIVES
from qexp.report.answers import cost_remark
from qexp.report.recommend import Change, recommend, shortfalls
from qexp.report.verdict import change, verdict_lines
from qexp.report.words import matched, undominated
from tests.tables import baseline, row
from tests.test_recommend import SLO, TABLE, without_p95
from tests.test_recommend_any import tables


def test_the_bill_of_other_points_than_were_measured_says_so():
    rows = [baseline(), row("scalar", 2, cost=0.5, ram=12)]
    for one in rows:
        one.metrics["cost_target_points"] = 1e8
    first, *_ = verdict_lines(recommend(rows, SLO))
    assert first.endswith("; 12.0 MiB of RAM for the points measured, $0.50 a month for 100,000,000 points.")
    assert cost_remark(rows[1]) == "saves $9.50 a month, $114.00 a year, with 100,000,000 points"


def test_the_decision_in_three_lines():
    first, margin, change = verdict_lines(recommend(TABLE, SLO))
    assert first == (
        "Deploy binary, rescoring 8× (storage on_disk): accuracy retention 0.960 (0.960 on the queries that chose, "
        "0.960 (0.960–0.960) on the other half); 1.82× faster in mean latency (1.80–1.84) against no quantization; "
        "200.0 MiB of RAM, $2.00 a month."
    )
    assert margin == (
        "Margin: the runner-up, scalar, no rescoring (storage on_disk), costs 2.0× as much; against it the choice is "
        "1.09× faster in P95 latency (1.08–1.11), accuracy retention 0.960 against 0.980."
    )
    assert change == (
        "What would change it: asking for accuracy retention above 0.960 leads to scalar, no rescoring (costs 2.0× "
        "as much); a P95 limit below 1.111 ms (the worse end of the choice's interval) leaves nothing."
    )


def test_nothing_qualifies_says_what_is_near_and_what_to_try():
    lines = verdict_lines(recommend(TABLE, replace(SLO, min_accuracy=0.97, max_usd_month=2.5)))
    assert lines == [
        "Nothing that was measured keeps to the limits.",
        "Nearest: binary, rescoring 8× (storage on_disk): accuracy retention 0.960 vouched for, 0.97 asked.",
        "To try: more search.oversampling, a higher search.hnsw_ef, or a method with more bits.",
    ]


@pytest.mark.parametrize(
    ("rows", "limits", "tip"),
    [
        ([row("scalar", accuracy=0.96, second=0.94)], {}, "more search.oversampling, a higher search.hnsw_ef, or"),
        (
            [row("scalar", accuracy=0.99, cost=60)],
            {"max_p95_ms": 0.5},
            "a lower search.hnsw_ef, or storage=hot; a method with fewer bits, or a smaller embedding.",
        ),
        (
            [row("scalar", 2, accuracy=0.99, cost=60, storage="hot")],
            {"max_p95_ms": 0.5},
            "less oversampling, or a lower search.hnsw_ef; a method with fewer bits, or storage=on_disk, or a smaller",
        ),
        (
            [row("scalar", accuracy=0.99, cost=60, storage="all_disk")],
            {"max_ram_mib": 50.0},
            "a method with fewer bits, or a smaller embedding.",
        ),
        ([row("scalar", accuracy=0.99, spread=0.05)], {"min_accuracy": 1.0}, "slo.min_accuracy below 1, for no number"),
        ([row("scalar", accuracy=0.9)], {"max_p95_ms": 0.5}, "other methods (experiment=all_methods) and embedding"),
        ([row("scalar", accuracy=0.99)], {"max_p95_ms": 0.5}, "a lower search.hnsw_ef, or storage=hot."),
        ([], {"accuracy": "recall", "min_accuracy": 0.9}, "storage.datatype=float32 where it is another, or a higher"),
    ],
)
def test_what_to_try_helps_against_what_is_missed(rows, limits, tip):
    poor = baseline()
    poor.metrics.update({f"recall_{half}{end}": 0.8 for half in "ab" for end in ("", "_low", "_high")}, recall=0.8)
    decided = recommend(
        [poor if not rows else baseline(p95=9.0, cost=90), *rows], replace(SLO, **limits, max_usd_month=50)
    )
    assert decided.choice is None
    assert verdict_lines(decided)[2].startswith(f"To try: {tip}")


@given(tables, st.floats(0.0, 1.0))
def test_there_are_three_lines_whatever_was_measured_and_what_is_uncertain(rows, least):
    decided = recommend(rows, SloConfig("any", min_accuracy=least))
    lines = verdict_lines(decided)
    less = [line for line in lines if line.startswith("Why not less: ")]
    alike = any(line.startswith("No loss of recall: ") for line in lines)
    assert len(lines) == 3 + (decided.unsure is not None) + alike + len(less)
    choice = decided.choice
    simpler = [
        one
        for one in decided.considered
        if choice and one.collection == choice.collection and one.simplicity < choice.simplicity
    ]
    assert len(less) <= 1
    dearer = any(one.price > choice.price for one in simpler)  # no record has two prices of a collection
    assert less or dearer or all(shortfalls(one, decided.slo) for one in simpler)


def test_in_what_configurations_were_compared_is_told_where_it_is_not_in_all():
    assert undominated(SLO) == ""
    assert undominated(replace(SLO, objectives=["cost", "p95", "accuracy"])) == ""
    told = " and is not dominated (compared in accuracy and P95 alone)"
    assert undominated(replace(SLO, objectives=["p95", "accuracy"])) == told
    rows = [baseline(p95=3.0, cost=9), row("scalar", accuracy=0.96, p95=1.5, cost=4), row("binary", 8, cost=2)]
    for objectives, told in ((OBJECTIVES, ""), (["accuracy", "p95"], " (compared in accuracy and P95 alone)")):
        decided = recommend(rows, replace(SLO, max_p95_ms=2.0, objectives=[*objectives]))
        assert verdict_lines(decided)[1] == (
            "Margin: every other collection within the limits is dominated: another one is nowhere worse, and "
            f"cheaper, measurably faster or more accurate{told}."
        )


@pytest.mark.parametrize(
    ("rows", "limits", "tip"),
    [
        ([row("binary", 2, accuracy=0.9)], {}, "; to try: more search.oversampling, a higher search.hnsw_ef, or a "),
        (
            [row("binary", 2, p95=3.0)],
            {"max_p95_ms": 2.5},
            "; to try: less oversampling, or a lower search.hnsw_ef, or",
        ),
        (
            [row("scalar", 2, p95=3.0, accuracy=0.8), row("binary", 2, accuracy=0.9)],  # the latter needs the least
            {"max_p95_ms": 2.5},
            "; to try: more search.oversampling, a",
        ),
        ([row("scalar", 2, accuracy=0.97, spread=0.03)], {}, "."),  # it is queries that it wants
        ([], {}, "."),
    ],
)
def test_where_no_quantization_is_left_it_is_said_what_may_let_one_through(rows, limits, tip):
    decided = recommend([baseline(), *rows], replace(SLO, **limits))
    assert decided.choice is not None
    assert decided.choice.baseline
    assert verdict_lines(decided)[1].startswith(f"Margin: no other collection keeps to the limits{tip}")


def test_one_quantized_collection_is_enough():
    decided = recommend([baseline(), row("scalar", 2), row("binary", accuracy=0.5)], replace(SLO, max_usd_month=5))
    assert verdict_lines(decided)[1] == "Margin: no other collection keeps to the limits."


def test_too_few_queries_are_named_as_the_reason():
    rows = [baseline(), row("scalar", 2, accuracy=0.97, spread=0.03)]
    decided = recommend(rows, SLO)
    assert decided.choice is not None
    assert decided.choice.baseline
    nothing = verdict_lines(recommend(rows, replace(SLO, max_usd_month=5)))
    assert nothing[1:] == [  # and what to try is said once
        "Nearest: scalar, rescoring 2× (storage on_disk): accuracy retention 0.940 vouched for, 0.95 asked.",
        verdict_lines(decided)[2],
    ]
    assert verdict_lines(decided)[2] == (
        "Not certain: scalar, rescoring 2× has accuracy retention 0.970, but half of the queries vouches only for "
        "0.940: more of them may let it through (search.queries, dataset.queries.path, or "
        "dataset.queries.held_out up to a tenth of the points; of synthetic data dataset.queries)."
    )


@pytest.mark.parametrize(
    ("limit", "asked", "said"),
    [
        ("min_accuracy", "0.913", "asking for recall of 0.913 leaves nothing"),
        ("min_accuracy", "0.961", "asking for recall above 0.961 leaves nothing"),
        ("min_accuracy", "0.950", "asking for recall above 0.950 leaves nothing"),
        ("max_p95_ms", "1.500", "a P95 limit below 1.500 ms (the worse end of the choice's interval) leaves nothing"),
        ("max_p95_ms", "0.266", "a P95 limit below 0.266 ms (the worse end of the choice's interval) leaves nothing"),
        ("max_p95_ms", "1.667", "a P95 limit of 1.667 ms leaves nothing"),
        ("max_ram_mib", "123.456", "a RAM limit below 123.456 MiB leaves nothing"),
    ],
)
def test_a_limit_that_would_change_it_is_told_by_which_way_it_moves(limit, asked, said):
    decided = recommend(TABLE, replace(SLO, accuracy="recall", min_accuracy=0.95, max_p95_ms=1.5))
    assert change(Change(limit, asked, None), decided) == said


@pytest.mark.parametrize(
    ("near", "limits", "said"),
    [
        ({"accuracy": 0.9496}, {"max_usd_month": 5}, "accuracy retention 0.9496 vouched for, 0.95 asked"),
        ({"accuracy": 0.94}, {"max_usd_month": 5}, "accuracy retention 0.940 vouched for, 0.95 asked"),
        ({"p95": 1.0004 / 1.01}, {"max_p95_ms": 1}, "P95 up to 1.0004 ms, 1 ms asked"),
        ({"ram": 150}, {"max_ram_mib": 100}, "150.0 MiB of RAM, 100 MiB asked"),
        ({"ram": 100.04}, {"max_ram_mib": 100}, "100.04 MiB of RAM, 100 MiB asked"),
        ({"cost": 5.004}, {"max_usd_month": 5}, "$5.004 a month, $5.00 asked"),
        ({"cost": 0.0523}, {"max_usd_month": 0.01}, "$0.052 a month, $0.01 asked"),
    ],
)
def test_what_just_misses_a_limit_is_not_printed_as_keeping_it(near, limits, said):
    decided = recommend([baseline(), row("scalar", **near)], replace(SLO, **limits))
    assert verdict_lines(decided)[1] == f"Nearest: scalar, no rescoring (storage on_disk): {said}."


def test_without_a_p95_of_each_half_it_is_queries_that_are_missing():
    decided = recommend([without_p95(one) for one in (baseline(), row("scalar"))], replace(SLO, max_p95_ms=5))
    assert verdict_lines(decided)[1].endswith(": no P95: each half needs at least 100 queries, 5 ms asked.")
    assert verdict_lines(decided)[2].startswith("To try: more queries (search.queries, ")


def test_what_is_not_vouched_for_is_not_printed_as_keeping_to_the_limit():
    decided = recommend([baseline(), row("scalar", accuracy=0.9596, spread=0.01)], SLO)
    assert any("0.960, but half of the queries vouches only for 0.9496: more" in one for one in verdict_lines(decided))
    assert matched(decided).endswith("scalar does not reach it (0.960, vouched for 0.9496 with no rescoring).")


def test_what_is_dearer_than_nothing_has_no_percentage():
    lines = verdict_lines(recommend([baseline(cost=1), row("scalar", cost=0.0), row("binary", cost=0.5, p95=0.5)], SLO))
    assert "Margin: the runner-up, binary, no rescoring (storage on_disk), costs $0.50 instead of nothing; " in lines[1]


def test_a_baseline_that_is_chosen_is_its_own_yardstick():
    rows = [baseline(), row("scalar", accuracy=0.5)]
    first, margin, *_ = verdict_lines(recommend(rows, SLO))
    assert first == (
        "Deploy no quantization (storage on_disk): accuracy retention 1 by definition; the baseline itself; 1000.0 MiB "
        "of RAM, $10.00 a month."
    )
    assert margin.startswith("Margin: no other")
    first, *_ = verdict_lines(recommend(rows, replace(SLO, accuracy="recall")))
    assert ": recall 1.000 (1.000 on the queries that chose, 1.000 (1.000–1.000) on the other half); the base" in first


@pytest.mark.parametrize(
    ("ram", "measured", "more", "told"),
    [
        (100, 149.9, {}, None),
        (100, 150, {}, "; engine.ram_caps measures it with less"),
        (10, 17.9, {}, None),
        (10, 18, {"engine": "server"}, ""),
        (100, 150, {"ram_fallen_mib": 50.0}, "; with a cap of 50.0 MiB it fell off"),
        (100, 150, {"ram_fallen_mib": 50.0, "ram_floor_mib": 60.0}, "; it held down to a cap of 60.0 MiB"),
    ],
)
def test_far_more_memory_than_is_counted_is_told(ram, measured, more, told):
    one = row("scalar", 2, ram=ram)
    one.metrics["ram_measured_mib"] = measured
    (one.params if "engine" in more else one.metrics).update(more)
    said = [line for line in verdict_lines(recommend([baseline(), one], SLO)) if line.startswith("Memory: ")]
    start = f"Memory: this latency was measured with {measured:.1f} MiB of the collection in memory, cached pages of "
    assert said == ([] if told is None else [f"{start}files on disk included{told}."])


def test_a_choice_that_no_limit_changes_says_whether_that_is_known_of_p95():
    alone = baseline()
    alone.metrics["latency_p95_ms_a_high"] = 9.0  # of too few rounds
    unknown = "; what a P95 limit would do is not known, for want of queries or rounds."
    for one in (alone, without_p95(baseline())):
        assert verdict_lines(recommend([one], SLO))[-1] == f"What would change it: nothing that was measured{unknown}"
    rows = [without_p95(one) for one in (baseline(), row("scalar", cost=2))]
    assert verdict_lines(recommend(rows, SLO))[-1].endswith(unknown)
    assert not any(line.endswith(unknown) for line in verdict_lines(recommend(TABLE, SLO)))


@pytest.mark.parametrize(
    ("less", "limits", "said"),
    [
        (
            {"accuracy": 0.95},
            {},
            "keeps to the limits too, but scalar, rescoring 8× is measurably more accurate, and as measured nowhere "
            "worse.",
        ),
        (
            {"accuracy": 0.95},
            {"objectives": ["accuracy", "cost"]},
            "keeps to the limits too, but scalar, rescoring 8× is measurably more accurate, and as measured nowhere "
            "worse (compared in accuracy and cost alone).",
        ),
        ({"accuracy": 0.98, "p95": 1.5}, {}, "keeps to the limits too, but scalar, rescoring 8× is measurably faster."),
        (
            {"accuracy": 0.953, "spread": 0.01},
            {},
            "seems to keep to the limits, but has accuracy retention 0.943 vouched for, 0.95 asked.",
        ),
        ({"accuracy": 0.96, "p95": 1.0}, {"max_p95_ms": 1.0}, "seems to keep to the limits, but has P95 up to 1.010"),
        ({"accuracy": 0.96, "p95": 1.01}, {"max_p95_ms": 1.0}, None),
        ({"accuracy": 0.94}, {}, None),
        ({"accuracy": 0.95, "hnsw_ef": "64"}, {"accuracy": "recall"}, None),
    ],
)
def test_what_is_simpler_and_not_chosen_says_why(less, limits, said):
    fast = {"p95": 0.99} if "max_p95_ms" in limits else {}
    rows = [baseline(), row("scalar", 5, **less), row("scalar", 8, accuracy=0.97, **fast)]
    lines = verdict_lines(recommend(rows, replace(SLO, **limits)))
    assert lines[0].startswith("Deploy scalar, rescoring 8×")
    told = [line for line in lines if line.startswith("Why not less: ")]
    assert [line.startswith(f"Why not less: scalar, rescoring 5× {said}") for line in told] == [True] * bool(said)


@pytest.mark.parametrize(
    ("least", "told"),
    [
        ({"accuracy": 0.95}, "3× keeps to the limits too, but "),
        ({"accuracy": 0.953, "spread": 0.01}, "5× keeps to the limits too, but "),
    ],
)
def test_of_several_that_are_simpler_the_simplest_that_keeps_to_the_limits_is_told(least, told):
    rows = [row("scalar", 3, **least), row("scalar", 5, accuracy=0.95), row("scalar", 8, accuracy=0.97)]
    for order in (rows, rows[::-1]):
        (line,) = [one for one in verdict_lines(recommend([baseline(), *order], SLO)) if one.startswith("Why not less")]
        assert line.startswith(f"Why not less: scalar, rescoring {told}")


@pytest.mark.parametrize("dearer_first", [True, False])
def test_what_is_dearer_is_no_reason_for_more(dearer_first):
    dearer = [row("turbo_4bit", 1, p95=0.3, cost=4)]
    cheapest = [
        row("scalar", 5, accuracy=0.96, spread=0.006, cost=2),
        row("scalar", 8, accuracy=0.971, spread=0.006, cost=2),
        row("binary", 10, accuracy=0.98, spread=0.006, cost=2),
    ]
    rows = dearer + cheapest if dearer_first else cheapest + dearer
    lines = verdict_lines(recommend([baseline(), *rows], SLO))
    assert lines[0].startswith("Deploy scalar, rescoring 8×")
    assert (
        "Why not less: scalar, rescoring 5× keeps to the limits too, but binary, rescoring 10× is measurably more "
        "accurate, and as measured nowhere worse."
    ) in lines
