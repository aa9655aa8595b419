"""Typed records that the stages hand on; facts are stored, ratios are properties."""

from qexp.results.collection import (
    Build,
    Collection,
    CollectionSpec,
    CollectionState,
    Component,
    MemoryUse,
    RamEstimate,
)
from qexp.results.judged import Accuracy, Baseline, Cold, Experiment, Finding, Half, LatencyStats, Load, Loss, Trial
from qexp.results.values import MIB, DatasetFacts, Ids, Interval, Nanoseconds, OperatingPoint, Row, Vectors
from qexp.results.visits import NO_READS, Block, Check, LoadLevel, LoadSample, Measurement, Reads, Search, Stop, Visit

__all__ = [
    "MIB",
    "NO_READS",
    "Accuracy",
    "Baseline",
    "Block",
    "Build",
    "Check",
    "Cold",
    "Collection",
    "CollectionSpec",
    "CollectionState",
    "Component",
    "DatasetFacts",
    "Experiment",
    "Finding",
    "Half",
    "Ids",
    "Interval",
    "LatencyStats",
    "Load",
    "LoadLevel",
    "LoadSample",
    "Loss",
    "Measurement",
    "MemoryUse",
    "Nanoseconds",
    "OperatingPoint",
    "RamEstimate",
    "Reads",
    "Row",
    "Search",
    "Stop",
    "Trial",
    "Vectors",
    "Visit",
]
