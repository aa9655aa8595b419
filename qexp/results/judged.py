"""What may be said of what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qexp.results.collection import Collection
from qexp.results.footprint import Cliff, Cost
from qexp.results.values import DatasetFacts, Interval, Nanoseconds, OperatingPoint
from qexp.results.visits import Check, LoadLevel, Reads, Stop

# Half-widths of the A/A control's interval, in units of `search.target_halfwidth`, beyond which it says too little
CONTROL_TOO_WIDE = 2.0
GOOD_BASELINE = 0.9  # recall below which a baseline is no yardstick


@dataclass(frozen=True)
class LatencyStats:
    """Client latencies in milliseconds over all samples; a percentile without enough samples is None."""

    mean: float
    p50: float
    p95: float | None
    p99: float | None

    @property
    def qps(self) -> float:
        """Queries per second of one client that sends the next query when the last one is answered."""
        return 1000.0 / self.mean

    def metrics(self, prefix: str = "") -> dict[str, float | None]:
        """Return mean and percentiles as metrics, under names that start with `prefix`."""
        return {
            f"{prefix}latency_mean_ms": self.mean,
            f"{prefix}latency_p50_ms": self.p50,
            f"{prefix}latency_p95_ms": self.p95,
            f"{prefix}latency_p99_ms": self.p99,
        }


@dataclass(frozen=True)
class Accuracy:
    """Means over queries, and over builds of the collection, each in 0..1.

    `ndcg` and `mrr` (reciprocal rank) where the dataset has labels. `zero_overlap` counts queries none of whose
    results are the baseline's, a mean over builds too. `retention_build_sd` and `recall_build_sd` are standard
    deviations between builds, None with one build; intervals hold them then too.
    """

    retention: Interval
    recall: Interval
    recall_worst_decile: float
    ndcg: float | None = None
    mrr: float | None = None
    zero_overlap: float = 0.0
    builds: int = 1
    retention_build_sd: float | None = None
    recall_build_sd: float | None = None


@dataclass(frozen=True)
class Loss:
    """Where recall is lost between exact search (1.0) and a trial, as recall at each step.

    `floats`: HNSW over original vectors, the baseline. `code_graph`: HNSW that was built with codes, searched over
    original vectors. `codes`: the same searched by codes alone. `trial`: the operating point itself.
    """

    floats: float
    code_graph: float
    codes: float
    trial: float

    @property
    def hnsw(self) -> float:
        """Lost by searching a graph instead of everything: raise hnsw_ef, m or ef_construct."""
        return _difference(1.0, self.floats)

    @property
    def graph(self) -> float:
        """Lost because the graph was built with codes."""
        return _difference(self.floats, self.code_graph)

    @property
    def coding(self) -> float:
        """Lost by comparing codes: use more bits."""
        return _difference(self.code_graph, self.codes)

    @property
    def rescoring(self) -> float:
        """Won back by oversampling and rescoring."""
        return _difference(self.trial, self.codes)


@dataclass(frozen=True)
class Load:
    """One operating point under load.

    `latency` is pooled over all clients, from the intended start of each query; None where queries arrived faster
    than they were served, because waiting then has no end. `speedup` over the baseline under the same load is one of
    throughput for clients without pause, of mean latency at a fixed rate. `raw` are the nanoseconds of every round.
    """

    role: str
    point: OperatingPoint
    level: LoadLevel
    qps: float
    latency: LatencyStats | None
    speedup: Interval | None = None
    raw: tuple[Nanoseconds, ...] = ()

    @property
    def saturated(self) -> bool:
        """Whether queries arrived faster than they were served."""
        return self.latency is None


@dataclass(frozen=True)
class Cold:
    """An operating point whose pages were dropped before every block: no warm-up, first touches timed."""

    latency: LatencyStats
    first: float
    speedup: Interval | None
    reads: Reads
    queries: int


@dataclass(frozen=True)
class Half:
    """What one half of the queries says on its own; P95 in milliseconds."""

    retention: Interval
    recall: Interval
    latency_p95: Interval | None


@dataclass(frozen=True)
class Trial:
    """One operating point on one collection, measured against the baseline; `halves` choose and confirm."""

    point: OperatingPoint
    latency: LatencyStats
    accuracy: Accuracy
    speedup_mean: Interval
    speedup_p50: Interval
    speedup_p95: Interval | None
    halves: tuple[Half, Half]
    loss: Loss | None = None
    cold: Cold | None = None
    server: LatencyStats | None = None


@dataclass(frozen=True)
class Baseline:
    """The unquantized collection at one `hnsw_ef`, and its speedup over itself, the A/A control of each statistic.

    `control` is that of the mean, which tells whether a run is noisy.
    """

    point: OperatingPoint
    latency: LatencyStats
    accuracy: Accuracy
    control: Interval
    control_p50: Interval
    control_p95: Interval | None
    halves: tuple[Half, Half]
    cold: Cold | None = None
    server: LatencyStats | None = None


@dataclass(frozen=True)
class Finding:
    """What a job found out beside its trials: one sentence, and metrics under their public names."""

    sentence: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Experiment:
    """Everything one job found out; `engine` is its name and version.

    `latencies` and `cold_latencies` are raw: nanoseconds [round, query] of warm and of cold visits, by title.
    """

    dataset: DatasetFacts
    quantized: Collection
    baseline_collection: Collection
    baselines: tuple[Baseline, ...]
    trials: tuple[Trial, ...]
    cost: Cost
    latencies: Mapping[str, Nanoseconds]
    stop: Stop
    warnings: tuple[str, ...] = ()
    cliff: Cliff | None = None
    findings: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    loads: tuple[Load, ...] = ()
    engine: str = ""
    cold_latencies: Mapping[str, Nanoseconds] = field(default_factory=dict)

    @property
    def noisy(self) -> bool:
        """Whether the baseline was told from itself: the machine was not steady enough for these rounds."""
        return any(base.control.distinguishable for base in self.baselines)

    @property
    def compression_ratio(self) -> float | None:
        """Bytes of the original vectors over bytes of the codes, as stored; None if the engine does not tell."""
        files = self.quantized.build.state.files
        if not files:
            return None
        return files["vectors"] / files["codes"] if files.get("codes") else 1.0


def _difference(more: float, less: float) -> float:
    """Return 0 for two shares that only the rounding of their means tells apart."""
    return round(more - less, 12)
