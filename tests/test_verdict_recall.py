"""What is said where accuracy retention alone would mislead, from rows made by hand."""

from dataclasses import replace

import pytest

from qexp.report.recommend import recommend
from qexp.report.verdict import verdict_lines
from qexp.results import Row
from tests.tables import baseline, row
from tests.test_recommend import SLO


def finding(one: Row, recall: float) -> Row:
    return replace(one, metrics=one.metrics | {"recall": recall})


def no_loss(*rows: Row, **limits) -> list[str]:
    lines = verdict_lines(recommend([finding(baseline(), 0.913), *rows], replace(SLO, **limits)))
    return [line for line in lines if line.startswith("No loss of recall: ")]


def test_what_only_finds_others_than_the_baseline_is_no_loss():
    trial = row("scalar", 2, accuracy=0.943)
    (told,) = no_loss(finding(trial, 0.912))
    assert told.startswith(
        "No loss of recall: scalar, rescoring 2× finds 0.912 of the exact neighbours, no quantization 0.913; "
    )
    assert no_loss(finding(trial, 0.912), max_usd_month=5) == [told]  # which leaves no choice
    dearer, more = row("binary", accuracy=0.93, cost=2), row("scalar", 5, accuracy=0.943)
    assert no_loss(*(finding(one, 0.912) for one in (dearer, more, trial))) == [told]
    assert len(no_loss(finding(trial, 0.9081))) == 1
    assert no_loss(finding(trial, 0.9079)) == []  # half a percent less, and more
    assert no_loss(finding(trial, 0.912), min_accuracy=0.9) == []


@pytest.mark.parametrize(("accuracy", "told"), [(0.821, 1), (0.819, 0)])
def test_lists_that_differ_by_more_than_both_miss_differ_for_another_reason(accuracy, told):
    assert len(no_loss(finding(row("scalar", 2, accuracy=accuracy), 0.912))) == told


@pytest.mark.parametrize(
    ("change", "limits"),
    [
        ({"accuracy": 0.943, "p95": 3.0}, {"max_p95_ms": 2.5}),
        ({"accuracy": 0.95, "spread": 0.03}, {"min_accuracy": 0.95}),  # it is queries that it wants
        ({"accuracy": 0.943, "cost": 10}, {}),
        ({"accuracy": 0.943}, {"accuracy": "recall"}),
    ],
)
def test_no_loss_is_told_of_what_retention_alone_keeps_out_and_is_cheaper(change, limits):
    assert no_loss(finding(row("scalar", 2, **change), 0.912), **limits) == []


def test_with_several_ef_recall_decides_and_says_so():
    low = {"hnsw_ef": "16"}
    rows = [
        baseline(p95=0.5, **low),
        row("scalar", 2, p95=0.4, **low),
        baseline(hnsw_ef="64"),
        row("scalar", 2, hnsw_ef="64"),
    ]
    rows[0].metrics.update({f"recall_{half}{end}": 0.8 for half in "ab" for end in ("", "_low", "_high")}, recall=0.8)
    decided = recommend(rows, SLO)
    assert decided.slo.accuracy == "recall"
    assert [one.title for one in decided.considered] == [
        "no quantization, ef 16",
        "scalar, rescoring 2×, ef 16",
        "no quantization, ef 64",
        "scalar, rescoring 2×, ef 64",
    ]
    assert [one.accuracy for one in decided.considered] == [0.8, 0.97, 1.0, 0.97]
    assert verdict_lines(decided)[-1].startswith("Judged by recall, ")


def test_jobs_that_were_not_built_alike_are_judged_by_recall():
    poor, fine = {"settings": "index.m=4"}, {"settings": "index.m=16"}
    rows = [baseline(cost=0.1, **poor), row("scalar", 2, **poor), baseline(**fine), row("scalar", 2, **fine)]
    rows[0].metrics.update({f"recall_{half}{end}": 0.6 for half in "ab" for end in ("", "_low", "_high")}, recall=0.6)
    decided = recommend(rows, SLO)
    assert decided.choice is not None
    assert not decided.choice.baseline
    assert verdict_lines(decided)[-1] == (
        "Judged by recall, because accuracy retention cannot decide here: it is against each job's own baseline, and "
        "these were not all built and searched alike."
    )
    assert recommend(rows, replace(SLO, accuracy="recall")).by_recall == ""


def test_a_poor_baseline_is_no_yardstick_and_not_recommended():
    rows = [baseline(cost=0.1), row("scalar", 2)]
    rows[0].metrics.update({f"recall_{half}{end}": 0.6 for half in "ab" for end in ("", "_low", "_high")}, recall=0.6)
    decided = recommend(rows, SLO)
    assert [one.title for one in (decided.choice,) if one] == ["scalar, rescoring 2×"]
    assert verdict_lines(decided)[-1].endswith(": it is against a baseline whose own recall is 0.600.")
    assert verdict_lines(recommend(rows, replace(SLO, max_usd_month=0.01)))[-1] == verdict_lines(decided)[-1]
    rows[0].metrics["recall"] = 0.9
    assert recommend(rows, SLO).by_recall == ""
