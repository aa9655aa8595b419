"""What would change the recommendation."""

from dataclasses import replace

import pytest

from qexp.report.recommend import recommend
from tests.tables import baseline, row
from tests.test_recommend import SLO, without_p95


@pytest.mark.parametrize(
    ("limits", "change"),
    [
        ({"max_p95_ms": 1.0}, ("max_p95_ms", 1.112, "binary, rescoring 8×")),
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


def test_who_asks_for_the_limit_as_it_is_told_gets_the_choice_that_is_told():
    near = [row("scalar", 2, accuracy=0.9696, p95=0.8), row("scalar", 3, accuracy=0.975, p95=0.9)]
    first = recommend([baseline(), row("scalar", accuracy=0.9694, p95=0.5), *near], SLO).changes[0]
    assert (first.asked, first.choice.title) == ("0.970", "scalar, rescoring 3×")
    cheap = [row("binary", accuracy=0.9304, p95=0.5), row("binary", 2, accuracy=0.9307, p95=0.9)]
    last = recommend([baseline(), row("scalar", accuracy=0.98, cost=4), *cheap], SLO).changes[-1]
    assert (last.asked, last.choice.title) == ("0.930", "binary, no rescoring")


def test_a_tighter_limit_on_ram_is_told_where_there_is_one():
    rows = [baseline(cost=10), row("scalar", p95=0.09, cost=2, ram=300), row("binary", 8, p95=0.05, cost=4, ram=100)]
    assert "max_ram_mib" not in {change.limit for change in recommend(rows, SLO).changes}
    told = {change.limit: change for change in recommend(rows, replace(SLO, max_ram_mib=310)).changes}
    assert (told["max_ram_mib"].value, told["max_ram_mib"].choice.title) == (300, "binary, rescoring 8×")
    assert told["max_p95_ms"].choice.title == "binary, rescoring 8×"  # however little it is
    for one, ram in zip(rows[1:], (0.3, 0.1), strict=True):
        one.metrics["ram_estimated_mib"] = ram
    told = {change.limit: change for change in recommend(rows, replace(SLO, max_ram_mib=0.31)).changes}
    assert (told["max_ram_mib"].value, told["max_ram_mib"].choice.title) == (0.3, "binary, rescoring 8×")


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


@pytest.mark.parametrize(("high", "told"), [(1.0, True), (4.0, True), (4.01, False)])
def test_an_upper_end_of_p95_is_told_up_to_twice_the_slowest_latency(high, told):
    wide = row("scalar")
    wide.metrics.update(latency_p95_ms_a_high=high, latency_p95_ms_b_high=high)
    changes = recommend([baseline(p95=2.0), wide], SLO).changes
    assert ("max_p95_ms" in {change.limit for change in changes}) == told


def test_the_least_that_has_to_be_loosened_is_told():
    dear, cheap = row("scalar", accuracy=0.99, p95=0.5, cost=4, ram=100), {"p95": 0.5, "cost": 2}
    rows = [baseline(), dear, row("binary", 2, accuracy=0.9, **cheap), row("binary", 3, accuracy=0.92, **cheap)]
    change = recommend(rows, replace(SLO, min_accuracy=0.95)).changes[-1]
    assert (change.limit, change.value) == ("min_accuracy", 0.92)
    rows[2:] = [row(name, 2, accuracy=0.99, ram=ram, **cheap) for name, ram in (("binary", 500), ("turbo", 400))]
    change = recommend(rows, replace(SLO, min_accuracy=0.95, max_ram_mib=200)).changes[-1]
    assert (change.limit, change.value, change.choice.title) == ("max_ram_mib", 400, "turbo, rescoring 2×")


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
