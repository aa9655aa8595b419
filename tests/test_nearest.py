"""Exact neighbours, against a full sort and at the ends of single precision."""

from time import sleep
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_info

from qexp import progress
from qexp.data import nearest, truth
from qexp.data.truth import neighbours
from tests.test_truth import METRIC, vectors


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


@pytest.fixture
def three_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "cpus_allowed", lambda: 3)
    monkeypatch.setattr(nearest, "PART", 6)
    monkeypatch.setattr(nearest, "POINT_BYTES", 16 * 4 * 100)  # for many blocks


@pytest.mark.usefixtures("three_parts")
@pytest.mark.parametrize("among", [None, np.arange(3, 500, 7)])
def test_every_part_of_the_queries_finds_its_own(among: Any) -> None:
    points, queries = vectors(0, 500, 16), vectors(1, 20, 16)
    ids, reach = nearest.candidates(points, queries, 9, "cosine", among)
    alone = [nearest.candidates(points, one[None], 9, "cosine", among) for one in queries]
    assert np.sort(ids).tolist() == [sorted(one[0].tolist()) for one, _ in alone]
    assert reach == pytest.approx([one[0] for _, one in alone], abs=1e-6)


@pytest.mark.usefixtures("three_parts")
def test_parts_share_the_cpus_and_say_once_how_far_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("faiss")  # its BLAS has a limit for each thread, numpy's one for all
    used: list[tuple[int, int]] = []
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(nearest, "_candidates", noting(nearest._candidates, used))
    before = blas_threads()
    with caplog.at_level("INFO", progress.__name__):
        nearest.candidates(vectors(0, 150, 16), vectors(1, 20, 16), 9, "cosine")
        nearest.candidates(vectors(0, 50, 16), vectors(1, 11, 16), 9, "cosine")
    assert sorted(used[:3]) == [(6, 1), (7, 1), (7, 1)]
    assert used[3:] == [(11, before)]
    assert blas_threads() == before
    assert [message.split(",")[0].split(": ")[1] for message in caplog.messages] == [
        "100 of 150",
        "150 of 150",
        "50 of 50",
    ]


def noting(candidates: Any, used: list[tuple[int, int]]) -> Any:
    def noted(points: Any, queries: Any, *arguments: Any) -> Any:
        used.append((len(queries), blas_threads()))
        return candidates(points, queries, *arguments)

    return noted


def blas_threads() -> int:
    return max(int(one["num_threads"]) for one in threadpool_info() if one["user_api"] == "blas")


@pytest.mark.usefixtures("three_parts")
def test_a_part_that_fails_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    offer, blocks = nearest._Best.offer, []

    def failing(best: Any, start: int, found: Any) -> None:
        if len(found) == 6:
            raise MemoryError
        blocks.append(start)
        sleep(0.001)
        offer(best, start, found)

    monkeypatch.setattr(nearest._Best, "offer", failing)
    with pytest.raises(MemoryError):
        nearest.candidates(vectors(0, 500_000, 4), vectors(1, 20, 4), 9, "cosine")
    assert len(blocks) < 2 * 500_000 / 400


@pytest.mark.usefixtures("three_parts")
def test_an_interrupt_while_parts_are_begun_stops_those_that_were(monkeypatch: pytest.MonkeyPatch) -> None:
    offer, blocks = nearest._Best.offer, []

    def noted(best: Any, start: int, found: Any) -> None:
        blocks.append(start)
        sleep(0.001)
        offer(best, start, found)

    class Interrupted(nearest.ThreadPoolExecutor):
        def submit(self, search: Any, number: int, *arguments: Any) -> Any:
            if number == 1:
                raise KeyboardInterrupt
            return super().submit(search, number, *arguments)

    monkeypatch.setattr(nearest._Best, "offer", noted)
    monkeypatch.setattr(nearest, "ThreadPoolExecutor", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        nearest.candidates(vectors(0, 500_000, 4), vectors(1, 20, 4), 9, "cosine")
    assert len(blocks) < 500_000 / 400


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
    monkeypatch.setattr(nearest, "FIRST_BLOCK", 200)
    with caplog.at_level("INFO", progress.__name__):
        neighbours(vectors(0, 600, 4), vectors(1, 2, 4), 3, "dot", among)
    said = [f"exact neighbours: {done} of {count}" for done in (200, count)]
    assert [message.split(",")[0] for message in caplog.messages] == said


def test_the_first_threshold_lets_the_best_pass_and_their_equals() -> None:
    nan, inf, top = np.nan, np.inf, np.finfo(np.float32).max
    rows = np.array(
        [[1, 3, 2, 0], [3, 3, 3, 0], [nan, 2, nan, 1], [nan, nan, nan, 1], [-inf, 1, -inf, -inf], [inf, inf, 0, inf]],
        dtype=np.float32,
    )
    below = nearest._below(rows, 2)
    assert below.dtype == np.float32
    just = [float(np.nextafter(np.float32(x), np.float32(-inf))) for x in (2, 3, 1)]
    assert below[:, 0].tolist() == [*just, -inf, -inf, float(top)]
    passing = [np.flatnonzero(above).tolist() for above in rows > below]
    assert passing == [[1, 2], [0, 1, 2], [1, 3], [3], [1], [0, 1, 3]]


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


def test_what_fills_up_is_no_point_whichever_of_equals_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def the_last(rows: Any, kth: int, axis: int) -> Any:
        return rows.shape[1] - 1 - np.argsort(rows[:, ::-1], axis=1, kind="stable")

    monkeypatch.setattr(np, "argpartition", the_last)
    kept = nearest._Best(2, 2, np.float32)
    kept.offer(10, np.array([[5], [-np.inf]], np.float32))
    assert [sorted(own) for own in kept.found()[0].tolist()] == [[-1, 10], [-1, -1]]


def test_fewer_points_than_spare_candidates() -> None:
    assert neighbours(vectors(0, 3, 4), vectors(1, 2, 4), 3, "cosine").ids.shape == (2, 3)


def test_only_some_points_are_searched() -> None:
    points, queries, among = vectors(0, 500, 16), vectors(1, 20, 16), np.arange(3, 500, 7)
    found = neighbours(points, queries, 5, "cosine", among)
    expected = np.argsort(-(queries.astype(float) @ points[among].astype(float).T), axis=1, kind="stable")[:, :5]
    assert found.ids.tolist() == among[expected].tolist()


def test_points_that_get_nearer_and_nearer_are_all_looked_at() -> None:
    points = np.linspace(0, 1, 5000, dtype=np.float32)[:, None]
    found = neighbours(points, np.ones((3, 1), dtype=np.float32), 4, "dot")
    assert found.ids.tolist() == [[4999, 4998, 4997, 4996]] * 3


def test_among_equals_the_smaller_row_number_goes_first() -> None:
    points = np.array([[1.0], [2.0]] * 15, dtype=np.float32)
    expected = [*range(1, 30, 2), *range(0, 20, 2)]
    assert neighbours(points, points[:1], 25, "dot").ids.tolist() == [expected]


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
    lost = nearest._reach(np.array([-2 * tiny]), np.zeros((1, 2), np.float32), 0.0, "euclid", np.float32)
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
