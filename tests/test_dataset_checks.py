"""What is looked for in the dataset: queries that are points, exact neighbours that are none, and what uint8 keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qexp.bench import dataset_checks
from qexp.bench.checks import Checks
from qexp.config import ExperimentConfig, FileDataset, QueriesConfig, StorageConfig
from qexp.data.truth import Truth, farther, neighbours
from qexp.data.vectors import load_data
from qexp.errors import BenchmarkError
from qexp.runner import measure_experiment
from tests.test_edge import vectors


def test_t10_duplicates_are_found_bit_for_bit_wherever_they_are() -> None:
    points = vectors(8, 70_000)
    queries = vectors(8, 20, seed=1)
    assert dataset_checks.duplicates(points, queries) == 0
    queries[3], queries[4] = points[69_999], points[0]
    queries[5] = points[1]
    queries[5, 7] += 1e-3
    assert dataset_checks.duplicates(points, queries) == 2


@pytest.mark.parametrize("unit", [1e-7, 1, 1e7])
def test_t12_truth_of_other_points_in_any_unit(unit: float) -> None:
    scores = -unit * np.linspace(1, 2, 30).reshape(3, 10)
    dataset_checks.check_truth(scores, scores * (1 + 1e-12), Checks())
    with pytest.raises(BenchmarkError, match=r"^T12 the exact neighbours in the cache are not this dataset's"):
        dataset_checks.check_truth(scores, scores[:, ::-1], Checks())


@pytest.mark.parametrize(("row", "holds"), [(0, True), (1, False)])
def test_t12_scores_are_compared_with_the_largest_of_their_own_query(row: int, holds: bool) -> None:
    computed = np.array([[1000.0, 0.001], [1.0, 1.0]])
    claimed = computed.copy()
    claimed[row, 1] += 5e-7
    checks = Checks(strict=False)
    dataset_checks.check_truth(claimed, computed, checks)
    assert bool(checks.warnings) != holds


@pytest.mark.parametrize(("source", "remedy"), [("exact", "the folder 'truth'"), ("engine", "dataset.truth=exact")])
def test_t12_neighbours_that_are_not_the_nearest(source: str, remedy: str) -> None:
    checks = Checks()
    dataset_checks.check_nearest(0.01, source, checks)
    assert [check.verdict for check in checks.done] == ["held"]
    with pytest.raises(BenchmarkError, match=rf"^T12 25% of a sample of exact neighbours are farther .*{remedy}"):
        dataset_checks.check_nearest(0.25, source, Checks())


def test_t12_neighbours_in_the_cache_are_searched_again(small: ExperimentConfig, tmp_path: Path) -> None:
    asked = replace(small, cache_dir=str(tmp_path))
    measure_experiment(asked)
    data = load_data(asked, tmp_path)
    far = neighbours(data.points(), data.query_vectors(), 30, data.facts.distance)
    assert farther(data, far.ids[:, :10]) == 0.0
    assert farther(data, far.ids[:, 5:15]) == pytest.approx(0.5, abs=0.02)  # some tie with the k-th
    shifted = Truth(far.ids[:, 10:20], far.scores[:, 10:20])
    (saved,) = (tmp_path / "truth").iterdir()
    np.savez(saved, ids=shifted.ids, scores=shifted.scores)
    with pytest.raises(BenchmarkError, match=r"^T12 (99|100)% of a sample of exact neighbours are farther than"):
        measure_experiment(asked)


def test_t12_uint8_keeps_whole_numbers() -> None:
    whole = np.array([[0, 255, 3], [17, 1, 2]], dtype=np.float32)
    for kept in (whole, whole * 0.99, 0 * whole, np.array([[0.0, 1.1]])):  # an eleventh of the last is lost
        dataset_checks.check_whole_numbers("points", kept, Checks())
    with pytest.raises(BenchmarkError, match="points of components from 0 to 510 lose 50% of their length"):
        dataset_checks.check_whole_numbers("points", whole * 2, Checks())
    for wrong in (whole / 256, whole * 1e-25, -whole, np.array([[0.0, 1.12]]), vectors(32, 3)):
        with pytest.raises(BenchmarkError, match=r"^T12 storage.datatype=uint8 keeps whole numbers from 0 to 255; "):
            dataset_checks.check_whole_numbers("points", wrong, Checks())


def test_t12_float16_keeps_what_is_neither_beyond_its_range_nor_next_to_nothing() -> None:
    for kept in (vectors(32, 3), vectors(32, 3) * 1e4, vectors(32, 3) * 1e-5, np.zeros((1, 2), dtype=np.float32)):
        dataset_checks.check_halves("points", kept, Checks())
    nothing = np.full((1, 2), 1e-30, dtype=np.float32)
    for wrong in (np.array([[1.0, 65_520.0]]), np.array([[1e-7, 1.5e-7]]), nothing):
        with pytest.raises(BenchmarkError, match=r"^T12 storage.datatype=float16 keeps no points of components from 1"):
            dataset_checks.check_halves("points", wrong, Checks())


def test_t12_float16_is_refused_before_anything_is_built(small: ExperimentConfig, tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", vectors(32, 1000) * 1e6)
    dataset = FileDataset(path=str(tmp_path / "points.npy"), distance="dot")
    asked = replace(small, dataset=dataset, storage=StorageConfig("halves", datatype="float16"))
    with pytest.raises(BenchmarkError, match=r"^T12 .*65,504, in steps of 6e-08 or more; set storage.datatype=float32"):
        measure_experiment(asked)
    assert not [*(tmp_path / "cache" / "collections").glob("*")]


def test_t12_uint8_is_refused_before_anything_is_built(small: ExperimentConfig, tmp_path: Path) -> None:
    storage = StorageConfig("bytes", datatype="uint8")
    with pytest.raises(BenchmarkError, match="for cosine qexp scales vectors to length 1, as Qdrant does not"):
        measure_experiment(replace(small, storage=storage, cache_dir=str(tmp_path)))
    assert not [*(tmp_path / "collections").glob("*")]


def test_t12_queries_that_uint8_does_not_keep_are_refused(small: ExperimentConfig, tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (1000, 32)).astype(np.float32)
    np.save(tmp_path / "points.npy", whole)
    np.save(tmp_path / "queries.npy", whole[:20] / 256)  # Edge scores every point 0 for these
    queries = QueriesConfig(path=str(tmp_path / "queries.npy"))
    dataset = FileDataset(path=str(tmp_path / "points.npy"), queries=queries, distance="dot")
    asked = replace(small, dataset=dataset, storage=StorageConfig("bytes", datatype="uint8"))
    with pytest.raises(BenchmarkError, match=r"^T12 .* from 0 to 255; queries of components from 0 to 0.996 lose 100%"):
        measure_experiment(asked)


def test_t10_queries_that_repeat() -> None:
    different = np.eye(100, dtype=np.float32)
    for repeats, warned in ((5, False), (6, True)):
        checks, queries = Checks(), different.copy()
        queries[:repeats] = different[-1]
        dataset_checks.check_queries(0, queries, checks)
        assert bool(checks.warnings) == warned
    assert checks.warnings[0].startswith("T10 only 94 of 100 queries differ: intervals of accuracy are too narrow")
