"""Typed records that the stages hand on; facts are stored, ratios are properties."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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


@dataclass(frozen=True)
class OperatingPoint:
    """Search parameters: `limit` results, `hnsw_ef` candidates (None: the collection's), rescoring, oversampling."""

    limit: int
    hnsw_ef: int | None = None
    rescore: bool = False
    oversampling: float = 1.0

    @property
    def title(self) -> str:
        """A short name: `no rescore`, `rescore 3×`, with `ef 128` where it is set."""
        title = f"rescore {self.oversampling:g}×" if self.rescore else "no rescore"
        return title if self.hnsw_ef is None else f"{title}, ef {self.hnsw_ef}"


@dataclass(frozen=True)
class CollectionSpec:
    """Everything that determines a collection; equal specs are the same collection."""

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

    `prepare` turns a query vector into a request, `call` sends it, `ids` reads the row numbers off the response.
    """

    prepare: Callable[[list[float]], Any]
    call: Callable[[Any], Any]
    ids: Callable[[Any], list[int]]


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
    """Means over queries, each in 0..1; `ndcg` where the dataset has labels."""

    retention: float
    recall: float
    recall_worst_decile: float
    ndcg: float | None = None


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
    """What the engine says it built; `files` are bytes by component: vectors, codes, graph, id tracker, other."""

    points: int
    indexed_vectors: int
    segments: int
    size: int
    distance: str
    datatype: str
    m: int
    ef_construct: int
    full_scan_threshold: int
    quantization: dict[str, Any] | None
    placements: dict[str, str | None]
    files: dict[str, int]


@dataclass(frozen=True)
class Build:
    """How a collection came to be: seconds of upload and of indexing; `reused` if it was already there."""

    upload_seconds: float
    index_seconds: float
    state: CollectionState
    reused: bool = False

    @property
    def points_per_second(self) -> float:
        """Points uploaded per second, indexing not included."""
        return self.state.points / self.upload_seconds


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in RAM: of mapped files by component, and of the heap that came with loading the collection.

    `process` is the whole process that holds it, where there is one.
    """

    mapped: dict[str, int]
    heap: int
    process: ProcessMemory | None = None

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.mapped.values()) + self.heap


@dataclass(frozen=True)
class Block:
    """One visit to an operating point: nanoseconds per query, and results (row numbers, -1 where none) if asked for."""

    latencies: Nanoseconds
    ids: Ids | None = None


@dataclass(frozen=True)
class Measurement:
    """All visits to one operating point: latencies [round, query] in nanoseconds, results [query, limit]."""

    latencies: Nanoseconds
    ids: Ids


@dataclass(frozen=True)
class Collection:
    """A collection as measured: its build, predicted RAM, and RAM in use after the last round.

    `comparisons` put both side by side, component by component.
    """

    name: str
    build: Build
    ram: RamEstimate
    memory: MemoryUse | None = None
    comparisons: tuple[Comparison, ...] = ()


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


@dataclass(frozen=True)
class Baseline:
    """The unquantized collection at one `hnsw_ef`, and itself again as the A/A control."""

    point: OperatingPoint
    latency: LatencyStats
    accuracy: Accuracy
    control: Interval
    halves: tuple[Half, Half]


@dataclass(frozen=True)
class DatasetFacts:
    """What identifies a dataset in a record: its content, not where it lies; `digest` is of the points alone."""

    title: str
    digest: str
    queries_digest: str
    points: int
    queries: int
    native_size: int
    size: int
    distance: str
    source: str


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

    @property
    def compression_ratio(self) -> float:
        """Bytes of the original vectors over bytes of the codes, both as the engine stored them."""
        files = self.quantized.build.state.files
        return files["vectors"] / files["codes"] if files.get("codes") else 1.0


@dataclass(frozen=True)
class Row:
    """One line of a comparison, as MLflow holds it: parameters as text, metrics that are known."""

    params: dict[str, str]
    metrics: dict[str, float]
