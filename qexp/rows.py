"""What runs are compared by: parameters and metrics under their public names."""

from collections.abc import Sequence
from typing import Any

from qexp.config import ExperimentConfig
from qexp.report import figures
from qexp.report.record import CollectionRecord
from qexp.results import MIB, Baseline, Collection, Experiment, Load, OperatingPoint, Row, Trial


def title(experiment: Experiment) -> str:
    """Return one line that says what was measured."""
    facts = experiment.dataset
    return (
        f"{facts.title}: {facts.points:,} points of {facts.size} dimensions ({facts.distance}), "
        f"{facts.queries:,} queries"
    )


def experiment_rows(config: ExperimentConfig, experiment: Experiment) -> list[Row]:
    """Return the comparison of one job."""
    trials = [trial_row(config, experiment, trial) for trial in experiment.trials]
    return with_baselines(trials, collection_metrics(experiment))


def unlogged(config: ExperimentConfig, experiment: Experiment, rows: list[Row]) -> CollectionRecord:
    """Return a job as its record holds it, as far as deploying needs it, before it can be read back."""
    tags = {"qexp.engine": experiment.engine}
    return CollectionRecord("", config.flat(), {}, tags, dataset_facts(config, experiment), {}, tuple(rows))


def dataset_facts(config: ExperimentConfig, experiment: Experiment) -> dict[str, Any]:
    """Return what a job has of its data; those of the index as built, since a live collection may bring them."""
    facts, built = experiment.dataset, experiment.quantized.build.state
    return {
        "name": facts.title,
        "digest": facts.digest,
        "size": facts.size,
        "distance": facts.distance,
        "points": facts.points,
        "queries": facts.queries,
        "native_size": facts.native_size,
        "m": built.m,
        "ef_construct": built.ef_construct,
        "full_scan_threshold": built.full_scan_threshold,
        "payload_indexes": config.dataset.payload_indexes or facts.payload_indexes,
    }


def trial_row(config: ExperimentConfig, experiment: Experiment, trial: Trial) -> Row:
    """Return a trial's parameters and metrics under their public names; unknown metrics are left out."""
    point = trial.point
    return Row(
        _params(config, experiment, point),
        _known(
            **trial.latency.metrics(),
            **trial.server.metrics("server_") if trial.server else {},
            qps=trial.latency.qps,
            recall_worst_decile=trial.accuracy.recall_worst_decile,
            ndcg=trial.accuracy.ndcg,
            mrr=trial.accuracy.mrr,
            **figures.trust_metrics(trial),
            **figures.half_metrics(trial.halves),
            ram_estimated_mib=experiment.quantized.ram.ram / MIB,
            ram_measured_mib=_memory_mib(experiment.quantized),
            ram_hot_measured_mib=hot / MIB if (hot := experiment.quantized.hot_bytes) else None,
            compression_ratio=experiment.compression_ratio,
            cost_target_points=_target_points(experiment),
            **figures.cost_metrics(experiment.cost),
            **figures.floor_metrics(experiment.cliff, config.quantization.name, point),
        ),
    )


def _params(config: ExperimentConfig, experiment: Experiment, point: OperatingPoint) -> dict[str, str]:
    return {
        "dataset": experiment.dataset.title,
        "embedding_size": str(experiment.dataset.size),
        "quantization": config.quantization.name,
        "storage": config.storage.name,
        "engine": config.engine.name,
        "rescore": str(point.rescore).lower(),
        "oversampling": factor_text(point.oversampling),
        "hnsw_ef": point.ef,
        "limit": str(point.limit),
    }


def factor_text(factor: float) -> str:
    """Return a factor as it is recorded: in full, because one digit less may fetch one result less."""
    return str(float(factor)).removesuffix(".0")


def load_rows(config: ExperimentConfig, experiment: Experiment) -> list[Row]:
    """Return the rows of all operating points under every load; without latency where they were saturated."""
    return [_load_row(config, experiment, load) for load in experiment.loads]


def _load_row(config: ExperimentConfig, experiment: Experiment, load: Load) -> Row:
    params = _params(config, experiment, load.point) | {"clients": str(load.level.clients)}
    if load.level.rate is not None:
        params["rate"] = f"{load.level.rate:g}"
    bill = experiment.cost.predicted
    if load.role == "baseline":
        params |= {"quantization": "baseline", "role": "baseline"}
        bill = experiment.cost.baseline
    price = None if load.level.rate else bill.usd_month_per_1000_qps(load.qps)
    return Row(params, _known(**figures.load_metrics(load), cost_usd_month_per_1000_qps=price))


def collection_metrics(experiment: Experiment) -> dict[str, float]:
    """Return a collection's metrics under their public names.

    Those of the baseline are of its first hnsw_ef; those of any further one begin with `ef_64_`, say.
    """
    build, base = experiment.quantized.build, experiment.baselines[0]
    bare = experiment.baseline_collection
    trip = bare.round_trip
    metrics = _known(
        upload_seconds=build.upload_seconds,
        index_seconds=build.index_seconds,
        points_per_second=build.points_per_second,
        disk_mib=sum(build.state.files.values()) / MIB if build.state.files else None,
        compression_ratio=experiment.compression_ratio,
        ram_estimated_mib=experiment.quantized.ram.ram / MIB,
        ram_resident_mib=experiment.quantized.ram.resident / MIB,
        ram_measured_mib=_memory_mib(experiment.quantized),
        baseline_index_seconds=bare.build.index_seconds,
        baseline_ram_estimated_mib=bare.ram.ram / MIB,
        baseline_ram_measured_mib=_memory_mib(bare),
        baseline_ram_cost_usd_month=experiment.cost.baseline.ram_usd_month,
        baseline_disk_cost_usd_month=experiment.cost.baseline.disk_usd_month,
        baseline_cost_target_points=_target_points(experiment),
        round_trip_ms=trip * 1000 if trip is not None else None,
        round_trip_share=trip * 1000 / base.latency.mean if trip is not None else None,
        rounds=experiment.stop.rounds,
        speedup_halfwidth=experiment.stop.halfwidth,
        noisy=float(experiment.noisy),
        **{f"{name.replace(' ', '_')}_disk_mib": size / MIB for name, size in build.state.files.items()},
        **figures.memory_metrics(experiment.quantized),
        **_of_baseline(figures.memory_metrics(bare)),
    )
    metrics |= _visited_metrics(experiment, base)
    for other in experiment.baselines[1:]:
        own = _visited_metrics(experiment, other)
        metrics |= {f"ef_{other.point.ef}_{name}": value for name, value in own.items()}
    for finding in experiment.findings:
        metrics |= finding.metrics
    return metrics


def _visited_metrics(experiment: Experiment, base: Baseline) -> dict[str, float]:
    """Return what was measured of the baseline at one hnsw_ef."""
    return _known(
        baseline_latency_mean_ms=base.latency.mean,
        baseline_latency_p50_ms=base.latency.p50,
        baseline_latency_p95_ms=base.latency.p95,
        baseline_recall=base.accuracy.recall.estimate,
        baseline_ndcg=base.accuracy.ndcg,
        baseline_mrr=base.accuracy.mrr,
        aa_speedup_mean=base.control.estimate,
        aa_speedup_low=base.control.low,
        aa_speedup_high=base.control.high,
        **base.control_p50.metrics("aa_speedup_p50"),
        **base.control_p95.metrics("aa_speedup_p95") if base.control_p95 else {},
        **base.server.metrics("baseline_server_") if base.server else {},
        **figures.cold_metrics(base.cold, "baseline_cold"),
        **_of_baseline(figures.floor_metrics(experiment.cliff, "none", base.point)),
        **_of_baseline(figures.half_metrics(base.halves)),
    )


def _of_baseline(metrics: figures.Metrics) -> figures.Metrics:
    return {f"baseline_{name}": value for name, value in metrics.items()}


_CAPS = ("baseline_ram_floor_mib", "baseline_ram_fallen_mib")  # of one hnsw_ef; the other memory is of all


def with_baselines(trials: Sequence[Row], metrics: dict[str, float]) -> list[Row]:
    """Return a job's rows: for every hnsw_ef the baseline's, where it is recorded, and its trials'."""
    rows: list[Row] = []
    for ef in dict.fromkeys(trial.params["hnsw_ef"] for trial in trials):
        own = [trial for trial in trials if trial.params["hnsw_ef"] == ef]
        begin = f"ef_{ef}_"
        further = {name.removeprefix(begin): value for name, value in metrics.items() if name.startswith(begin)}
        if further or not rows:
            shared = {name: value for name, value in metrics.items() if not (further and name in _CAPS)}
            rows.append(baseline_row(own[0].params, shared | further))
        rows += own
    return rows


def baseline_row(params: dict[str, str], metrics: dict[str, float]) -> Row:
    """Return the baseline's row from a collection's metrics; its speedup is the A/A control."""
    control = {
        "speedup_mean": "aa_speedup_mean",
        "speedup_mean_low": "aa_speedup_low",
        "speedup_mean_high": "aa_speedup_high",
    }
    own = {name.removeprefix("baseline_"): value for name, value in metrics.items() if name.startswith("baseline_")}
    kept = {key: value for key, value in params.items() if key not in ("rescore", "oversampling")}
    return Row(
        {**kept, "quantization": "baseline (A/A)", "role": "baseline"},
        own | {name: metrics[source] for name, source in control.items() if source in metrics},
    )


def failed_row(run: str, params: dict[str, str], reason: str) -> Row:
    """Return the row of a collection that could not be measured, from its run's name and parameters."""
    return Row({"quantization": params["quantization.name"], "role": "failed", "run": run, "error": reason}, {})


def _target_points(experiment: Experiment) -> int | None:
    """Return how many points are priced; None where they are those that were measured."""
    points = experiment.cost.points
    return None if points == experiment.dataset.points else points


def _memory_mib(collection: Collection) -> float | None:
    return collection.memory.total / MIB if collection.memory else None


def _known(**metrics: float | None) -> dict[str, float]:
    """Return what is known, to twelve digits: those behind them are rounding of the mean."""
    return {name: float(f"{value:.12g}") for name, value in metrics.items() if value is not None}
