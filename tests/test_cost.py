"""Prices by exact numbers."""

from dataclasses import replace
from typing import Any

import pytest

from qexp.config import CostConfig, NodeConfig
from qexp.errors import ConfigError
from qexp.results import Build, Collection, CollectionSpec
from qexp.results.footprint import Comparison, Cost
from qexp.sizing.cost import bill, fit, price, priced_ram, theory_usd_month
from qexp.sizing.indexes import IndexSize
from qexp.sizing.links import TYPICAL_FORWARD
from qexp.sizing.payload import PayloadSize
from qexp.sizing.ram import predict_ram
from tests.support.by_hand import state
from tests.test_edge import spec

GIB = 2**30
COURSE = CostConfig("course", usd_per_gb_month=10)
SMALL, LARGE = NodeConfig("small", 16, 0.1), NodeConfig("large", 64, 0.35)


def links(spec: CollectionSpec) -> float:
    return TYPICAL_FORWARD


def test_ram_and_disk_by_the_gigabyte() -> None:
    assert bill(5e9, 7e9, COURSE).usd_month == 50.0
    dear = replace(COURSE, replication=2, headroom=0.2, disk_usd_per_gb_month=0.1)
    priced = bill(5e9, 7e9, dear)
    assert priced.ram_usd_month == pytest.approx(5 * 2 * 1.2 * 10)
    assert priced.disk_usd_month == pytest.approx(7 * 2 * 1.2 * 0.1)
    assert priced.machines is None


@pytest.mark.parametrize(
    ("gib", "replication", "machine", "count"),
    [(10, 1, "small", 1), (17, 1, "small", 2), (40, 1, "small", 3), (60, 1, "large", 1), (60, 3, "large", 3)],
)
def test_the_cheapest_whole_machines(gib: float, replication: int, machine: str, count: int) -> None:
    node, found = fit(gib * GIB, replication, [SMALL, LARGE])
    assert (node.name, found) == (machine, count)


@pytest.mark.parametrize(("gib", "small"), [(12, 2), (13, 4)])  # 15 and 16.25 GiB with headroom, for two copies
def test_machines_are_rented_by_the_month_of_730_hours(gib: int, small: int) -> None:
    rented = replace(COURSE, nodes=[SMALL, LARGE], replication=2, headroom=0.25)
    priced = bill(gib * GIB, 0, rented)
    assert priced.machines == f"{small} × small"
    assert priced.usd_month == pytest.approx(small * 0.1 * 730)


def test_the_formula_of_the_course() -> None:
    asked = replace(spec("binary", size=1536), points=1_000_000)
    assert theory_usd_month(asked, 1_000_000, 1, COURSE) == pytest.approx(61.44)
    assert theory_usd_month(asked, 1_000_000, 32, COURSE) == pytest.approx(1.92)


def collection(asked: CollectionSpec, resident: int | None) -> Collection:
    part = Comparison("codes", "resident", 1, 1, 1, 2000, None, None, resident, None if resident is None else 0)
    return Collection(asked.name, Build(1, 1, state({})), predict_ram(asked), comparisons=(part,))


def test_predicted_measured_and_theory_are_priced_side_by_side() -> None:
    asked = spec("scalar", size=100)
    cost = replace(COURSE, target_points=asked.points * 1000)
    found = price(asked, (collection(asked, 500), collection(asked.unquantized(), 9000)), links, 4.0, cost)
    target = replace(asked, points=cost.target_points)
    assert found.points == 2_000_000
    assert found.predicted.usd_month == pytest.approx(predict_ram(target, 15.0).ram / 1e9 * 10)
    assert found.savings_usd_month == pytest.approx(
        (predict_ram(target.unquantized(), 15.0).ram - predict_ram(target, 15.0).ram) / 1e8
    )
    assert found.savings_usd_year == 12 * found.savings_usd_month
    assert found.measured is not None
    assert found.measured.ram_bytes == 500_000
    assert found.measured.disk_bytes == 2_000_000
    assert found.measured_savings_usd_month == pytest.approx(8.5e6 / 1e8)
    assert found.theory_savings_usd_month == pytest.approx(0.8 * 10 * 3 / 4)
    assert found.usd_month_per_million == pytest.approx(found.predicted.usd_month / 2)


def test_throughput_is_priced_at_the_measured_points_with_every_copy_serving() -> None:
    def priced(asked: CollectionSpec, cost: CostConfig) -> Cost:
        return price(asked, (collection(asked, 500), collection(asked.unquantized(), 9000)), links, None, cost)

    one = spec("scalar", size=100)
    single, double = priced(one, COURSE), priced(one, replace(COURSE, replication=2))
    dollars = single.predicted.usd_month_per_1000_qps(250)
    assert dollars == pytest.approx(4 * single.predicted.usd_month)
    assert double.predicted.usd_month == pytest.approx(2 * single.predicted.usd_month)
    assert double.predicted.usd_month_per_1000_qps(250) == pytest.approx(dollars)
    copied = priced(replace(one, replicas=2), replace(COURSE, replication=2))  # two copies had the throughput together
    assert copied.predicted.usd_month_per_1000_qps(500) == pytest.approx(dollars)
    assert priced(one, replace(COURSE, target_points=one.points)).baseline.usd_month_per_1000_qps(250) is not None
    other = priced(one, replace(COURSE, target_points=one.points * 1000))
    assert other.measured is not None
    for told in (other.predicted, other.baseline, other.measured):
        assert told.usd_month_per_1000_qps(250) is None


def test_unknown_bytes_and_unpublished_compression_have_no_price() -> None:
    asked = spec("scalar")
    found = price(asked, (collection(asked, None), collection(asked, None)), links, None, COURSE)
    assert found.points == asked.points
    assert (found.measured, found.measured_savings_usd_month, found.theory_savings_usd_month) == (None, None, None)
    for pair in ((None, 9000), (500, None)):
        found = price(asked, tuple(collection(asked, known) for known in pair), links, None, COURSE)  # type: ignore[arg-type]
        assert (found.measured is None, found.measured_savings_usd_month) == (pair[0] is None, None)


@pytest.mark.parametrize("payload", [{"payload_bytes": 200}, {"payload_in_ram": True}])
def test_a_payload_that_was_not_measured_has_no_measured_bill(payload: dict[str, Any]) -> None:
    asked = spec("scalar", size=100)
    pair = collection(asked, 500), collection(asked.unquantized(), 9000)
    assert price(asked, pair, links, 4.0, COURSE).measured is not None
    assert price(asked, pair, links, 4.0, replace(COURSE, **payload)).measured is None


def test_projection_is_linear_but_for_the_graph() -> None:
    small, large = (
        {part.name: part.bytes for part in predict_ram(replace(spec("turbo_1"), points=n)).components}
        for n in (10_000, 1_000_000)
    )
    for name in ("vectors", "codes", "id tracker"):
        assert large[name] == 100 * small[name]
    assert 100 * small["graph"] < large["graph"] < 200 * small["graph"]  # links to more points take more bits


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CostConfig("c", replication=0), "cost.replication=0"),
        (lambda: CostConfig("c", headroom=-0.1), "cost.headroom=-0.1"),
        (lambda: CostConfig("c", target_points=0), "cost.target_points=0"),
        (lambda: NodeConfig("big", 0, 1), "ram_gib=0 of big"),
        (lambda: NodeConfig("big", 16, -1), "usd_per_hour of big=-1"),
    ],
)
def test_prices_are_checked(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        make()  # type: ignore[operator]


def test_what_is_priced_is_what_is_predicted() -> None:
    asked, own = spec("scalar", size=100), PayloadSize(100, 90)
    bare = predict_ram(asked).ram
    assert priced_ram(asked, links, own, COURSE) == predict_ram(asked, payload=own)
    dear = replace(COURSE, payload_in_ram=True)
    assert priced_ram(asked, links, own, dear).ram == bare + asked.points * 450
    dear = replace(dear, payload_bytes=200)
    assert priced_ram(asked, links, own, dear).ram == bare + asked.points * 900


def test_indexes_are_priced_as_they_are_whatever_the_payload() -> None:
    asked, own = spec("scalar", size=100), PayloadSize(100, 90, IndexSize(stored=40, ram=20, flags=1))
    dear = priced_ram(asked, links, own, replace(COURSE, payload_bytes=200))
    parts = {part.name: (part.bytes, part.disk) for part in dear.components}
    assert parts["payload"] == (asked.points * 300, asked.points * 300)
    assert parts["payload indexes"] == (asked.points * 20, asked.points * 40)


def test_each_collection_is_priced_with_the_links_of_its_own_graph() -> None:
    asked = spec("binary", size=100)
    pair = collection(asked, 500), collection(asked.unquantized(), 9000)
    found = price(asked, pair, lambda spec: 20.0 if spec.quantization else 10.0, None, COURSE)
    assert found.predicted.ram_bytes == predict_ram(asked, 20.0).ram
    assert found.baseline.ram_bytes == predict_ram(asked.unquantized(), 10.0).ram


def test_equally_dear_machines_are_the_fewest_and_every_copy_has_one() -> None:
    half = NodeConfig("half", 32, 0.175)
    assert fit(60 * GIB, 1, [half, LARGE]) == (LARGE, 1)
    assert fit(60 * GIB, 1, [LARGE, half]) == (LARGE, 1)
    assert fit(8 * GIB, 3, [SMALL]) == (SMALL, 3)
    assert fit(16 * GIB, 1, [SMALL]) == (SMALL, 1)
    assert fit(0, 2, [SMALL]) == (SMALL, 2)


def test_disk_is_priced_by_the_files() -> None:
    asked, cost = spec("scalar", size=100), replace(COURSE, disk_usd_per_gb_month=0.5)
    found = price(asked, (collection(asked, 500), collection(asked.unquantized(), 9000)), links, None, cost)
    assert found.predicted.disk_bytes == predict_ram(asked, 15.0).disk
    assert found.predicted.disk_usd_month == pytest.approx(predict_ram(asked, 15.0).disk / 1e9 * 0.5)
    assert found.predicted.usd_month == found.predicted.ram_usd_month + found.predicted.disk_usd_month


def test_no_quantization_has_no_theory() -> None:
    asked = spec("none", size=100)
    found = price(asked, (collection(asked, 500), collection(asked, 500)), links, 4.0, COURSE)
    assert (found.theory, found.theory_baseline, found.theory_savings_usd_month) == (None, None, None)
