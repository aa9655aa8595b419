"""One experiment, end to end."""

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from qexp import machine, tracking
from qexp.bench import accuracy, dataset_checks, validity
from qexp.bench.checks import Checks
from qexp.bench.explore import adaptive, tuned
from qexp.bench.judge import Evidence, judge
from qexp.bench.notes import between_builds, few_queries, labels_under_filter, notes
from qexp.cache import evict, locked, room, using, writable
from qexp.config import ExperimentConfig
from qexp.data.sizes import chosen_links, held_payload
from qexp.data.source import check_files
from qexp.data.truth import Truth, find_truth
from qexp.data.vectors import Data, load_data
from qexp.engine.caps import hierarchy
from qexp.engine.configured import collection_spec, engine_version
from qexp.paths import cache_root
from qexp.places import Loader, release, released_on_errors, started_ahead
from qexp.results import CollectionSpec, Experiment, Finding, evenly
from qexp.results.footprint import Cliff
from qexp.steps import Measured, Steps
from qexp.yardstick import Yardstick, checked_yardstick

log = logging.getLogger(__name__)

SAMPLE = 100  # points whose components are looked at


def run(config: ExperimentConfig, words: list[str], reproduces: str | None = None) -> tuple[str, Experiment]:
    """Measure the experiment and record it in MLflow; return the run's id and what was measured.

    `words` compose the experiment, `reproduces` is the run that it measures again.
    Raises QexpError for everything that the user can mend; the MLflow run then ends as FAILED with its message.
    """
    with tracking.collection_run(config, words, reproduces) as record, room(cache_root(config.cache_dir)):
        experiment = measure_experiment(config)
        run_id = record(experiment)
    if config.cache_limit_gib is not None:
        release()  # what is loaded cannot be evicted
        for gone in evict(cache_root(config.cache_dir), config.cache_limit_gib * 2**30):
            log.info("evicted %s from the cache", gone.name)
    return run_id, experiment


@released_on_errors()
def measure_experiment(config: ExperimentConfig) -> Experiment:
    """Build or find the collections, visit every operating point in rounds, and judge what came back."""
    checks = Checks(config.validity == "strict")
    checks.held("T01", f"{config.engine.name} is a real engine, not qdrant-client's local mode")
    cache = writable(cache_root(config.cache_dir))
    check_files(config.dataset)
    # First, because a server that cannot be used is known at once.
    engine = engine_version(config.engine, config.quantization.config)
    if config.engine.ram_caps:
        hierarchy()  # before any work
    with machine.pinned(config.engine.cpus), ExitStack() as held, ExitStack() as workers:
        with machine.turn(False, config.wait_seconds, log.info), started_ahead(config, cache):
            data, truth = _loaded(config, cache, held)
            spec = collection_spec(config, data.facts, engine)
            validity.check_spec(spec, checks)
            if config.search.phrased:
                validity.check_phrases(spec, config.search.phrased, checks)
            if keeps := dataset_checks.KEEPS.get(spec.datatype):
                for what, vectors in (("points", data.points()), ("queries", data.query_vectors())):
                    keeps(what, vectors[evenly(len(vectors), SAMPLE)], checks)
            links, payload = partial(chosen_links, data), held_payload(data, spec)
            loader = Loader(config, data, cache, checks)
            quantized, baseline = loader.pair(workers, spec)
            validity.check_same_index(baseline.build.state, quantized.build.state, checks)
            yardstick = checked_yardstick(config, data, truth, baseline, cache, checks)
        with machine.turn(True, config.wait_seconds, log.info):
            checks.held("T19", "no other job used this machine while it was measured")
            search, findings = config.search, list[Finding]()
            if spec.quantization:
                search, findings = tuned(search, quantized.worker, partial(yardstick.judged_by, search, baseline))
            judged = partial(yardstick.judged_by, search, baseline)  # at the hnsw_ef that tuning found
            steps = Steps(replace(config, search=search), loader, quantized, baseline)
            measured = steps.measured(links, payload)
            if spec.quantization:
                findings += adaptive(search, quantized.worker, judged, data.facts.queries)
            workers.close()
            cliff = steps.cliff(links, payload) if config.engine.ram_caps else None
        with machine.turn(False, config.wait_seconds, log.info):
            steps.add_builds(measured.results)
    return _judged(spec, yardstick, steps, measured, tuple(findings), cliff)


def _loaded(config: ExperimentConfig, cache: Path, held: ExitStack) -> tuple[Data, Truth | None]:
    """Return the data, held in the cache, with their exact neighbours; without where a built collection is needed."""
    with locked(cache, f"data-{config.dataset.title}", alone=True):  # the first of parallel jobs makes it
        data = load_data(config, cache)
        held.enter_context(using(cache, data.vectors.parent))
        from_engine = config.dataset.truth == "engine" or bool(config.search.filter)
        return data, None if from_engine else find_truth(data, config.search.limit, cache)


def _judged(
    spec: CollectionSpec,
    yardstick: Yardstick,
    steps: Steps,
    measured: Measured,
    findings: tuple[Finding, ...],
    cliff: Cliff | None,
) -> Experiment:
    """Return what may be said of what was measured, and what was checked for that."""
    checks, search, data = steps.checks, steps.config.search, yardstick.data
    labels = yardstick.labels
    relevance = accuracy.relevance(labels, search.limit)
    results = (measured.timed, measured.cold, measured.results)
    baselines, trials = judge(Evidence(*results, yardstick.scored, yardstick.recall, yardstick.retention, relevance))
    validity.check_accuracy(spec, baselines, trials, checks)
    validity.check_noise(baselines, search.target_halfwidth, checks)
    return Experiment(
        dataset=data.facts,
        quantized=measured.quantized,
        baseline_collection=measured.baseline,
        baselines=baselines,
        trials=trials,
        cost=measured.cost,
        latencies={visit.title: measurement.latencies for visit, measurement in measured.timed.items()},
        stop=measured.stop,
        warnings=(
            *data.warnings,
            *few_queries(data.facts.queries),
            *labels_under_filter(data.qrels, labels),
            *notes(spec, [trial.point for trial in trials]),
            *between_builds([trial.accuracy for trial in trials]),
            *checks.warnings,
        ),
        checks=checks.table,
        loads=measured.loads,
        cliff=cliff,
        findings=findings,
        engine=spec.engine,
        cold_latencies={visit.title: measurement.latencies for visit, measurement in measured.cold.items()},
    )
