"""Intervals: as metrics, and as they are printed."""

from dataclasses import replace

import pytest

from qexp.results import (
    MIB,
    Interval,
    LoadLevel,
    OperatingPoint,
    Reads,
    Row,
    Stop,
    evenly,
    method_of,
    most_segment_kib,
    shard_kib,
    vector_bytes,
)
from tests.test_edge import spec

INDEXES = [("city", "keyword"), ("year", "integer")]


def test_an_interval_is_recorded_and_read_back() -> None:
    interval = Interval(1.4159, 1.352, 1.498)
    metrics = interval.metrics("speedup_mean")
    assert metrics == {"speedup_mean": 1.4159, "speedup_mean_low": 1.352, "speedup_mean_high": 1.498}
    assert Interval.of(metrics, "speedup_mean") == interval
    for name in metrics:
        assert Interval.of({one: value for one, value in metrics.items() if one != name}, "speedup_mean") is None


def test_an_interval_is_printed_as_a_ratio_or_a_share() -> None:
    assert Interval(1.4159, 1.352, 1.498).ratio == "1.42× (1.35–1.50)"
    assert Interval(0.9716, 0.964, 1.0).share == "0.972 (0.964–1.000)"


def test_a_ratio_that_is_not_known_at_all_is_not_printed_in_full() -> None:
    assert Interval(0.46, 0.001, 4242729795.06).ratio == "0.46× (0.00–≥100)"
    assert Interval(0.46, 0.001, 99.994).ratio == "0.46× (0.00–99.99)"
    assert Interval(0.46, 0.001, 100.0).ends == "0.00–≥100"


def test_a_zero_is_a_figure_and_not_absent() -> None:
    assert Interval.of(Interval(0.0, 0.0, 0.0).metrics("recall"), "recall") == Interval(0.0, 0.0, 0.0)


def test_a_ratio_is_told_from_one_where_its_interval_leaves_one_out() -> None:
    assert [Interval(1.0, low, high).distinguishable for low, high in ((1.0, 1.2), (0.8, 1.0), (1.0, 1.0))] == [
        False
    ] * 3
    assert Interval(1.1, 1.0001, 1.2).distinguishable
    assert Interval(0.9, 0.8, 0.9999).distinguishable


def test_a_ratio_reaches_as_far_to_either_side() -> None:
    assert Interval(1.0, 0.8, 1.25).halfwidth == pytest.approx(0.25)
    assert Interval(2.0, 1.0, 4.0).widened(2.0) == Interval(2.0, 0.5, 8.0)


def test_sizes_of_vectors() -> None:
    assert MIB == 1_048_576
    assert vector_bytes(100, "float32", "cosine") == 400
    assert vector_bytes(101, "turbo4", "cosine") == 51 + 4
    assert vector_bytes(100, "turbo8", "euclid") == 100 + 8
    assert vector_bytes(100, "uint8", "euclid") == 100
    assert [vector_bytes(100, kind, "dot") for kind in ("float16", "turbo16")] == [200, 204]
    assert shard_kib(4001, 2, 512, "float32", "cosine") == 4000  # of 2,000 points


def test_a_target_that_is_met_exactly_is_reached() -> None:
    assert Stop(5, 0.05, 0.05, 1.0, 30.0).reached
    assert not Stop(5, 0.0501, 0.05, 1.0, 30.0).reached


@pytest.mark.parametrize(("count", "most", "rows"), [(3, 100, [0, 1, 2]), (1000, 3, [0, 499, 999]), (9, 1, [0])])
def test_rows_are_spread_evenly_over_all(count: int, most: int, rows: list[int]) -> None:
    assert evenly(count, most).tolist() == rows


def test_why_rounds_ended_is_said() -> None:
    assert str(Stop(8, 0.042, 0.05, 61.4, 60.0)) == "speedups known to ± 4.2% or closer after 8 rounds (61 s)"
    assert str(Stop(8, 0.07, 0.05, 60.0, 60.0)).endswith(
        " rounds (60 s); the target of ± 5.0% was not reached in search.budget_seconds"
    )
    assert str(Stop(8, 0.07, 0.05, 60.0, 0.0)).endswith(" rounds (60 s)")


def test_rounds_that_tell_nothing_say_no_more_than_that() -> None:
    assert str(Stop(2, 69.836, 0.05, 2.0, 0.0)) == "speedups known no closer than ± 1000% after 2 rounds (2 s)"


@pytest.mark.parametrize(
    ("low", "high", "printed"),
    [
        (1.35, 1.5, "1.35–1.50"),
        (0.002, 100.0, "0.00–≥100"),
        (1.0015, 1.7, "1.002–1.70"),
        (0.5, 0.99996, "0.50–0.99996"),
        (1.0, 1.2, "1.00–1.20"),
        (0.999, 1.001, "1.00–1.00"),
    ],
)
def test_an_interval_that_excludes_1_never_seems_not_to(low: float, high: float, printed: str) -> None:
    assert Interval(1.1, low, high).ends == printed


def test_loads_have_names() -> None:
    titles = [LoadLevel(1).title, LoadLevel(4).title, LoadLevel(4, 22.5).title]
    assert titles == ["1 client", "4 clients", "22.5 queries/s"]


@pytest.mark.parametrize(("one", "other"), [(None, 5), (5, None)])
def test_bytes_that_are_half_known_are_unknown(one: int | None, other: int | None) -> None:
    assert Reads(3, one).plus(Reads(1, other)) == Reads(4, None)
    assert Reads(3, one).minus(Reads(1, other)) == Reads(2, None)


def test_segments_have_room_for_themselves_and_for_no_other() -> None:
    assert [most_segment_kib(kib, segments) for kib, segments in ((100, 1), (100, 2), (101, 8))] == [202, 151, 152]


def test_a_quantization_is_its_method_and_parameters() -> None:
    assert method_of({"scalar": {"type": "int8"}}) == ("scalar", {"type": "int8"})
    assert method_of(None) == method_of({}) == ("", {})


@pytest.mark.parametrize(
    ("params", "point", "title"),
    [
        (
            {"rescore": "true", "oversampling": "2.5", "hnsw_ef": "64", "limit": "5"},
            OperatingPoint(5, 64, True, 2.5),
            "rescore 2.5×, ef 64",
        ),
        (
            {"rescore": "false", "oversampling": "1", "hnsw_ef": "default", "limit": "10"},
            OperatingPoint(10),
            "no rescore",
        ),
        ({"role": "baseline", "hnsw_ef": "64", "limit": "10"}, OperatingPoint(10, 64, False, 1.0), "no rescore, ef 64"),
    ],
)
def test_a_row_names_its_operating_point(params: dict[str, str], point: OperatingPoint, title: str) -> None:
    assert Row(params, {}).point == point
    assert point.title == title
    assert point.ef == params["hnsw_ef"]
    assert (point.ignore, point.exact) == (False, False)


def test_payload_indexes_in_another_order_are_no_other_collection() -> None:
    one, other = (replace(spec(), payload_indexes=dict(order)) for order in (INDEXES, INDEXES[::-1]))
    assert one == other
    assert one.name == other.name != spec().name


@pytest.mark.parametrize(("role", "told"), [("baseline", (True, False, False)), ("failed", (False, True, False))])
def test_a_row_says_what_it_is_of(role: str, told: tuple[bool, bool, bool]) -> None:
    one, trial = Row({"role": role}, {}), Row({}, {})
    assert (one.baseline, one.failed, one.trial) == told
    assert (trial.baseline, trial.failed, trial.trial) == (False, False, True)
