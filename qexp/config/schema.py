"""The schema as Hydra and a record know it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, get_args

from qexp.config.dataset import CollectionDataset, FileDataset, HubDataset, SyntheticDataset
from qexp.config.engine import EngineConfig, ServerConfig
from qexp.config.experiment import ExperimentConfig
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
            if OmegaConf.get_type(node) is dict:  # Qdrant's schema, or the payload's, judges what is in here
                OmegaConf.set_struct(node, False)
            if not node._is_none() and not node._is_missing():
                for key in node:
                    unlock(node._get_node(key))

    config = OmegaConf.structured(schema)
    unlock(config)
    return config


def known_keys(schema: type = ExperimentConfig, within: str = "") -> set[str]:
    """Return every dotted key of a schema, to find near misses."""
    keys = {f"{within}{item.name}" for item in fields(schema)}
    return keys.union(*(known_keys(kind, f"{within}{name}.") for name, kind in _parts(schema)))


def restored(saved: dict[str, Any], **housekeeping: Any) -> ExperimentConfig:
    """Return the experiment that was saved; raise ConfigError for what this version of qexp does not know."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if strange := sorted({*saved} - {part.name for part in fields(ExperimentConfig)}):
        raise ConfigError(f"{strange[0]}: this version of qexp has no such part of an experiment")
    kinds = {kind.__name__: kind for _, kind in _parts(ExperimentConfig)}
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


def _parts(schema: type) -> Iterator[tuple[str, type]]:
    """Yield the fields of a schema that are parts of it, each with every kind of part that it may hold."""
    for item in fields(schema):
        for kind in get_args(item.type) if isinstance(item.type, UnionType) else (item.type,):
            if is_dataclass(kind):
                yield from ((item.name, one) for one in _family(kind))


def _family(kind: Any) -> Iterator[type]:
    """Yield a kind of part, and those that derive from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from _family(derived)
