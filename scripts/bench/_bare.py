"""The bare engine: the least code that fills a collection on Qdrant Edge and searches it, without qexp around it."""

import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from _common import settled

from qexp.config import ExperimentConfig, register_schema
from qexp.engine.base import UPLOAD_BATCH
from qexp.engine.edge import EdgeEngine, _edge_config
from qexp.paths import packaged
from qexp.results import CollectionSpec, DatasetFacts, OperatingPoint, Vectors


def composed(*words: str) -> ExperimentConfig:
    """Return the configuration that these words of the command line compose."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    register_schema()
    with initialize_config_dir(str(packaged("conf")), version_base="1.3"):
        config = OmegaConf.to_object(compose("config", list(words)))
    assert isinstance(config, ExperimentConfig)
    return config


def swept_methods(*words: str) -> list[str]:
    """Return the quantizations over which an experiment preset sweeps."""
    from hydra import compose, initialize_config_dir

    register_schema()
    with initialize_config_dir(str(packaged("conf")), version_base="1.3"):
        params = compose("config", list(words), return_hydra_config=True).hydra.sweeper.params
    return str(params.quantization).split(",")


def facts(points: int, queries: int, size: int) -> DatasetFacts:
    """Return what describes a dataset of that shape that is not there."""
    return DatasetFacts(
        title="bench",
        digest="",
        queries_digest="",
        points=points,
        queries=queries,
        native_size=size,
        size=size,
        distance="cosine",
        source="",
    )


def new_shard(spec: CollectionSpec, folder: Path) -> Any:
    """Return an empty shard with exactly the spec's configuration."""
    folder.mkdir(parents=True)
    return edge.EdgeShard.create(str(folder), _edge_config(spec))


def upsert(shard: Any, vectors: Vectors) -> None:
    """Store all vectors; the id is the row number."""
    for start in range(0, len(vectors), UPLOAD_BATCH):
        batch = vectors[start : start + UPLOAD_BATCH].tolist()
        points = [edge.Point(start + row, vector) for row, vector in enumerate(batch)]
        shard.update(edge.UpdateOperation.upsert_points(points))


def uploads(spec: CollectionSpec, vectors: Vectors, folder: Path) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return an upload through qexp and a bare one: calls that return seconds and leave nothing behind."""

    def ours() -> float:
        engine = EdgeEngine(folder / "home")
        engine.create(spec)
        taken = settled(lambda: engine.upload(vectors))
        engine.drop()
        return taken

    def bare() -> float:
        shard = new_shard(spec, folder / "bare")
        taken = settled(lambda: upsert(shard, vectors))
        shard.close()
        shutil.rmtree(folder / "bare")
        return taken

    return ours, bare


def build(spec: CollectionSpec, folder: Path, vectors: Path) -> None:
    """Upload, index and close."""
    shard = new_shard(spec, folder)
    upsert(shard, np.load(vectors, mmap_mode="r"))
    shard.optimize()
    shard.flush()
    shard.close()


def request(point: OperatingPoint, vector: list[float]) -> Any:
    """Return the request of one query at an operating point."""
    quantization = edge.QuantizationSearchParams(rescore=point.rescore, oversampling=point.oversampling)
    params = edge.SearchParams(hnsw_ef=point.hnsw_ef, quantization=quantization)
    return edge.QueryRequest(limit=point.limit, query=edge.Query.Nearest(vector), params=params)


class Searcher:
    """A collection loaded in a process of its own."""

    def __init__(self, folder: Path, queries: Path) -> None:
        self._pool = process()
        self._pool.submit(_load, folder, queries).result()

    def search_all(self, point: OperatingPoint) -> None:
        """Send every query once, one after the other."""
        self._pool.submit(_search_all, point).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def process() -> ProcessPoolExecutor:
    """Return a single spawned process."""
    return ProcessPoolExecutor(1, get_context("spawn"))


_loaded: dict[str, Any] = {}


def _load(folder: Path, queries: Path) -> None:
    _loaded["shard"] = edge.EdgeShard.load(str(folder))
    _loaded["queries"] = np.load(queries).tolist()


def _search_all(point: OperatingPoint) -> None:
    for vector in _loaded["queries"]:
        _loaded["shard"].query(request(point, vector))
