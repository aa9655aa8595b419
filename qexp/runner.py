"""One experiment, end to end."""

import logging
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from qexp import tracking
from qexp.bench import accuracy, latency, validity
from qexp.bench.blocks import measure
from qexp.bench.grid import baseline_points, operating_points
from qexp.bench.halves import halves
from qexp.cache import evict, lock_name, locked, using
from qexp.config import ExperimentConfig, parse_cap
from qexp.data.truth import Truth, exact_scores, exact_truth
from qexp.data.vectors import Data, load_data
from qexp.engine.base import COLLECTIONS, Engine, collection_spec, engine_factory, engine_version
from qexp.engine.caps import hierarchy
from qexp.engine.cliff import Procedure, measure_cliff
from qexp.engine.worker import Worker
from qexp.errors import ConfigError, EngineError
from qexp.footprint import Cliff
from qexp.paths import cache_root
from qexp.results import (
    Accuracy,
    Baseline,
    Build,
    Collection,
    CollectionSpec,
    Experiment,
    Ids,
    Measurement,
    MemoryUse,
    OperatingPoint,
    Trial,
)
from qexp.sizing.cost import price
from qexp.sizing.links import forward_links
from qexp.sizing.measured import compare
from qexp.sizing.ram import predict_ram

log = logging.getLogger(__name__)

STORED_SAMPLE = 100


def run(config: ExperimentConfig, words: list[str]) -> Experiment:
    """Measure the experiment and record it in MLflow; `words` are those that compose it.

    Raises QexpError for everything that the user can mend; the MLflow run then ends as FAILED with its message.
    """
    with tracking.collection_run(config, words) as record:
        experiment = measure_experiment(config)
        record(experiment)
    if config.cache_limit_gib is not None:
        for gone in evict(cache_root(config.cache_dir), config.cache_limit_gib * 2**30):
            log.info("evicted %s from the cache", gone.name)
    return experiment


def measure_experiment(config: ExperimentConfig) -> Experiment:
    """Build or find both collections, visit every operating point in rounds, and judge what came back."""
    cache = _writable(cache_root(config.cache_dir))
    if config.engine.ram_caps:
        hierarchy()  # before any work
    with locked(cache, f"data-{config.dataset.title}", alone=True):  # what parallel jobs share is made by the first
        data = load_data(config, cache)
        truth = exact_truth(data, config.search.limit, cache)
    spec = collection_spec(config, data.facts, engine_version(config.engine.name))
    validity.check_spec(spec)
    forward = forward_links(data.points(), spec.m, spec.ef_construct, spec.distance)
    make_engine = engine_factory(config.engine.name, cache)
    with using(cache, data.vectors.parent), ExitStack() as workers:
        quantized = _ready(workers, make_engine, spec, data, cache)
        bare = spec.unquantized()
        baseline = quantized if spec == bare else _ready(workers, make_engine, bare, data, cache)
        validity.check_same_index(baseline.build.state, quantized.build.state)
        visits = _visits(config, quantized, baseline)
        measured = measure(
            [partial(visit.at.worker.block, visit.point, config.search.warmup) for visit in visits],
            config.search.rounds,
            config.search.seed,
            partial(_on_round, config, (quantized, baseline)),
        )
        collections = (_sized(quantized, forward), _sized(baseline, forward))
    cliff = _cliff(config, make_engine, cache, data, spec, collections[1].ram.ram) if config.engine.ram_caps else None
    baselines, trials = _judge(visits, measured, data, truth)
    return Experiment(
        dataset=data.facts,
        quantized=collections[0],
        baseline_collection=collections[1],
        baselines=baselines,
        trials=trials,
        cost=price(spec, collections, forward, config.quantization.theory.compression, config.cost),
        visits=tuple(f"{visit.role}: {visit.point.title}" for visit in visits),
        latencies=np.stack([measurement.latencies for measurement in measured]),
        cliff=cliff,
    )


@dataclass(frozen=True)
class _Place:
    """A collection that is loaded in a worker."""

    spec: CollectionSpec
    worker: Worker
    build: Build
    moments: list[MemoryUse] = field(default_factory=list)


def _on_round(config: ExperimentConfig, places: tuple[_Place, _Place], number: int) -> None:
    """Say which round it is; before the first two, note memory in use: right after loading, and warm."""
    log.info("%s: round %d of %d", places[0].spec.method, number, config.search.rounds)
    if number < 2:
        for place in {id(place): place for place in places}.values():
            place.moments.append(place.worker.memory())


def _sized(place: _Place, forward: float) -> Collection:
    """Put the collection's predicted and measured memory together."""
    ram, last = predict_ram(place.spec, forward), place.worker.memory()
    comparisons = compare(ram, place.build.state, [*place.moments, last])
    return Collection(place.spec.name, place.build, ram, last, comparisons)


def _cliff(
    config: ExperimentConfig,
    make_engine: Callable[[], Engine],
    cache: Path,
    data: Data,
    spec: CollectionSpec,
    wanted: int,
) -> Cliff:
    """Measure both collections again under each memory cap."""
    procedure = Procedure(make_engine, cache / COLLECTIONS, data.queries, config.search.rounds, config.search.seed)
    targets = [(spec.unquantized(), baseline_points(config.search))]
    if spec.quantization is not None:
        targets.append((spec, operating_points(config.search, quantized=True)))
    return measure_cliff(procedure, hierarchy(), targets, wanted, [parse_cap(cap) for cap in config.engine.ram_caps])


@dataclass(frozen=True)
class _Visit:
    """An operating point on a collection; `role` is baseline, control or trial."""

    role: str
    at: _Place
    point: OperatingPoint


def _ready(
    workers: ExitStack, make_engine: Callable[[], Engine], spec: CollectionSpec, data: Data, cache: Path
) -> _Place:
    """Return the collection loaded in a fresh worker; if it is not there yet, another worker builds it first.

    Of parallel jobs the first builds; while it is used here, nobody may evict it.
    """

    def new_worker() -> Worker:
        return Worker(make_engine, data.queries, spec.name)

    held = workers.enter_context(locked(cache, lock_name(cache / "collections" / spec.name), alone=False))
    worker = workers.enter_context(new_worker())
    build = worker.open(spec)
    if build is None:
        held.alone()
        build = worker.open(spec) or _built(worker, new_worker, spec, data)
        held.share()
    else:
        log.info("%s: collection found in the cache", spec.method)
    validity.check_state(spec, build.state)
    rows = np.linspace(0, spec.points - 1, min(STORED_SAMPLE, spec.points)).astype(int).tolist()
    validity.check_stored(spec, rows, np.array(worker.vectors(rows), dtype=np.float32), data.points()[rows])
    return _Place(spec, worker, build)


def _built(worker: Worker, new_worker: Callable[[], Worker], spec: CollectionSpec, data: Data) -> Build:
    log.info("%s: building %s points of %d dimensions", spec.method, f"{spec.points:,}", spec.size)
    with new_worker() as builder:
        built = builder.build(spec, data.vectors)
    log.info("%s: uploaded in %.1f s, indexed in %.1f s", spec.method, built.upload_seconds, built.index_seconds)
    loaded = worker.open(spec)
    if loaded is None:
        raise EngineError(f"{spec.name}: the collection was built but cannot be loaded again")
    return replace(loaded, reused=False)


def _visits(config: ExperimentConfig, quantized: _Place, baseline: _Place) -> list[_Visit]:
    """Return who is visited in every round: for each hnsw_ef the baseline and its control, then every trial."""
    visits = []
    for point in baseline_points(config.search):
        visits += [_Visit("baseline", baseline, point), _Visit("control", baseline, point)]
    points = operating_points(config.search, quantized.spec.quantization is not None)
    return visits + [_Visit("trial", quantized, point) for point in points]


def _judge(
    visits: list[_Visit], measured: list[Measurement], data: Data, truth: Truth
) -> tuple[tuple[Baseline, ...], tuple[Trial, ...]]:
    """Compare every trial, and every control, with the baseline of the same hnsw_ef."""

    def of(role: str) -> dict[OperatingPoint, Measurement]:
        return {visit.point: found for visit, found in zip(visits, measured, strict=True) if visit.role == role}

    bases, controls = of("baseline"), of("control")
    baselines = []
    for point, base in bases.items():
        retention, recall = _shares(base.ids, base.ids, data, truth)
        baselines.append(
            Baseline(
                point,
                latency.latency_stats(base.latencies),
                _accuracy(retention, recall, base.ids, data),
                latency.speedup_mean(base.latencies, controls[point].latencies),
                halves(base.latencies, retention, recall),
            )
        )
    by_ef = {point.hnsw_ef: base for point, base in bases.items()}
    trials = []
    for point, found in of("trial").items():
        base = by_ef[point.hnsw_ef]
        retention, recall = _shares(found.ids, base.ids, data, truth)
        trials.append(
            Trial(
                point,
                latency.latency_stats(found.latencies),
                _accuracy(retention, recall, found.ids, data),
                latency.speedup_mean(base.latencies, found.latencies),
                latency.speedup_p95(base.latencies, found.latencies),
                halves(found.latencies, retention, recall),
            )
        )
    return tuple(baselines), tuple(trials)


def _shares(found: Ids, reference: Ids, data: Data, truth: Truth) -> tuple[accuracy.Share, accuracy.Share]:
    """Return retention and recall per query."""
    points, queries = data.points(), np.asarray(data.query_vectors())
    found_scores = exact_scores(points, queries, found, data.facts.distance)
    return accuracy.overlap(found, reference), accuracy.recall(found_scores, truth.scores)


def _accuracy(retention: accuracy.Share, recall: accuracy.Share, found: Ids, data: Data) -> Accuracy:
    return Accuracy(
        retention=float(retention.mean()),
        recall=float(recall.mean()),
        recall_worst_decile=accuracy.worst_decile(recall),
        ndcg=accuracy.ndcg(found, data.qrels, found.shape[1]),
    )


def _writable(cache: Path) -> Path:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise ConfigError(f"cache_dir={cache}: cannot be written ({error.strerror}); set cache_dir=…") from error
    return cache
