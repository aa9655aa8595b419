"""From a dataset's configuration to tables of points and queries, with labels and given neighbours."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from os.path import expanduser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.cache import Kind
from qexp.config import (
    CollectionDataset,
    DatasetConfig,
    EmbeddingConfig,
    FileDataset,
    HubDataset,
    QrelsConfig,
    QueriesConfig,
    SyntheticDataset,
    TableDataset,
    paths_of,
)
from qexp.data.files import content_digest, file_distance, is_file_dataset, load_file, need_file, query_part
from qexp.data.hub import commit_of, load_hub, place_of
from qexp.data.kept import digest_of, table_or_made, write_arrow
from qexp.data.labels import Qrel, read_trec, table_qrels
from qexp.data.table import Table, find_vector_column, need_columns
from qexp.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SYNTHETIC_VALUES = 8192 * 384
TREC_FILES = (".txt", ".trec", ".qrels", ".qrel")  # what is called so is no dataset of the hub


@dataclass(frozen=True)
class Source:
    """Points, queries (None: to be held out of the points) and labels; `key` changes when any of them does.

    `payload` names the columns that travel with the points, as values, or as JSON where `payload_json`. `distance`,
    `m`, `ef_construct`, `full_scan_threshold` and `payload_indexes` are what the source itself says, if it does.
    `revision` is the hub's commit of the points, `warnings` what has to be said of it.
    """

    points: Table
    queries: Table | None
    qrels: list[Qrel]
    key: str
    place: str
    payload: tuple[str, ...] = ()
    payload_json: bool = False
    revision: str | None = None
    distance: str | None = None
    m: int | None = None
    ef_construct: int | None = None
    full_scan_threshold: int | None = None
    payload_indexes: dict[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class _Loaded:
    """Rows of one split with their place in messages and a word that changes with their content."""

    rows: "Dataset"
    place: str
    state: str


def check_files(config: DatasetConfig) -> None:
    """Raise DataError for a file that is not there: before a job waits for its turn, and before texts are embedded."""
    own = config.path if isinstance(config, FileDataset) else None
    for path in paths_of(config):
        if path == own or is_file_dataset(expanduser(path)) or Path(path).suffix in TREC_FILES:
            need_file(Path(path).expanduser())


def open_source(config: DatasetConfig, embedding: EmbeddingConfig, cache: Path) -> Source:
    """Load the dataset that `config` names, embedding texts if asked to; vectors stay in memory-mapped Arrow.

    Raises DataError if it cannot be loaded or lacks a column.
    """
    if isinstance(config, TableDataset):
        return _open_table(config, embedding, cache)
    if isinstance(config, CollectionDataset):
        return _open_collection(config, embedding, cache)
    if isinstance(config, SyntheticDataset):
        return _open_synthetic(config, cache)
    raise DataError(f"dataset: nothing knows how to load {type(config).__name__}")


def _open_table(config: TableDataset, embedding: EmbeddingConfig, cache: Path) -> Source:
    name = config.name if isinstance(config, HubDataset) else None
    loaded = _load(config, config.path, name, config.split, cache)
    need_columns(loaded.rows, loaded.place, *config.payload_columns)
    points = _table(loaded, config, embedding, "passage", cache)
    own = isinstance(config, FileDataset) and config.distance is None
    distance = file_distance(Path(config.path)) if own else None
    source = Source(
        points,
        None,
        [],
        loaded.state,
        loaded.place,
        tuple(config.payload_columns),
        revision=commit_of(loaded.rows) if isinstance(config, HubDataset) else None,
        distance=distance,
    )
    return _with_queries(source, loaded, config, embedding, cache)


def _open_collection(config: CollectionDataset, embedding: EmbeddingConfig, cache: Path) -> Source:
    from qexp.data.snapshot import take_snapshot

    snapshot = take_snapshot(config, cache)
    loaded = _Loaded(snapshot.rows, f"{config.url} {config.collection}", snapshot.state)
    source = Source(
        Table(loaded.rows, loaded.place, "vector", "id"),
        None,
        [],
        loaded.state,
        loaded.place,
        ("payload",) if config.payload else (),
        payload_json=True,
        distance=snapshot.about.distance,
        m=snapshot.about.m,
        ef_construct=snapshot.about.ef_construct,
        full_scan_threshold=snapshot.about.full_scan_threshold,
        payload_indexes=snapshot.about.payload_indexes,
        warnings=snapshot.warnings,
    )
    return _with_queries(source, loaded, config, embedding, cache)


def _with_queries(
    source: Source, points: _Loaded, config: TableDataset | CollectionDataset, embedding: EmbeddingConfig, cache: Path
) -> Source:
    """Add queries and labels, wherever they come from, and the key of it all."""
    asked, states = config.queries, [source.key]
    queries = None
    own_part = query_part(Path(config.path)) if isinstance(config, FileDataset) else None
    if asked.path or asked.name or asked.split or own_part:
        loaded = _beside(config, asked, cache)
        queries = _table(loaded, asked, embedding, "query", cache)
        states.append(loaded.state)
    elif asked.vector_column or asked.text_column:
        own = replace(asked, id_column=asked.id_column or source.points.id_column)  # their rows are those of the points
        queries = replace(_table(points, own, embedding, "query", cache), sparse=True)
    qrels: list[Qrel] = []
    if config.qrels.path and not is_file_dataset(config.qrels.path) and Path(config.qrels.path).is_file():
        qrels = read_trec(Path(config.qrels.path))
        states.append(digest_of([str(qrel) for qrel in qrels]))
    elif config.qrels.path or config.qrels.name or config.qrels.split:
        loaded = _beside(config, config.qrels, cache)
        qrels = table_qrels(loaded.rows, loaded.place, config.qrels)
        states.append(loaded.state)
    if config.truth == "neighbours" and config.neighbours_path:
        states.append(content_digest(Path(config.neighbours_path)))
    key = digest_of([*states, json.dumps([asdict(config), asdict(embedding)], sort_keys=True)])
    return replace(source, queries=queries, qrels=qrels, key=key)


def _beside(config: TableDataset | CollectionDataset, asked: QueriesConfig | QrelsConfig, cache: Path) -> _Loaded:
    """Load queries or labels: from a path of their own, else from another configuration or split of the dataset."""
    path = asked.path or (config.path if isinstance(config, TableDataset) else None)
    part = "dataset.queries" if isinstance(asked, QueriesConfig) else "dataset.qrels"
    if path is None:
        raise DataError(f"{part}: a collection has no configurations or splits; set {part}.path=…")
    if not asked.path and isinstance(config, FileDataset) and asked.name:
        raise DataError(f"{path}: a file has no configuration '{asked.name}'; set {part}.path=…")
    return _load(config, path, asked.name, asked.split or query_part(Path(path)), cache)


def _load(config: DatasetConfig, path: str, name: str | None, split: str | None, cache: Path) -> _Loaded:
    """Load a file where it is one, else a dataset of the hub's; `revision` belongs to the dataset's own path."""
    if (isinstance(config, FileDataset) and path == config.path) or is_file_dataset(path):
        rows, state = load_file(Path(path), split, cache)
        return _Loaded(rows, path, state)
    revision = config.revision if isinstance(config, HubDataset) and path == config.path else None
    rows, state = load_hub(path, name, split, revision, cache)
    return _Loaded(rows, place_of(path, name), state)


def _table(
    loaded: _Loaded, columns: TableDataset | QueriesConfig, embedding: EmbeddingConfig, role: str, cache: Path
) -> Table:
    """Name the columns; embed the text column if there is one and an encoder for it."""
    if columns.text_column and embedding.kind != "column":
        from qexp.data.embed import COLUMN, embedded

        need_columns(loaded.rows, loaded.place, columns.text_column)
        rows = embedded(loaded.rows, loaded.place, columns.text_column, embedding, role, cache)
        return Table(rows, loaded.place, COLUMN, columns.id_column)
    if columns.text_column and not columns.vector_column and isinstance(columns, QueriesConfig):
        raise DataError(f"{loaded.place}: texts need a model; add embedding=fastembed embedding.model=…")
    field_of = "dataset.queries" if isinstance(columns, QueriesConfig) else "dataset"
    vectors = find_vector_column(loaded.rows, loaded.place, columns.vector_column, field_of)
    return Table(loaded.rows, loaded.place, vectors, columns.id_column)


def _open_synthetic(config: SyntheticDataset, cache: Path) -> Source:
    key = digest_of([json.dumps(asdict(config), sort_keys=True)])
    tables = []
    for part, count in (("points", config.points), ("queries", config.queries)):
        path = cache / Kind.SYNTHETIC / f"{key}-{part}.arrow"
        rows = table_or_made(path, partial(write_arrow, path, _clusters(config, count, part)))
        tables.append(Table(rows, f"synthetic {part}", "vector", "id"))
    return Source(tables[0], tables[1], [], key, "synthetic")


def _clusters(config: SyntheticDataset, count: int, part: str) -> Iterator[dict[str, Any]]:
    """Yield ids and vectors [batch, size]: unit vectors around `clusters` random centres."""
    centres = np.random.default_rng(config.seed).standard_normal((config.clusters, config.size), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng([config.seed, len(part)])
    batch = min(8192, max(1, SYNTHETIC_VALUES // config.size))
    for start in range(0, count, batch):
        n = min(batch, count - start)
        noise = rng.standard_normal((n, config.size), dtype=np.float32) * config.spread / np.sqrt(config.size)
        vectors = centres[rng.integers(config.clusters, size=n)] + noise
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        yield {"id": np.arange(start, start + n), "vector": vectors}
