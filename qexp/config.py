"""The schema of an experiment: frozen dataclasses that check themselves; the values are in `conf/`."""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any
from urllib.parse import urlsplit

from qexp.errors import ConfigError, near_miss

MISSING: Any = "???"  # OmegaConf's mark for a value that a preset or the user must give

DISTANCES = ("cosine", "dot", "euclid", "manhattan")
DATATYPES = ("float32", "float16", "uint8")
TRUTHS = ("exact", "neighbours", "engine")
PAYLOAD_INDEXES = ("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _one_of(key: str, value: str, known: Iterable[str]) -> None:
    known = list(known)
    _require(value in known, f"{key}={value}: no such value{near_miss(value, known)}")


def _at_least(key: str, value: float, least: float) -> None:
    _require(math.isfinite(value) and value >= least, f"{key}={value:g}: must be at least {least:g}")


@dataclass(frozen=True)
class DatasetConfig:
    """What every dataset has.

    `label` names it in tables and runs. `distance` null is the dataset's own, else cosine. `truth` is computed
    (`exact`), given (`neighbours`: a column of the queries, or a file with one row per query), or found by the
    engine's exact search (`engine`). `on_bad_vector: drop` leaves out rows without a usable vector. `matryoshka` says
    that the model was trained for truncation. `payload_indexes` maps payload fields to Qdrant's index types.
    """

    label: str | None = None
    distance: str | None = None
    truth: str = "exact"
    neighbours_column: str = "neighbors"
    neighbours_path: str | None = None
    on_bad_vector: str = "error"
    matryoshka: bool = False
    payload_indexes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.distance is not None:
            _one_of("dataset.distance", self.distance, DISTANCES)
        _one_of("dataset.truth", self.truth, TRUTHS)
        _one_of("dataset.on_bad_vector", self.on_bad_vector, ("error", "drop"))
        for key, kind in self.payload_indexes.items():
            _one_of(f"dataset.payload_indexes.{key}", kind, PAYLOAD_INDEXES)

    @property
    def title(self) -> str:
        """The name shown for the dataset."""
        return self.label or "dataset"


@dataclass(frozen=True)
class QueriesConfig:
    """Where queries come from.

    With a `path` (a file or a hub dataset), `name` or `split`: from there. Else with a `vector_column` or
    `text_column`: from that column of the points' own rows, where it is not empty. Else `held_out` points, sampled
    with `seed`, become queries and are no points.
    """

    path: str | None = None
    name: str | None = None
    split: str | None = None
    id_column: str | None = None
    vector_column: str | None = None
    text_column: str | None = None
    held_out: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("dataset.queries.held_out", self.held_out, 1)
        _at_least("dataset.queries.seed", self.seed, 0)


@dataclass(frozen=True)
class QrelsConfig:
    """Relevance labels, one row per (query id, point id, grade): a configuration `name`, or a table or TREC file."""

    path: str | None = None
    name: str | None = None
    split: str | None = None
    query_column: str = "query"
    point_column: str = "point"
    grade_column: str = "grade"


@dataclass(frozen=True)
class TableDataset(DatasetConfig):
    """Rows with a column of vectors or text; without `vector_column` the only column of vectors is taken.

    Without `id_column` points are known by row number.
    """

    path: str = MISSING
    split: str | None = None
    id_column: str | None = None
    vector_column: str | None = None
    text_column: str | None = None
    payload_columns: list[str] = field(default_factory=list)
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    qrels: QrelsConfig = field(default_factory=QrelsConfig)

    @property
    def title(self) -> str:
        """The label, else the last part of the path without its suffixes."""
        return self.label or self.path.rstrip("/").rsplit("/", 1)[-1].split(".")[0] or "dataset"


@dataclass(frozen=True)
class HubDataset(TableDataset):
    """Anything `datasets.load_dataset(path, name, split=…, revision=…)` loads, with a column of vectors or text."""

    name: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class FileDataset(TableDataset):
    """A local file or `save_to_disk` folder; `split` is the array inside an `.npz` or HDF5 file."""


@dataclass(frozen=True)
class CollectionDataset(DatasetConfig):
    """A live Qdrant collection, which is only read; `vector` names one of its named vectors."""

    url: str = MISSING
    collection: str = MISSING
    vector: str | None = None
    payload: bool = True
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    qrels: QrelsConfig = field(default_factory=QrelsConfig)

    @property
    def title(self) -> str:
        """The label, else the collection's name."""
        return self.label or self.collection


@dataclass(frozen=True)
class SyntheticDataset(DatasetConfig):
    """Gaussian clusters on the unit sphere; queries are drawn from the same clusters."""

    points: int = 10_000
    size: int = 128
    clusters: int = 100
    spread: float = 0.5
    queries: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("points", "size", "clusters", "queries"):
            _at_least(f"dataset.{key}", getattr(self, key), 1)
        _at_least("dataset.spread", self.spread, 0)

    @property
    def title(self) -> str:
        """The label, else `synthetic`."""
        return self.label or "synthetic"


@dataclass(frozen=True)
class EmbeddingConfig:
    """Where vectors come from, and their size: native (null), or the first `size` components, normalised again.

    `kind` is `column` (the dataset has vectors), `fastembed` (`model` names a fastembed model or a local folder) or
    `callable` (`function` is `module:function`, a list of texts in, [n, size] out).
    """

    name: str = "native"
    size: int | None = None
    kind: str = "column"
    model: str | None = None
    function: str | None = None
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.size is not None:
            _at_least("embedding.size", self.size, 2)
        _one_of("embedding.kind", self.kind, ("column", "fastembed", "callable"))
        _one_of("embedding.pooling", self.pooling, ("mean", "cls"))
        _require(self.kind != "fastembed" or bool(self.model), "embedding.model: must be given; add embedding.model=…")
        _require(
            self.kind != "callable" or (self.function or "").count(":") == 1,
            f"embedding.function={self.function}: must be module:function; add embedding.function=…",
        )


@dataclass(frozen=True)
class TheoryConfig:
    """What was published about a method, as factors, to be compared with what is measured."""

    compression: float | None = None
    speedup: float | None = None


@dataclass(frozen=True)
class QuantizationConfig:
    """Qdrant's own `quantization_config`, verbatim; an empty one is no quantization."""

    name: str = MISSING
    config: dict[str, Any] = field(default_factory=dict)
    theory: TheoryConfig = field(default_factory=TheoryConfig)

    def __post_init__(self) -> None:
        if self.config:
            _check_quantization(self.config)


def _check_quantization(config: dict[str, Any]) -> None:
    """Hold a `quantization_config` against Qdrant's own schema, unknown keys forbidden."""
    from pydantic import ValidationError
    from qdrant_client import models

    methods: dict[str, Any] = {
        "scalar": models.ScalarQuantization,
        "product": models.ProductQuantization,
        "binary": models.BinaryQuantization,
        "turbo": models.TurboQuantization,
    }
    where = "quantization.config"
    given = next(iter(config.values()))
    for key in {"rescore", "oversampling"} & {*config, *(given if isinstance(given, dict) else ())}:
        raise ConfigError(
            f"T04 {where}: '{key}' is not a property of a collection, Qdrant would drop it silently; set search.{key}"
        )
    _require(len(config) == 1, f"{where}: needs exactly one of {', '.join(methods)}; has {sorted(config) or 'none'}")
    method, inner = next(iter(config.items()))
    _require(method in methods, f"{where}.{method}: no such method{near_miss(method, methods)}")
    try:
        checked = getattr(methods[method].model_validate(config), method)
    except ValidationError as invalid:
        error = invalid.errors()[0]
        key = str(error["loc"][-1])
        place = ".".join([where, *map(str, error["loc"])])
        if error["type"] == "extra_forbidden":
            known = methods[method].model_fields[method].annotation.model_fields
            raise ConfigError(f"{place}: Qdrant has no such key{near_miss(key, known)}") from invalid
        raise ConfigError(f"{place}={error['input']!r}: {error['msg']}") from invalid
    for key in ("memory", "always_ram"):
        _require(
            key not in (inner or {}),
            f"{where}.{method}.{key}: placement belongs to the storage group; set storage.quantized instead",
        )
    quantile = getattr(checked, "quantile", None)
    _require(
        quantile is None or 0.5 <= quantile <= 1.0,
        f"{where}.{method}.quantile={quantile}: Qdrant accepts 0.5 to 1.0",
    )


@dataclass(frozen=True)
class StorageConfig:
    """Qdrant's `memory` placement of each component, and the datatype of the original vectors."""

    name: str = MISSING
    vectors: str = "cold"
    quantized: str = "pinned"
    hnsw: str = "cached"
    datatype: str = "float32"

    def __post_init__(self) -> None:
        _one_of("storage.vectors", self.vectors, ("cold", "cached"))
        _one_of("storage.quantized", self.quantized, ("cold", "cached", "pinned"))
        _one_of("storage.hnsw", self.hnsw, ("cold", "cached", "pinned"))
        _one_of("storage.datatype", self.datatype, DATATYPES)


@dataclass(frozen=True)
class IndexConfig:
    """HNSW parameters; `full_scan_threshold` is in KiB of vectors, as in Qdrant.

    `m` and `ef_construct` null: those of the live collection that the dataset comes from, else Qdrant's 16 and 100.
    """

    name: str = "hnsw"
    m: int | None = None
    ef_construct: int | None = None
    full_scan_threshold: int = 10_000
    segments: int = 1

    def __post_init__(self) -> None:
        if self.m is not None:
            _at_least("index.m", self.m, 2)
        if self.ef_construct is not None:
            _at_least("index.ef_construct", self.ef_construct, 4)
        _at_least("index.full_scan_threshold", self.full_scan_threshold, 1)
        _at_least("index.segments", self.segments, 1)


@dataclass(frozen=True)
class TuneConfig:
    """Look for the smallest `parameter` up to `most` whose accuracy by `measure` reaches `target`."""

    parameter: str = "oversampling"
    measure: str = "retention"
    target: float = 0.95
    most: float = 32.0

    def __post_init__(self) -> None:
        _one_of("search.tune.parameter", self.parameter, ("oversampling", "hnsw_ef"))
        _one_of("search.tune.measure", self.measure, ("retention", "recall"))
        _require(0 < self.target <= 1, f"search.tune.target={self.target:g}: must be above 0 and at most 1")
        _at_least("search.tune.most", self.most, 1)
        _require(
            self.parameter != "hnsw_ef" or self.measure == "recall",
            "search.tune.parameter=hnsw_ef: retention is against a baseline of the same hnsw_ef, so it cannot tell; "
            "add slo=recall",
        )


@dataclass(frozen=True)
class AdaptiveConfig:
    """Compare adaptive policies with the smallest of the fixed `factors` that reaches `target` by `measure`."""

    measure: str = "retention"
    target: float = 0.95
    factors: list[float] = field(default_factory=lambda: [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 16.0])

    def __post_init__(self) -> None:
        _one_of("search.adaptive.measure", self.measure, ("retention", "recall"))
        _require(0 < self.target <= 1, f"search.adaptive.target={self.target:g}: must be above 0 and at most 1")
        _require(len(self.factors) > 1, "search.adaptive.factors: needs at least two oversampling factors")
        for factor in self.factors:
            _at_least("search.adaptive.factors", factor, 1)


@dataclass(frozen=True)
class SearchConfig:
    """The grid of operating points and how each is measured; `queries` caps their number (null: all).

    At least `rounds` rounds, then more until every speedup is known to `target_halfwidth` or `budget_seconds` are
    spent; with a budget of 0 exactly `rounds`. `cache: cold` adds visits whose pages were dropped before. `clients`
    and `rate` (queries per second) add load, `load_seconds` at a time. `filter` is Qdrant's own filter, verbatim; it
    holds for every query and for the exact neighbours alike.
    """

    limit: int = 10
    rescore: list[bool] = field(default_factory=lambda: [False, True])
    oversampling: list[float] = field(default_factory=lambda: [1.0, 2.0, 3.0, 5.0, 8.0, 10.0])
    hnsw_ef: list[int | None] = field(default_factory=lambda: [None])
    filter: dict[str, Any] = field(default_factory=dict)
    queries: int | None = None
    rounds: int = 5
    warmup: int = 50
    seed: int = 0
    target_halfwidth: float = 0.05
    budget_seconds: float = 30.0
    cache: str = "warm"
    clients: list[int] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    load_seconds: float = 2.0
    tune: TuneConfig | None = None
    adaptive: AdaptiveConfig | None = None

    def __post_init__(self) -> None:
        _at_least("search.limit", self.limit, 1)
        _at_least("search.rounds", self.rounds, 2)
        _at_least("search.warmup", self.warmup, 0)
        _at_least("search.target_halfwidth", self.target_halfwidth, 0.001)
        _at_least("search.budget_seconds", self.budget_seconds, 0)
        _one_of("search.cache", self.cache, ("warm", "cold"))
        _at_least("search.load_seconds", self.load_seconds, 0.1)
        for key, least in (("clients", 1), ("rate", 0.1)):
            for value in getattr(self, key):
                _at_least(f"search.{key}", value, least)
        if self.queries is not None:
            _at_least("search.queries", self.queries, 1)
        for key in ("rescore", "oversampling", "hnsw_ef", "clients", "rate"):
            values = getattr(self, key)
            needed = key not in ("clients", "rate")
            _require(bool(values) or not needed, f"search.{key}=[]: the grid is empty; give at least one value")
            _require(len(set(values)) == len(values), f"search.{key}={values}: a value is given twice")
        for factor in self.oversampling:
            _at_least("search.oversampling", factor, 1)
        for ef in self.hnsw_ef:
            if ef is not None:
                _at_least("search.hnsw_ef", ef, 1)
        if self.filter:
            _check_filter(self.filter)


def _check_filter(given: dict[str, Any]) -> None:
    """Hold a filter against Qdrant's own schema, unknown keys forbidden."""
    from pydantic import ValidationError
    from qdrant_client import models

    try:
        models.Filter.model_validate(given)
    except ValidationError as invalid:
        # Every kind of condition is tried, and complains; the one that was meant got deepest.
        error = max(invalid.errors(), key=lambda one: (len(one["loc"]), one["type"] == "extra_forbidden"))
        place = ".".join(
            str(part) for part in error["loc"] if isinstance(part, int) or (part.islower() and "[" not in part)
        )
        hint = near_miss(place, models.Filter.model_fields) if len(error["loc"]) == 1 else ""
        raise ConfigError(f"search.filter.{place}: not a Qdrant filter: {error['msg']}{hint}") from invalid


_CAP = re.compile(r"(\d+(?:\.\d+)?) ?(%|[KMG]i?B|B)")
_CAP_UNITS = {"B": 1, **{f"{p}{i}B": b**n for n, p in enumerate("KMG", 1) for i, b in (("", 1000), ("i", 1024))}}


def parse_cap(text: str) -> tuple[float, bool]:
    """Return a memory cap as (bytes, False), or as (share, True) for a percentage of the baseline's RAM."""
    found = _CAP.fullmatch(text)
    _require(found is not None, f"engine.ram_caps: {text!r} is no size; write 256MiB, 1.5GiB, 300MB, or 50%")
    assert found is not None
    value = float(found[1])
    _require(value > 0, f"engine.ram_caps: {text!r}: a cap of nothing holds nothing")
    return (value / 100, True) if found[2] == "%" else (value * _CAP_UNITS[found[2]], False)


@dataclass(frozen=True)
class EngineConfig:
    """Where collections live, how often each is built, and on which CPUs it is measured (none given: any).

    `ram_caps` are memory caps to measure under as well: `256MiB`, or `50%` of the RAM that the baseline wants.
    """

    name: str = MISSING
    ram_caps: list[str] = field(default_factory=list)
    builds: int = 1
    cpus: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        _at_least("engine.builds", self.builds, 1)
        for cpu in self.cpus:
            _at_least("engine.cpus", cpu, 0)
        for cap in self.ram_caps:
            parse_cap(cap)


@dataclass(frozen=True)
class NodeConfig:
    """A machine that can be rented: its RAM (1 GiB = 2^30 bytes) and its price per hour."""

    name: str = MISSING
    ram_gib: float = MISSING
    usd_per_hour: float = MISSING

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.ram_gib) and self.ram_gib > 0,
            f"cost.nodes: ram_gib={self.ram_gib:g} of {self.name}: must be more than 0",
        )
        _at_least(f"cost.nodes: usd_per_hour of {self.name}", self.usd_per_hour, 0)


@dataclass(frozen=True)
class ServerConfig(EngineConfig):
    """A Qdrant server, cluster or Cloud, since 1.15; its API key is in the environment (QDRANT_API_KEY) alone.

    Seconds: `timeout` for a request, `patience` for building on while the server is away or busy, `ready_timeout` until
    everything is indexed. Collections are named `prefix` and their spec; unless `keep` they are dropped afterwards.
    """

    url: str = MISSING
    prefer_grpc: bool = False
    grpc_port: int = 6334
    timeout: int = 60
    patience: int = 120
    ready_timeout: int = 3600
    upload_parallel: int = 4
    prefix: str = "qexp"
    keep: bool = True
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(not self.ram_caps, "engine.ram_caps: a server's memory cannot be capped from here; use engine=edge")
        if self.url == ":memory:" or self.url.startswith((".", "/", "~")):
            raise ConfigError(
                f"T01 engine.url={self.url}: is qdrant-client's local mode, which ignores quantization; give the "
                f"URL of a server, or use engine=edge"
            )
        parts = urlsplit(self.url)
        _require(
            parts.username is None and parts.password is None and not parts.query and not parts.fragment,
            "engine.url: must not carry a user, password or query; the API key belongs into QDRANT_API_KEY",
        )
        _require(
            parts.scheme in ("http", "https") and bool(parts.hostname),
            f"engine.url={self.url}: must be http://host:port or https://host:port",
        )
        try:
            _ = parts.port
        except ValueError as error:
            raise ConfigError(f"engine.url={self.url}: {error}") from error
        for key in (
            "timeout",
            "ready_timeout",
            "upload_parallel",
            "grpc_port",
            "shards",
            "replicas",
            "write_consistency",
        ):
            _at_least(f"engine.{key}", getattr(self, key), 1)
        _at_least("engine.patience", self.patience, 0)
        _require(
            re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.prefix) is not None,
            f"engine.prefix={self.prefix}: must be 1 to 64 letters, digits, '-', '_' or '.'",
        )
        _require(
            self.write_consistency <= self.replicas,
            f"engine.write_consistency={self.write_consistency}: must not exceed engine.replicas={self.replicas}",
        )


@dataclass(frozen=True)
class CostConfig:
    """Prices per month (1 GB = 10^9 bytes), copies of the data, spare memory, and how many points to price.

    With `nodes` RAM is rented in whole machines, the cheapest of these, at prices of the day `as_of` from `source`.
    `target_points` null prices the points there are. `payload_bytes` is the mean size of a point's payload as JSON.
    """

    name: str = MISSING
    usd_per_gb_month: float = 10.0
    disk_usd_per_gb_month: float = 0.0
    replication: int = 1
    headroom: float = 0.0
    target_points: int | None = None
    payload_bytes: int = 0
    payload_in_ram: bool = False
    nodes: list[NodeConfig] = field(default_factory=list)
    as_of: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for key in ("usd_per_gb_month", "disk_usd_per_gb_month", "headroom", "payload_bytes"):
            _at_least(f"cost.{key}", getattr(self, key), 0)
        _at_least("cost.replication", self.replication, 1)
        if self.target_points is not None:
            _at_least("cost.target_points", self.target_points, 1)


@dataclass(frozen=True)
class SloConfig:
    """What a configuration must reach to be recommended; `accuracy` names the measure, null is no limit."""

    name: str = MISSING
    accuracy: str = "retention"
    min_accuracy: float = 0.95
    max_p95_ms: float | None = None
    max_ram_mib: float | None = None
    max_usd_month: float | None = None

    def __post_init__(self) -> None:
        _one_of("slo.accuracy", self.accuracy, ("retention", "recall"))
        _require(0 <= self.min_accuracy <= 1, f"slo.min_accuracy={self.min_accuracy:g}: must be from 0 to 1")
        for key in ("max_p95_ms", "max_ram_mib", "max_usd_month"):
            limit = getattr(self, key)
            _require(limit is None or limit > 0, f"slo.{key}={limit}: must be above 0, or null for no limit")


@dataclass(frozen=True)
class SweepConfig:
    """How a multirun is kept; `resume` is the id of a sweep to finish, or `last`."""

    resume: str | None = None


# How an experiment is run and where it is kept, which changes nothing about its figures.
HOUSEKEEPING = ("cache_dir", "cache_limit_gib", "skip_existing", "sweep", "wait_seconds")


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: a quantized collection and its baseline, over a grid of operating points."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    quantization: QuantizationConfig = field(default_factory=QuantizationConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    slo: SloConfig = field(default_factory=SloConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    validity: str = "strict"
    skip_existing: bool = False
    cache_dir: str | None = None
    cache_limit_gib: float | None = None
    wait_seconds: float = 3600.0

    def __post_init__(self) -> None:
        _one_of("validity", self.validity, ("strict", "warn"))
        _at_least("wait_seconds", self.wait_seconds, 0)
        if self.cache_limit_gib is not None:
            _at_least("cache_limit_gib", self.cache_limit_gib, 0)

    def flat(self) -> dict[str, Any]:
        """Return every value under its dotted key, as it is logged, but for those that change no figure."""
        return dict(_flatten("", {k: v for k, v in asdict(self).items() if k not in HOUSEKEEPING}))

    def saved(self) -> dict[str, Any]:
        """Return everything of `flat`, nested, with the kind of every part, for `restored`."""
        parts = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in HOUSEKEEPING}
        return {
            name: {"kind": type(part).__name__, "values": asdict(part)}
            if is_dataclass(part) and not isinstance(part, type)
            else part
            for name, part in parts.items()
        }

    @property
    def hash(self) -> str:
        """12 hexadecimal digits that change with anything that changes the experiment; `slo` judges it afterwards."""
        measured = {key: value for key, value in self.flat().items() if not key.startswith("slo.")}
        return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()[:12]


def restored(saved: dict[str, Any], **housekeeping: Any) -> ExperimentConfig:
    """Return the experiment that was saved; raise ConfigError for what this version of qexp does not know."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    kinds = {kind.__name__: kind for kind in _kinds(ExperimentConfig)}
    parts: dict[str, Any] = {}
    for name, part in saved.items():
        if not isinstance(part, dict):
            parts[name] = part
            continue
        try:
            node = OmegaConf.merge(_composable(kinds[part["kind"]]), part["values"])
            parts[name] = OmegaConf.to_object(node)
        except (KeyError, OmegaConfBaseException) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"{name}: this version of qexp has no such {part['kind']}: {reason}") from error
    return ExperimentConfig(**parts, **housekeeping)


def _kinds(schema: type) -> Iterable[type]:
    """Yield the dataclasses of a schema's fields, and those that derive from them."""
    for item in fields(schema):
        if isinstance(item.default_factory, type) and is_dataclass(item.default_factory):
            yield item.default_factory
            yield from _derived(item.default_factory)


def _derived(schema: type[Any]) -> Iterable[type]:
    for kind in schema.__subclasses__():
        yield kind
        yield from _derived(kind)


def _flatten(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value


DATASETS = {
    "hub": HubDataset,
    "file": FileDataset,
    "qdrant_collection": CollectionDataset,
    "synthetic": SyntheticDataset,
}


def register_schema() -> None:
    """Tell Hydra the schema: `base_config`, and `schema/…/…` for datasets and engines of different kinds."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="base_config", node=_composable(ExperimentConfig))
    for name, kind in DATASETS.items():
        store.store(group="schema/dataset", name=name, node=_composable(kind))
    store.store(group="schema/engine", name="edge", node=_composable(EngineConfig))
    store.store(group="schema/engine", name="server", node=_composable(ServerConfig))


def _composable(schema: type) -> Any:
    """Return the schema as OmegaConf's, writable: frozen classes are read-only to it, and Hydra has yet to compose."""
    from omegaconf import DictConfig, OmegaConf

    def unlock(node: Any) -> None:
        if isinstance(node, DictConfig):
            OmegaConf.set_readonly(node, False)
            if not node._is_none() and not node._is_missing():
                for key in node:
                    unlock(node._get_node(key))

    config = OmegaConf.structured(schema)
    unlock(config)
    open_ended = {ExperimentConfig: ["quantization.config", "search.filter"], QuantizationConfig: ["config"]}
    if issubclass(schema, DatasetConfig):
        open_ended[schema] = ["payload_indexes"]
    for place in open_ended.get(schema, []):  # Qdrant's schema, or the payload's, judges what is in here
        OmegaConf.set_struct(OmegaConf.select(config, place), False)
    return config


def known_keys() -> set[str]:
    """Return every dotted key of the schema, to find near misses."""
    keys: set[str] = set()

    def walk(prefix: str, schema: Any) -> None:
        for item in fields(schema):
            keys.add(f"{prefix}{item.name}")

    walk("", ExperimentConfig)
    for group, schema in {
        "dataset": tuple(DATASETS.values()),
        "dataset.queries": (QueriesConfig,),
        "dataset.qrels": (QrelsConfig,),
        "embedding": (EmbeddingConfig,),
        "quantization": (QuantizationConfig,),
        "storage": (StorageConfig,),
        "index": (IndexConfig,),
        "search": (SearchConfig,),
        "search.tune": (TuneConfig,),
        "search.adaptive": (AdaptiveConfig,),
        "engine": (EngineConfig, ServerConfig),
        "cost": (CostConfig,),
        "slo": (SloConfig,),
        "sweep": (SweepConfig,),
    }.items():
        for kind in schema:
            walk(f"{group}.", kind)
    return keys
