"""What a configuration asks for: the spec of its collection, its engine and that engine's version."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qexp.cache import Kind
from qexp.config import EngineConfig, ExperimentConfig, ServerConfig
from qexp.config.collection import LEAST_SCAN
from qexp.engine.base import Engine
from qexp.results import CollectionSpec, DatasetFacts

DEFAULT_M = 16  # Qdrant's own
DEFAULT_EF_CONSTRUCT = 100
DEFAULT_FULL_SCAN = 10_000  # KiB


def collection_spec(config: ExperimentConfig, facts: DatasetFacts, engine: str) -> CollectionSpec:
    """Compose the spec of the quantized collection; `engine` names the engine and its version."""
    threshold = config.index.full_scan_threshold or facts.full_scan_threshold
    spec = CollectionSpec(
        dataset=facts.title,
        digest=facts.digest,
        points=facts.points,
        size=facts.size,
        distance=facts.distance,
        datatype=config.storage.datatype,
        quantization=config.quantization.config or None,
        method=config.quantization.name,
        vectors=config.storage.vectors,
        quantized=config.storage.quantized,
        hnsw=config.storage.hnsw,
        m=config.index.m or facts.m or DEFAULT_M,
        ef_construct=config.index.ef_construct or facts.ef_construct or DEFAULT_EF_CONSTRUCT,
        full_scan_threshold=threshold or DEFAULT_FULL_SCAN,
        segments=config.index.segments,
        engine=engine,
        payload_indexes=config.dataset.payload_indexes or facts.payload_indexes,
    )
    if isinstance(config.engine, ServerConfig):
        spec = replace(
            spec,
            shards=config.engine.shards,
            replicas=config.engine.replicas,
            write_consistency=config.engine.write_consistency,
        )
    if not threshold and spec.segment_kib < DEFAULT_FULL_SCAN:
        # The index is what is measured, also of a corpus that Qdrant would rather scan.
        spec = replace(spec, full_scan_threshold=max(LEAST_SCAN, spec.segment_kib // 2))
    return spec if config.quantization.config else spec.unquantized()


def engine_factory(config: EngineConfig, cache: Path, condition: dict[str, Any] | None = None) -> Callable[[], Engine]:
    """Return a picklable maker of the engine, so that a worker process can make it.

    `condition` is a Qdrant filter that holds for all its searches.
    """
    if isinstance(config, ServerConfig):
        from qexp.engine.server import ServerEngine

        return partial(ServerEngine, config, condition)
    from qexp.engine.edge import EdgeEngine

    return partial(EdgeEngine, cache / Kind.COLLECTIONS, condition)


def engine_version(config: EngineConfig, quantization: dict[str, Any] | None = None) -> str:
    """Return the engine's name and version, part of every collection's name.

    Raises EngineError if it is out of reach, or does not know the quantization.
    """
    if isinstance(config, ServerConfig):
        from qexp.engine.connection import server_version

        return f"{config.name}-{server_version(config, quantization)}"
    return f"{config.name}-{version('qdrant-edge-py')}"
