"""Public names of the figures that say how far a trial can be trusted, and how it does cold and under load."""

from qexp.results import Cold, Load, Trial


def trust_metrics(trial: Trial) -> dict[str, float | None]:
    """Return the intervals of a trial, how its loss splits up, and its cold latency, under their public names."""
    accuracy, loss = trial.accuracy, trial.loss
    metrics: dict[str, float | None] = {
        **trial.speedup_mean.metrics("speedup_mean"),
        **trial.speedup_p50.metrics("speedup_p50"),
        **(trial.speedup_p95.metrics("speedup_p95") if trial.speedup_p95 else {}),
        **accuracy.retention.metrics("accuracy_retention"),
        **accuracy.recall.metrics("recall"),
        "zero_overlap_queries": accuracy.zero_overlap,
        "builds": accuracy.builds,
        "accuracy_retention_build_sd": accuracy.retention_build_sd,
        "recall_build_sd": accuracy.recall_build_sd,
    }
    if loss is not None:
        metrics |= {
            "loss_hnsw": loss.hnsw,
            "loss_code_graph": loss.graph,
            "loss_codes": loss.coding,
            "gain_rescoring": loss.rescoring,
        }
    return metrics | cold_metrics(trial.cold, "cold")


def cold_metrics(cold: Cold | None, prefix: str) -> dict[str, float | None]:
    """Return what was measured with pages dropped, under names that start with `prefix`; nothing if it was not."""
    if cold is None:
        return {}
    metrics: dict[str, float | None] = {
        f"{prefix}_latency_mean_ms": cold.latency.mean,
        f"{prefix}_latency_p95_ms": cold.latency.p95,
        f"{prefix}_first_query_ms": cold.first,
        f"{prefix}_major_faults_per_query": cold.reads.major_faults / cold.queries,
        f"{prefix}_read_bytes_per_query": cold.reads.bytes / cold.queries if cold.reads.bytes is not None else None,
    }
    if cold.speedup is not None:
        metrics |= cold.speedup.metrics(f"{prefix}_speedup_mean")
    return metrics


def load_metrics(load: Load) -> dict[str, float | None]:
    """Return throughput and latency under load; no latency where it was saturated."""
    return {
        "qps": load.qps,
        "saturated": float(load.saturated),
        **(load.latency.metrics() if load.latency else {}),
        **(load.speedup.metrics("speedup_mean") if load.speedup else {}),
    }
