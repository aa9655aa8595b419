import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qexp.config import (
    EmbeddingConfig,
    ExperimentConfig,
    FileDataset,
    HubDataset,
    QrelsConfig,
    QueriesConfig,
    SearchConfig,
    SyntheticDataset,
)
from qexp.data.vectors import Data, load_data
from qexp.errors import DataError


def synthetic(size: int | None = None, queries: int | None = None, **more: Any) -> ExperimentConfig:
    dataset = SyntheticDataset(points=300, size=32, queries=20, clusters=5, **more)
    return ExperimentConfig(dataset=dataset, embedding=EmbeddingConfig(size=size), search=SearchConfig(queries=queries))


def local(folder: Path, vectors: Any, queries: int = 2, **more: Any) -> ExperimentConfig:
    """A folder as the hub has them: corpus and queries as Parquet."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": list(range(len(vectors))), "vector": vectors}), folder / "corpus.parquet")
    pq.write_table(pa.table({"id": list(range(queries)), "vector": [[1.0, 0.0]] * queries}), folder / "queries.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: corpus\n  data_files: corpus.parquet\n"
        "- config_name: queries\n  data_files: queries.parquet\n---\n"
    )
    dataset = HubDataset(path=str(folder), name="corpus", queries=QueriesConfig(name="queries"), **more)
    return ExperimentConfig(dataset=dataset, search=SearchConfig(limit=1))


def test_cosine_vectors_are_normalised_float32_files(tmp_path: Path) -> None:
    data = load_data(synthetic(), tmp_path)
    assert data.points().shape == (300, 32)
    assert data.points().dtype == np.float32
    assert np.abs(np.linalg.norm(data.points(), axis=1) - 1).max() < 1e-6
    assert (data.facts.points, data.facts.queries, data.facts.native_size, data.facts.size) == (300, 20, 32, 32)


def test_a_smaller_embedding_is_the_first_components_normalised_again(tmp_path: Path) -> None:
    whole, cut = load_data(synthetic(), tmp_path), load_data(synthetic(size=8), tmp_path)
    expected = whole.points()[:, :8] / np.linalg.norm(whole.points()[:, :8], axis=1, keepdims=True)
    assert np.abs(cut.points() - expected).max() < 1e-6
    assert cut.facts.digest != whole.facts.digest


def test_the_same_content_has_the_same_digest_and_is_laid_out_once(tmp_path: Path) -> None:
    first, again = load_data(synthetic(), tmp_path), load_data(synthetic(), tmp_path)
    elsewhere = load_data(synthetic(), tmp_path / "other")
    assert first.vectors == again.vectors
    assert first.facts.digest == elsewhere.facts.digest
    assert load_data(synthetic(seed=1), tmp_path).facts.digest != first.facts.digest
    assert not list(tmp_path.rglob("*.partial"))


def test_fewer_queries_are_the_same_points_and_so_the_same_collection(tmp_path: Path) -> None:
    few, all_of_them = load_data(synthetic(queries=7), tmp_path), load_data(synthetic(), tmp_path)
    assert few.query_vectors().shape == (7, 32)
    assert few.facts.digest == all_of_them.facts.digest
    assert few.facts.queries_digest != all_of_them.facts.queries_digest


def test_an_embedding_larger_than_the_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"embedding\.size=64: synthetic points has vectors of 32 dimensions"):
        load_data(synthetic(size=64), tmp_path)


def test_a_limit_larger_than_the_corpus_is_refused(tmp_path: Path) -> None:
    config = ExperimentConfig(dataset=SyntheticDataset(points=5, size=4, queries=2), search=SearchConfig(limit=6))
    with pytest.raises(DataError, match=r"search\.limit=6: synthetic has only 5 points; set search\.limit=5 or less$"):
        load_data(config, tmp_path)
    held = r"has only 27 points \(of its 30 rows 3 held out as queries\); set search\.limit=27 or less"
    with pytest.raises(DataError, match=held):
        of_file(parquet(tmp_path, rows=30), limit=28)


def test_a_limit_larger_than_what_is_left_of_a_corpus_counts_what_is_not(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((60, 4))
    np.save(tmp_path / "queries.npy", rows)
    rows[::2] = NAN
    np.save(tmp_path / "points.npy", rows)
    with pytest.raises(DataError, match=r"has only 27 points \(of its 60 rows 6 held out as queries, 27 without a us"):
        of_file(tmp_path / "points.npy", limit=40, on_bad_vector="drop")
    asked = QueriesConfig(path=str(tmp_path / "queries.npy"))
    with pytest.raises(
        DataError, match=r"has only 30 points \(of its 60 rows 30 without a usable vector\); set search"
    ):
        of_file(tmp_path / "points.npy", limit=40, on_bad_vector="drop", queries=asked)


def test_a_single_query_is_refused_as_it_cannot_both_choose_and_confirm(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"queries: too few queries \(1\): .*; give at least 2"):
        load_data(local(tmp_path / "data", [[1.0, 0.0]], queries=1), tmp_path / "cache")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 0.0], [float("nan"), 0.0]], "row 1: the vector has NaN"),
        ([[1.0, 0.0], [1.0, 0.0], [0.0, float("inf")]], "row 2: the vector has NaN or infinite"),
        ([[1.0, 0.0], [0.0, 0.0]], "row 1: a zero vector has no cosine"),
        ([[1.0, 0.0], [1.0]], "row 1: 1 dimensions; row 0 has 2"),
        ([[1.0, 0.0], None], "row 1: no vector"),
        ([["a", "b"]], "not numbers"),
        ([1.0, 2.0], "not vectors"),
        ([[1.0, 0.0, 0.0]], "queries have 2 dimensions, points have 3"),
    ],
)
def test_bad_vectors_name_the_row(tmp_path: Path, vectors: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(local(tmp_path / "data", vectors), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize("distance", ["dot", "euclid", "manhattan"])
def test_components_whose_squares_overflow_are_for_cosine_alone(tmp_path: Path, distance: str) -> None:
    vectors: Any = [[1e15, 0.0], [0.0, -1e16]]
    with pytest.raises(DataError, match=r"row 1: the vector has components beyond ± 1e\+15, for which distances may"):
        load_data(local(tmp_path / "data", vectors, distance=distance), tmp_path / "cache")
    kept = load_data(local(tmp_path / "data", vectors, distance=distance, on_bad_vector="drop"), tmp_path / "cache")
    assert kept.facts.points == 1
    assert load_data(local(tmp_path / "data", vectors), tmp_path / "cache").points().tolist() == [[1, 0], [0, -1]]


def test_a_wrong_column_names_the_near_miss(tmp_path: Path) -> None:
    config = local(tmp_path / "data", [[1.0, 0.0]], vector_column="vectr")
    with pytest.raises(DataError, match="no column 'vectr'"):
        load_data(config, tmp_path / "cache")


def test_a_folder_whose_files_changed_is_read_again(tmp_path: Path) -> None:
    first = load_data(local(tmp_path / "data", [[1.0, 0.0]]), tmp_path / "cache")
    changed = load_data(local(tmp_path / "data", [[0.0, 1.0], [1.0, 0.0]]), tmp_path / "cache")
    assert (first.facts.points, changed.facts.points) == (1, 2)
    assert changed.points().tolist() == [[0.0, 1.0], [1.0, 0.0]]


NAN = float("nan")
MIXED: list[Any] = [[3.0, 4.0], [NAN, 0.0], [0.0, 0.0], None, [1.0, None], [0.0, 2.0], [1e300, 0.0]]


def test_rows_without_a_usable_vector_can_be_dropped(tmp_path: Path) -> None:
    data = load_data(local(tmp_path / "data", MIXED, on_bad_vector="drop"), tmp_path / "cache")
    assert np.abs(data.points() - [[0.6, 0.8], [0.0, 1.0]]).max() < 1e-6
    assert data.warnings[0] == f"{tmp_path}/data/corpus: 5 rows without a usable vector were left out"
    kept = load_data(local(tmp_path / "data", MIXED, on_bad_vector="drop", distance="dot"), tmp_path / "cache")
    assert kept.facts.points == 3  # a zero vector has an inner product


def test_rows_that_were_left_out_are_told_with_the_file_that_has_them(tmp_path: Path) -> None:
    for name, missing in (("points", 1), ("queries", 2)):
        vectors = np.random.default_rng(missing).standard_normal((20, 4))
        vectors[:missing] = NAN
        np.save(tmp_path / f"{name}.npy", vectors)
    asked = QueriesConfig(path=str(tmp_path / "queries.npy"))
    told = of_file(tmp_path / "points.npy", queries=asked, on_bad_vector="drop").warnings
    assert told[:2] == (
        f"{tmp_path}/points.npy: 1 row without a usable vector was left out",
        f"{tmp_path}/queries.npy: 2 rows without a usable vector were left out",
    )


def test_nothing_left_after_dropping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row has a usable vector for the points"):
        load_data(local(tmp_path / "data", [[NAN, 1.0]], on_bad_vector="drop"), tmp_path / "cache")


def test_a_vector_that_is_zero_after_truncation_is_named(tmp_path: Path) -> None:
    config = local(tmp_path / "data", [[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    with pytest.raises(DataError, match="row 1: a zero vector has no cosine"):
        load_data(replace(config, embedding=EmbeddingConfig(size=2)), tmp_path / "cache")


def parquet(folder: Path, rows: int = 100, **columns: Any) -> Path:
    vectors = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
    pq.write_table(pa.table({"vector": list(vectors), **columns}), folder / "points.parquet")
    return folder / "points.parquet"


def of_file(path: Path, limit: int = 5, size: int | None = None, **more: Any) -> Data:
    config = ExperimentConfig(
        dataset=FileDataset(path=str(path), **more),
        embedding=EmbeddingConfig(size=size),
        search=SearchConfig(limit=limit),
    )
    return load_data(config, path.parent / "cache")


def test_held_out_queries_are_seeded_and_no_points(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    first, again, other = (of_file(path, queries=QueriesConfig(held_out=8, seed=seed)) for seed in (1, 1, 2))
    assert (first.facts.points, first.facts.queries) == (92, 8)
    assert np.array_equal(first.query_vectors(), again.query_vectors())
    assert not np.array_equal(first.query_vectors(), other.query_vectors())
    together = {tuple(row) for row in np.vstack([first.points(), first.query_vectors()]).tolist()}
    assert len(together) == 100


def test_at_most_a_tenth_is_held_out(tmp_path: Path) -> None:
    assert of_file(parquet(tmp_path)).facts.queries == 10
    assert of_file(parquet(tmp_path, rows=20)).facts.queries == 2
    with pytest.raises(DataError, match="19 rows are too few to hold queries out; give queries with dataset"):
        of_file(parquet(tmp_path, rows=19))


def test_a_cut_of_a_model_not_known_to_be_trained_for_it_warns(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    (warning,) = of_file(path, size=2, distance="dot").warnings
    assert "the model is not known to be trained for truncation" in warning
    assert of_file(path, size=2, distance="dot", matryoshka=True).warnings == ()
    assert of_file(path, distance="dot").warnings == ()


def test_duplicate_ids_and_unknown_payload_columns_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, key=[*range(99), 5])
    with pytest.raises(DataError, match="row 99: the id 5 is that of row 5 too"):
        of_file(path, id_column="key")
    with pytest.raises(DataError, match=r"no column 'kez' \(did you mean 'key'"):
        of_file(path, payload_columns=["kez"])


def test_payload_follows_its_point_and_changes_the_digest(tmp_path: Path) -> None:
    when = [datetime(2020, 1, 1 + row % 28) for row in range(100)]
    path = parquet(tmp_path, row=list(range(100)), at=when, maybe=[None, 1.5] * 50, nan=[NAN] * 100)
    bare, data = of_file(path), of_file(path, payload_columns=["row", "at", "maybe", "nan"])
    assert data.payload is not None
    lines = [json.loads(line) for line in data.payload.read_text().splitlines()]
    vectors = np.array(pq.read_table(path)["vector"].to_pylist(), dtype=np.float64)
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(data.points() - expected[[line["row"] for line in lines]]).max() < 1e-6
    assert lines[0]["at"].startswith("2020-01-")
    assert all(("maybe" in line) == bool(line["row"] % 2) for line in lines)
    assert {line["nan"] for line in lines} == {None}
    assert bare.payload is None
    assert bare.facts.digest != data.facts.digest


def test_views_of_strings_are_payload_ids_and_neighbours(tmp_path: Path) -> None:
    names = [f"too long to be within its view {row}" for row in range(100)]
    path = parquet(tmp_path, name=pa.array(names, pa.string_view()))
    held_out = of_file(path, payload_columns=["name"], id_column="name")
    assert held_out.payload is not None
    kept = [json.loads(line)["name"] for line in held_out.payload.read_text().splitlines()]
    assert len(kept) == held_out.facts.points
    assert set(kept) < set(names)
    near = pa.array([[name] for name in names], pa.list_(pa.string_view()))
    pq.write_table(pa.table({"vector": pq.read_table(path)["vector"], "near": near}), tmp_path / "queries.parquet")
    asked = QueriesConfig(path=str(tmp_path / "queries.parquet"))
    found = of_file(path, 1, id_column="name", queries=asked, truth="neighbours", neighbours_column="near")
    assert found.neighbours is not None
    assert np.load(found.neighbours).ravel().tolist() == list(range(100))


def test_payload_of_mixed_types_is_as_it_was_written(tmp_path: Path) -> None:
    payload = [
        {
            "n": 1 if row % 2 else "x",
            "tags": ["a", 1],
            "deep": {"v": row if row % 2 else None, "w": [{"u": row % 2 or "y"}]},
        }
        for row in range(100)
    ]
    vectors = pq.read_table(parquet(tmp_path))["vector"].to_pylist()
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(json.dumps({"vector": v, "row": n} | payload[n]) for n, v in enumerate(vectors)))
    data = of_file(path, payload_columns=["row", "n", "tags", "deep"])
    assert data.payload is not None
    for line in map(json.loads, data.payload.read_text().splitlines()):
        expected = payload[line.pop("row")]
        if expected["deep"]["v"] is None:
            expected["deep"].pop("v")
        assert line == expected


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([10**13] * 100, pa.timestamp("s")), "column 'p' holds timestamp.* cannot be read: .*leave it out of"),
        (pa.array([b"x"] * 100), "column 'p' holds bytes, which is no payload in Qdrant; leave it out of"),
    ],
)
def test_payload_that_json_has_not_names_column_and_remedy(column: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        of_file(parquet(tmp_path, p=column), payload_columns=["p"])


def test_labels_of_held_out_queries_and_points_meet_by_id(tmp_path: Path) -> None:
    path = parquet(tmp_path, key=[f"k{row}" for row in range(100)])
    (tmp_path / "labels.qrels").write_text("".join(f"k{q} 0 k{p} 1\n" for q in range(100) for p in (0, 50, 99)))
    data = of_file(path, id_column="key", qrels=QrelsConfig(path=str(tmp_path / "labels.qrels")))
    assert len(data.qrels) == 10 * sum(row in (0, 50, 99) for row in range(100) if row_is_point(data, path, row))


def test_queries_beside_the_points_have_the_ids_of_their_rows(tmp_path: Path) -> None:
    beside = [[1.0, row, 0.0, 0.0] if row % 5 == 0 else None for row in range(100)]
    path = parquet(tmp_path, key=list(range(99, -1, -1)), query=beside)
    (tmp_path / "labels.qrels").write_text("".join(f"{99 - row} 0 {99 - row} 1\n" for row in range(0, 100, 5)))
    labels = QrelsConfig(path=str(tmp_path / "labels.qrels"))
    data = of_file(path, id_column="key", queries=QueriesConfig(vector_column="query"), qrels=labels)
    assert data.qrels.tolist() == [[query, 5 * query, 1] for query in range(20)]


@pytest.mark.parametrize("name", ["neighbors", "truth"])
def test_the_column_of_neighbours_is_no_second_column_of_vectors(name: str, tmp_path: Path) -> None:
    points, path = parquet(tmp_path), tmp_path / "queries.parquet"
    rows = pq.read_table(points)["vector"].to_pylist()
    pq.write_table(pa.table({"embedding": rows, name: [[row] for row in range(100)]}), path)
    asked = QueriesConfig(path=str(path))
    assert of_file(points, limit=1, queries=asked, truth="neighbours", neighbours_column=name).facts.queries == 100


def test_neighbours_that_are_missing_are_told_how_to_be_given(tmp_path: Path) -> None:
    points = parquet(tmp_path)
    said = "no column 'nearest' of neighbours.*; set dataset.neighbours_column=…, or dataset.neighbours_path=… for"
    with pytest.raises(DataError, match=said):
        of_file(points, queries=QueriesConfig(path=str(points)), truth="neighbours", neighbours_column="nearest")


def row_is_point(data: Data, path: Path, row: int) -> bool:
    vector = np.array(pq.read_table(path)["vector"][row].as_py())
    return bool((data.points() @ (vector / np.linalg.norm(vector)) > 1 - 1e-6).any())


def test_vectors_without_length_1_are_said_where_cosine_ignores_it(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((200, 8))
    np.save(tmp_path / "long.npy", rows)
    (warning,) = of_file(tmp_path / "long.npy").warnings
    assert warning.endswith("if the model means something by length, set dataset.distance=dot")
    assert re.match(r"\d+ of 180 vectors do not have length 1, which cosine ignores", warning)
    assert of_file(tmp_path / "long.npy", distance="dot").warnings == ()
    half = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    np.save(tmp_path / "half.npy", half)
    assert of_file(tmp_path / "half.npy").warnings == ()
    assert len(of_file(tmp_path / "half.npy", size=4).warnings) == 1  # cut short is another sentence
