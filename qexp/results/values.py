"""Values that every stage hands on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIB = 2**20
DATATYPE_BITS = {"float32": 32, "float16": 16, "uint8": 8, "turbo16": 16, "turbo8": 8, "turbo4": 4}
# KiB of vectors; Qdrant's default of `indexing_threshold`, "based on experiments and observations" (its API's words)
INDEXED_FROM = 10_000
SEGMENT_KIB = 256_000  # of vectors in a segment for every indexing thread: Qdrant's default of `max_segment_size`

DEFAULT_EF = "default"  # what is recorded of an hnsw_ef that is the collection's
BEYOND = 100  # times: what may be so much faster or slower is not known at all
WIDEST = 10.0  # half-width, as a share: digits of a wider one tell nothing


Ids = NDArray[np.int64]
Nanoseconds = NDArray[np.int64]
Vectors = NDArray[np.float32]


def evenly(count: int, most: int) -> Ids:
    """Return at most `most` of the row numbers below `count`, in order and evenly spread over all of them."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def method_of(quantization: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Return the method of a `quantization_config`, and its parameters; both are empty without one."""
    return next(iter((quantization or {}).items()), ("", {}))


def vector_bytes(size: int, datatype: str, distance: str) -> int:
    """Return the bytes of one original vector of `size` components as a storage of that datatype keeps it.

    Read off the engine's own files (`tests/test_ram.py`): TurboQuant as a datatype keeps 4 bytes of norm beside the
    bits of the components, 8 for Euclid.
    """
    norms = (8 if distance == "euclid" else 4) if datatype.startswith("turbo") else 0
    return math.ceil(size * DATATYPE_BITS[datatype] / 8) + norms


def shard_kib(points: int, shards: int, size: int, datatype: str, distance: str) -> int:
    """Return the KiB of vectors of one of several shards, or of as many segments, all of about the same size."""
    return points // shards * vector_bytes(size, datatype, distance) // 1024


def most_segment_kib(kib: int, segments: int) -> int:
    """Return the `max_segment_size` with which Qdrant makes `segments` in a shard, of about `kib` KiB each.

    Of several no two may fit into one: where as many are there as are asked for, the optimizer indexes two in one if
    it may. A single one has room for twice as much.
    """
    return 2 * kib + 2 if segments == 1 else 3 * kib // 2 + 1


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

    @property
    def ratio(self) -> str:
        """As a ratio is printed: `1.42× (1.35–1.50)`."""
        return f"{self.estimate:.2f}× ({self.ends})"

    @property
    def ends(self) -> str:
        """A ratio's ends as they are printed: `1.35–1.50`."""
        return self.between(2)

    def between(self, digits: int) -> str:
        """Return a ratio's ends with so many decimals: more where an interval that excludes 1 would seem not to.

        Of what is out of all proportion only that it is.
        """
        return f"{self._end(self.low, digits)}–{self._end(self.high, digits)}"

    def _end(self, end: float, digits: int) -> str:
        if end >= BEYOND:
            return f"≥{BEYOND}"
        printed = f"{end:.{digits}f}"
        return self._end(end, digits + 1) if self.distinguishable and float(printed) == 1 != end else printed

    @property
    def share(self) -> str:
        """As a share is printed: `0.972 (0.964–0.980)`."""
        return f"{self.estimate:.3f} ({self.low:.3f}–{self.high:.3f})"

    def widened(self, factor: float) -> "Interval":
        """Return a ratio's interval reaching `factor` times further to either side."""
        return Interval(self.estimate, self.low / factor, self.high * factor)

    def metrics(self, name: str) -> dict[str, float]:
        """Return the estimate and its ends as metrics: `name`, `name_low` and `name_high`."""
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}

    @classmethod
    def of(cls, metrics: Mapping[str, float], name: str) -> "Interval | None":
        """Return what `metrics` recorded; None where one of the three is absent."""
        names = (name, f"{name}_low", f"{name}_high")
        return cls(*(metrics[one] for one in names)) if metrics.keys() >= {*names} else None


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

    @property
    def ef(self) -> str:
        """`hnsw_ef` as it is recorded."""
        return DEFAULT_EF if self.hnsw_ef is None else str(self.hnsw_ef)


@dataclass(frozen=True)
class DatasetFacts:
    """What identifies a dataset in a record: its content, not where it lies.

    `digest` is of the points alone, with their payload, `queries_digest` of the queries. `m`, `ef_construct`,
    `full_scan_threshold` and `payload_indexes` are those of the live collection that it was read from, `revision` the
    commit of the hub's dataset.
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
    full_scan_threshold: int | None = None
    payload_indexes: dict[str, str] = field(default_factory=dict)
    revision: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of a comparison, as MLflow holds it: parameters as text, metrics that are known, the trial's run."""

    params: dict[str, str]
    metrics: dict[str, float]
    run_id: str = ""

    @property
    def baseline(self) -> bool:
        """Whether it is of the unquantized collection."""
        return self.params.get("role") == "baseline"

    @property
    def failed(self) -> bool:
        """Whether it is of a collection that could not be measured."""
        return self.params.get("role") == "failed"

    @property
    def trial(self) -> bool:
        """Whether it is of a trial, and no other row."""
        return "role" not in self.params

    @property
    def point(self) -> OperatingPoint:
        """The operating point that its parameters name; a baseline's have no rescoring."""
        ef, rescore = self.params["hnsw_ef"], self.params.get("rescore") == "true"
        factor = float(self.params.get("oversampling", 1))
        return OperatingPoint(int(self.params["limit"]), None if ef == DEFAULT_EF else int(ef), rescore, factor)
