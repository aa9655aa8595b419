"""What results are held against, on points of which every distance is known."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qexp.bench.checks import Checks
from qexp.config import ExperimentConfig, FileDataset, SearchConfig, SyntheticDataset
from qexp.data.truth import Truth
from qexp.data.vectors import Data
from qexp.errors import BenchmarkError
from qexp.results import DatasetFacts, Ids, OperatingPoint
from qexp.yardstick import Yardstick, checked_yardstick
from tests.test_edge import spec

POINTS = [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 9.0]
NEAREST = Truth(np.array([[0, 1], [4, 5]]), np.array([[-0.25, -0.75], [-0.5, -0.5]]))
SEARCH = SearchConfig(limit=2, hnsw_ef=[64, 16])


@pytest.fixture
def data(tmp_path: Path) -> Data:
    np.save(tmp_path / "points.npy", np.array(POINTS, dtype=np.float32)[:, None])
    np.save(tmp_path / "queries.npy", np.array([[0.25], [4.5]], dtype=np.float32))
    facts = DatasetFacts("line", "d", "q", len(POINTS), 2, 1, 1, "euclid", "made")
    labels = np.array([[0, 1, 1], [1, 6, 2]])
    return Data(facts, tmp_path / "points.npy", tmp_path / "queries.npy", np.arange(2), labels)


class Collection:
    """A collection that finds the same at every operating point."""

    def __init__(self, ids: Any = ((0, 1), (4, 6)), matching: list[int] | None = None) -> None:
        self.asked: list[OperatingPoint] = []
        self.spec = replace(
            spec(size=1), points=len(POINTS), full_scan_threshold=0, payload_indexes={"kind": "keyword"}
        )
        self.worker = SimpleNamespace(found=self._found, matching=lambda: matching)
        self._ids = np.array(ids)

    def _found(self, point: OperatingPoint) -> Ids:
        self.asked.append(point)
        return self._ids


def test_results_are_held_against_the_exact_ones_or_the_baselines(data: Data) -> None:
    yardstick, baseline = Yardstick(data, NEAREST, None), Collection()
    recall = yardstick.judged_by(SEARCH, baseline, "recall")  # type: ignore[arg-type]
    assert baseline.asked == []
    retention = yardstick.judged_by(SEARCH, baseline, "retention")  # type: ignore[arg-type]
    assert baseline.asked == [OperatingPoint(2, 64)]
    found = np.array([[0, 2], [5, 3]])  # 5 stands for 4 or 6
    assert recall(found).tolist() == [0.5, 0.5]
    assert retention(found).tolist() == [0.5, 0.5]
    found = np.array([[1, 2], [5, 4]])
    assert recall(found).tolist() == [0.5, 1.0]
    assert retention(found).tolist() == [0.5, 1.0]
    near = yardstick.scored(np.array([[0, 1], [4, 5]]))
    assert yardstick.retention(near, yardstick.scored(found)).tolist() == [0.5, 1.0]


def test_only_labels_of_points_that_a_search_may_find_count(data: Data) -> None:
    assert Yardstick(data, NEAREST, None).labels.tolist() == [[0, 1, 1], [1, 6, 2]]
    assert Yardstick(data, NEAREST, np.array([0, 1])).labels.tolist() == [[0, 1, 1]]


def test_t10_t12_queries_and_neighbours_are_looked_at(data: Data) -> None:
    checks = Checks()
    Yardstick(data, NEAREST, None).check(checks)
    assert [(check.trap, check.verdict) for check in checks.done] == [("T10", "held")] * 2 + [("T12", "held")] * 2
    np.save(data.queries, np.array([[0.25], [9.0]], dtype=np.float32))
    checks = Checks()
    far = Truth(np.array([[0, 1], [7, 4]]), np.array([[-0.25, -0.75], [0.0, -5.0]]))
    Yardstick(data, far, None).check(checks)
    assert [warning.partition(":")[0] for warning in checks.warnings] == [
        "T10 1 of 2 queries are points of the collection"
    ]


@pytest.mark.parametrize(
    ("ids", "second", "source", "matching", "refused"),
    [
        ([[0, 1], [4, 5]], -0.6, "exact", None, "the exact neighbours in the cache are not this dataset's"),
        (
            [[0, 1], [4, 3]],
            -1.5,
            "engine",
            None,
            "25% of a sample of exact neighbours are farther than the k-th nearest",
        ),
        ([[0, 1], [4, 3]], -1.5, "engine", [0, 1, 3, 4], None),
        ([[0, 1], [4, 3]], -1.5, "neighbours", None, None),  # looked at when they were read
    ],
)
def test_t12_neighbours_that_are_wrong_are_refused(
    data: Data, ids: list[list[int]], second: float, source: str, matching: list[int] | None, refused: str | None
) -> None:
    truth = Truth(np.array(ids), np.array([[-0.25, -0.75], [-0.5, second]]), source)
    yardstick = Yardstick(data, truth, None if matching is None else np.array(matching))
    if refused is None:
        yardstick.check(Checks())
    else:
        with pytest.raises(BenchmarkError, match=f"^T12 {refused}"):
            yardstick.check(Checks())


def test_the_engines_exact_search_is_the_truth_where_it_is_asked_for(data: Data, tmp_path: Path) -> None:
    config = ExperimentConfig(dataset=SyntheticDataset(truth="engine"), search=SEARCH)
    engine, checks = Collection(), Checks()
    found = checked_yardstick(config, data, None, engine, tmp_path, checks)  # type: ignore[arg-type]
    assert engine.asked == [OperatingPoint(2, exact=True)]
    assert (found.truth.source, found.truth.ids.tolist(), found.matching) == ("engine", [[0, 1], [4, 6]], None)
    assert len(checks.done) == 4


def test_neighbours_are_among_what_the_filter_lets_through(data: Data, tmp_path: Path) -> None:
    kind = {"must": [{"key": "kind", "match": {"value": "a"}}]}
    config = ExperimentConfig(
        dataset=FileDataset(path="line.parquet", payload_columns=["kind"]), search=replace(SEARCH, filter=kind)
    )
    some, checks = Collection(matching=[0, 2, 3, 7]), Checks()
    found = checked_yardstick(config, data, None, some, tmp_path, checks)  # type: ignore[arg-type]
    assert (some.asked, found.truth.source, found.truth.ids.tolist()) == ([], "exact", [[0, 2], [3, 2]])
    assert found.matching is not None
    assert found.matching.tolist() == [0, 2, 3, 7]
    assert [check.trap for check in checks.done] == ["T02"] * 3 + ["T10"] * 2 + ["T12"] * 2


def test_truth_that_is_there_is_not_searched_for(data: Data, tmp_path: Path) -> None:
    config, unasked = ExperimentConfig(dataset=SyntheticDataset(), search=SEARCH), Collection()
    found = checked_yardstick(config, data, NEAREST, unasked, tmp_path, Checks())  # type: ignore[arg-type]
    assert (found.truth, found.matching, unasked.asked) == (NEAREST, None, [])
    assert list(tmp_path.glob("truth")) == []
