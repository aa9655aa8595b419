"""A dataset at one embedding size, laid out once as files that engine and truth read in batches."""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from os.path import expanduser
from pathlib import Path
from typing import Any

import numpy as np

from qexp.bench.accuracy import judging
from qexp.bench.notes import few_labelled
from qexp.cache import Kind
from qexp.config import (
    CollectionDataset,
    ExperimentConfig,
    HubDataset,
    QueriesConfig,
    ServerConfig,
    SyntheticDataset,
    TableDataset,
    with_paths,
)
from qexp.data.kept import digest_of, read_or_made
from qexp.data.labels import check_unique_ids, given_neighbours, neighbour_positions, qrel_rows
from qexp.data.matrix import Written, write_matrix
from qexp.data.payload import write_payload
from qexp.data.source import Source, open_source
from qexp.data.table import Table, has_vector
from qexp.errors import ConfigError, DataError
from qexp.progress import warn_once
from qexp.results import DatasetFacts, Ids, Vectors

LAYOUT = 10  # raise when the files below change their meaning
QUERY_SEED = 0
UNNORMALISED_SHARE = 0.01  # of the points; fewer are accidents
HELD_OUT_SHARE = 10  # held-out queries are at most one in so many rows


@dataclass(frozen=True)
class Data:
    """A dataset at one embedding size, ready to search.

    `vectors` and `queries` are `.npy` files of float32 [n, size], normalised if the distance is cosine. Points are
    known by row number from here on, queries too, whose rows in the user's table are `query_rows`. `qrels` has rows
    (query row, point row, grade). `payload` is a file with one JSON object per point; `neighbours` a `.npy` file of
    given neighbours [query, width], -1 where there is none.
    """

    facts: DatasetFacts
    vectors: Path
    queries: Path
    query_rows: Ids
    qrels: Ids
    payload: Path | None = None
    neighbours: Path | None = None
    warnings: tuple[str, ...] = ()

    def points(self) -> Vectors:
        """Return the points, memory-mapped."""
        return _mapped(self.vectors)

    def query_vectors(self) -> Vectors:
        """Return the queries, memory-mapped."""
        return np.asarray(_mapped(self.queries))


def load_data(config: ExperimentConfig, cache: Path) -> Data:
    """Bring the dataset to the asked embedding size, once; later calls find it under its content's name.

    Raises DataError naming the first offending row, or a size that the vectors do not have; ConfigError for a datatype
    that the collection to be advised does not have.
    """
    datatype = _other_datatype(config)
    config = replace(config, dataset=with_paths(config.dataset, expanduser))
    source = open_source(config.dataset, config.embedding, cache)
    distance = config.dataset.distance or source.distance or "cosine"
    asked = {
        "source": source.key,
        "size": config.embedding.size,
        "queries": config.search.queries,
        "distance": distance,
        "layout": LAYOUT,
    }
    key = digest_of([json.dumps(asked, sort_keys=True)])
    folder = cache / Kind.VECTORS / f"{config.dataset.title}-{key}"
    data = read_or_made(folder, partial(_read_folder, folder), partial(_lay_out, source, config, distance, folder))
    if config.search.limit > (points := data.facts.points):
        place = f"search.limit={config.search.limit}: {source.place}"
        fewer = _fewer(source, config, points)
        raise DataError(f"{place} has only {points} points{fewer}; set search.limit={points} or less")
    if data.facts.queries < 2:
        place = (source.queries or source.points).place
        raise DataError(
            f"{place}: too few queries ({data.facts.queries}): half of them choose, half confirm; give at least 2"
        )
    if config.dataset.truth == "neighbours":
        _check_given(config, source, data.facts)
    data = replace(data, warnings=(*datatype, *source.warnings, *data.warnings))
    for warning in data.warnings:
        warn_once(warning)
    return data


def _read_folder(folder: Path) -> Data:
    """Return what a folder holds; OSError, ValueError and the like where one of its files is broken."""
    payload, neighbours = folder / "payload.jsonl", folder / "neighbours.npy"
    data = Data(
        DatasetFacts(**json.loads((folder / "facts.json").read_text(encoding="utf-8"))),
        folder / "vectors.npy",
        folder / "queries.npy",
        np.load(folder / "query_rows.npy"),
        np.load(folder / "qrels.npy"),
        payload if payload.exists() else None,
        neighbours if neighbours.exists() else None,
        tuple(json.loads((folder / "warnings.json").read_text(encoding="utf-8"))),
    )
    for matrix in filter(None, (data.vectors, data.queries, data.neighbours)):
        _mapped(matrix)  # which a file that was cut off cannot be
    return data


def _other_datatype(config: ExperimentConfig) -> list[str]:
    """Say that a live collection has another datatype than is measured, before a point of it is read; return it.

    Raises ConfigError where it is the collection to be advised, whose datatype no update could change.
    """
    if not isinstance(config.dataset, CollectionDataset):
        return []
    from qexp.data.snapshot import held_datatype

    asked, held = config.storage.datatype, held_datatype(config.dataset)
    if held == asked:
        return []
    where = f"storage.datatype={asked}: {config.dataset.collection} holds {held}"
    if isinstance(config.engine, ServerConfig) and config.engine.source_collection:
        raise ConfigError(f"{where}, which cannot change in a collection that exists; add storage.datatype={held}")
    said = f"{where}; add storage.datatype={held} to measure what is there"
    warn_once(said)
    return [said]


def _lay_out(source: Source, config: ExperimentConfig, distance: str, folder: Path) -> None:
    """Write vectors, queries, labels and facts into `folder`, which appears only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=folder.name, suffix=".partial", dir=folder.parent))
    try:
        facts, warnings = _write(source, config, distance, unfinished)
        (unfinished / "warnings.json").write_text(json.dumps(warnings, indent=1), encoding="utf-8")
        (unfinished / "facts.json").write_text(json.dumps(asdict(facts), indent=1), encoding="utf-8")
        if not folder.exists():
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(source: Source, config: ExperimentConfig, distance: str, folder: Path) -> tuple[DatasetFacts, list[str]]:
    size, drop = config.embedding.size, config.dataset.on_bad_vector == "drop"
    query_table, is_point, is_query = _split(source, config)
    check_unique_ids(source.points)
    points = write_matrix(source.points, is_point, size, distance, drop, folder / "vectors.npy", "points")
    queries = write_matrix(query_table, is_query, size, distance, drop, folder / "queries.npy", "queries")
    if queries.native != points.native:
        raise DataError(f"{query_table.place}: queries have {queries.native} dimensions, points have {points.native}")
    np.save(folder / "query_rows.npy", queries.rows)
    if source.qrels:
        check_unique_ids(query_table)
    qrels = judging(qrel_rows(source.qrels, source.points, points.rows, query_table, queries.rows))
    np.save(folder / "qrels.npy", qrels)
    if config.dataset.truth == "neighbours" and source.queries is not None:
        given = given_neighbours(config.dataset, query_table, queries.rows, len(is_query))
        known, place = source.points, query_table.place
        if config.dataset.neighbours_path:  # a file has row numbers, whatever the ids of the points are
            known, place = replace(known, id_column=None), config.dataset.neighbours_path
        np.save(folder / "neighbours.npy", neighbour_positions(given, queries.rows, known, points.rows, place))
    digest = points.digest
    if source.payload:
        digest = digest_of([digest, write_payload(source, points.rows, folder / "payload.jsonl")])
    facts = DatasetFacts(
        title=config.dataset.title,
        digest=digest,
        queries_digest=queries.digest,
        points=len(points.rows),
        queries=len(queries.rows),
        native_size=points.native,
        size=size or points.native,
        distance=distance,
        source=source.place,
        m=source.m,
        ef_construct=source.ef_construct,
        full_scan_threshold=source.full_scan_threshold,
        payload_indexes=source.payload_indexes,
        revision=source.revision,
    )
    labelled = few_labelled(qrels, facts.queries) if source.qrels else []
    return facts, [*_warnings(config, facts, points, queries), *labelled]


def _split(source: Source, config: ExperimentConfig) -> tuple[Table, Any, Any]:
    """Return the table of queries and, as masks over rows, which are points and which are queries.

    Queries without a table of their own are held out: a seeded sample that is removed from the points.
    """
    total = len(source.points.rows)
    is_point = np.ones(total, dtype=bool)
    if source.queries is not None:
        if source.queries.sparse:
            column = source.queries.rows.select_columns([source.queries.vector_column]).with_format("arrow")
            available = np.flatnonzero(has_vector(column[source.queries.vector_column][:]).to_numpy())
        else:
            available = np.arange(len(source.queries.rows))
        is_query = np.zeros(len(source.queries.rows), dtype=bool)
        is_query[_sample(available, config.search.queries, QUERY_SEED)] = True
        return source.queries, is_point, is_query
    assert isinstance(config.dataset, TableDataset | CollectionDataset)
    count = _held_out(total, config.dataset.queries)
    if count < 2:
        raise DataError(
            f"{source.place}: {total} rows are too few to hold queries out; give queries with dataset.queries.path=…"
        )
    held = _sample(np.arange(total), count, config.dataset.queries.seed)
    is_point[held] = False
    is_query = np.zeros(total, dtype=bool)
    is_query[_sample(held, config.search.queries, QUERY_SEED)] = True
    return source.points, is_point, is_query


def _held_out(rows: int, asked: QueriesConfig) -> int:
    return min(asked.held_out, rows // HELD_OUT_SHARE)


def _fewer(source: Source, config: ExperimentConfig, points: int) -> str:
    """Return why there are fewer points than rows; nothing where there are as many."""
    rows, held = len(source.points.rows), 0
    if source.queries is None:
        assert isinstance(config.dataset, TableDataset | CollectionDataset)
        held = _held_out(rows, config.dataset.queries)
    found = ((held, "held out as queries"), (rows - held - points, "without a usable vector"))
    told = ", ".join(f"{count} {words}" for count, words in found if count)
    return f" (of its {rows} rows {told})" if told else ""


def _sample(available: Ids, cap: int | None, seed: int) -> Ids:
    """Return at most `cap` of the row numbers, a seeded sample in their own order."""
    if cap is None or cap >= len(available):
        return available
    return np.sort(np.random.default_rng(seed).choice(available, cap, replace=False))


def _check_given(config: ExperimentConfig, source: Source, facts: DatasetFacts) -> None:
    """Refuse given neighbours where they cannot be the exact ones."""
    if facts.size != facts.native_size:
        raise DataError(
            f"dataset.truth=neighbours: they are those of {facts.native_size} dimensions; with embedding.size="
            f"{config.embedding.size} set dataset.truth=exact"
        )
    if config.search.filter:
        raise DataError("dataset.truth=neighbours: they are those without search.filter; set dataset.truth=exact")
    if source.queries is None:
        raise DataError("dataset.truth=neighbours: held-out queries have none; set dataset.truth=exact")


def _warnings(config: ExperimentConfig, facts: DatasetFacts, points: Written, queries: Written) -> list[str]:
    warnings = []
    for place in dict.fromkeys((points.place, queries.place)):
        if dropped := sum(one.dropped for one in (points, queries) if one.place == place):
            rows, were = ("row", "was") if dropped == 1 else ("rows", "were")
            warnings.append(f"{place}: {dropped:,} {rows} without a usable vector {were} left out")
    if facts.revision and isinstance(config.dataset, HubDataset) and config.dataset.revision != facts.revision:
        warnings.append(
            f"{facts.source}: its revision is not pinned, and the hub's may change; this is commit {facts.revision}: "
            f"add dataset.revision={facts.revision}"
        )
    generated = isinstance(config.dataset, SyntheticDataset)  # by no model
    if facts.size < facts.native_size and not (config.dataset.matryoshka or generated):
        warnings.append(
            f"embedding.size={facts.size} of {facts.native_size}: the model is not known to be trained for truncation "
            "(Matryoshka), so that much of what it knows may be lost; if it is, set dataset.matryoshka=true"
        )
    if facts.distance == "cosine" and points.unnormalised > len(points.rows) * UNNORMALISED_SHARE and not generated:
        warnings.append(
            f"{points.unnormalised:,} of {len(points.rows):,} vectors do not have length 1, which cosine ignores; "
            "if the model means something by length, set dataset.distance=dot"
        )
    return warnings


def _mapped(path: Path) -> Vectors:
    vectors: Vectors = np.load(path, mmap_mode="r")
    return vectors
