"""The record in MLflow: one run per collection, and below it one per operating point."""

import getpass
import json
import os
import platform
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qexp import __version__
from qexp.config import ExperimentConfig
from qexp.errors import ConfigError, QexpError
from qexp.paths import packaged
from qexp.report.sizing import cost_metrics, floor_metrics, memory_metrics, write_sizing
from qexp.report.table import markdown
from qexp.results import MIB, Collection, Experiment, Half, Row, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

SWEEP_RUN = "QEXP_SWEEP_RUN_ID"  # environment: the parent of the collection runs of this process
EXPERIMENT = "qexp"
BATCH = 100  # params in one MLflow request
_LIBRARIES = ("qdrant-edge-py", "qdrant-client", "mlflow", "hydra-core", "datasets", "numpy", "scipy", "pyarrow")


def connect() -> tuple["MlflowClient", str]:
    """Return a client of the tracking store, and the id of the experiment.

    `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME` and `MLFLOW_EXPERIMENT_ID` are respected. Raises ConfigError if
    the store cannot be used.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        if os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return client, os.environ["MLFLOW_EXPERIMENT_ID"]
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = client.get_experiment_by_name(name)
        return client, found.experiment_id if found else client.create_experiment(name)
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"MLFLOW_TRACKING_URI={mlflow.get_tracking_uri()}: cannot be used: {reason}") from error


def start_run(client: "MlflowClient", experiment_id: str, name: str, level: str, tags: dict[str, str]) -> str:
    """Start a run at a level below `qexp.sweep` or `mlflow.parentRunId`, and return its id."""
    run = client.create_run(
        experiment_id,
        run_name=name,
        tags={
            "mlflow.user": getpass.getuser(),
            "mlflow.source.name": "qexp",
            "mlflow.source.type": "LOCAL",
            "qexp.level": level,
            "qexp.version": __version__,
            **tags,
        },
    )
    return str(run.info.run_id)


@contextmanager
def collection_run(config: ExperimentConfig, overrides: list[str]) -> Iterator[Callable[[Experiment], None]]:
    """Keep a collection run while the experiment is measured; call what it yields to record the result.

    The run ends as FINISHED, as FAILED with the message as tag `qexp.error`, or as KILLED when interrupted.
    """
    client, experiment_id = connect()
    sweep = os.environ.get(SWEEP_RUN)
    tags = {"qexp.config_hash": config.hash, "qexp.reproduce": shlex.join(["qexp", *overrides]), **_git_tags()}
    if sweep:
        tags |= {"mlflow.parentRunId": sweep, "qexp.sweep": sweep}
    name = f"{config.dataset.title} {config.quantization.name}"
    run_id = start_run(client, experiment_id, name, "collection", tags)
    _log_batches(client, run_id, params=config.flat())
    client.log_text(run_id, json.dumps(config.flat(), indent=1), "config.json")
    client.log_dict(run_id, environment(), "environment.json")
    try:
        yield lambda experiment: _record(client, experiment_id, run_id, config, tags, experiment)
    except KeyboardInterrupt:
        client.set_terminated(run_id, "KILLED")
        raise
    except BaseException as error:
        client.set_tag(run_id, "qexp.error", str(error) if isinstance(error, QexpError) else repr(error))
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _record(
    client: "MlflowClient",
    experiment_id: str,
    run_id: str,
    config: ExperimentConfig,
    tags: dict[str, str],
    experiment: Experiment,
) -> None:
    rows = experiment_rows(config, experiment)
    _log_batches(client, run_id, metrics=collection_metrics(experiment))
    _log_dataset(client, run_id, experiment)
    with tempfile.TemporaryDirectory() as folder:
        client.log_artifact(run_id, str(_write_latencies(experiment, Path(folder) / "latencies.parquet")))
        for file in write_sizing(experiment, title(experiment), Path(folder)):
            client.log_artifact(run_id, str(file))
    client.set_tag(run_id, "mlflow.note.content", markdown(rows, title(experiment)))
    for trial in experiment.trials:
        row = trial_row(config, experiment, trial)
        trial_id = start_run(
            client,
            experiment_id,
            f"{config.quantization.name} {trial.point.title}",
            "trial",
            {key: value for key, value in tags.items() if key.startswith("qexp.")} | {"mlflow.parentRunId": run_id},
        )
        _log_batches(client, trial_id, params=row.params, metrics=row.metrics)
        client.set_terminated(trial_id, "FINISHED")


def title(experiment: Experiment) -> str:
    """Return one line that says what was measured."""
    facts = experiment.dataset
    return (
        f"{facts.title}: {facts.points:,} points of {facts.size} dimensions ({facts.distance}), "
        f"{facts.queries:,} queries, {experiment.latencies.shape[1]} rounds"
    )


def experiment_rows(config: ExperimentConfig, experiment: Experiment) -> list[Row]:
    """Return the comparison of one job: the baseline's row, then every trial's."""
    trials = [trial_row(config, experiment, trial) for trial in experiment.trials]
    return [baseline_row(trials[0].params, collection_metrics(experiment)), *trials]


def trial_row(config: ExperimentConfig, experiment: Experiment, trial: Trial) -> Row:
    """Return a trial's parameters and metrics under their public names; unknown metrics are left out."""
    point = trial.point
    params = {
        "dataset": experiment.dataset.title,
        "embedding_size": str(experiment.dataset.size),
        "quantization": config.quantization.name,
        "storage": config.storage.name,
        "engine": config.engine.name,
        "rescore": str(point.rescore).lower(),
        "oversampling": f"{point.oversampling:g}",
        "hnsw_ef": "default" if point.hnsw_ef is None else str(point.hnsw_ef),
        "limit": str(point.limit),
    }
    return Row(
        params,
        _known(
            latency_mean_ms=trial.latency.mean,
            latency_p50_ms=trial.latency.p50,
            latency_p95_ms=trial.latency.p95,
            latency_p99_ms=trial.latency.p99,
            qps=trial.latency.qps,
            accuracy_retention=trial.accuracy.retention,
            recall=trial.accuracy.recall,
            recall_worst_decile=trial.accuracy.recall_worst_decile,
            ndcg=trial.accuracy.ndcg,
            speedup_mean=trial.speedup_mean.estimate,
            speedup_mean_low=trial.speedup_mean.low,
            speedup_mean_high=trial.speedup_mean.high,
            speedup_p95=trial.speedup_p95.estimate if trial.speedup_p95 else None,
            speedup_p95_low=trial.speedup_p95.low if trial.speedup_p95 else None,
            speedup_p95_high=trial.speedup_p95.high if trial.speedup_p95 else None,
            ram_estimated_mib=experiment.quantized.ram.ram / MIB,
            ram_measured_mib=_memory_mib(experiment.quantized),
            compression_ratio=experiment.compression_ratio,
        )
        | cost_metrics(experiment.cost)
        | floor_metrics(experiment, config.quantization.name, point)
        | half_metrics(trial.halves),
    )


def half_metrics(halves: tuple[Half, Half]) -> dict[str, float]:
    """Return the metrics of the half that chooses (`_a`) and of the half that confirms (`_b`), with intervals."""
    metrics = {}
    for half, suffix in zip(halves, "ab", strict=True):
        for name, interval in {
            "accuracy_retention": half.retention,
            "recall": half.recall,
            "latency_p95_ms": half.latency_p95,
        }.items():
            if interval is not None:
                metrics[f"{name}_{suffix}"] = interval.estimate
                metrics[f"{name}_{suffix}_low"] = interval.low
                metrics[f"{name}_{suffix}_high"] = interval.high
    return metrics


def collection_metrics(experiment: Experiment) -> dict[str, float]:
    """Return a collection's metrics under their public names; those of the baseline are of its first hnsw_ef."""
    build, base = experiment.quantized.build, experiment.baselines[0]
    bare = experiment.baseline_collection
    metrics = _known(
        upload_seconds=build.upload_seconds,
        index_seconds=build.index_seconds,
        points_per_second=build.points_per_second,
        disk_mib=sum(build.state.files.values()) / MIB,
        compression_ratio=experiment.compression_ratio,
        ram_estimated_mib=experiment.quantized.ram.ram / MIB,
        ram_resident_mib=experiment.quantized.ram.resident / MIB,
        ram_measured_mib=_memory_mib(experiment.quantized),
        baseline_latency_mean_ms=base.latency.mean,
        baseline_latency_p95_ms=base.latency.p95,
        baseline_recall=base.accuracy.recall,
        baseline_ndcg=base.accuracy.ndcg,
        baseline_ram_estimated_mib=bare.ram.ram / MIB,
        baseline_ram_measured_mib=_memory_mib(bare),
        baseline_ram_cost_usd_month=experiment.cost.baseline_usd_month,
        aa_speedup_mean=base.control.estimate,
        aa_speedup_low=base.control.low,
        aa_speedup_high=base.control.high,
    )
    metrics |= memory_metrics(experiment.quantized)
    metrics |= {f"baseline_{name}": value for name, value in memory_metrics(bare).items()}
    metrics |= floor_metrics(experiment, "none", base.point, "baseline_")
    for name, size in build.state.files.items():
        metrics[f"{name.replace(' ', '_')}_disk_mib"] = size / MIB
    return metrics | {f"baseline_{name}": value for name, value in half_metrics(base.halves).items()}


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


def environment() -> dict[str, Any]:
    """Return the machine and the versions of what ran on it."""
    import psutil

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": os.getloadavg(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git_tags() -> dict[str, str]:
    """Return the commit of the checkout that qexp runs from; nothing when it is installed."""
    checkout = packaged("conf").parent
    if not (checkout / ".git").exists():
        return {}
    found = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    return {"qexp.git_sha": found.stdout.strip()} if found.returncode == 0 else {}


def _memory_mib(collection: Collection) -> float | None:
    return collection.memory.total / MIB if collection.memory else None


def _known(**metrics: float | None) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _log_batches(
    client: "MlflowClient",
    run_id: str,
    params: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    entities = [Param(key, str(value)) for key, value in (params or {}).items()]
    values = [Metric(key, value, now, 0) for key, value in (metrics or {}).items()]
    client.log_batch(run_id, metrics=values, params=entities[:BATCH])
    for start in range(BATCH, len(entities), BATCH):
        client.log_batch(run_id, params=entities[start : start + BATCH])


def _log_dataset(client: "MlflowClient", run_id: str, experiment: Experiment) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    facts = experiment.dataset
    entry = Dataset(
        name=facts.title,
        digest=facts.digest,
        source_type="huggingface",
        source=json.dumps({"path": facts.source}),
        schema=json.dumps({"vector": f"float32[{facts.size}]", "distance": facts.distance}),
        profile=json.dumps({"points": facts.points, "queries": facts.queries, "native_size": facts.native_size}),
    )
    client.log_inputs(run_id, [DatasetInput(entry, [InputTag("mlflow.data.context", "benchmark")])])


def _write_latencies(experiment: Experiment, path: Path) -> Path:
    """Write raw latencies: one row per visit, round and query."""
    visits, rounds, queries = experiment.latencies.shape
    visit, turn, query = np.indices((visits, rounds, queries), dtype=np.int32).reshape(3, -1)
    table = pa.table(
        {
            "visit": pa.DictionaryArray.from_arrays(pa.array(visit), pa.array(experiment.visits)),
            "round": turn,
            "query": query,
            "nanoseconds": experiment.latencies.ravel(),
        }
    )
    pq.write_table(table, path, compression="zstd")
    return path
