from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qexp.config import EmbeddingConfig, ExperimentConfig, HubDataset, QueriesConfig, SearchConfig, SyntheticDataset
from qexp.data.vectors import load_data
from qexp.errors import DataError


def synthetic(size: int | None = None, queries: int | None = None, **more: Any) -> ExperimentConfig:
    dataset = SyntheticDataset(points=300, size=32, queries=20, clusters=5, **more)
    return ExperimentConfig(dataset=dataset, embedding=EmbeddingConfig(size=size), search=SearchConfig(queries=queries))


def local(folder: Path, vectors: Any, **more: Any) -> ExperimentConfig:
    """A folder as the hub has them: corpus and queries as Parquet."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": list(range(len(vectors))), "vector": vectors}), folder / "corpus.parquet")
    pq.write_table(pa.table({"id": [0], "vector": [[1.0, 0.0]]}), folder / "queries.parquet")
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
    with pytest.raises(DataError, match=r"search\.limit=6: synthetic has only 5 points"):
        load_data(config, tmp_path)


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


def test_a_wrong_column_names_the_near_miss(tmp_path: Path) -> None:
    config = local(tmp_path / "data", [[1.0, 0.0]], vector_column="vectr")
    with pytest.raises(DataError, match="no column 'vectr'"):
        load_data(config, tmp_path / "cache")


def test_a_folder_whose_files_changed_is_read_again(tmp_path: Path) -> None:
    first = load_data(local(tmp_path / "data", [[1.0, 0.0]]), tmp_path / "cache")
    changed = load_data(local(tmp_path / "data", [[0.0, 1.0], [1.0, 0.0]]), tmp_path / "cache")
    assert (first.facts.points, changed.facts.points) == (1, 2)
    assert changed.points().tolist() == [[0.0, 1.0], [1.0, 0.0]]
