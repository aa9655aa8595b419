"""The schema of an experiment: frozen dataclasses that check themselves; the values are in `conf/`."""

from qexp.config.collection import IndexConfig, QuantizationConfig, StorageConfig, TheoryConfig
from qexp.config.cost import CostConfig, NodeConfig, SloConfig
from qexp.config.dataset import (
    CollectionDataset,
    DatasetConfig,
    EmbeddingConfig,
    FileDataset,
    HubDataset,
    QrelsConfig,
    QueriesConfig,
    SyntheticDataset,
    TableDataset,
)
from qexp.config.engine import EngineConfig, ServerConfig, parse_cap
from qexp.config.experiment import HOUSEKEEPING, UNMEASURED, ExperimentConfig
from qexp.config.located import located, located_encoder, located_function, paths_of, with_paths
from qexp.config.schema import known_keys, register_schema, restored
from qexp.config.search import AdaptiveConfig, SearchConfig, TuneConfig

__all__ = [
    "HOUSEKEEPING",
    "UNMEASURED",
    "AdaptiveConfig",
    "CollectionDataset",
    "CostConfig",
    "DatasetConfig",
    "EmbeddingConfig",
    "EngineConfig",
    "ExperimentConfig",
    "FileDataset",
    "HubDataset",
    "IndexConfig",
    "NodeConfig",
    "QrelsConfig",
    "QuantizationConfig",
    "QueriesConfig",
    "SearchConfig",
    "ServerConfig",
    "SloConfig",
    "StorageConfig",
    "SyntheticDataset",
    "TableDataset",
    "TheoryConfig",
    "TuneConfig",
    "known_keys",
    "located",
    "located_encoder",
    "located_function",
    "parse_cap",
    "paths_of",
    "register_schema",
    "restored",
    "with_paths",
]
