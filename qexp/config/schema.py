"""The schema as Hydra and a record know it."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from qexp.config.collection import IndexConfig, QuantizationConfig, StorageConfig, TheoryConfig
from qexp.config.cost import CostConfig, SloConfig
from qexp.config.dataset import (
    CollectionDataset,
    DatasetConfig,
    EmbeddingConfig,
    FileDataset,
    HubDataset,
    QrelsConfig,
    QueriesConfig,
    SyntheticDataset,
)
from qexp.config.engine import EngineConfig, ServerConfig
from qexp.config.experiment import ExperimentConfig, SweepConfig
from qexp.config.search import AdaptiveConfig, SearchConfig, TuneConfig
from qexp.errors import ConfigError

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
    groups: dict[str, tuple[type, ...]] = {
        "": (ExperimentConfig,),
        "dataset.": tuple(DATASETS.values()),
        "dataset.queries.": (QueriesConfig,),
        "dataset.qrels.": (QrelsConfig,),
        "embedding.": (EmbeddingConfig,),
        "quantization.": (QuantizationConfig,),
        "quantization.theory.": (TheoryConfig,),
        "storage.": (StorageConfig,),
        "index.": (IndexConfig,),
        "search.": (SearchConfig,),
        "search.tune.": (TuneConfig,),
        "search.adaptive.": (AdaptiveConfig,),
        "engine.": (EngineConfig, ServerConfig),
        "cost.": (CostConfig,),
        "slo.": (SloConfig,),
        "sweep.": (SweepConfig,),
    }
    return {f"{group}{item.name}" for group, kinds in groups.items() for kind in kinds for item in fields(kind)}


def restored(saved: dict[str, Any], **housekeeping: Any) -> ExperimentConfig:
    """Return the experiment that was saved; raise ConfigError for what this version of qexp does not know."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if strange := sorted({*saved} - {part.name for part in fields(ExperimentConfig)}):
        raise ConfigError(f"{strange[0]}: this version of qexp has no such part of an experiment")
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
            raise ConfigError(f"{name}: this version of qexp has no such {part.get('kind')}: {reason}") from error
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
