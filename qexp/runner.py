"""One experiment, end to end."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexp import machine, tracking
from qexp.bench import accuracy, dataset_checks, validity
from qexp.bench.checks import Checks
from qexp.bench.explore import adaptive, tuned
from qexp.bench.judge import Evidence, judge
from qexp.bench.notes import between_builds, labels_under_filter, notes
from qexp.cache import evict, locked, room, using, writable
from qexp.config import ExperimentConfig, SearchConfig
from qexp.data.sizes import chosen_links, held_payload
from qexp.data.truth import Truth, engine_truth, exact_scores, farther, find_truth, magnitude
from qexp.data.vectors import Data, load_data
from qexp.engine.base import collection_spec, engine_version
from qexp.engine.caps import hierarchy
from qexp.paths import cache_root
from qexp.places import Loader, Place, release, released_on_errors, started_ahead
from qexp.results import Experiment, Finding, Ids, OperatingPoint, evenly
from qexp.sizing.cost import price
from qexp.sizing.ram import predict_ram
from qexp.steps import Steps

log = logging.getLogger(__name__)

SAMPLE = 100  # queries whose neighbours, or points whose components, are looked at again


def run(config: ExperimentConfig, words: list[str]) -> Experiment:
    """Measure the experiment and record it in MLflow; `words` are those that compose it.

    Raises QexpError for everything that the user can mend; the MLflow run then ends as FAILED with its message.
    """
    with tracking.collection_run(config, words) as record, room(cache_root(config.cache_dir)):
        experiment = measure_experiment(config)
        record(experiment)
    if config.cache_limit_gib is not None:
        release()  # what is loaded cannot be evicted
        for gone in evict(cache_root(config.cache_dir), config.cache_limit_gib * 2**30):
            log.info("evicted %s from the cache", gone.name)
    return experiment


@released_on_errors()
def measure_experiment(config: ExperimentConfig) -> Experiment:
    """Build or find the collections, visit every operating point in rounds, and judge what came back."""
    checks = Checks(config.validity == "strict")
    checks.held("T01", f"{config.engine.name} is a real engine, not qdrant-client's local mode")
    cache = writable(cache_root(config.cache_dir))
    # First, because a server that cannot be used is known at once.
    engine = engine_version(config.engine, config.quantization.config)
    if config.engine.ram_caps:
        hierarchy()  # before any work
    with machine.pinned(config.engine.cpus), ExitStack() as held, ExitStack() as workers:
        with machine.turn(False, config.wait_seconds, log.info), started_ahead(config, cache):
            with locked(cache, f"data-{config.dataset.title}", alone=True):  # the first of parallel jobs makes it
                data = load_data(config, cache)
                held.enter_context(using(cache, data.vectors.parent))
                from_engine = config.dataset.truth == "engine" or bool(config.search.filter)
                truth = None if from_engine else find_truth(data, config.search.limit, cache)
            spec = collection_spec(config, data.facts, engine)
            validity.check_spec(spec, checks)
            if config.search.phrased:
                validity.check_phrases(spec, config.search.phrased, checks)
            if spec.datatype == "uint8":
                dataset_checks.check_whole_numbers(data.points()[evenly(data.facts.points, SAMPLE)], checks)
            links, payload = partial(chosen_links, data), held_payload(data, spec)
            loader = Loader(config, data, cache, checks)
            quantized, baseline = loader.pair(workers, spec)
            validity.check_same_index(baseline.build.state, quantized.build.state, checks)
            matching = _matching(config, data, baseline, checks)
            truth = truth or _engine_side_truth(config, data, baseline, cache, matching)
            _check_data(checks, data, truth, matching)
        with machine.turn(True, config.wait_seconds, log.info):
            checks.held("T19", "no other job used this machine while it was measured")
            search, findings = config.search, list[Finding]()
            judged = partial(_judged_by, search, baseline, data, truth)
            if spec.quantization:
                search, findings = tuned(search, quantized.worker, judged)
                judged = partial(_judged_by, search, baseline, data, truth)  # at the hnsw_ef that tuning found
            steps = Steps(replace(config, search=search), loader)
            timed, stop = steps.timed(quantized, baseline)
            collections = (steps.sized(quantized, links, payload), steps.sized(baseline, links, payload))
            steps.check_after(timed, quantized, baseline)
            results = steps.results(timed, quantized)
            cold = steps.cold(quantized, baseline) if config.search.cache == "cold" else {}
            loads = steps.loads(quantized, baseline)
            if spec.quantization:
                findings += adaptive(search, quantized.worker, judged, data.facts.queries)
            workers.close()
            cliff = (
                steps.cliff(spec, predict_ram(baseline.spec, links(baseline.spec), payload).ram)
                if config.engine.ram_caps
                else None
            )
        with machine.turn(False, config.wait_seconds, log.info):
            steps.add_builds(results, spec)
    recall, retention = partial(_recall, data, truth), partial(_retention, data, truth)
    labels = data.qrels if matching is None else accuracy.labels_of(data.qrels, matching)
    relevance = accuracy.relevance(labels, config.search.limit)
    baselines, trials = judge(Evidence(timed, cold, results, recall, retention, relevance))
    validity.check_accuracy(spec, baselines, trials, checks)
    validity.check_noise(baselines, config.search.target_halfwidth, checks)
    return Experiment(
        dataset=data.facts,
        quantized=collections[0],
        baseline_collection=collections[1],
        baselines=baselines,
        trials=trials,
        cost=price(spec, collections, links, config.quantization.theory.compression, config.cost, payload),
        visits=tuple(visit.title for visit in timed),
        latencies=np.stack([measurement.latencies for measurement in timed.values()]),
        warnings=(
            *data.warnings,
            *labels_under_filter(data.qrels, labels),
            *notes(spec, [trial.point for trial in trials]),
            *between_builds([trial.accuracy for trial in trials]),
            *checks.warnings,
        ),
        stop=stop,
        checks=checks.table,
        loads=loads,
        cliff=cliff,
        findings=tuple(findings),
        engine=engine,
        cold_latencies={visit.title: measurement.latencies for visit, measurement in cold.items()},
    )


def _matching(config: ExperimentConfig, data: Data, baseline: Place, checks: Checks) -> Ids | None:
    """Return the row numbers of the points that the filter lets through, which a built collection tells; None: all."""
    if not config.search.filter:
        return None
    matching = np.array(baseline.worker.matching(), dtype=np.int64)
    log.info("search.filter: %s of %s points match", f"{len(matching):,}", f"{data.facts.points:,}")
    validity.check_filter(baseline.spec, config.search.filtered_fields, len(matching), checks)
    return matching


def _engine_side_truth(
    config: ExperimentConfig, data: Data, baseline: Place, cache: Path, matching: Ids | None
) -> Truth:
    """Return the truth that needs a built collection: of its exact search, or among the points its filter keeps."""
    if config.dataset.truth == "engine":
        return engine_truth(data, baseline.worker.found(OperatingPoint(config.search.limit, exact=True)))
    return find_truth(data, config.search.limit, cache, matching)


def _recall(data: Data, truth: Truth, found: Ids) -> accuracy.Share:
    return accuracy.recall(_scores(data, found), truth.scores, _magnitude(data, truth))


def _retention(data: Data, truth: Truth, found: Ids, reference: Ids) -> accuracy.Share:
    scores = _scores(data, found), _scores(data, reference)
    return accuracy.retention(found, reference, *scores, _magnitude(data, truth))


def _scores(data: Data, found: Ids) -> NDArray[np.float64]:
    return exact_scores(data.points(), np.asarray(data.query_vectors()), found, data.facts.distance)


def _magnitude(data: Data, truth: Truth) -> NDArray[np.float64]:
    return magnitude(data.points(), np.asarray(data.query_vectors()), truth, data.facts.distance)


def _judged_by(
    search: SearchConfig, baseline: Place, data: Data, truth: Truth, measure: str
) -> Callable[[Ids], accuracy.Share]:
    """Return what turns results into the accuracy of every query, by retention or recall."""
    if measure == "recall":
        return partial(_recall, data, truth)
    reference = baseline.worker.found(OperatingPoint(search.limit, search.hnsw_ef[0]))
    return lambda found: _retention(data, truth, found, reference)


def _check_data(checks: Checks, data: Data, truth: Truth, matching: Ids | None) -> None:
    points, queries = data.points(), np.asarray(data.query_vectors())
    dataset_checks.check_queries(dataset_checks.duplicates(points, queries), queries, checks)
    sample = evenly(len(queries), SAMPLE)
    computed = exact_scores(points, queries[sample], truth.ids[sample], data.facts.distance)
    dataset_checks.check_truth(truth.scores[sample], computed, checks)
    if truth.source != "neighbours":  # these were compared when they were read
        dataset_checks.check_nearest(farther(data, truth.ids, matching), truth.source, checks)
