"""The same 5,000 vectors through every kind of source: the same truth, and the same results of the engine."""

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from qexp.config import (
    CollectionDataset,
    DatasetConfig,
    EmbeddingConfig,
    EngineConfig,
    ExperimentConfig,
    FileDataset,
    HubDataset,
    IndexConfig,
    QrelsConfig,
    QuantizationConfig,
    QueriesConfig,
    SearchConfig,
    StorageConfig,
)
from qexp.data.source import check_files
from qexp.data.truth import find_truth
from qexp.data.vectors import Data, load_data
from qexp.engine.base import build_collection
from qexp.engine.configured import collection_spec
from qexp.engine.edge import EdgeEngine
from qexp.errors import DataError
from qexp.results import OperatingPoint
from tests.support.live_collection import LiveCollection, served

POINTS, QUERIES, SIZE = 5000, 50, 16
INT8 = QuantizationConfig(name="scalar", config={"scalar": {"type": "int8"}})


def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, SIZE))
    drawn = centres[rng.integers(40, size=POINTS + QUERIES)] + rng.standard_normal((POINTS + QUERIES, SIZE)) * 0.5
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn[:POINTS].astype(np.float32), drawn[POINTS:].astype(np.float32)


def encode(texts: list[str]) -> np.ndarray:
    """The user's own encoder: `point 7` has the seventh vector."""
    points, queries = vectors()
    found = {"point": points, "query": queries}
    return np.stack([found[text.split()[0]][int(text.split()[1])] for text in texts])


def write_vecs(path: Path, matrix: np.ndarray) -> None:
    heads = np.full((len(matrix), 1), matrix.shape[1], "<i4")
    path.write_bytes(np.hstack([heads, matrix.view("<i4")]).tobytes())


def write_bin(path: Path, matrix: np.ndarray) -> None:
    path.write_bytes(struct.pack("<II", *matrix.shape) + matrix.tobytes())


def write_hdf5(path: Path, matrix: np.ndarray) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["train"] = matrix


Writer = Callable[[Path, np.ndarray], Any]
WRITERS: dict[str, Writer] = {
    "parquet": lambda path, matrix: pq.write_table(pa.table({"emb": list(matrix)}), path),
    "jsonl": lambda path, matrix: path.write_text("".join(json.dumps({"emb": row}) + "\n" for row in matrix.tolist())),
    "save_to_disk": lambda path, matrix: datasets.Dataset.from_dict({"emb": matrix}).save_to_disk(str(path)),
    "npy": np.save,
    "npz": lambda path, matrix: np.savez_compressed(path, vectors=matrix, other=np.zeros(3)),
    "hdf5": write_hdf5,
    "fvecs": write_vecs,
    "fbin": write_bin,
}
SOURCES = [*WRITERS, "csv and callable", "hub folder", "columns", "live collection"]


def dataset(kind: str, folder: Path, live: ExitStack) -> DatasetConfig:
    points, queries = vectors()
    if kind in WRITERS:
        paths = [folder / f"{part}.{kind}" for part in ("points", "queries")]
        for path, matrix in zip(paths, (points, queries), strict=True):
            WRITERS[kind](path, matrix)
        return FileDataset(label="same", path=str(paths[0]), queries=QueriesConfig(path=str(paths[1])))
    if kind == "csv and callable":
        for part, count in (("point", POINTS), ("query", QUERIES)):
            table = pa.table({"text": [f"{part} {row}" for row in range(count)]})
            pyarrow.csv.write_csv(table, folder / f"{part}.csv")
        asked = QueriesConfig(path=str(folder / "query.csv"), text_column="text")
        return FileDataset(label="same", path=str(folder / "point.csv"), text_column="text", queries=asked)
    if kind == "hub folder":
        (folder / "data").mkdir()
        pq.write_table(pa.table({"emb": list(points)}), folder / "data" / "train-00000-of-00001.parquet")
        pq.write_table(pa.table({"emb": list(queries)}), folder / "data" / "test-00000-of-00001.parquet")
        return HubDataset(label="same", path=str(folder), queries=QueriesConfig(split="test"))
    if kind == "columns":  # a query beside some of the points
        beside = [*list(queries), *[None, []] * ((POINTS - QUERIES) // 2)]
        pq.write_table(pa.table({"emb": list(points), "query": beside}), folder / "both.parquet")
        asked = QueriesConfig(vector_column="query")
        return FileDataset(label="same", path=str(folder / "both.parquet"), vector_column="emb", queries=asked)
    np.save(folder / "queries.npy", queries)
    served_one = live.enter_context(served(LiveCollection(list(range(POINTS)), points, [{}] * POINTS, page=2000)))
    asked = QueriesConfig(path=str(folder / "queries.npy"))
    return CollectionDataset(label="same", url=served_one.url, collection="mine", payload=False, queries=asked)


def loaded(kind: str, folder: Path) -> tuple[ExperimentConfig, Data]:
    embedding = EmbeddingConfig()
    if kind == "csv and callable":
        embedding = EmbeddingConfig(kind="callable", function=f"{__name__}:encode")
    with ExitStack() as live:
        config = ExperimentConfig(
            dataset=dataset(kind, folder, live),
            embedding=embedding,
            quantization=INT8,
            storage=StorageConfig(name="on_disk"),
            index=IndexConfig(m=16, ef_construct=100, full_scan_threshold=10),
            search=SearchConfig(limit=10),
            engine=EngineConfig(name="edge"),
        )
        return config, load_data(config, folder / "cache")


def results(engine: EdgeEngine, data: Data) -> list[list[int]]:
    search = engine.search(OperatingPoint(10, None, True, 2.0))
    return [search.ids(search.call(search.prepare(query))) for query in data.query_vectors().tolist()]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Data, list[list[int]]]]:
    """The collection built from one source, for all the others to find."""
    folder = tmp_path_factory.mktemp("reference")
    config, data = loaded("npy", folder)
    engine = EdgeEngine(folder / "collections")
    spec = collection_spec(config, data.facts, "edge")
    build_collection(engine, spec, data.points())
    engine.open(spec)
    yield folder / "collections", data, results(engine, data)
    engine.close()


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_truth_and_the_same_results(
    kind: str, tmp_path: Path, reference: tuple[Path, Data, list[list[int]]]
) -> None:
    if kind == "hdf5":
        pytest.importorskip("h5py")
    home, first, expected = reference
    config, data = loaded(kind, tmp_path)
    assert (data.facts.points, data.facts.queries) == (POINTS, QUERIES)
    assert (data.facts.digest, data.facts.queries_digest) == (first.facts.digest, first.facts.queries_digest)
    assert np.array_equal(data.points(), first.points())
    truths = [find_truth(one, 10, folder) for one, folder in ((data, tmp_path), (first, home.parent))]
    assert np.array_equal(truths[0].ids, truths[1].ids)
    assert np.array_equal(truths[0].scores, truths[1].scores)
    engine = EdgeEngine(home)
    try:
        assert engine.open(collection_spec(config, data.facts, "edge")) is not None
        assert results(engine, data) == expected
    finally:
        engine.close()


def test_files_that_are_not_there_are_told_before_any_work(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.eye(20, dtype=np.float32))
    there = FileDataset(path=str(tmp_path / "mine.npy"))
    check_files(there)
    check_files(HubDataset(path="someone/name", qrels=QrelsConfig(path="someone/labels")))
    absent = [
        replace(there, path="folder"),
        replace(there, queries=QueriesConfig(path="queries.npy")),
        replace(there, qrels=QrelsConfig(path="labels.txt")),
        replace(there, truth="neighbours", neighbours_path="near.ivecs"),
        HubDataset(path="someone/name", queries=QueriesConfig(path="queries.parquet")),
    ]
    for dataset in absent:
        with pytest.raises(DataError, match=r"^\w+(\.\w+)?: no such file or folder in /"):
            check_files(dataset)
