"""Figures under their public names; one that is not known is None."""

from qexp.results import MIB, Cold, Collection, Half, Load, OperatingPoint, Trial
from qexp.results.footprint import Cliff, Cost

Metrics = dict[str, float | None]


def trust_metrics(trial: Trial) -> Metrics:
    """Return the intervals of a trial, how its loss splits up, and its cold latency, under their public names."""
    accuracy, loss = trial.accuracy, trial.loss
    metrics: Metrics = {
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


def cold_metrics(cold: Cold | None, prefix: str) -> Metrics:
    """Return what was measured with pages dropped, under names that start with `prefix`; nothing if it was not."""
    if cold is None:
        return {}
    metrics: Metrics = {
        f"{prefix}_latency_mean_ms": cold.latency.mean,
        f"{prefix}_latency_p95_ms": cold.latency.p95,
        f"{prefix}_first_query_ms": cold.first,
        f"{prefix}_major_faults_per_query": cold.reads.major_faults / cold.queries,
        f"{prefix}_read_bytes_per_query": cold.reads.bytes / cold.queries if cold.reads.bytes is not None else None,
    }
    if cold.speedup is not None:
        metrics |= cold.speedup.metrics(f"{prefix}_speedup_mean")
    return metrics


def load_metrics(load: Load) -> Metrics:
    """Return throughput and latency under load; no latency where it was saturated."""
    return {
        "qps": load.qps,
        "saturated": float(load.saturated),
        **(load.latency.metrics() if load.latency else {}),
        **(load.speedup.metrics("speedup_mean") if load.speedup else {}),
    }


def half_metrics(halves: tuple[Half, Half]) -> Metrics:
    """Return the metrics of the half that chooses (`_a`) and of the half that confirms (`_b`), with intervals."""
    metrics: Metrics = {}
    for half, suffix in zip(halves, "ab", strict=True):
        metrics |= half.retention.metrics(f"accuracy_retention_{suffix}") | half.recall.metrics(f"recall_{suffix}")
        if half.latency_p95 is not None:
            metrics |= half.latency_p95.metrics(f"latency_p95_ms_{suffix}")
    return metrics


def memory_metrics(collection: Collection) -> Metrics:
    """Return predicted and measured memory by component, and the process's own."""
    found: Metrics = {}
    for part in collection.comparisons:
        name = part.name.replace(" ", "_")
        sizes = {
            "predicted": part.predicted or None,
            "guide": part.guide or None,
            "loaded": part.loaded,
            "warm": part.warm,
            "resident": part.resident,
        }
        found |= {f"{name}_{kind}_mib": size / MIB for kind, size in sizes.items() if size is not None}
        found[f"{name}_ram_off_percent"] = part.ram_disagreement
        found[f"{name}_file_off_percent"] = part.file_disagreement
    found["ram_hot_measured_mib"] = None if collection.hot_bytes is None else collection.hot_bytes / MIB
    process = collection.memory.process if collection.memory else None
    if process:
        kinds = ("anonymous", "file", "shared", "peak")
        found |= {f"process_{kind}_mib": getattr(process, kind) / MIB for kind in kinds}
        found |= {"process_major_faults": process.major, "process_minor_faults": process.minor}
    return found


def cost_metrics(cost: Cost) -> Metrics:
    """Return the bill, by prediction, by measured bytes, and by the published formula."""
    return {
        "ram_cost_usd_month": cost.predicted.ram_usd_month,
        "disk_cost_usd_month": cost.predicted.disk_usd_month,
        "savings_usd_month": cost.savings_usd_month,
        "savings_usd_year": cost.savings_usd_year,
        "cost_usd_month_per_million": cost.usd_month_per_million,
        "cost_measured_usd_month": cost.measured.usd_month if cost.measured else None,
        "savings_measured_usd_month": cost.measured_savings_usd_month,
        "cost_theory_usd_month": cost.theory,
        "savings_theory_usd_month": cost.theory_savings_usd_month,
    }


def floor_metrics(cliff: Cliff | None, method: str, point: OperatingPoint) -> Metrics:
    """Return the smallest memory cap that a configuration stands, and the largest that it does not."""
    if cliff is None:
        return {}
    caps = {"ram_floor_mib": cliff.floor(method, point.title), "ram_fallen_mib": cliff.fallen(method, point.title)}
    return {name: cap / MIB for name, cap in caps.items() if cap}
