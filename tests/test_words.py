from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.report.recommend import recommend
from qexp.report.words import SAME, is_speed, matched, more_cost, speed
from qexp.results import Interval
from tests.tables import baseline, row
from tests.test_recommend import SLO, TABLE


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Interval(1.42, 1.35, 1.5), "1.42× faster in mean latency (1.35–1.50)"),
        (Interval(0.5, 0.4, 0.8), "2.00× slower in mean latency (1.25–2.50)"),
        (Interval(1.2, 0.9, 1.6), f"{SAME} in mean latency (0.90–1.60×)"),
        (Interval(0.46, 0.0001, 4242729795.06), f"{SAME} in mean latency (0.00–≥100×)"),
        (Interval(0.001, 0.0001, 0.5), "1000.00× slower in mean latency (2.00–≥100)"),
        (Interval(1.0, 1.0, 1.0), f"{SAME} in mean latency (1.00–1.00×)"),
        (
            Interval(2.0, 0.0, inf),
            f"{SAME} in mean latency (these jobs share no baseline, so drift of the machine cannot be ruled out)",
        ),
    ],
)
def test_speed_says_what_the_interval_carries(ratio, said):
    assert speed(ratio) == said
    assert is_speed(ratio, "mean latency") == f"{'shows' if said.startswith(SAME) else 'is'} {said}"


@pytest.mark.parametrize(
    ("cost", "other", "said"),
    [
        (4.001, 4.0, "costs the same"),
        (0.5, 0.0, "costs $0.50 instead of nothing"),
        (8.0, 4.0, "costs 2.0× as much"),
        (7.0, 4.0, "costs 75% more"),
        (1.0, 4.0, "costs 75% less"),
    ],
)
def test_what_one_costs_against_another(cost, other, said):
    assert more_cost(*recommend([baseline(cost=other), row("scalar", cost=cost)], SLO).considered[::-1]) == said


@given(st.floats(0.1, 10), st.floats(0, 2), st.floats(0, 2))
def test_faster_is_never_said_where_the_interval_contains_one(estimate, below, above):
    said = speed(Interval(estimate, estimate / (1 + below), estimate * (1 + above)))
    assert (SAME in said) == (estimate / (1 + below) <= 1 <= estimate * (1 + above))


def test_what_seems_to_reach_the_accuracy_says_why_it_does_not():
    rows = [baseline(), row("scalar", 2, accuracy=0.96, spread=0.02), row("binary", 2, accuracy=0.9, spread=0.02)]
    assert matched(recommend(rows, replace(SLO, min_accuracy=0.95))).endswith(
        "scalar does not reach it (0.960, vouched for 0.940 with rescoring 2×); "
        "binary does not reach it (0.900 with rescoring 2×)."
    )
    exact = recommend([baseline(), row("scalar", 2, accuracy=0.95, spread=0.02)], replace(SLO, min_accuracy=0.95))
    assert matched(exact).endswith(": scalar does not reach it (0.950, vouched for 0.930 with rescoring 2×).")


def test_what_every_method_needs_is_told_the_cheapest_first():
    assert matched(recommend([*TABLE, row("product", accuracy=0.5, cost=1)], SLO)) == (
        "To be sure of accuracy retention ≥ 0.95 on both halves of the queries: binary needs rescoring 8×; scalar "
        "needs no rescoring; product does not reach it (0.500 with no rescoring)."
    )
