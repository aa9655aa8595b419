"""The course's success criteria, by exact figures."""

from dataclasses import replace

from qexp.report import answers
from qexp.report.criteria import criteria
from qexp.report.recommend import recommend
from qexp.report.verdict import verdict_lines
from tests.tables import TABLE, baseline, row
from tests.test_recommend import SLO


def told(rows, slo=SLO):
    return [*criteria(recommend(rows, slo))]


def test_the_criteria_hold_by_the_low_ends_of_intervals():
    assert told(TABLE) == [
        (True, "Several methods tested with real figures: scalar, binary, turbo, product."),
        (True, "Concrete speed improvements: 5 of 6 operating points are measurably faster."),
        (False, "scalar surely 5× faster or more: 5.00× (4.95–5.05) at best, at accuracy retention 0.900."),
        (False, "binary surely 20× faster or more: 20.00× (19.80–20.20) at best, at accuracy retention 0.500."),
        (
            True,
            "Accuracy recovered by oversampling with the speed kept: scalar, rescoring 2×: 0.970, 4.00× faster in mean "
            "latency (3.96–4.04).",
        ),
        (True, "Significant memory savings (half or more): 60% on storage on_disk, predicted."),
        (True, "An informed recommendation: binary, rescoring 4×, confirmed by the other half of the queries."),
    ]
    fast = [baseline(cost=10), row("scalar", p95=0.39, cost=5.1), row("binary", 2, p95=1.99, cost=6)]
    fast[1].metrics["speedup_mean_low"], fast[2].metrics["speedup_mean_low"] = 5.0, 1.0
    assert [met for met, _ in told(fast)] == [True, True, True, False, False, False, True]
    assert told(fast)[1][1].startswith("Concrete speed improvements: 1 of 2 ")
    assert told([baseline(cost=10), row("scalar", 2, p95=1.5, cost=5)]) == [
        (False, "Several methods tested with real figures: scalar."),
        (True, "Concrete speed improvements: 1 of 1 operating points are measurably faster."),
        (False, "scalar surely 5× faster or more: 1.33× (1.32–1.35) at best, at accuracy retention 0.970."),
        (
            True,
            "Accuracy recovered by oversampling with the speed kept: scalar, rescoring 2×: 0.970, 1.33× faster in mean "
            "latency (1.32–1.35).",
        ),
        (True, "Significant memory savings (half or more): 50% on storage on_disk, predicted."),
        (True, "An informed recommendation: scalar, rescoring 2×, confirmed by the other half of the queries."),
    ]


def test_the_criteria_say_so_where_nothing_keeps_to_the_limits():
    assert told([baseline(), row("turbo")], replace(SLO, max_usd_month=0.5))[-3:] == [
        (False, "Accuracy recovered by oversampling with the speed kept: in no method."),
        (False, "Significant memory savings (half or more): nothing was chosen that could save any."),
        (False, "An informed recommendation: nothing keeps to the limits."),
    ]


def test_without_any_quantization_no_criterion_is_met():
    first, *_, last = told([baseline()])
    assert first == (False, "Several methods tested with real figures: none.")
    assert last == (False, "An informed recommendation: nothing was measured with quantization.")
    last = told([baseline()], replace(SLO, max_usd_month=0.5))[-1]
    assert last == (False, "An informed recommendation: nothing keeps to the limits.")


def test_what_memory_caps_showed_stands_beside_what_was_predicted():
    rows = [baseline(cost=10), row("scalar", 2, ram=100)]
    rows[0].metrics["ram_floor_mib"] = 1200.0
    decided = recommend(rows, SLO)
    assert "caps" not in answers.ram_remark(decided, decided.choice) + answers._memory(decided)
    assert [met for met, said in criteria(decided) if said.startswith("Significant memory")] == [True]
    rows[1].metrics["ram_floor_mib"] = 800.0
    decided = recommend(rows, SLO)
    assert "cap" not in answers.ram_remark(decided, decided.choice) + answers._memory(decided)
    rows[0].metrics["ram_fallen_mib"] = 1000.0
    rows[1].metrics["ram_fallen_mib"] = 600.0
    decided = recommend(rows, SLO)
    capped = "it fell off with a memory cap of 600.0 MiB, held with 800.0"
    assert answers.ram_remark(decided, decided.choice) == (
        f"predicted; {capped}; 1000.0 MiB without quantization (10.0× less)"
    )
    assert f" But {capped}." in answers._memory(decided)
    assert f"100.0 MiB of RAM predicted, but {capped}, $1.00 a month" in verdict_lines(decided)[0]
    (saved,) = [one for one in criteria(decided) if one[1].startswith("Significant memory savings")]
    assert saved == (
        False,
        f"Significant memory savings (half or more): 90% on storage on_disk, predicted, but {capped}, without "
        "quantization 1200.0.",
    )
    rows[1].metrics["ram_floor_mib"] = 600.0  # of 1200
    assert (True, saved[1].replace("800", "600")) in criteria(recommend(rows, SLO))
    del rows[1].metrics["ram_floor_mib"]
    assert "But it fell off with a memory cap of 600.0 MiB." in answers._memory(recommend(rows, SLO))
