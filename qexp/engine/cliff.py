"""The same collections under shrinking memory caps, to see where each configuration falls off."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from mmap import PAGESIZE
from pathlib import Path
from typing import TypeVar

import numpy as np

from qexp.bench.latency import latency_stats, speedup_mean
from qexp.engine.base import Engine
from qexp.engine.caps import Cap, Hierarchy
from qexp.engine.process import drop_pages
from qexp.engine.worker import Worker
from qexp.errors import BenchmarkError, EngineError
from qexp.results import MIB, CollectionSpec, Nanoseconds, OperatingPoint
from qexp.results.footprint import CapTrial, Cliff

T = TypeVar("T")
log = logging.getLogger(__name__)

UNLIKE_SHARE = 0.5  # of the median round's faults
UNLIKE_FAULTS = 0.05  # a query

Targets = Sequence[tuple[CollectionSpec, Sequence[OperatingPoint]]]


@dataclass
class _Visit:
    """An operating point on a collection under a cap, and what its rounds have shown so far."""

    spec: CollectionSpec
    point: OperatingPoint
    latencies: list[Nanoseconds] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    killed: bool = False


@dataclass(frozen=True)
class Procedure:
    """How to measure under caps: an engine's maker, the folder of its collections, queries, rounds, and a seed."""

    make_engine: Callable[[], Engine]
    home: Path
    queries: Path
    rounds: int
    seed: int


def measure_cliff(
    procedure: Procedure, where: Hierarchy, targets: Targets, wanted: int, caps: Sequence[tuple[float, bool]]
) -> Cliff:
    """Measure every target without a cap, then under each cap, the largest first; the first target is the baseline.

    `caps` are bytes, or shares of `wanted` bytes, of a page at least. Under each cap every collection has a fresh
    worker and a cap of its own, its pages are dropped before, a first round warms up, and then come the rounds that
    count.
    """
    asked = [value * wanted if share else value for value, share in caps]
    limits = sorted({max(PAGESIZE, round(size)) for size in asked}, reverse=True)
    trials: list[CapTrial] = []
    for limit in [None, *limits]:
        visits = _under(limit, procedure, where, targets)
        bases = {visit.point.hnsw_ef: visit for visit in visits if visit.spec == targets[0][0]}
        trials += [_judged(visit, bases[visit.point.hnsw_ef], limit) for visit in visits]
    return Cliff(wanted, tuple(trials))


def _under(limit: int | None, procedure: Procedure, where: Hierarchy, targets: Targets) -> list[_Visit]:
    """Measure all targets under one cap, interleaved."""
    log.info("memory cap: %s", "none" if limit is None else f"{limit / MIB:.0f} MiB")
    with ExitStack() as open_things:
        stands = [_Stand(spec, points, procedure, where, limit, open_things) for spec, points in targets]
        visits = [(stand, visit) for stand in stands for visit in stand.visits]
        rng = np.random.default_rng(procedure.seed)
        for number in range(procedure.rounds + 1):
            for index in rng.permutation(len(visits)):
                stand, visit = visits[index]
                stand.block(visit, kept=number > 0)
        if limit is None and not any(stand.has_read() for stand in stands):
            raise BenchmarkError(
                f"T13 nothing was read from disk although all pages of {procedure.home} were dropped; a memory cap "
                f"means nothing there: set cache_dir to a folder on a disk"
            )
    return [visit for _, visit in visits]


class _Stand:
    """One collection in a worker of its own under a cap of its own."""

    def __init__(
        self,
        spec: CollectionSpec,
        points: Sequence[OperatingPoint],
        procedure: Procedure,
        where: Hierarchy,
        limit: int | None,
        open_things: ExitStack,
    ) -> None:
        self.visits = [_Visit(spec, point) for point in points]
        drop_pages(procedure.home / spec.name)
        self._cap = open_things.enter_context(Cap(where, limit)) if limit is not None else None
        self._worker = open_things.enter_context(Worker(procedure.make_engine, procedure.queries, spec.name))
        self._worker.ready()
        self._before = self._read()  # of libraries
        if self._cap is not None:
            self._cap.add(self._worker.pid)
        if self._survives(lambda: self._worker.open(spec)) is None and not self.visits[0].killed:
            raise EngineError(f"{spec.name}: the collection cannot be loaded again")

    def block(self, visit: _Visit, kept: bool) -> None:
        """Visit once; what happens after the kernel has killed the worker is nothing."""
        if visit.killed:
            return
        block = self._survives(lambda: self._worker.block(visit.point, 0, False))
        if block is None or not kept:
            return
        visit.latencies.append(block.latencies)
        visit.faults.append(block.reads.major_faults)
        visit.read.append(block.reads.bytes or 0)

    def has_read(self) -> bool:
        """Whether anything came from disk since the process was ready."""
        return self._read() > self._before

    def _read(self) -> int:
        process = self._worker.process()
        return process.read or 0 if process else 0

    def _survives(self, act: Callable[[], T]) -> T | None:
        """Do something in the worker; if the kernel kills it for want of memory, say so in every visit."""
        try:
            return act()
        except EngineError:
            if self._cap is None or not self._cap.killed:
                raise
            log.info("%s: killed by the kernel under this cap", self.visits[0].spec.title)
            for visit in self.visits:
                visit.killed = True
            return None


def _judged(visit: _Visit, base: _Visit, limit: int | None) -> CapTrial:
    names = (visit.spec.method, visit.point.title, limit)
    if visit.killed:
        return CapTrial(*names)
    latencies = np.stack(visit.latencies)
    stats = latency_stats(latencies)
    floats = None if base.killed else np.stack(base.latencies)
    return CapTrial(
        *names,
        mean_ms=stats.mean,
        typical_ms=float(np.median(latencies.mean(axis=1))) / 1e6,
        p95_ms=stats.p95,
        base_ms=None if floats is None else latency_stats(floats).mean,
        speedup=None if floats is None else speedup_mean(floats, latencies).estimate,
        faults=float(np.median(visit.faults)) / latencies.shape[1],
        read=float(np.median(visit.read)) / latencies.shape[1],
        marked=unlike(visit.faults, latencies.shape[1]),
        rounds=len(visit.faults),
    )


def unlike(faults: Sequence[int], queries: int) -> int:
    """Return how many rounds have faults unlike the median round's: half of it away, and one in 20 queries."""
    median = float(np.median(faults))
    return sum(abs(count - median) > max(UNLIKE_SHARE * median, UNLIKE_FAULTS * queries) for count in faults)
