"""Rows made by hand, for the tests of the report."""

from qexp.report.record import CollectionRecord
from qexp.results import Row


def row(
    quantization: str,
    oversampling: float | None = None,
    accuracy: float = 0.97,
    p95: float = 1.0,
    cost: float = 1.0,
    spread: float = 0.0,
    second: float | None = None,
    ram: float | None = None,
    **params: str,
) -> Row:
    """Return a trial; `oversampling` None is no rescoring, `second` the accuracy of the second half of the queries."""
    second = accuracy if second is None else second
    metrics = {
        "accuracy_retention": (accuracy + second) / 2,
        "recall": (accuracy + second) / 2,
        "latency_mean_ms": p95 * 0.9,
        "latency_p95_ms": p95,
        "ram_cost_usd_month": cost,
        "ram_estimated_mib": cost * 100 if ram is None else ram,
        "savings_usd_month": 10 - cost,
        "compression_ratio": 4.0,
        "speedup_mean": 2 / p95,
        "speedup_mean_low": 1.98 / p95,
        "speedup_mean_high": 2.02 / p95,
    }
    for half, value in (("a", accuracy), ("b", second)):
        for name in ("accuracy_retention", "recall"):
            metrics |= {
                f"{name}_{half}": value,
                f"{name}_{half}_low": max(0.0, value - spread),
                f"{name}_{half}_high": min(1.0, value + spread),
            }
        metrics |= {
            f"latency_p95_ms_{half}": p95,
            f"latency_p95_ms_{half}_low": p95 * 0.99,
            f"latency_p95_ms_{half}_high": p95 * 1.01,
        }
    rescore = {"rescore": str(oversampling is not None).lower(), "oversampling": f"{oversampling or 1:g}"}
    return Row(_params(quantization) | rescore | params, metrics)


def baseline(p95: float = 2.0, cost: float = 10.0, noise: float = 0.01, **params: str) -> Row:
    """Return a baseline's row, which starts a job's rows; `noise` is the half width of its P95."""
    metrics = row("none", accuracy=1.0, p95=p95, cost=cost).metrics
    gone = ("savings_usd_month", "compression_ratio", "accuracy_retention")
    kept = {name: value for name, value in metrics.items() if name not in gone}
    control = {"speedup_mean": 1.0, "speedup_mean_low": 0.98, "speedup_mean_high": 1.02}
    for half in "ab":
        kept |= {f"latency_p95_ms_{half}_low": p95 * (1 - noise), f"latency_p95_ms_{half}_high": p95 * (1 + noise)}
    return Row(_params("baseline (A/A)") | {"role": "baseline"} | params, kept | control)


def _params(quantization: str) -> dict[str, str]:
    return {
        "dataset": "words",
        "embedding_size": "64",
        "quantization": quantization,
        "storage": "on_disk",
        "engine": "edge",
        "hnsw_ef": "default",
        "limit": "10",
    }


def job(name: str, *rows: Row, vectors: str = "cold") -> CollectionRecord:
    """Return a job of these rows."""
    config = {
        "quantization.name": name,
        "storage.name": "on_disk",
        "storage.vectors": vectors,
        "search.target_halfwidth": 0.05,
        "search.rounds": 5,
    }
    metrics = {"codes_predicted_mib": 10.0, "compression_ratio": 4.0}
    return CollectionRecord("", config, metrics, {}, {"points": 1000, "size": 64}, {}, tuple(rows))


TABLE = [
    baseline(cost=10),
    row("scalar", accuracy=0.9, p95=0.4, cost=4),
    row("scalar", 2, accuracy=0.97, p95=0.5, cost=4),
    row("binary", accuracy=0.5, p95=0.1, cost=2, ram=400),
    row("binary", 4, accuracy=0.96, p95=2.2, cost=2, ram=400),
    row("turbo", accuracy=0.96, p95=1.0, cost=5),
    row("product", 2, accuracy=0.6, p95=1.0, cost=1),
]
