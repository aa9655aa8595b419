"""Bytes as money: RAM by the gigabyte or in whole machines, and disk."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from qexp.config import CostConfig, NodeConfig
from qexp.results import Collection, CollectionSpec, RamEstimate
from qexp.results.footprint import Bill, Cost
from qexp.sizing.links import Links
from qexp.sizing.payload import NO_PAYLOAD, PayloadSize, by_guide
from qexp.sizing.ram import predict_ram

GB = 10**9
GIB = 2**30
HOURS_PER_MONTH = 730
FLOAT_BYTES = 4


def bill(ram_bytes: float, disk_bytes: float, cost: CostConfig) -> Bill:
    """Return the monthly bill for the bytes of one copy.

    Bytes × replication × (1 + headroom) / 10^9 × price; with `cost.nodes` every copy has whole machines of its own.
    """
    factor = cost.replication * (1 + cost.headroom)
    disk_usd = disk_bytes * factor / GB * cost.disk_usd_per_gb_month
    if not cost.nodes:
        return Bill(ram_bytes, disk_bytes, ram_bytes * factor / GB * cost.usd_per_gb_month, disk_usd)
    node, count = fit(ram_bytes * (1 + cost.headroom), cost.replication, cost.nodes)
    usd = count * node.usd_per_hour * HOURS_PER_MONTH
    return Bill(ram_bytes, disk_bytes, usd, disk_usd, f"{count} × {node.name}")


def fit(ram_bytes: float, replication: int, nodes: Sequence[NodeConfig]) -> tuple[NodeConfig, int]:
    """Return the machine, and how many of it, that hold `replication` copies of these bytes for the least money."""
    fleets = [(node, replication * max(1, ceil(ram_bytes / (node.ram_gib * GIB)))) for node in nodes]
    return min(fleets, key=lambda fleet: (fleet[1] * fleet[0].usd_per_hour, fleet[1]))


def theory_usd_month(spec: CollectionSpec, points: int, compression: float, cost: CostConfig) -> float:
    """Return the course's formula: GB of float32 vectors / published compression × price of a GB of RAM.

    It knows neither the graph, nor original vectors that stay in RAM, nor copies, nor headroom.
    """
    return points * spec.size * FLOAT_BYTES / GB / compression * cost.usd_per_gb_month


def priced_ram(spec: CollectionSpec, links: Links, payload: PayloadSize, cost: CostConfig) -> RamEstimate:
    """Return every component with the payload that is priced: `cost.payload_bytes`, where given, instead of the own.

    Its indexes are priced as they are.
    """
    held = replace(by_guide(cost.payload_bytes), indexes=payload.indexes) if cost.payload_bytes else payload
    return predict_ram(spec, links(spec), held, cost.payload_in_ram)


def price(
    spec: CollectionSpec,
    collections: tuple[Collection, Collection],
    links: Links,
    compression: float | None,
    cost: CostConfig,
    payload: PayloadSize = NO_PAYLOAD,
) -> Cost:
    """Price a collection and its baseline (`collections`) at `cost.target_points`, predicted and measured.

    Predictions are made for that many points; measured bytes grow in proportion, and are no bill of a payload that is
    priced and was not measured. `compression` is the published one.
    """
    quantized, baseline = collections
    points = cost.target_points or spec.points
    target = replace(spec, points=points)
    serving = cost.replication / spec.replicas if points == spec.points else None

    def predicted(wanted: CollectionSpec) -> Bill:
        estimate = priced_ram(wanted, links, payload, cost)
        return replace(bill(estimate.ram, estimate.disk, cost), serving=serving)

    def measured(collection: Collection) -> Bill | None:
        hot, scale = collection.hot_bytes, points / spec.points
        if hot is None or cost.payload_bytes or cost.payload_in_ram:
            return None
        return replace(bill(hot * scale, collection.file_bytes * scale, cost), serving=serving)

    published = compression if spec.quantization else None
    return Cost(
        points=points,
        predicted=predicted(target),
        baseline=predicted(target.unquantized()),
        measured=measured(quantized),
        baseline_measured=measured(baseline),
        theory_baseline=theory_usd_month(spec, points, 1, cost) if published else None,
        theory=theory_usd_month(spec, points, published, cost) if published else None,
    )
