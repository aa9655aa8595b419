"""Typed records that the stages hand on; facts are stored, ratios are properties."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.footprint import Cliff, Comparison, Cost, ProcessMemory

MIB = 2**20

Ids = NDArray[np.int64]
Nanoseconds = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    estimate: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval of a ratio excludes 1."""
        return not self.low <= 1.0 <= self.high

    @property
    def halfwidth(self) -> float:
        """How far a ratio's interval reaches to either side, as a share: 0.05 is ± 5 %."""
        return math.sqrt(self.high / self.low) - 1.0

    def widened(self, factor: float) -> "Interval":
        """Return a ratio's interval reaching `factor` times further to either side."""
        return Interval(self.estimate, self.low / factor, self.high * factor)


@dataclass(frozen=True)
class OperatingPoint:
    """Search parameters: `limit` results, `hnsw_ef` candidates (None: the collection's), rescoring, oversampling.

    With `ignore` the search of a quantized collection leaves the codes alone and compares original vectors; with
    `exact` it scans all of them instead of the index.
    """

    limit: int
    hnsw_ef: int | None = None
    rescore: bool = False
    oversampling: float = 1.0
    ignore: bool = False
    exact: bool = False

    @property
    def title(self) -> str:
        """A short name: `no rescore`, `rescore 3×`, with `ef 128` where it is set."""
        title = f"rescore {self.oversampling:g}×" if self.rescore else "no rescore"
        return title if self.hnsw_ef is None else f"{title}, ef {self.hnsw_ef}"


@dataclass(frozen=True)
class CollectionSpec:
    """Everything that determines a collection; equal specs are the same collection.

    `build` tells several builds of one collection apart: they return different results.
    """

    dataset: str
    digest: str
    points: int
    size: int
    distance: str
    datatype: str
    quantization: dict[str, Any] | None
    method: str
    vectors: str
    quantized: str
    hnsw: str
    m: int
    ef_construct: int
    full_scan_threshold: int
    segments: int
    engine: str
    build: int = 0
    payload_indexes: dict[str, str] = field(default_factory=dict)
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1

    @property
    def name(self) -> str:
        """A readable name that ends in a digest of the whole spec."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.dataset}-{self.size}-{self.method}-{digest}"

    def unquantized(self) -> "CollectionSpec":
        """Return the baseline's spec: no quantization, otherwise the same."""
        return replace(self, quantization=None, method="none", quantized="")


class Search(NamedTuple):
    """A search in three parts, so that only `call` is timed.

    `prepare` turns a query vector into a request, `call` sends it, `ids` reads the row numbers off the response,
    `scores` what they scored, best first; None if this search cannot say. `server_seconds` reads the time that the
    server says it took, where there is a server.
    """

    prepare: Callable[[list[float]], Any]
    call: Callable[[Any], Any]
    ids: Callable[[Any], list[int]]
    scores: Callable[[Any], list[float]] | None = None
    server_seconds: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class LatencyStats:
    """Client latencies in milliseconds over all samples; a percentile without enough samples is None."""

    mean: float
    p50: float
    p95: float | None
    p99: float | None
    samples: int

    @property
    def qps(self) -> float:
        """Queries per second of one client that sends the next query when the last one is answered."""
        return 1000.0 / self.mean


@dataclass(frozen=True)
class Accuracy:
    """Means over queries, and over builds of the collection, each in 0..1.

    `ndcg` and `mrr` (reciprocal rank) where the dataset has labels. `zero_overlap` counts queries none of whose
    results are the baseline's. `recall_build_sd` is the standard deviation of recall between builds, None with one
    build; intervals hold it then too.
    """

    retention: float
    recall: float
    recall_worst_decile: float
    ndcg: float | None = None
    mrr: float | None = None
    retention_interval: Interval | None = None
    recall_interval: Interval | None = None
    zero_overlap: int = 0
    builds: int = 1
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
        return 1.0 - self.floats

    @property
    def graph(self) -> float:
        """Lost because the graph was built with codes."""
        return self.floats - self.code_graph

    @property
    def coding(self) -> float:
        """Lost by comparing codes: use more bits."""
        return self.code_graph - self.codes

    @property
    def rescoring(self) -> float:
        """Won back by oversampling and rescoring."""
        return self.trial - self.codes


@dataclass(frozen=True)
class Component:
    """Bytes of one part of a collection in RAM (`bytes`) and in files, and what searching asks of them.

    `need` is `resident` (pinned, never paged out), `hot` (read on every search: slow unless cached) or `disk`; `guide`
    are the bytes in RAM by Qdrant's capacity planning guide.
    """

    name: str
    bytes: int
    need: str
    disk: int
    guide: int


@dataclass(frozen=True)
class RamEstimate:
    """Predicted components of a collection."""

    components: tuple[Component, ...]

    def total(self, *needs: str) -> int:
        """Return the bytes of the components with one of these needs."""
        return sum(part.bytes for part in self.components if part.need in needs)

    @property
    def resident(self) -> int:
        """Bytes that are in RAM whatever happens."""
        return self.total("resident")

    @property
    def ram(self) -> int:
        """Bytes of RAM with which no search waits for the disk, but for rescoring vectors that are stored cold."""
        return self.total("resident", "hot")

    @property
    def disk(self) -> int:
        """Bytes of all files."""
        return sum(part.disk for part in self.components)


@dataclass(frozen=True)
class CollectionState:
    """What the engine says it built; `files` are bytes by component: vectors, codes, graph, id tracker, other.

    A server may not tell: `segments` is None then, and `files` empty.
    """

    points: int
    indexed_vectors: int
    segments: int | None
    size: int
    distance: str
    datatype: str
    m: int
    ef_construct: int
    full_scan_threshold: int
    quantization: dict[str, Any] | None
    placements: dict[str, str | None]
    files: dict[str, int]
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1


@dataclass(frozen=True)
class Build:
    """How a collection came to be: seconds of upload and of indexing; `reused` if it was already there.

    The seconds are None where nobody has kept them: a reused collection on a server without metadata.
    """

    upload_seconds: float | None
    index_seconds: float | None
    state: CollectionState
    reused: bool = False

    @property
    def points_per_second(self) -> float | None:
        """Points uploaded per second, indexing not included."""
        return self.state.points / self.upload_seconds if self.upload_seconds else None


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in RAM: of mapped files by component, and of the heap that came with loading the collection.

    `heap_parts` is the heap by component, where the engine knows; `process` is the whole process, where there is one.
    """

    mapped: dict[str, int]
    heap: int
    process: ProcessMemory | None = None
    heap_parts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.mapped.values()) + self.heap


class Reads(NamedTuple):
    """Page faults that waited for the disk, and bytes read from it (None where the system does not say)."""

    major_faults: int = 0
    bytes: int | None = None

    def minus(self, earlier: "Reads") -> "Reads":
        """Return what was read since an earlier count."""
        known = self.bytes is not None and earlier.bytes is not None
        return Reads(
            self.major_faults - earlier.major_faults, (self.bytes or 0) - (earlier.bytes or 0) if known else None
        )

    def plus(self, other: "Reads") -> "Reads":
        """Return the sum."""
        known = self.bytes is not None and other.bytes is not None
        total = (self.bytes or 0) + (other.bytes or 0)
        return Reads(self.major_faults + other.major_faults, total if known else None)


NO_READS = Reads()


@dataclass(frozen=True)
class Block:
    """One visit to an operating point: nanoseconds per query, and results (row numbers, -1 where none) if asked for.

    `reads` counts what the timed queries took from disk, `server` are the nanoseconds that the server says each took;
    None without a server.
    """

    latencies: Nanoseconds
    ids: Ids | None = None
    reads: Reads = NO_READS
    server: Nanoseconds | None = None


@dataclass(frozen=True)
class Measurement:
    """All visits to one operating point: latencies [round, query] in nanoseconds, results [query, limit].

    `server` is the server's share of the latencies; None without a server.
    """

    latencies: Nanoseconds
    ids: Ids
    reads: Reads = NO_READS
    server: Nanoseconds | None = None


class Visit(NamedTuple):
    """Who is visited in a round: an operating point in the `role` of baseline, control (the same again) or trial."""

    role: str
    point: OperatingPoint

    @property
    def title(self) -> str:
        """The name under which raw latencies are kept."""
        return f"{self.role}: {self.point.title}"


@dataclass(frozen=True)
class Stop:
    """Why the rounds ended: their number, and the widest half-width of a speedup's interval against its target."""

    rounds: int
    halfwidth: float
    target: float
    seconds: float

    @property
    def reached(self) -> bool:
        """Whether every speedup is known as closely as was asked for."""
        return self.halfwidth <= self.target

    def __str__(self) -> str:
        how = f"speedups known to ± {self.halfwidth:.1%} or closer after {self.rounds} rounds ({self.seconds:.0f} s)"
        return how if self.reached else f"{how}; the target of ± {self.target:.1%} was not reached"


@dataclass(frozen=True)
class Check:
    """A trap that was looked for: its id, what was looked at, and whether it `held` or only a `warning` was given."""

    trap: str
    what: str
    verdict: str
    detail: str = ""


class LoadLevel(NamedTuple):
    """A load: `clients` that search without pause, or queries that arrive at `rate` per second, dealt to clients."""

    clients: int
    rate: float | None = None

    @property
    def title(self) -> str:
        """A short name."""
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        return clients if self.rate is None else f"{self.rate:g} queries/s"


class LoadSample(NamedTuple):
    """What one client, or all together, did in one block: nanoseconds per query, seconds, and queries not reached."""

    latencies: Nanoseconds
    seconds: float
    unserved: int


@dataclass(frozen=True)
class Load:
    """One operating point under load.

    `latency` is pooled over all clients, from the intended start of each query; None where queries arrived faster
    than they were served, because waiting then has no end. `speedup` over the baseline under the same load is one of
    throughput for clients without pause, of mean latency at a fixed rate.
    """

    role: str
    point: OperatingPoint
    level: LoadLevel
    qps: float
    latency: LatencyStats | None
    speedup: Interval | None = None

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
class Collection:
    """A collection as measured: its build, predicted RAM, and RAM in use after the last round.

    `comparisons` put both side by side, component by component. `round_trip` is in seconds; None without a server.
    """

    name: str
    build: Build
    ram: RamEstimate
    memory: MemoryUse | None = None
    comparisons: tuple[Comparison, ...] = ()
    round_trip: float | None = None

    @property
    def hot_bytes(self) -> int | None:
        """Bytes in RAM of what searching wants there: no pages of what may stay on disk, no working memory."""
        wanted = [part.resident for part in self.comparisons if part.need != "disk" and part.predicted]
        known = [resident for resident in wanted if resident is not None]
        return sum(known) if known and len(known) == len(wanted) else None

    @property
    def file_bytes(self) -> int:
        """Bytes of the components' files, without what the engine preallocates."""
        return sum(part.file or 0 for part in self.comparisons if part.predicted_file)


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
    speedup_p95: Interval | None
    halves: tuple[Half, Half]
    speedup_p50: Interval | None = None
    loss: Loss | None = None
    cold: Cold | None = None
    server: LatencyStats | None = None


@dataclass(frozen=True)
class Baseline:
    """The unquantized collection at one `hnsw_ef`, and itself again as the A/A control."""

    point: OperatingPoint
    latency: LatencyStats
    accuracy: Accuracy
    control: Interval
    halves: tuple[Half, Half]
    cold: Cold | None = None
    server: LatencyStats | None = None


@dataclass(frozen=True)
class DatasetFacts:
    """What identifies a dataset in a record: its content, not where it lies.

    `digest` is of the points alone, with their payload, `queries_digest` of the queries. `m` and
    `ef_construct` are those of the live collection that it was read from.
    """

    title: str
    digest: str
    queries_digest: str
    points: int
    queries: int
    native_size: int
    size: int
    distance: str
    source: str
    m: int | None = None
    ef_construct: int | None = None


@dataclass(frozen=True)
class Finding:
    """What a job found out beside its trials: one sentence, and metrics under their public names."""

    sentence: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Experiment:
    """Everything one job found out; raw latencies are [visit, round, query] in nanoseconds, named by `visits`."""

    dataset: DatasetFacts
    quantized: Collection
    baseline_collection: Collection
    baselines: tuple[Baseline, ...]
    trials: tuple[Trial, ...]
    cost: Cost
    visits: tuple[str, ...]
    latencies: Nanoseconds
    warnings: tuple[str, ...] = ()
    cliff: Cliff | None = None
    findings: tuple[Finding, ...] = ()
    stop: Stop | None = None
    checks: tuple[Check, ...] = ()
    loads: tuple[Load, ...] = ()

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


@dataclass(frozen=True)
class Row:
    """One line of a comparison, as MLflow holds it: parameters as text, metrics that are known, the trial's run."""

    params: dict[str, str]
    metrics: dict[str, float]
    run_id: str = ""
