"""Collections loaded in workers: found, built first, or still loaded from the job before."""

import atexit
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep

import numpy as np

from qexp.bench import validity
from qexp.bench.grid import baseline_points
from qexp.cache import Lock, lock_name, locked
from qexp.config import ExperimentConfig
from qexp.data.vectors import Data
from qexp.engine.base import COLLECTIONS, Engine, engine_factory
from qexp.engine.worker import Worker
from qexp.errors import EngineError
from qexp.results import Build, CollectionSpec, CollectionState, MemoryUse

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
SAMPLE = 100  # points that are fetched back


@dataclass(frozen=True)
class Place:
    """A collection that is loaded in a worker; `moments` are its bytes in RAM when it was loaded, and later.

    `warm` says that all its pages that searches need are in memory from the job before.
    """

    spec: CollectionSpec
    worker: Worker
    build: Build
    moments: list[MemoryUse | None]
    warm: bool = False


class _Kept:
    """The baseline of the job before, with what it depends on, and what ends it."""

    def __init__(self) -> None:
        self.key: object = None
        self.place: Place | None = None
        self.holder = ExitStack()

    def release(self, error: BaseException | None = None) -> None:
        """End its worker, at once after an error, and give up its lock."""
        self.key = self.place = None
        holder, self.holder = self.holder, ExitStack()
        holder.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


_kept = _Kept()
atexit.register(_kept.release)


@dataclass(frozen=True)
class Loader:
    """How the collections of one experiment are loaded."""

    config: ExperimentConfig
    data: Data
    cache: Path
    checks: validity.Checks

    @property
    def make_engine(self) -> Callable[[], Engine]:
        """How a worker makes its engine."""
        return engine_factory(self.config.engine, self.cache, self.config.search.filter)

    def worker(self, spec: CollectionSpec) -> Worker:
        """Return a worker for a collection, to be entered."""
        return Worker(self.make_engine, self.data.queries, spec.name)

    def pair(self, workers: ExitStack, spec: CollectionSpec) -> tuple[Place, Place]:
        """Return the collection and its baseline, loaded; they are one where nothing is quantized.

        The baseline stays loaded for the next job, unless this one fails: the jobs of a sweep mostly share it.
        """
        bare = spec.unquantized()
        key = self._key(bare)
        if key is None or key != _kept.key:
            _kept.release()
        workers.enter_context(_released_on_errors())
        quantized = self.loaded(workers, spec) if spec != bare else None
        if key is None:
            baseline = self.loaded(workers, bare)
        else:
            baseline = self._again(_kept.place) if _kept.place else self.loaded(_kept.holder, bare)
            _kept.key, _kept.place = key, baseline
        return quantized or baseline, baseline

    def _key(self, bare: CollectionSpec) -> object:
        """Return what a kept baseline depends on; None where it cannot be kept.

        Caps and cold visits need its pages dropped, which a process that maps them prevents; on a server it is open.
        """
        engine, search = self.config.engine, self.config.search
        if engine.name != "edge" or engine.ram_caps or search.cache == "cold":
            return None
        return engine, self.cache, self.data.queries, bare, baseline_points(search), search.filter

    def _again(self, place: Place) -> Place:
        """Return the kept baseline as this job finds it."""
        now, state = place.worker.memory(), place.worker.state()
        log.info("%s: still loaded", place.spec.method)
        self._check(place.spec, place.worker, state)
        build = replace(place.build, state=state, reused=True)
        warm = len(place.moments) > 1 and _all_there(place.moments[-1], now)
        return Place(place.spec, place.worker, build, place.moments[:1], warm)

    def loaded(self, holder: ExitStack, spec: CollectionSpec) -> Place:
        """Return the collection loaded in a worker of its own; if it is not there yet, another worker builds it first.

        Of parallel jobs the first builds; until `holder` is closed, nobody may evict it.
        """
        name = lock_name(self.cache / COLLECTIONS / spec.name)
        held = holder.enter_context(locked(self.cache, name, alone=False))
        with ExitStack() as first:
            worker = first.enter_context(self.worker(spec))
            build = _found(worker, spec, held)
            if build:
                log.info("%s: collection found in the cache", spec.method)
                holder.push(first.pop_all())
            else:
                builder, worker = worker, holder.enter_context(self.worker(spec))  # starts while the other uploads
                build = self._built(builder, worker, spec)
        held.share()
        memory = worker.memory()
        self._check(spec, worker, build.state)
        return Place(spec, worker, build, [memory])

    def _built(self, builder: Worker, searcher: Worker, spec: CollectionSpec) -> Build:
        log.info("%s: building %s points of %d dimensions", spec.method, f"{spec.points:,}", spec.size)
        built = builder.build(spec, self.data.vectors, self.data.payload)
        log.info("%s: uploaded in %.1f s, indexed in %.1f s", spec.method, built.upload_seconds, built.index_seconds)
        loaded = searcher.open(spec)
        if loaded is None:
            raise EngineError(f"{spec.name}: the collection was built but cannot be loaded again")
        return replace(built, state=loaded.state)

    def _check(self, spec: CollectionSpec, worker: Worker, state: CollectionState) -> None:
        validity.check_state(spec, state, self.checks)
        rows = np.linspace(0, spec.points - 1, min(SAMPLE, spec.points)).astype(int).tolist()
        stored = np.array(worker.vectors(rows), dtype=np.float32)
        validity.check_stored(spec, rows, stored, self.data.points()[rows], self.checks)


def _found(worker: Worker, spec: CollectionSpec, held: Lock) -> Build | None:
    """Return the collection loaded, also if another job builds it meanwhile; None if it is ours to build.

    Then the lock is held alone.
    """
    build = worker.open(spec)
    while build is None:
        # Not to wait here: who has built it may be waiting for our turn on this machine to end.
        if held.alone(wait=False):
            return worker.open(spec)
        sleep(POLL_SECONDS)
        build = worker.open(spec)
    return build


def _all_there(before: MemoryUse | None, now: MemoryUse | None) -> bool:
    """Whether no page of the collection's files has left memory; not where the engine does not tell."""
    if before is None or now is None:
        return False
    return all(now.mapped.get(part, 0) >= size for part, size in before.mapped.items())


@contextmanager
def _released_on_errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _kept.release(error)
        raise
