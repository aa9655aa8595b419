"""Vectors of one embedding size as memory-mapped float32 files, checked row by row."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from qexp.config import ExperimentConfig
from qexp.data.source import Source, Table, open_source
from qexp.errors import DataError
from qexp.results import DatasetFacts, Ids, Vectors

BATCH = 4096
LAYOUT = 2  # raise when the files below change their meaning
QUERY_SEED = 0


@dataclass(frozen=True)
class Data:
    """A dataset at one embedding size, ready to search.

    `vectors` and `queries` are `.npy` files of float32 [n, size], normalised if the distance is cosine. Points are
    known by row number from here on. `qrels` has rows (query row, point row, grade).
    """

    facts: DatasetFacts
    vectors: Path
    queries: Path
    qrels: Ids

    def points(self) -> Vectors:
        """Return the points, memory-mapped."""
        return _mapped(self.vectors)

    def query_vectors(self) -> Vectors:
        """Return the queries, memory-mapped."""
        return _mapped(self.queries)


def load_data(config: ExperimentConfig, cache: Path) -> Data:
    """Bring the dataset to the asked embedding size, once; later calls find it under its content's name.

    Raises DataError naming the first offending row, or a size that the vectors do not have.
    """
    source = open_source(config.dataset, cache)
    asked = {"source": source.key, "size": config.embedding.size, "queries": config.search.queries, "layout": LAYOUT}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "vectors" / f"{config.dataset.title}-{key}"
    if not (folder / "facts.json").exists():
        _lay_out(source, config, folder)
    facts = DatasetFacts(**json.loads((folder / "facts.json").read_text()))
    if config.search.limit > facts.points:
        raise DataError(f"search.limit={config.search.limit}: {source.place} has only {facts.points} points")
    return Data(facts, folder / "vectors.npy", folder / "queries.npy", np.load(folder / "qrels.npy"))


def _lay_out(source: Source, config: ExperimentConfig, folder: Path) -> None:
    """Write vectors, queries, labels and facts into `folder`, which appears only when it is complete."""
    size, distance = config.embedding.size, config.dataset.distance
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=folder.name, suffix=".partial", dir=folder.parent))
    try:
        chosen = _choose_queries(len(source.queries.rows), config.search.queries)
        native, digest = _write_vectors(source.points, None, size, distance, partial / "vectors.npy")
        query_native, query_digest = _write_vectors(source.queries, chosen, size, distance, partial / "queries.npy")
        if query_native != native:
            raise DataError(f"{source.queries.place}: queries have {query_native} dimensions, points have {native}")
        np.save(partial / "qrels.npy", _qrel_rows(source, chosen))
        facts = DatasetFacts(
            title=config.dataset.title,
            digest=digest,
            queries_digest=query_digest,
            points=len(source.points.rows),
            queries=len(chosen),
            native_size=native,
            size=size or native,
            distance=distance,
            source=source.place,
        )
        (partial / "facts.json").write_text(json.dumps(asdict(facts), indent=1))
        if not folder.exists():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _choose_queries(available: int, cap: int | None) -> Ids:
    """Return the row numbers of at most `cap` queries, a seeded sample in their own order."""
    if cap is None or cap >= available:
        return np.arange(available)
    return np.sort(np.random.default_rng(QUERY_SEED).choice(available, cap, replace=False))


def _write_vectors(table: Table, rows: Ids | None, size: int | None, distance: str, path: Path) -> tuple[int, str]:
    """Write one `.npy`, batch by batch; return the native dimension and a digest of the content."""
    dataset = table.rows if rows is None else table.rows.select(rows)
    digest = hashlib.sha256()
    native = 0
    with path.open("wb") as out:  # written, not mapped: on a full disk a mapping ends the process
        for start, batch in _batches(dataset, table):
            if start == 0:
                native = batch.shape[1]
                if size is not None and size > native:
                    raise DataError(f"embedding.size={size}: {table.place} has vectors of {native} dimensions")
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(dataset), size or native)}
                np.lib.format.write_array_header_1_0(out, header)
            if batch.shape[1] != native:
                raise DataError(
                    f"{table.place} row {start}: {batch.shape[1]} dimensions; the rows before have {native}"
                )
            _refuse_bad_rows(batch, start, table, distance)
            batch = np.ascontiguousarray(batch[:, :size], dtype="<f4")
            if distance == "cosine":
                batch = batch / np.linalg.norm(batch, axis=1, keepdims=True)
            content = batch.tobytes()
            out.write(content)
            digest.update(content)
    return native, digest.hexdigest()[:16]


def _batches(dataset: Any, table: Table) -> Iterator[tuple[int, Vectors]]:
    """Yield (first row, float32 [batch, native size]) straight from Arrow."""
    start = 0
    for batch in dataset.select_columns([table.vector_column]).with_format("arrow").iter(BATCH):
        column = batch.column(0).combine_chunks()
        yield start, _as_matrix(column, start, table)
        start += len(column)


def _as_matrix(column: Any, start: int, table: Table) -> Vectors:
    """Return a list column as float32 [rows, dimensions]; raise DataError for nulls, ragged rows, other types."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"{table.place}: column '{table.vector_column}' holds {kind}, not vectors")
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise DataError(f"{table.place}: column '{table.vector_column}' holds lists of {kind.value_type}, not numbers")
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{table.place} row {row}: no vector in column '{table.vector_column}'")
    if not pa.types.is_fixed_size_list(kind):
        lengths = np.diff(column.offsets.to_numpy())
        ragged = np.flatnonzero(lengths != lengths[0])
        if ragged.size:
            row = int(ragged[0])
            raise DataError(f"{table.place} row {start + row}: {lengths[row]} dimensions; row {start} has {lengths[0]}")
    values = column.flatten()
    if values.null_count:
        raise DataError(f"{table.place} rows {start} to {start + len(column) - 1}: a vector has an empty component")
    matrix: Vectors = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)
    return matrix


def _refuse_bad_rows(batch: Vectors, start: int, table: Table, distance: str) -> None:
    finite = np.isfinite(batch).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{table.place} row {start + int(np.argmin(finite))}: the vector has NaN or infinite components"
        )
    if distance == "cosine":
        zero = ~batch.any(axis=1)
        if zero.any():
            row = start + int(np.argmax(zero))
            raise DataError(
                f"{table.place} row {row}: a zero vector has no cosine; remove it or set dataset.distance=dot"
            )


def _qrel_rows(source: Source, chosen: Ids) -> Ids:
    """Return labels as (query row, point row, grade), for the chosen queries only; unknown ids raise DataError."""
    if not source.qrels:
        return np.empty((0, 3), dtype=np.int64)
    query_row = _row_of(source.queries)
    point_row = _row_of(source.points)
    position = {int(row): place for place, row in enumerate(chosen)}
    labels = []
    for query, point, grade in source.qrels:
        if query not in query_row:
            raise DataError(f"{source.place} qrels: no query has the id {query!r}")
        if point not in point_row:
            raise DataError(f"{source.place} qrels: no point has the id {point!r}")
        if query_row[query] in position:
            labels.append((position[query_row[query]], point_row[point], grade))
    return np.array(labels, dtype=np.int64).reshape(-1, 3)


def _row_of(table: Table) -> dict[Any, int]:
    ids = table.rows.with_format("arrow")[table.id_column][:].to_pylist()
    rows = {key: row for row, key in enumerate(ids)}
    if len(rows) != len(ids):
        twice = next(key for row, key in enumerate(ids) if rows[key] != row)
        raise DataError(f"{table.place}: the id {twice!r} is given twice in column '{table.id_column}'")
    return rows


def _mapped(path: Path) -> Vectors:
    vectors: Vectors = np.load(path, mmap_mode="r")
    return vectors
