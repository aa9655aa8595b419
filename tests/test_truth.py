from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial.distance import cdist

from qexp.config import EmbeddingConfig, ExperimentConfig, FileDataset, QueriesConfig, SearchConfig, SyntheticDataset
from qexp.data import nearest, progress, truth
from qexp.data.truth import Truth, engine_truth, exact_scores, farther, find_truth, magnitude, neighbours
from qexp.data.vectors import Data, load_data
from qexp.errors import DataError
from tests.test_source import write_vecs

METRIC = {"cosine": "cosine", "dot": None, "euclid": "euclidean", "manhattan": "cityblock"}


def vectors(seed: int, n: int, size: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("distance", METRIC)
@pytest.mark.parametrize("block_bytes", [1, 2**25], ids=["many blocks", "one block"])
def test_neighbours_are_those_of_a_full_sort(distance: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK_BYTES", block_bytes)
    points, queries = vectors(0, 500, 16), vectors(1, 20, 16)
    if distance == "dot":
        points = points * np.linspace(0.5, 2, 500, dtype=np.float32)[:, None]
        scores = queries.astype(float) @ points.astype(float).T
    else:
        scores = -cdist(queries.astype(float), points.astype(float), METRIC[distance])
    found = neighbours(points, queries, 7, distance)
    assert found.ids.tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :7].tolist()
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_near_ties_are_ordered_in_double_precision() -> None:
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    points = np.array([[0.5, 0], [0.50000006, 0], [0.5, 0], [0.1, 0]], dtype=np.float32)
    assert neighbours(points, query, 2, "dot").ids.tolist() == [[1, 0]]


@pytest.mark.parametrize("distance", METRIC)
def test_what_single_precision_cannot_tell_apart_is_told_apart(distance: str) -> None:
    """Far from the origin a product of single precision has no digits left for the distance."""
    rng = np.random.default_rng(0)
    points, queries = (1000 + rng.standard_normal((n, 16)).astype(np.float32) for n in (3000, 20))
    if distance == "cosine":
        points, queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (points, queries))
    wide = points.astype(float), queries.astype(float)
    straight = distance in ("euclid", "manhattan")
    scores = -cdist(wide[1], wide[0], METRIC[distance]) if straight else wide[1] @ wide[0].T
    found = neighbours(points, queries, 7, distance)
    assert found.scores == pytest.approx(-np.sort(-scores, axis=1)[:, :7], rel=1e-12)


@pytest.mark.filterwarnings("error")  # of overflows, which do no harm here
@pytest.mark.parametrize(
    ("distance", "scale", "offset"),
    [("euclid", 6.1e-5, 1000.0), ("euclid", 1e19, 0.0), ("dot", 1e18, 0.0), ("dot", 1e-23, 0.0)],
    ids=["few units in the last place apart", "squares overflow", "products overflow", "products underflow"],
)
def test_neighbours_are_exact_at_the_ends_of_single_precision(distance: str, scale: float, offset: float) -> None:
    points, queries = (
        (np.round(3 * vectors(seed, n, 64) * 8) * scale + offset).astype(np.float32) for seed, n in ((0, 500), (1, 20))
    )
    wide = points.astype(np.longdouble), queries.astype(np.longdouble)
    if distance == "dot":
        scores = wide[1] @ wide[0].T
    else:
        scores = -np.sqrt(((wide[0][None] - wide[1][:, None]) ** 2).sum(axis=2))
    found = neighbours(points, queries, 10, distance)
    kth = np.sort(scores, axis=1)[:, -10]
    worst = np.take_along_axis(scores, found.ids, axis=1).min(axis=1)
    assert np.allclose((worst / kth).astype(float), 1, rtol=1e-12, atol=0)
    assert neighbours(points, queries, 10, distance, np.arange(500)).ids.tolist() == found.ids.tolist()


def test_more_equal_points_than_candidates() -> None:
    points = np.concatenate([np.tile([[0.6, 0.8]], (50, 1)), [[1.0, 0.0]]]).astype(np.float32)
    found = neighbours(points, np.array([[1.0, 0.0]], dtype=np.float32), 3, "euclid")
    assert found.ids[0, 0] == 50
    assert found.scores[0] == pytest.approx([0.0, -(0.8**0.5), -(0.8**0.5)], abs=1e-7)


@pytest.mark.parametrize(("distance", "offset"), [*((distance, 0) for distance in METRIC), ("euclid", 100)])
def test_ordinary_points_need_no_double_precision(distance: str, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(*arguments: Any) -> Any:
        asked.append(len(arguments[1]))
        return nearest.candidates(*arguments)

    monkeypatch.setattr(truth, "candidates", counted)
    neighbours(vectors(0, 5000, 64) + np.float32(offset), vectors(1, 50, 64) + np.float32(offset), 10, distance)
    neighbours(vectors(0, 10, 64), vectors(1, 40, 64), 10, distance)  # no other point could be nearer
    neighbours(vectors(0, 5000, 64), vectors(1, 30, 64), 10, distance, np.arange(10))
    assert asked == [50, 40, 30]


@pytest.mark.parametrize("count", [10, 600], ids=["in the last block", "in another block"])
def test_a_block_that_could_not_be_looked_through_is_no_truth(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = nearest._Best.offer

    def full(best: Any, start: int, found: Any) -> None:
        if start == 0:
            raise MemoryError
        offer(best, start, found)

    monkeypatch.setattr(nearest._Best, "offer", full)
    with pytest.raises(MemoryError):
        neighbours(vectors(0, count, 4), vectors(1, 2, 4), 3, "dot")


@pytest.mark.parametrize(("among", "count"), [(None, 600), (np.arange(0, 600, 2), 300)])
def test_progress_counts_the_points_that_are_searched(
    among: Any, count: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    with caplog.at_level("INFO", progress.__name__):
        neighbours(vectors(0, 600, 4), vectors(1, 2, 4), 3, "dot", among)
    said = [f"exact neighbours: {done} of {count}" for done in (256, count)]
    assert [message.split(",")[0] for message in caplog.messages] == said


@pytest.mark.parametrize(
    ("sign", "merged", "best"),
    [(1, [0, 10, 20, 30, 40, 50, 60, 70], [78, 79]), (-1, [0, 10, 30, 70], [0, 1])],
    ids=["many wait", "as many points again were seen"],
)
def test_candidates_are_merged_when_it_is_worth_it(sign: int, merged: list[int], best: list[int]) -> None:
    kept, at = nearest._Best(1, 2, np.float32), []
    for start in range(0, 80, 10):
        kept.offer(start, sign * np.arange(start, start + 10, dtype=np.float32)[None])
        if not kept._waiting:
            at.append(start)
    ids, bar = kept.found()
    assert (at, sorted(ids[0].tolist()), bar.tolist()) == (merged, best, [78.0 if sign > 0 else -1.0])


def test_every_query_has_candidates_and_a_bar_of_its_own() -> None:
    kept = nearest._Best(2, 2, np.float32)
    kept.offer(10, np.array([[5, 4, 3], [np.nan, -np.inf, 2]], np.float32))
    ids, bar = kept.found()
    assert [sorted(own) for own in ids.tolist()] == [[10, 11], [-1, 12]]
    assert bar.tolist() == [4.0, -np.inf]


def test_fewer_points_than_spare_candidates() -> None:
    assert neighbours(vectors(0, 3, 4), vectors(1, 2, 4), 3, "cosine").ids.shape == (2, 3)


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


def test_only_some_points_are_searched() -> None:
    points, queries, among = vectors(0, 500, 16), vectors(1, 20, 16), np.arange(3, 500, 7)
    found = neighbours(points, queries, 5, "cosine", among)
    expected = np.argsort(-(queries.astype(float) @ points[among].astype(float).T), axis=1, kind="stable")[:, :5]
    assert found.ids.tolist() == among[expected].tolist()


def test_points_that_get_nearer_and_nearer_are_all_looked_at() -> None:
    points = np.linspace(0, 1, 5000, dtype=np.float32)[:, None]
    found = neighbours(points, np.ones((3, 1), dtype=np.float32), 4, "dot")
    assert found.ids.tolist() == [[4999, 4998, 4997, 4996]] * 3


def given(tmp_path: Path, change: Callable[[np.ndarray], Any], limit: int = 5, unit: float = 1, **more: Any) -> Data:
    points, queries = (vectors(seed, n, 8) * np.float32(unit) for seed, n in enumerate((400, 30)))
    right = np.argsort(-(queries.astype(float) @ points.astype(float).T), axis=1)[:, :10]
    ids = [f"p{row}" for row in range(len(points))]
    pq.write_table(pa.table({"vector": list(points), "id": ids}), tmp_path / "points.parquet")
    changed = [list(map(int, row)) for row in change(right)]
    pq.write_table(pa.table({"vector": list(queries), "neighbors": changed}), tmp_path / "queries.parquet")
    queries_config = QueriesConfig(path=str(tmp_path / "queries.parquet"))
    dataset = FileDataset(path=str(tmp_path / "points.parquet"), truth="neighbours", queries=queries_config, **more)
    return load_data(ExperimentConfig(dataset=dataset, search=SearchConfig(limit=limit)), tmp_path / "cache")


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
        (lambda right: (right + 1) % 400, r"\d\d % of the given neighbours are farther .* or shifted ids"),
        (lambda right: [*right[:7], right[7][:3], *right[8:]], "query 7: 3 neighbours given, search.limit=5"),
        (lambda right: [*right[:7], [], *right[8:]], "query 7: 0 neighbours given, search.limit=5"),
        (lambda right: right + 390, r"the neighbour \d+ is no point of"),
        (
            lambda right: np.repeat(right[:, :1], 10, axis=1),
            r"query 0: point \d+ is twice among the first 5 given",
        ),
        (lambda right: [*right[:7], [3, 8, 9, 3, 4], *right[8:]], "query 7: point 3 is twice among the first 5"),
    ],
    ids=["shifted", "short", "empty", "outside", "nearest only", "repeated"],
)
def test_wrong_neighbours_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        find_truth(given(tmp_path, change), 5, tmp_path)


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
    data = Data(facts, tmp_path / "points.npy", tmp_path / "queries.npy", right[:0], None, tmp_path / "right.npy")
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
    with pytest.raises(DataError, match="query 0 has only 4 results"):
        engine_truth(data, np.where(right.ids == right.ids[0, 0], -1, right.ids))


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
    with pytest.raises(DataError, match=r"query 0: 3 neighbours given, search\.limit=5"):
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


def test_among_equals_the_smaller_row_number_goes_first() -> None:
    points = np.array([[1.0], [2.0]] * 15, dtype=np.float32)
    expected = [*range(1, 30, 2), *range(0, 20, 2)]
    assert neighbours(points, points[:1], 25, "dot").ids.tolist() == [expected]


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


def test_a_sum_that_overflows_on_the_way_hides_no_point() -> None:
    points = np.array([[-1e19, 1e19], [-1, -1], [5, 5]], dtype=np.float32)
    query = np.array([[1e20, 1e20]], dtype=np.float32)
    assert neighbours(points[:2], query, 1, "dot").ids.tolist() == [[0]]
    assert neighbours(points, query, 1, "dot", np.array([0, 1])).ids.tolist() == [[0]]


def test_how_much_nearer_than_computed_a_point_may_be() -> None:
    bar, queries, unit, tiny = np.array([-8.0]), np.array([[3, 4]], np.float32), 2.0**-24, 2.0**-126

    def reach(distance: str) -> float:
        return float(nearest._reach(bar, queries, 12.0, distance, np.float32)[0])

    assert reach("manhattan") == -8 + 2 * unit * 8
    assert reach("dot") == reach("cosine") == -8 + 2 * tiny + 18 * unit * 5 * 12
    assert reach("euclid") == -((25 + 2 * (8 - 2 * tiny - 18 * unit * 17**2)) ** 0.5)
    queries, length = np.array([[1, 2.0**-13]], np.float32), (1 + 2.0**-26) ** 0.5  # in single precision 1
    assert reach("euclid") == pytest.approx(
        -((length**2 + 2 * (8 - 18 * unit * (length + 12) ** 2)) ** 0.5), rel=1e-12, abs=0
    )
    lost = nearest._reach(np.array([-tiny]), np.zeros((1, 2), np.float32), 0.0, "euclid", np.float32)
    assert lost.tolist() == [0.0]  # all of it may have underflowed


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("dot", -8 + 2 * 2.0**-126 + 18 * 2.0**-24 * 2 * 5),
        ("cosine", -8 + 2 * 2.0**-126 + 18 * 2.0**-24 * 2 * 1),  # lengths are not looked at
        ("euclid", -((4 + 2 * (8 - 2 * 2.0**-126 - 18 * 2.0**-24 * (2 + 5) ** 2)) ** 0.5)),
    ],
)
def test_the_longest_point_of_all_blocks_says_how_far_off_scores_are(distance: str, expected: float) -> None:
    first, second = np.array([[3, 4], [-3, -4]], np.float32), np.array([[1, 0]], np.float32)
    scores = nearest._Scores(np.array([[0, 2]], np.float32), first, distance, np.float32)
    for block in (first, second):
        scores.of(block, np.empty((1, len(block)), np.float32))
    assert scores.reach(np.array([-8.0])).tolist() == [expected]


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
