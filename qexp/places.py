"""Collections loaded in workers: found, built first, or still loaded from the job before."""

import atexit
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import sleep

import numpy as np

from qexp.bench import validity
from qexp.bench.checks import Checks
from qexp.cache import Kind, lock_name, locked
from qexp.config import ExperimentConfig, ServerConfig
from qexp.data.vectors import Data
from qexp.engine import worker
from qexp.engine.base import Engine
from qexp.engine.configured import engine_factory
from qexp.engine.worker import Worker
from qexp.errors import EngineError
from qexp.locks import Lock
from qexp.results import Build, CollectionSpec, CollectionState, MemoryUse, OperatingPoint, evenly

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
SAMPLE = 100  # points that are fetched back


@dataclass(frozen=True)
class Place:
    """A collection that is loaded in a worker; `moments` are its bytes in RAM when it was loaded, and later."""

    spec: CollectionSpec
    worker: Worker
    build: Build
    moments: list[MemoryUse | None]
    warmth: "Warmth"

    def is_warm(self, points: set[OperatingPoint]) -> bool:
        """Whether these points have been visited, and no page of the collection has left memory since."""
        return points <= self.warmth.points and _all_there(self.warmth.memory, self.worker.memory())


@dataclass
class Warmth:
    """The operating points that a worker has visited untimed, and the bytes in RAM afterwards."""

    points: set[OperatingPoint] = field(default_factory=set)
    memory: MemoryUse | None = None


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
release = _kept.release
atexit.register(release)


@contextmanager
def released_on_errors() -> Iterator[None]:
    """Keep no baseline for the next job if this one fails."""
    try:
        yield
    except BaseException as error:
        release(error)
        raise


@contextmanager
def started_ahead(config: ExperimentConfig, cache: Path) -> Iterator[None]:
    """Start the processes that will build and search the collections, so that loading need not wait for them."""
    collections = 1 if _kept.place or not config.quantization.config else 2
    with worker.started_ahead(2 * collections, _make_engine(config, cache)):
        yield


def _make_engine(config: ExperimentConfig, cache: Path) -> Callable[[], Engine]:
    return engine_factory(config.engine, cache, config.search.filter)


@dataclass(frozen=True)
class Loader:
    """How the collections of one experiment are loaded."""

    config: ExperimentConfig
    data: Data
    cache: Path
    checks: Checks

    @property
    def make_engine(self) -> Callable[[], Engine]:
        """How a worker makes its engine."""
        return _make_engine(self.config, self.cache)

    def worker(self, spec: CollectionSpec) -> Worker:
        """Return a worker for a collection, to be entered."""
        return Worker(self.make_engine, self.data.queries, spec.name)

    def pair(self, workers: ExitStack, spec: CollectionSpec) -> tuple[Place, Place]:
        """Return the collection and its baseline, loaded; they are one where nothing is quantized.

        The baseline stays loaded for the next job: the jobs of a sweep mostly share it.
        """
        bare = spec.unquantized()
        key = None if spec == bare else self._key(bare)
        if key is None or key != _kept.key:
            release()
        quantized = self.loaded(workers, spec) if spec != bare else None
        if key is None:
            baseline = self.loaded(workers, bare)
        else:
            baseline = self._again() or self.loaded(_kept.holder, bare)
            _kept.key, _kept.place = key, baseline
        return quantized or baseline, baseline

    def _key(self, bare: CollectionSpec) -> object:
        """Return what a kept baseline depends on; None where it cannot be kept.

        Caps and cold visits need its pages dropped, which a process that maps them prevents; a server has it loaded
        anyway.
        """
        engine, search = self.config.engine, self.config.search
        if engine.name != "edge" or engine.ram_caps or search.cache == "cold":
            return None
        return engine, self.cache, self.data.queries, bare, search.filter

    def _again(self) -> Place | None:
        """Return the kept baseline as this job finds it; None if there is none, or it is gone."""
        place = _kept.place
        if place is None:
            return None
        try:
            os.utime(self.cache / Kind.COLLECTIONS / place.spec.name)  # it is used now
            state = place.worker.state()
        except (EngineError, OSError) as error:
            log.info("%s: loaded again: %s", place.spec.title, error)
            release(error)
            return None
        log.info("%s: still loaded", place.spec.title)
        self._check(place.spec, place.worker, state)
        build = replace(place.build, state=state, reused=True)
        return Place(place.spec, place.worker, build, place.moments[:1], place.warmth)

    def loaded(self, holder: ExitStack, spec: CollectionSpec) -> Place:
        """Return the collection loaded in a worker of its own; if it is not there yet, another worker builds it first.

        Of parallel jobs the first builds; until `holder` is closed, nobody may evict it.
        """
        folder = self.cache / Kind.COLLECTIONS / spec.name
        held = holder.enter_context(locked(self.cache, lock_name(folder), alone=False))
        with ExitStack() as first, ExitStack() as second:
            worker = first.enter_context(self.worker(spec))
            searcher = None if folder.exists() else second.enter_context(self.worker(spec))  # both start at once
            build = _found(worker, spec, held)
            if build:
                log.info("%s: collection found in the cache", spec.title)
                holder.push(first.pop_all())
            else:
                builder, worker = worker, searcher or second.enter_context(self.worker(spec))
                worker.ready()  # nothing of its start may be timed as the upload
                build = self._built(builder, worker, spec)
                holder.push(second.pop_all())
        if isinstance(self.config.engine, ServerConfig) and not self.config.engine.keep:
            holder.push(partial(_dropped, worker))
        held.share()
        memory = worker.memory()
        self._check(spec, worker, build.state)
        return Place(spec, worker, build, [memory], Warmth())

    def _built(self, builder: Worker, searcher: Worker, spec: CollectionSpec) -> Build:
        log.info("%s: building %s points of %d dimensions", spec.title, f"{spec.points:,}", spec.size)
        built = builder.build(spec, self.data.vectors, self.data.payload)
        log.info("%s: uploaded in %.1f s, indexed in %.1f s", spec.title, built.upload_seconds, built.index_seconds)
        loaded = searcher.open(spec)
        if loaded is None:
            raise EngineError(f"{spec.name}: the collection was built but cannot be loaded again")
        return replace(built, state=loaded.state)

    def _check(self, spec: CollectionSpec, worker: Worker, state: CollectionState) -> None:
        validity.check_state(spec, state, self.checks)
        rows = evenly(spec.points, SAMPLE).tolist()
        stored = np.array(worker.vectors(rows), dtype=np.float32)
        validity.check_stored(spec, rows, stored, self.data.points()[rows], self.checks)


def _dropped(worker: Worker, kind: type[BaseException] | None, *_: object) -> None:
    """Remove the worker's collection when its measurement has ended well."""
    if kind is None:
        worker.drop()


def _found(worker: Worker, spec: CollectionSpec, held: Lock) -> Build | None:
    """Return the collection loaded, also if another job builds it meanwhile; None if it is ours to build.

    Then the lock is held alone.
    """
    build = worker.open(spec)
    while build is None:
        # Not to wait here: who has built it may be waiting for our turn on this machine to end.
        if held.try_alone():
            return worker.open(spec)
        sleep(POLL_SECONDS)
        build = worker.open(spec)
    return build


def _all_there(before: MemoryUse | None, now: MemoryUse | None) -> bool:
    """Whether no page of the collection's files has left memory; not where the engine does not tell."""
    if before is None or now is None:
        return False
    return all(now.mapped.get(part, 0) >= size for part, size in before.mapped.items())
