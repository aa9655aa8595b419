"""The report's answers, by exact figures."""

from dataclasses import replace

import pytest

from qexp.report import answers
from qexp.report.elements import Bullets, Grid, Paragraph
from qexp.report.recommend import recommend
from qexp.results import MIB
from tests.tables import TABLE, baseline, job, row
from tests.test_recommend import SLO


@pytest.mark.parametrize(("vectors", "rest"), [("cold", ": graph"), ("cached", ": original vectors, graph")])
def test_what_is_not_codes_is_named(vectors, rest):
    one, other = job("scalar", row("scalar", 2), vectors=vectors), job("none", baseline(), vectors="other")
    other.metrics["codes_predicted_mib"] = 0.0
    decided = recommend([*other.rows, *one.rows], SLO)
    told = f"90% of the RAM of scalar, rescoring 2× is not codes but what no quantization shrinks{rest}, id tracker"
    assert f"{told}." in answers._why([other, one], decided)
    one.config["cost.payload_in_ram"] = True
    assert f"{told}." in answers._why([other, one], decided)  # there is none
    one.config["cost.payload_bytes"] = 100
    assert f"{told}, payload." in answers._why([other, one], decided)
    del one.config["cost.payload_bytes"]
    one.metrics.update({"payload_predicted_mib": 1.0, "payload_indexes_predicted_mib": 1.0})
    assert f"{told}, payload, payload indexes." in answers._why([other, one], decided)
    one.config["cost.payload_in_ram"] = False
    assert f"{told}, payload indexes." in answers._why([other, one], decided)
    one = job("scalar", baseline(), row("scalar"))
    assert [line[:3] for line in answers._why([one], recommend(one.rows, SLO))] == ["90%"]  # without rescoring
    for limits in ({"min_accuracy": 0.98}, {"max_usd_month": 0.5}):  # which leave no quantization, or nothing
        assert [*answers._why([one], recommend(one.rows, replace(SLO, **limits)))] == []


def test_ram_that_grows_is_not_called_less():
    rows = [baseline(cost=1.0), row("scalar", 2, p95=0.5, cost=0.9, ram=120)]
    decided = recommend(rows, SLO)
    assert decided.choice is not None
    assert answers.ram_remark(decided, decided.choice) == "predicted; 100.0 MiB without quantization (1.2× more)"


def test_a_filter_that_all_searches_had_is_said_once():
    city, bare = [{"key": "city", "match": {"value": "Zürich"}}], job("scalar", baseline(), row("scalar", 2))
    filtered = replace(bare, config=bare.config | {"search.filter.must": city})
    said = 'All of it under this filter: {"must": [{"key": "city", "match": {"value": "Zürich"}}]}'
    assert [*answers.condition([filtered, filtered])] == [Paragraph(said)]
    assert [*answers.condition([filtered, filtered, bare])] == [*answers.condition([bare, bare])] == []


def test_jobs_without_figures_are_named_or_counted():
    failures = [(f"job {number}", "no room") for number in range(7)]
    (told,) = answers.condition([job("scalar")], failures[:2])
    assert told == Paragraph("Without figures, so not compared: job 0, job 1. The end of this report has the reasons.")
    (told,) = answers.condition([job("scalar")], failures)
    assert told.text.startswith("Without figures, so not compared: 7 jobs. ")


def test_memory_and_cost_are_told_against_no_quantization():
    rows = [baseline(cost=10), row("scalar", 2, ram=250)]

    def told(**limits: float) -> str:
        return answers._memory(recommend(rows, replace(SLO, **limits)))

    said = "The RAM that searching wants goes from 1000.0 to 250.0 MiB, 4.0× less, predicted; that saves $9.00 a month,"
    assert told() == f"The codes are 4.0× smaller than the vectors. {said} $108.00 a year."
    rows[0].metrics["ram_measured_mib"] = 1100.0
    for ratio, size in ((0.94, "1.1× larger than"), (0.99, "about as large as"), (1.01, "about as large as")):
        rows[1].metrics["compression_ratio"] = ratio
        assert told().startswith(f"The codes are {size} the vectors. The RAM")
    del rows[1].metrics["compression_ratio"]
    assert told() == f"{said} $108.00 a year."  # what one of both lacks is not told
    rows[1].metrics["ram_measured_mib"] = 300.0
    assert told() == (
        f"{said} $108.00 a year. In memory after the last round: 1100.0 MiB without quantization, 300.0 MiB with it; "
        "pages that nothing needs stay cached until memory runs short."
    )
    del rows[0].metrics["ram_measured_mib"]
    assert "In memory" not in told()
    nothing = "No quantized configuration was chosen, so none is saved."
    assert told(min_accuracy=0.98) == told(max_usd_month=0.5) == nothing
    bare = recommend(rows, SLO).considered[0]
    assert answers.ram_remark(recommend(rows, SLO), bare) == "predicted"
    rows[0].metrics["ram_fallen_mib"] = 1200.0
    assert answers.ram_remark(recommend(rows, SLO), bare) == "predicted; it fell off with a memory cap of 1200.0 MiB"
    del rows[1].metrics["savings_usd_month"]
    assert answers.cost_remark(rows[1]) == "nothing is saved"


def test_the_four_questions_have_their_answers():
    one = job("scalar", baseline(), row("scalar", 2))
    decided = recommend(one.rows, SLO)
    best, oversampling, effects, memory, theory, grid, why = answers.questions([one], decided)
    assert best == Paragraph(f"**Which method has the best trade-off of speed and accuracy?** {answers._best(decided)}")
    assert oversampling == Paragraph("**How did oversampling affect the results?**")
    assert effects == Bullets(("scalar: one operating point was measured.",))
    assert memory == Paragraph(f"**What was the impact on memory and cost?** {answers._memory(decided)}")
    assert theory == Paragraph("**How does this compare with the theoretical maxima?**")
    assert (grid, why) == (answers._theory([one], decided), Bullets(tuple(answers._why([one], decided))))


def test_one_method_is_not_ahead_of_a_rest():
    decided = recommend([baseline(), row("scalar", 2)], SLO)
    assert "ahead" not in answers._best(decided)
    decided = recommend([baseline(), row("scalar", 2), row("binary", 2, p95=0.5)], SLO)
    best = answers._best(decided)
    assert "by P95 latency is binary, rescoring 2× (" in best
    assert "It is measurably ahead of the rest." in best


@pytest.mark.parametrize(
    ("datatype", "compression", "codes", "said"),
    [
        ("float32", 4.0, 64 * 1000, []),
        ("float32", 3.5, 66 * 1000, ["scalar: a code takes 66 bytes, not the 64 of a published 4×, "]),
        (
            "float16",
            2.0,
            64 * 1000,
            ["scalar: theory compares with float32, and these vectors are float16: 16 bits a dim"],
        ),
        ("uint8", 1.1, 64 * 1000, ["scalar: theory compares with float32, and these vectors are uint8: 8 bits a dim"]),
    ],
)
def test_why_codes_are_not_as_small_as_theory_says(datatype, compression, codes, said):
    one = job("scalar", baseline(), row("scalar", 2))
    one.config.update({"quantization.theory.compression": 4.0, "storage.datatype": datatype})
    one.metrics.update(compression_ratio=compression, codes_disk_mib=codes / MIB)
    lines = [line for line in answers._why([one], recommend(one.rows, SLO)) if line.startswith("scalar: ")]
    assert [line[: len(start)] for line, start in zip(lines, said, strict=True)] == said


def test_a_latency_that_was_brought_to_the_speed_of_all_jobs_says_so():
    rows = [baseline(p95=2.0), row("scalar", 2, p95=1.0), baseline(p95=2.002), row("binary", 2, p95=1.0)]
    assert {answers.latency_remark(one) for one in recommend(rows, SLO).considered} == {"one client, closed loop"}
    rows[2:] = [baseline(p95=8.0), row("binary", 2, p95=4.0)]
    remarks = {one.title: answers.latency_remark(one) for one in recommend(rows, SLO).considered}
    assert remarks["binary, rescoring 2×"] == (
        "one client, closed loop; 2.000 ms adjusted for the machine's speed in its job, as the first plot has it"
    )


def test_the_best_trade_off_is_the_fastest_that_is_accurate_enough():
    decided = recommend(TABLE, SLO)
    assert answers._best(decided) == (
        "At accuracy retention ≥ 0.95 the fastest by P95 latency is scalar, rescoring 2× "
        "(4.00× faster in mean latency (3.96–4.04) against no quantization). It is measurably ahead of the rest. "
        "Recommended is binary, rescoring 4× "
        "(1.10× slower in mean latency (1.09–1.11) against no quantization), which costs 50% less."
    )
    level = row("turbo", 2, accuracy=0.96, p95=0.503, cost=5)
    assert "). No measurable difference from it: turbo, rescoring 2×." in answers._best(recommend([*TABLE, level], SLO))


def test_the_best_trade_off_is_told_whatever_is_chosen():
    exact = [baseline(), row("scalar", 2, accuracy=0.95, cost=12)]
    told = "At accuracy retention ≥ 0.95 the fastest by P95 latency is scalar, rescoring 2× (2.00× faster in mean "
    told += "latency (1.98–2.02) against no quantization)."
    assert answers._best(recommend(exact, SLO)) == answers._best(recommend(exact, replace(SLO, max_ram_mib=1))) == told
    assert answers._best(recommend([baseline(), row("scalar", 2, accuracy=0.9)], SLO)) == (
        "None: no method reaches accuracy retention ≥ 0.95. To be sure of accuracy retention ≥ 0.95 on both halves of "
        "the queries: scalar does not reach it (0.900 with rescoring 2×)."
    )


def test_without_any_quantization_there_is_nothing_to_compare():
    alone = recommend([baseline()], SLO)
    assert answers._best(alone) == "Nothing was measured with quantization."
    bare = job("none", baseline())
    bare.environment["memory_gib"] = 4
    _, oversampling, _, theory = answers.questions([bare], alone)
    assert oversampling == Paragraph(f"**How did oversampling affect the results?** {answers._NONE}")
    assert theory == Paragraph(f"**How does this compare with the theoretical maxima?** {answers._NONE}")


def test_what_costs_as_much_as_others_is_not_called_cheaper():
    rows = [baseline(cost=10), row("scalar", cost=4), row("binary", 2, p95=0.995, cost=4)]  # on one kind of machine
    decided = recommend(rows, SLO)
    assert answers._best(decided).endswith(
        "is binary, rescoring 2× (2.01× faster in mean latency (1.99–2.03) against no quantization). No measurable "
        "difference from it: scalar, no rescoring. Recommended is scalar, no rescoring (2.00× faster in mean latency "
        "(1.98–2.02) against no quantization), which costs the same."
    )
    told = next(iter(answers.insights(decided)))
    assert told.startswith("scalar, no rescoring is the cheapest that keeps to the limits, with others at the same")
    told = next(iter(answers.insights(recommend(rows, replace(SLO, max_p95_ms=1.007)))))  # which keeps out the others
    assert told.startswith("binary, rescoring 2× is the cheapest that keeps to the limits; ")


def test_oversampling_is_told_from_the_least_to_the_most():
    decided = recommend(TABLE, SLO)
    assert [answers._effect(decided, one) for one in decided.matched] == [
        "scalar: accuracy retention went from 0.900 (no rescoring) to 0.970 (rescoring 2×), +0.070; the latter is "
        "1.25× slower in P95 latency (1.23–1.27).",
        "binary: accuracy retention went from 0.500 (no rescoring) to 0.960 (rescoring 4×), +0.460; the latter is "
        "22.00× slower in P95 latency (21.69–22.31).",
        "turbo: one operating point was measured.",
        "product: one operating point was measured.",
    ]


def test_a_change_that_rounds_to_nothing_has_no_minus():
    decided = recommend([baseline(), row("scalar", accuracy=0.9701), row("scalar", 2, accuracy=0.97)], SLO)
    assert "0.970 (no rescoring) to 0.970 (rescoring 2×), +0.000;" in answers._effect(decided, decided.matched[0])


def test_what_stands_out_has_its_figures():
    assert [*answers.insights(recommend(TABLE, SLO))] == [
        "binary, rescoring 4× is the cheapest that keeps to the limits; saves $8.00 a month, $96.00 a year.",
        "scalar alone keeps 0.900; rescoring 2× brings 0.970.",
        "binary alone keeps 0.500; rescoring 4× brings 0.960.",
        "binary can be slower than no quantization: 1.10× slower in mean latency (1.09–1.11).",
        "turbo needs no rescoring: 0.960 without it.",
        "product stays below the limit: 0.600 at best, with rescoring 2×.",
    ]
    unsure = row("scalar", accuracy=0.95, spread=0.03)
    assert [*answers.insights(recommend([baseline(), unsure], SLO))][1] == (
        "scalar is not sure to keep to the limit: 0.950, vouched for 0.920 at best, with no rescoring."
    )
    rescored = recommend([baseline(), row("scalar", 2)], replace(SLO, max_usd_month=0.5))
    assert (rescored.choice, [*answers.insights(rescored)]) == (None, [])
    wide = row("scalar", 2)
    wide.metrics.update(speedup_mean=0.95, speedup_mean_low=0.9, speedup_mean_high=1.0)
    assert not any("can be slower" in one for one in answers.insights(recommend([baseline(), wide], SLO)))


def test_theory_stands_beside_the_fastest_point_and_its_accuracy():
    jobs = [job(name, *(one for one in TABLE if one.params["quantization"] == name)) for name in ("scalar", "binary")]
    for one, factor in zip(jobs, (4.0, 32.0), strict=True):
        one.config.update({"quantization.theory.compression": factor, "quantization.theory.speedup": 2 * factor})
    jobs.append(job("none"))
    again = row("turbo")
    jobs.append(job("turbo", again))
    jobs[-1].metrics["compression_ratio"] = 1.0  # of vectors with as few bits
    jobs.append(job("product", baseline(), row("product", p95=4.0)))  # slower than its baseline, and without theory
    decided = recommend([TABLE[0], *(one for found in jobs for one in found.rows)], SLO)
    sizes = ("method", "smaller, theory", "smaller, measured")
    assert answers._theory(jobs, decided) == Grid(
        (*sizes, "faster, theory", "fastest measured", "its accuracy retention"),
        (
            ("scalar", "4×", "4.0×", "8×", "5.00× (4.95–5.05), no rescoring", "0.900"),
            ("binary", "32×", "4.0×", "64×", "20.00× (19.80–20.20), no rescoring", "0.500"),
            ("turbo", "", "1.0×", "", "2.00× (1.98–2.02), no rescoring", "0.970"),
            ("product", "", "4.0×", "", "0.50× (0.49–0.51), no rescoring", "0.970"),
        ),
    )
    slow = recommend(jobs[-1].rows, SLO)  # with its own baseline among what was considered
    assert [cells[0] for cells in answers._theory(jobs[-1:], slow).rows] == ["product"]
    jobs[-1].metrics["codes_disk_mib"] = 1.0
    jobs[0].metrics.pop("codes_disk_mib", None)
    assert not [line for line in answers._why(jobs, decided) if line.startswith(("scalar: ", "product: "))]


def test_a_method_that_two_jobs_have_measured_stands_beside_theory_once():
    jobs = [job("scalar", baseline(), row("scalar", 2)), job("scalar", baseline(), row("scalar", 3, p95=0.5))]
    for one in jobs:
        one.config.update({"quantization.theory.compression": 4.0, "storage.datatype": "float32"})
        one.metrics["codes_disk_mib"] = 1.0
    decided = recommend([row for one in jobs for row in one.rows], SLO)
    (cells,) = answers._theory(jobs, decided).rows
    assert cells[4] == "4.00× (3.96–4.04), rescoring 3×"
    assert len([line for line in answers._why(jobs, decided) if line.startswith("scalar: a code takes")]) == 1


def test_codes_that_are_larger_than_the_vectors_stand_beside_theory_too():
    one = job("scalar", baseline(), row("scalar"))
    one.metrics["compression_ratio"] = 64 / 68  # of uint8
    (cells,) = answers._theory([one], recommend(one.rows, SLO)).rows
    assert cells[2] == "0.9×"


@pytest.mark.parametrize(("wanted", "told"), [(2047, True), (2049, False)])
def test_memory_that_was_not_short_is_told(wanted, told):
    one = job("scalar", baseline(cost=wanted / 100), row("scalar", 3))
    one.environment["memory_gib"] = 2.0
    said = [*answers._why([one], recommend(one.rows, SLO))]
    assert any(line.startswith(f"The unquantized collection wants {wanted}.0 MiB") for line in said) == told
    remote = replace(one, rows=(baseline(cost=wanted / 100, engine="server"), row("scalar", 3, engine="server")))
    assert not any("the machine has" in line for line in answers._why([remote], recommend(remote.rows, SLO)))
    assert said[-1] == "Rescoring at 3× reads up to 30 original vectors for every 10 results."
    one.config.update({"index.segments": 2, "engine.shards": 3})
    said = [*answers._why([one], recommend(one.rows, SLO))]
    each = "30 original vectors in each of 6 segments"
    assert said[-1] == f"Rescoring at 3× reads up to {each} for every 10 results."


def test_memory_is_compared_with_the_baseline_of_the_choices_storage_and_settings():
    rows = []
    for storage, m, ram in (("hot", 16, 900), ("on_disk", 8, 700), ("on_disk", 16, 800)):
        own = {"storage": storage, "settings": f"index.m={m}"}
        rows.append(baseline(cost=ram / 100, **own))
        own["settings"] += " quantization.config.scalar.quantile=0.9"  # which a baseline has not
        rows.append(row("scalar", ram=ram / 10, cost=ram / 1000, **own))
        rows[-1].metrics["recall_a_low"] = 0.97 if ram == 800 else 0.5
    decided = recommend(rows, SLO)
    assert answers.bare_of(decided).row is rows[4]
    assert answers.bare_of(recommend(rows, replace(SLO, max_usd_month=0.01))).row is rows[0]
    assert answers.ram_remark(decided, decided.choice) == "predicted; 800.0 MiB without quantization (10.0× less)"


def test_what_costs_as_much_saves_nothing_and_what_costs_more_says_so():
    one = row("scalar")
    for saved, said in ((0.0, "saves $0.00 a month"), (-2.0, "costs more by $2.00 a month, $24.00 a year")):
        one.metrics["savings_usd_month"] = saved
        assert answers.cost_remark(one).startswith(said)
