"""From a dataset's configuration to Hugging Face datasets of points, queries and labels."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qexp.config import DatasetConfig, HubDataset, SyntheticDataset
from qexp.errors import DataError, near_miss
from qexp.paths import packaged

if TYPE_CHECKING:
    from datasets import Dataset

SYNTHETIC_BATCH = 8192


@dataclass(frozen=True)
class Table:
    """A Hugging Face dataset and the names of its id and vector columns."""

    rows: "Dataset"
    id_column: str
    vector_column: str
    place: str


@dataclass(frozen=True)
class Source:
    """Points, queries, and labels (query id, point id, grade); `key` changes when any of them does."""

    points: Table
    queries: Table
    qrels: list[tuple[Any, Any, int]]
    key: str
    place: str


def open_source(config: DatasetConfig, cache: Path) -> Source:
    """Load the dataset that `config` names; vectors stay in memory-mapped Arrow.

    Raises DataError if it cannot be loaded or lacks a column.
    """
    if isinstance(config, HubDataset):
        return _open_hub(config, cache)
    if isinstance(config, SyntheticDataset):
        return _open_synthetic(config, cache)
    raise DataError(f"dataset: nothing knows how to load {type(config).__name__}")


def _open_hub(config: HubDataset, cache: Path) -> Source:
    path = packaged(config.path) if config.path.startswith("bundled/") else Path(config.path)
    state = _folder_state(path) if path.is_dir() else ""
    # A folder's copy in the default cache is found again by its name and card alone, whatever its files hold now.
    load = partial(_load, config, str(path), str(cache / "datasets" / state) if state else None)
    points = Table(load(config.name, config.split), config.id_column, config.vector_column, _place(config, config.name))
    asked = config.queries
    queries = Table(load(asked.name, asked.split), asked.id_column, asked.vector_column, _place(config, asked.name))
    for table in (points, queries):
        _need_columns(table.rows, table.place, table.id_column, table.vector_column)
    qrels = _qrels(load(config.qrels.name, config.qrels.split), config) if config.qrels.name else []
    parts = [state, points.rows._fingerprint, queries.rows._fingerprint, json.dumps(asdict(config), sort_keys=True)]
    return Source(points, queries, qrels, _digest(parts), _place(config, config.name))


def _folder_state(folder: Path) -> str:
    """Return a digest that changes when any file of the folder is written."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    states = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return _digest(states)


def _qrels(rows: "Dataset", config: HubDataset) -> list[tuple[Any, Any, int]]:
    columns = (config.qrels.query_column, config.qrels.point_column, config.qrels.grade_column)
    _need_columns(rows, _place(config, config.qrels.name), *columns)
    query, point, grade = (rows.with_format("arrow")[column][:].to_pylist() for column in columns)
    return list(zip(query, point, grade, strict=True))


def _load(config: HubDataset, path: str, cache: str | None, name: str | None, split: str) -> "Dataset":
    """Load one split; every reason not to becomes one line."""
    import datasets

    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(path, name, split=split, revision=config.revision, cache_dir=cache)
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause).strip().splitlines()[0]
        raise DataError(f"dataset.path={config.path}: cannot load split '{split}' of '{name}': {reason}") from error
    if len(rows) == 0:
        raise DataError(f"dataset.path={config.path}: split '{split}' of '{name}' is empty")
    return rows


def _need_columns(rows: "Dataset", place: str, *columns: str) -> None:
    for column in columns:
        if column not in rows.column_names:
            raise DataError(f"{place}: no column '{column}'{near_miss(column, rows.column_names)}")


def _place(config: HubDataset, name: str | None) -> str:
    return f"{config.path}/{name}" if name else config.path


def _open_synthetic(config: SyntheticDataset, cache: Path) -> Source:
    key = _digest([json.dumps(asdict(config), sort_keys=True)])
    tables = []
    for part, count in (("points", config.points), ("queries", config.queries)):
        path = cache / "synthetic" / f"{key}-{part}.arrow"
        if not path.exists():
            _write_arrow(path, _clusters(config, count, part), config.size)
        import datasets

        tables.append(Table(datasets.Dataset.from_file(str(path)), "id", "vector", f"synthetic {part}"))
    return Source(tables[0], tables[1], [], key, "synthetic")


def _clusters(config: SyntheticDataset, count: int, part: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first id, vectors [batch, size]): unit vectors around `clusters` random centres."""
    centres = np.random.default_rng(config.seed).standard_normal((config.clusters, config.size), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng([config.seed, len(part)])
    for start in range(0, count, SYNTHETIC_BATCH):
        n = min(SYNTHETIC_BATCH, count - start)
        noise = rng.standard_normal((n, config.size), dtype=np.float32) * config.spread / np.sqrt(config.size)
        vectors = centres[rng.integers(config.clusters, size=n)] + noise
        yield start, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _write_arrow(path: Path, batches: Iterator[tuple[int, np.ndarray]], size: int) -> None:
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), size))])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start, vectors in batches:
            ids = pa.array(np.arange(start, start + len(vectors)))
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), size)
            writer.write(pa.record_batch([ids, column], schema=schema))
    partial.replace(path)


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
