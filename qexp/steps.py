"""The steps of one experiment: every kind of visit to its collections."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from qexp import machine
from qexp.bench import validity
from qexp.bench.blocks import measure
from qexp.bench.checks import Checks
from qexp.bench.grid import baseline_points, loss_points, operating_points, widest
from qexp.bench.load import judge_load, measure_load
from qexp.bench.stopping import Stopping
from qexp.cache import Kind
from qexp.config import ExperimentConfig, parse_cap
from qexp.config.search import MOST_CLIENTS
from qexp.engine.caps import hierarchy
from qexp.engine.cliff import Procedure, measure_cliff
from qexp.engine.worker import load_block, warm
from qexp.errors import EngineError
from qexp.places import Loader, Place
from qexp.results import Collection, Ids, Load, LoadLevel, Measurement, OperatingPoint, Stop, Visit
from qexp.results.footprint import Cliff, Cost
from qexp.sizing.cost import price, priced_ram
from qexp.sizing.links import Links
from qexp.sizing.measured import compare
from qexp.sizing.payload import PayloadSize
from qexp.sizing.ram import predict_ram

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What the visits to a collection and its baseline brought back, how big both are, and what they cost."""

    timed: dict[Visit, Measurement]
    stop: Stop
    quantized: Collection
    baseline: Collection
    cost: Cost
    results: dict[OperatingPoint, list[Ids]]
    cold: dict[Visit, Measurement]
    loads: tuple[Load, ...]


@dataclass(frozen=True)
class Steps:
    """The steps of one experiment, on collections that its loader has loaded."""

    config: ExperimentConfig
    loader: Loader
    quantized: Place
    baseline: Place

    @property
    def checks(self) -> Checks:
        """What is looked for on the way."""
        return self.loader.checks

    @property
    def places(self) -> list[Place]:
        """Where the collections are: one place where nothing is quantized."""
        return [self.quantized] if self.quantized is self.baseline else [self.quantized, self.baseline]

    def measured(self, links: Links, payload: PayloadSize) -> Measured:
        """Visit everything in every way that is asked for."""
        timed, stop = self.timed()
        collections = (self.sized(self.quantized, links, payload), self.sized(self.baseline, links, payload))
        self.check_after(timed)
        results = self.results(timed)
        cold = self.cold() if self.config.search.cache == "cold" else {}
        loads = self.loads()
        published = self.config.quantization.theory.compression
        cost = price(self.quantized.spec, collections, links, published, self.config.cost, payload)
        return Measured(timed, stop, *collections, cost, results, cold, loads)

    def visits(self) -> dict[Visit, Place]:
        """Return who is visited in every round: for each hnsw_ef the baseline and its control, then every trial."""
        bases = baseline_points(self.config.search)
        points = operating_points(self.config.search, self.quantized.spec.quantization is not None)
        return {Visit(role, point): self.baseline for point in bases for role in ("baseline", "control")} | {
            Visit("trial", point): self.quantized for point in points
        }

    def timed(self) -> tuple[dict[Visit, Measurement], Stop]:
        """Visit everything warm, until speedups are known well enough."""
        search, visits, title = self.config.search, self.visits(), self.quantized.spec.title
        order = list(visits)
        base_of = {visit.point.hnsw_ef: index for index, visit in enumerate(order) if visit.role == "baseline"}
        pairs = [(base_of[v.point.hnsw_ef], index) for index, v in enumerate(order) if v.role == "trial"]
        log.info("%s: round 0 of %d", title, search.rounds)
        self._warm(order, {"baseline": self.baseline, "trial": self.quantized})
        stopping = Stopping(pairs, search)
        measured = measure(
            [partial(place.worker.block, visit.point, search.warmup) for visit, place in visits.items()],
            search.rounds,
            search.seed,
            self._on_round,
            stopping,
        )
        assert stopping.stop is not None
        log.info("%s: %s", title, stopping.stop)
        return dict(zip(order, measured, strict=True)), stopping.stop

    def _warm(self, visits: Sequence[Visit], places: dict[str, Place]) -> None:
        """Visit what reads the most of each collection, untimed, unless that is in memory from the job before."""
        asked = {role: widest(visit.point for visit in visits if visit.role == role) for role in places}
        unvisited = {role: place for role, place in places.items() if not place.is_warm(asked[role])}
        warm({place.worker: asked[role] for role, place in unvisited.items()})
        for role, place in unvisited.items():
            place.warmth.points |= asked[role]
            place.warmth.memory = place.worker.memory()

    def _on_round(self, number: int) -> None:
        """Say which round it is; before the first, when all that is read is in memory, note memory in use."""
        least, title = self.config.search.rounds, self.quantized.spec.title
        if number <= least:
            log.info("%s: round %d of %d", title, number, least)
        elif number % 10 == 0:
            log.info("%s: round %d, until intervals are narrow enough", title, number)
        if number == 1:
            for place in self.places:
                place.moments.append(place.worker.memory())

    def sized(self, place: Place, links: Links, payload: PayloadSize) -> Collection:
        """Put the collection's predicted and measured memory together.

        Only what is there is compared; what is wanted has the payload that is priced.
        """
        there, last = predict_ram(place.spec, links(place.spec), payload), place.worker.memory()
        comparisons = compare(there, place.build.state, [*place.moments, last])
        ram = priced_ram(place.spec, links, payload, self.config.cost)
        return Collection(place.spec.name, place.build, ram, last, comparisons, place.worker.round_trip())

    def cliff(self, links: Links, payload: PayloadSize) -> Cliff:
        """Measure both collections again under each memory cap."""
        spec, bare = self.quantized.spec, self.baseline.spec
        wanted = predict_ram(bare, links(bare), payload).ram
        search, caps = self.config.search, [parse_cap(cap) for cap in self.config.engine.ram_caps]
        home, queries = self.loader.cache / Kind.COLLECTIONS, self.loader.data.queries
        procedure = Procedure(self.loader.make_engine, home, queries, search.rounds, search.seed)
        targets = [(bare, baseline_points(search))]
        if spec.quantization is not None:
            targets.append((spec, operating_points(search, quantized=True)))
        return measure_cliff(procedure, hierarchy(), targets, wanted, caps)

    def check_after(self, timed: dict[Visit, Measurement]) -> None:
        """Look for what may have disturbed the rounds."""
        for place in self.places:
            validity.check_unchanged(place.spec.title, place.build.state, place.worker.state(), self.checks)
        pairs = [(found.latencies.mean(), found.server.mean()) for found in timed.values() if found.server is not None]
        if pairs:
            client_ms, server_ms = np.mean(pairs, axis=0) / 1e6
            validity.check_network(float(client_ms), float(server_ms), self.checks)
            self.checks.unknown("T13", "what a server reads from its disk during a search is not seen from here")
        else:
            self.checks.held("T20", "the engine is in the process that takes the time: no network between")
            for visit, measurement in timed.items():
                validity.check_reads(visit.title, measurement.reads, measurement.latencies.size, self.checks)

    def results(self, timed: dict[Visit, Measurement]) -> dict[OperatingPoint, list[Ids]]:
        """Return what every trial found, and what the split of the loss needs beside it."""
        found = {visit.point: [measured.ids] for visit, measured in timed.items() if visit.role == "trial"}
        if self.quantized.spec.quantization is not None:
            found |= {point: [self.quantized.worker.found(point)] for point in loss_points(self.config.search)}
        return found

    def add_builds(self, results: dict[OperatingPoint, list[Ids]]) -> None:
        """Build the quantized collection again, `engine.builds` times in all, and add what each build finds."""
        for number in range(1, self.config.engine.builds):
            with ExitStack() as workers:
                place = self.loader.loaded(workers, replace(self.quantized.spec, build=number))
                for point, builds in results.items():
                    builds.append(place.worker.found(point))

    def cold(self) -> dict[Visit, Measurement]:
        """Visit everything with its pages dropped before; nothing, and the reason, where the system keeps them."""
        search = self.config.search
        visits = {visit: place for visit, place in self.visits().items() if visit.role != "control"}
        log.info("%s: cold rounds", self.quantized.spec.title)
        try:
            blocks = [partial(place.worker.cold_block, visit.point) for visit, place in visits.items()]
            measured = dict(zip(visits, measure(blocks, search.rounds, search.seed), strict=True))
            reason = "the file system of the cache keeps its pages in memory; set cache_dir to a folder on a disk"
        except EngineError as error:
            measured, reason = {}, str(error)
        read = any(found.reads.major_faults or found.reads.bytes for found in measured.values())
        what = "pages were dropped before every cold block, and read from disk again"
        self.checks.prefer(read, "T13", what, f"no cold figures: {reason}")
        return measured if read else {}

    def loads(self) -> tuple[Load, ...]:
        """Visit everything under every load that was asked for."""
        search = self.config.search
        most = max(search.clients, default=min(machine.cpus_allowed(), MOST_CLIENTS))
        levels = [LoadLevel(clients) for clients in search.clients] + [LoadLevel(most, rate) for rate in search.rate]
        if not levels:
            return ()
        with ExitStack() as workers:
            crews = {
                place.spec.name: [workers.enter_context(self.loader.worker(place.spec)) for _ in range(most)]
                for place in self.places
            }
            for place in self.places:
                for worker in crews[place.spec.name]:
                    worker.open(place.spec)
            visits = {
                (visit, level): partial(
                    load_block, crews[place.spec.name], visit.point, level, search.warmup, search.load_seconds
                )
                for visit, place in self.visits().items()
                if visit.role != "control"
                for level in levels
            }
            log.info("%s: load (%s)", self.quantized.spec.title, ", ".join(level.title for level in levels))
            return judge_load(measure_load(visits, search.rounds, search.seed), self.loader.data.facts.queries)
