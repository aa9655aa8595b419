"""The schema of one experiment."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from qexp.config.checks import at_least, one_of, require
from qexp.config.collection import IndexConfig, QuantizationConfig, StorageConfig
from qexp.config.cost import CostConfig, SloConfig
from qexp.config.dataset import CollectionDataset, DatasetConfig, EmbeddingConfig
from qexp.config.engine import EngineConfig, ServerConfig
from qexp.config.search import SearchConfig


@dataclass(frozen=True)
class SweepConfig:
    """How a multirun is kept; `resume` is the id of a sweep to finish, or `last`."""

    resume: str | None = None


# How an experiment is run and where it is kept, which changes nothing about its figures.
HOUSEKEEPING = ("cache_dir", "cache_limit_gib", "skip_existing", "sweep", "wait_seconds")


# Beginnings of keys that change nothing that is measured either: limits judge it afterwards, reports name the model.
UNMEASURED = ("slo.", "dataset.model")


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
        one_of("validity", self.validity, ("strict", "warn"))
        at_least("wait_seconds", self.wait_seconds, 0)
        at_least("cache_limit_gib", self.cache_limit_gib, 0)
        segments = self.index.segments
        require(
            segments == 1 or isinstance(self.engine, ServerConfig),
            f"index.segments={segments}: Qdrant Edge builds one segment, always; use engine=server or index.segments=1",
        )
        if isinstance(self.engine, ServerConfig) and self.engine.source_collection:
            _check_source(self.engine, self.dataset, self.embedding)
        for key in self.search.filtered_fields:
            remedy = self.dataset.field_missing(key)
            require(remedy is None, f"search.filter: no point has a field '{key}'; {remedy}")
        require(
            not (self.search.filters_ids and self.dataset.has_own_ids),
            "search.filter: has_id and slice would mean row numbers, for these are the points' ids here; filter by "
            "payload",
        )

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
        """12 hexadecimal digits that change with anything that changes what is measured."""
        measured = {key: value for key, value in self.flat().items() if not key.startswith(UNMEASURED)}
        return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()[:12]


def _check_source(engine: ServerConfig, dataset: DatasetConfig, embedding: EmbeddingConfig) -> None:
    """Refuse a dataset that is not the collection to be advised, and what no update can change about that one."""
    where = f"engine.source_collection={engine.source_collection}"
    read = (dataset.url, dataset.collection) if isinstance(dataset, CollectionDataset) else None
    require(
        read == (engine.url, engine.source_collection),
        f"{where}: the points are read from that collection at engine.url, not from the dataset '{dataset.title}'; use "
        f"dataset=source_collection",
    )
    for key, value in (("embedding.size", embedding.size), ("dataset.distance", dataset.distance)):
        require(value is None, f"{where}: {key}={value} cannot be applied to a collection that exists; leave it out")


def _flatten(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value
