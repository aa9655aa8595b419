"""What a collection is, what it needs, and what the engine says it built."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from qexp.results.footprint import Comparison, ProcessMemory
from qexp.results.values import shard_kib, vector_bytes

PAYLOAD_INDEXES = "payload indexes"  # a component that is there where `dataset.payload_indexes` asks for it


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

    @property
    def title(self) -> str:
        """What lines of progress and checks call it: its method, or that it is the baseline."""
        return self.method if self.quantization else "baseline"

    @property
    def home(self) -> str:
        """Where it is kept: on the `server`, or in the `cache`."""
        return "server" if self.engine.startswith("server") else "cache"

    @property
    def vector_bytes(self) -> int:
        """Bytes of one original vector."""
        return vector_bytes(self.size, self.datatype, self.distance)

    @property
    def segment_kib(self) -> int:
        """KiB of vectors of one segment, which Qdrant compares with its thresholds."""
        return shard_kib(self.points, self.shards * self.segments, self.size, self.datatype, self.distance)

    def unquantized(self) -> "CollectionSpec":
        """Return the baseline's spec: no quantization, otherwise the same."""
        return replace(self, quantization=None, method="none", quantized="")


@dataclass(frozen=True)
class Component:
    """Bytes of one part of a collection in RAM (`bytes`) and in files, and what searching asks of them.

    `need` is `resident` (pinned, never paged out), `hot` (read on every search: slow unless cached) or `disk`; `guide`
    are the bytes in RAM by Qdrant's capacity planning guide (0: it says nothing), `spare` those that files have ahead
    of what is in them.
    """

    name: str
    bytes: int
    need: str
    disk: int
    guide: int
    spare: int = 0


@dataclass(frozen=True)
class RamEstimate:
    """Predicted components of a collection."""

    components: tuple[Component, ...]

    @property
    def resident(self) -> int:
        """Bytes that are in RAM whatever happens."""
        return sum(part.bytes for part in self.components if part.need == "resident")

    @property
    def ram(self) -> int:
        """Bytes of RAM with which no search waits for the disk, but for rescoring vectors that are stored cold."""
        return sum(part.bytes for part in self.components if part.need != "disk")

    @property
    def disk(self) -> int:
        """Bytes of all files."""
        return sum(part.disk for part in self.components)


@dataclass(frozen=True)
class CollectionState:
    """What the engine says it built; `files` are bytes by component, by the names of those predicted, and other.

    It is `idle` if nothing is under way and all of it takes part. `unasked` are settings of the graph that no spec
    asks for. A server may not tell: `segments` is None then, and `files` empty.
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
    idle: bool = True
    unasked: dict[str, Any] = field(default_factory=dict)


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
        """Bytes in RAM of what searching wants there: no pages of what may stay on disk, no working memory.

        None where it is not known, or where few queries have not walked through all that others would.
        """
        wanted = [part for part in self.comparisons if part.need != "disk" and part.predicted]
        known = [part.resident for part in wanted if part.resident is not None and not part.half_read]
        return sum(known) if known and len(known) == len(wanted) else None

    @property
    def file_bytes(self) -> int:
        """Bytes of the files of components, without what the engine preallocates."""
        parts = [part for part in self.comparisons if part.predicted_file]
        return sum(max(0, (part.file or 0) - part.spare) for part in parts)
