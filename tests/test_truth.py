from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qexp.config import EmbeddingConfig, ExperimentConfig, FileDataset, QueriesConfig, SearchConfig, SyntheticDataset
from qexp.data import truth
from qexp.data.truth import Truth, engine_truth, exact_scores, farther, find_truth, magnitude, neighbours
from qexp.data.vectors import Data, load_data
from qexp.errors import DataError
from tests.test_source import write_vecs

METRIC = {"cosine": "cosine", "dot": None, "euclid": "euclidean", "manhattan": "cityblock"}


def vectors(seed: int, n: int, size: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("score_bytes", [1, 96, 2**21], ids=["one by one", "two and one", "at once"])
@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("dot", [[8.0, 3.0, -np.inf], [0.0, -np.inf, 5.0], [0.0, 0.0, 0.0]]),
        ("euclid", [[-(13**0.5), -(20**0.5), -np.inf], [-(29**0.5), -np.inf, -4.0], [-2.0, -1.0, -1.0]]),
        ("manhattan", [[-5.0, -6.0, -np.inf], [-7.0, -np.inf, -4.0], [-2.0, -1.0, -1.0]]),
    ],
)
def test_exact_scores_of_given_points(
    distance: str, expected: list[list[float]], score_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth, "SCORE_BYTES", score_bytes)
    points, queries = (np.array(rows, dtype=np.float32) for rows in ([[1, 0], [0, 2]], [[3, 4], [5, 0], [0, 0]]))
    ids = np.array([[1, 0, -1], [1, -1, 0], [1, 0, 0]])
    assert exact_scores(points, queries, ids, distance).tolist() == expected


def given(
    tmp_path: Path, change: Callable[[np.ndarray], Any], asked: int | None = None, unit: float = 1, **more: Any
) -> Data:
    points, queries = (vectors(seed, n, 8) * np.float32(unit) for seed, n in enumerate((400, 30)))
    right = np.argsort(-(queries.astype(float) @ points.astype(float).T), axis=1)[:, :10]
    ids = [f"p{row}" for row in range(len(points))]
    pq.write_table(pa.table({"vector": list(points), "id": ids}), tmp_path / "points.parquet")
    changed = [list(map(int, row)) for row in change(right)]
    pq.write_table(pa.table({"vector": list(queries), "neighbors": changed}), tmp_path / "queries.parquet")
    queries_config = QueriesConfig(path=str(tmp_path / "queries.parquet"))
    dataset = FileDataset(path=str(tmp_path / "points.parquet"), truth="neighbours", queries=queries_config, **more)
    search = SearchConfig(limit=5, queries=asked)
    return load_data(ExperimentConfig(dataset=dataset, search=search), tmp_path / "cache")


def test_given_neighbours_are_taken_as_they_are(tmp_path: Path) -> None:
    found = find_truth(given(tmp_path, lambda right: right), 5, tmp_path)
    computed = neighbours(vectors(0, 400, 8), vectors(1, 30, 8), 5, "cosine")
    assert (found.source, found.ids.tolist()) == ("neighbours", computed.ids.tolist())


def test_a_repeat_behind_the_neighbours_that_are_used_does_no_harm(tmp_path: Path) -> None:
    data = given(tmp_path, lambda right: np.hstack([right[:, :5], right[:, :5]]))
    assert find_truth(data, 5, tmp_path).source == "neighbours"


@pytest.mark.parametrize("ids", [{}, {"id_column": "id"}])
def test_given_neighbours_may_lie_in_a_file_of_their_own(ids: dict[str, str], tmp_path: Path) -> None:
    right = neighbours(vectors(0, 400, 8), vectors(1, 30, 8), 10, "cosine").ids.astype("<i4")
    write_vecs(tmp_path / "truth.ivecs", right)
    data = given(tmp_path, lambda right: right * 0, neighbours_path=str(tmp_path / "truth.ivecs"), **ids)
    assert find_truth(data, 5, tmp_path).ids.tolist() == right[:, :5].tolist()


def test_a_file_of_neighbours_that_was_corrected_is_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", vectors(0, 400, 8))
    np.save(tmp_path / "queries.npy", vectors(1, 30, 8))
    dataset = FileDataset(
        path=str(tmp_path / "points.npy"),
        truth="neighbours",
        neighbours_path=str(tmp_path / "truth.ivecs"),
        queries=QueriesConfig(path=str(tmp_path / "queries.npy")),
    )
    config = ExperimentConfig(dataset=dataset, search=SearchConfig(limit=5))
    right = neighbours(vectors(0, 400, 8), vectors(1, 30, 8), 10, "cosine").ids.astype("<i4")
    write_vecs(tmp_path / "truth.ivecs", (right + 1) % 400)
    with pytest.raises(DataError, match="or shifted ids"):
        find_truth(load_data(config, tmp_path / "cache"), 5, tmp_path)
    write_vecs(tmp_path / "truth.ivecs", right)
    assert find_truth(load_data(config, tmp_path / "cache"), 5, tmp_path).ids.tolist() == right[:, :5].tolist()


def test_a_file_of_neighbours_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.ivecs: cannot be read: No such file or directory"):
        given(tmp_path, lambda right: right, neighbours_path=str(tmp_path / "none.ivecs"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda right: (right + 1) % 400,
            r"^dataset.truth=neighbours: \d\d % of the given neighbours are farther .* or shifted ids",
        ),
        (
            lambda right: [*right[:7], [0, 3, 8], *right[8:]],
            r"^dataset.truth=neighbours: the query in row 7: 3 neighbours given",
        ),
        (lambda right: [*right[:7], [], *right[8:]], "in row 7: 0 neighbours given, search.limit=5"),
        (lambda right: right + 390, r"the neighbour \d+ is no point of"),
        (lambda right: np.repeat(right[:, :1], 10, axis=1), "in row 0: a point is twice among the first 5 given"),
        (lambda right: [*right[:7], [3, 8, 9, 3, 4], *right[8:]], "in row 7: a point is twice among the first 5"),
    ],
    ids=["shifted", "short", "empty", "outside", "nearest only", "repeated"],
)
def test_wrong_neighbours_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        find_truth(given(tmp_path, change), 5, tmp_path)


@pytest.mark.parametrize("change", [lambda own: own[:3], lambda own: own[:1].repeat(5)], ids=["short", "repeated"])
def test_a_query_whose_neighbours_are_wrong_is_named_by_its_row_in_the_file(change: Any, tmp_path: Path) -> None:
    data = given(tmp_path, lambda right: [*right[:27], change(right[27]), *right[28:]], asked=12)
    assert (len(data.query_rows), data.query_rows[-1]) == (12, 27)
    with pytest.raises(DataError, match="the query in row 27: "):
        find_truth(data, 5, tmp_path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (list(range(30)), "holds int64, not lists of neighbours"),
        (["abc"] * 30, "holds string, not lists of neighbours"),
        ([[[1, 2]]] * 30, "holds list<.*>, not ids"),
    ],
)
def test_neighbours_come_in_lists(column: list[Any], message: str, tmp_path: Path) -> None:
    given(tmp_path, lambda right: right)
    pq.write_table(pa.table({"vector": list(vectors(1, 30, 8)), "neighbors": column}), tmp_path / "queries.parquet")
    queries = QueriesConfig(path=str(tmp_path / "queries.parquet"))
    dataset = FileDataset(path=str(tmp_path / "points.parquet"), truth="neighbours", queries=queries)
    with pytest.raises(DataError, match=rf"queries\.parquet: column 'neighbors' {message}"):
        load_data(ExperimentConfig(dataset=dataset), tmp_path / "cache")


@pytest.mark.parametrize("distance", ["euclid", "manhattan", "dot"])
def test_wrong_neighbours_are_refused_in_any_unit(distance: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="or shifted ids"):
        find_truth(given(tmp_path, lambda right: (right + 1) % 400, unit=1e-7, distance=distance), 5, tmp_path)


def test_neighbours_that_were_found_in_single_precision_are_right(tmp_path: Path) -> None:
    """Squared lengths and a product, as faiss does it, leave few digits for small distances."""
    rng = np.random.default_rng(0)
    points, queries = ((1 + 4e-3 * rng.standard_normal((n, 8))).astype(np.float32) for n in (400, 30))
    squares = (points**2).sum(axis=1)
    right = np.argsort(squares - 2 * queries @ points.T, axis=1)[:, :5]
    exact = neighbours(points, queries, 5, "euclid")
    assert (right != exact.ids).any()
    for name, rows in (("points", points), ("queries", queries)):
        np.save(tmp_path / f"{name}.npy", rows)
    np.save(tmp_path / "right.npy", right)
    facts = replace(given(tmp_path, lambda right: right).facts, distance="euclid")
    data = Data(
        facts, tmp_path / "points.npy", tmp_path / "queries.npy", np.arange(30), right[:0], None, tmp_path / "right.npy"
    )
    assert find_truth(data, 5, tmp_path).source == "neighbours"
    np.save(tmp_path / "right.npy", (right + 1) % 400)
    with pytest.raises(DataError, match="or shifted ids"):
        find_truth(data, 5, tmp_path)


def test_given_neighbours_of_another_embedding_size_are_refused(tmp_path: Path) -> None:
    given(tmp_path, lambda right: right)
    dataset = FileDataset(
        path=str(tmp_path / "points.parquet"),
        truth="neighbours",
        queries=QueriesConfig(path=str(tmp_path / "queries.parquet")),
    )
    config = ExperimentConfig(dataset=dataset, embedding=EmbeddingConfig(size=4), search=SearchConfig(limit=5))
    with pytest.raises(
        DataError, match=r"they are those of 8 dimensions; with embedding\.size=4 set dataset.truth=exact"
    ):
        load_data(config, tmp_path / "cache")


def test_what_the_engine_found_is_scored_and_put_in_order(tmp_path: Path) -> None:
    data = given(tmp_path, lambda right: right)
    right = neighbours(np.asarray(data.points()), data.query_vectors(), 5, "cosine")
    found = engine_truth(data, right.ids[:, ::-1])
    assert (found.source, found.ids.tolist()) == ("engine", right.ids.tolist())
    assert (np.sort(engine_truth(data, np.tile(np.arange(5), (30, 1))).ids) == np.arange(5)).all()
    right.ids[3] = [0, 1, -1, 2, 3]
    with pytest.raises(DataError, match="the query in row 3 has only 4 results"):
        engine_truth(data, right.ids)


def test_a_filter_that_lets_too_few_points_through_is_refused(tmp_path: Path) -> None:
    data = given(tmp_path, lambda right: right)
    unfiltered = replace(data, neighbours=None)
    with pytest.raises(DataError, match=r"search\.filter: 3 points match, fewer than search.limit=5"):
        find_truth(unfiltered, 5, tmp_path, np.array([1, 2, 3]))
    among = np.arange(0, 400, 2)
    first, again = (find_truth(unfiltered, 5, tmp_path, among).ids.tolist() for _ in range(2))
    assert first == again
    assert (find_truth(unfiltered, 5, tmp_path, among).ids % 2 == 0).all()
    assert (find_truth(unfiltered, 5, tmp_path).ids % 2).any()


def test_as_many_matching_points_as_results_are_enough(tmp_path: Path) -> None:
    data = replace(given(tmp_path, lambda right: right), neighbours=None)
    assert sorted(find_truth(data, 3, tmp_path, np.array([4, 5, 9])).ids[0].tolist()) == [4, 5, 9]


def test_neighbours_are_kept_for_the_same_question_alone(tmp_path: Path) -> None:
    data, cache = replace(given(tmp_path, lambda right: right), neighbours=None), tmp_path / "kept"
    facts = data.facts
    asked: list[tuple[Data, int, np.ndarray | None]] = [(data, 5, None), (data, 4, None)]
    asked += [(data, 5, np.arange(first, 400)) for first in (1, 2)]
    asked += [
        (replace(data, facts=replace(facts, **change)), 5, None)
        for change in ({"digest": "other"}, {"queries_digest": "other"}, {"distance": "dot"})
    ]
    for number, (one, k, matching) in enumerate(asked, 1):
        for _ in range(2):
            assert find_truth(one, k, cache, matching).ids.shape == (30, k)
        assert len([*cache.rglob("*.npz")]) == number


@pytest.mark.parametrize(("swapped", "refused"), [(1, False), (2, True)])
def test_one_in_a_hundred_given_neighbours_may_be_farther(swapped: int, refused: bool, tmp_path: Path) -> None:
    def change(right: np.ndarray) -> np.ndarray:
        right = right.copy()  # of 20 queries with five each
        far = np.setdiff1d(np.arange(400), right[0])[:2]
        right[0, 3:5][:swapped] = far[:swapped]
        return right

    data = given(tmp_path, change)
    share = farther(data, np.load(data.neighbours)[:, :5])
    assert share == swapped / 100
    if refused:
        with pytest.raises(DataError, match=": 2 % of the given neighbours are farther than the 5-th exact one"):
            find_truth(data, 5, tmp_path)
    else:
        find_truth(data, 5, tmp_path)


def test_given_neighbours_are_put_in_order(tmp_path: Path) -> None:
    computed = neighbours(vectors(0, 400, 8), vectors(1, 30, 8), 5, "cosine")
    found = find_truth(given(tmp_path, lambda right: right[:, 4::-1]), 5, tmp_path)
    assert found.ids.tolist() == computed.ids.tolist()
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_lists_that_are_all_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the query in row 0: 3 neighbours given, search\.limit=5"):
        find_truth(given(tmp_path, lambda right: right[:, :3]), 5, tmp_path)


def test_how_much_farther_a_neighbour_may_be(tmp_path: Path) -> None:
    data = given(tmp_path, lambda right: right)
    points, queries = (
        np.array([[1.0, 0], [0.999, 0], [0.995, 0], [0.99491, 0], [0, 1], [0.99489, 0]], np.float32),
        np.eye(1, 2),
    )
    np.save(tmp_path / "few.npy", points)
    np.save(tmp_path / "one.npy", queries.astype(np.float32))
    few = replace(data, vectors=tmp_path / "few.npy", queries=tmp_path / "one.npy")
    assert [farther(few, np.array([ids])) for ids in ([0, 1, 2], [0, 1, 3], [0, 1, 5], [0, 1, 4], [2, 3, 4])] == [
        0.0,
        0.0,  # within rounding of others
        1 / 3,
        1 / 3,
        1 / 3,
    ]
    assert farther(few, np.array([[0, 1]])) == 0.0
    assert farther(few, np.array([[0, 2]])) == 0.5
    assert farther(few, np.array([[2, 3]]), np.array([2, 3, 4])) == 0.0
    # Squared lengths of 10⁶ each, told apart to 2⁻²³ of their sum: a distance of 0 may be found to be 0.488.
    np.save(tmp_path / "few.npy", np.array([[1000.0], [1000.48], [1000.5]], np.float32))
    np.save(tmp_path / "one.npy", np.array([[1000.0]], np.float32))
    far = replace(few, facts=replace(few.facts, distance="euclid"))
    assert [farther(far, np.array([[point]])) for point in range(3)] == [0.0, 0.0, 1.0]
    blocks = replace(far, vectors=tmp_path / "one.npy", facts=replace(far.facts, distance="manhattan"))
    assert farther(blocks, np.array([[0]])) == 0.0  # no distance at all


def test_magnitude_is_that_of_the_kth_score() -> None:
    points, queries = np.array([[3, 4], [6, 8], [0, 2]], dtype=np.float32), np.array([[0, 3]], dtype=np.float32)
    found = Truth(np.array([[1, 0]]), np.array([[24.0, 12.0]]))
    assert magnitude(points, queries, found, "dot").tolist() == [[15.0]]
    both = Truth(np.repeat(found.ids, 2, axis=0), np.repeat(found.scores, 2, axis=0))
    assert magnitude(points, np.vstack([queries, 2 * queries]), both, "dot").tolist() == [[15.0], [30.0]]
    assert magnitude(points, queries, found, "cosine").tolist() == [[1.0]]
    near = Truth(np.array([[2, 0]]), np.array([[-1.0, -(10**0.5)]]))
    for distance in ("euclid", "manhattan"):
        assert magnitude(points, queries, near, distance).tolist() == [[10**0.5]]


def test_neighbours_that_find_no_room_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExperimentConfig(dataset=SyntheticDataset(points=50, size=8, queries=5), search=SearchConfig(limit=3))
    data = load_data(config, tmp_path)

    def full(file: IO[bytes], **arrays: Any) -> None:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        find_truth(data, 3, tmp_path)
    assert not list((tmp_path / "truth").iterdir())
