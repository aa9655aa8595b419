"""An experiment whose figures are given, to see where each of them goes."""

from dataclasses import replace
from typing import Any

from qexp.results import (
    MIB,
    Accuracy,
    Baseline,
    Build,
    Collection,
    CollectionState,
    Component,
    DatasetFacts,
    Experiment,
    Half,
    Interval,
    LatencyStats,
    MemoryUse,
    OperatingPoint,
    RamEstimate,
    Stop,
    Trial,
)
from qexp.results.footprint import Bill, Comparison, Cost


def state(files: dict[str, int]) -> CollectionState:
    return CollectionState(10, 10, 1, 100, "cosine", "float32", 16, 100, 10, None, {}, files)


def latency(mean: float) -> LatencyStats:
    return LatencyStats(mean, mean + 0.1, mean + 0.2, mean + 0.3)


def halves(first: float, second: float) -> tuple[Half, Half]:
    return _half(first), _half(second)


def _half(kept: float) -> Half:
    return Half(Interval(kept, kept, kept), Interval(kept / 2, kept / 2, kept / 2), None)


def made_by_hand(**more: Any) -> Experiment:
    """An experiment no two figures of which are the same."""
    codes = Comparison("codes", "resident", 2 * MIB, 0, 2 * MIB, 2 * MIB, 0, 0, 0, 6 * MIB)
    files = {"vectors": 8 * MIB, "codes": 2 * MIB, "id tracker": MIB}
    parts = (Component("codes", 2 * MIB, "resident", 0, 0), Component("graph", 3 * MIB, "hot", 0, 0))
    bare = (Component("vectors", 8 * MIB, "hot", 0, 0), Component("graph", 4 * MIB, "hot", 0, 0))
    small = Collection("q", Build(2.0, 3.0, state(files)), RamEstimate(parts), MemoryUse({}, 7 * MIB), (codes,))
    large = Collection(
        "b", Build(5.0, 9.0, state({"vectors": 9 * MIB})), RamEstimate(bare), MemoryUse({}, 13 * MIB), (), 0.0005
    )
    control, ratio = Interval(1.01, 0.98, 1.04), Interval(2.0, 1.9, 2.1)
    middle, tail = Interval(1.02, 0.99, 1.05), Interval(1.1, 0.9, 1.3)
    right = Accuracy(Interval(1.0, 1.0, 1.0), Interval(0.96, 0.95, 0.97), 0.6, 0.8, 0.7)
    found = Accuracy(Interval(0.9, 0.89, 0.91), Interval(0.85, 0.8, 0.9), 0.5, 0.75, 1 / 3)
    base = Baseline(
        OperatingPoint(10), latency(4.0), right, control, middle, tail, halves(1.0, 0.99), server=latency(3.0)
    )
    trial = Trial(OperatingPoint(10), latency(2.0), found, ratio, middle, None, halves(0.92, 0.88), server=latency(1.0))
    experiment = Experiment(
        dataset=DatasetFacts("words", "d", "q", 1000, 200, 64, 64, "cosine", "made"),
        quantized=small,
        baseline_collection=large,
        baselines=(base,),
        trials=(trial,),
        cost=Cost(1000, Bill(0, 0, 4.0, 1.0), Bill(0, 0, 10.0, 2.0)),
        latencies={},
        stop=Stop(5, 0.02, 0.05, 1.0, 30.0),
    )
    return replace(experiment, **more)
