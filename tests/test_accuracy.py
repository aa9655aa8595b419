import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from qexp.bench.accuracy import judging, labels_of, mean_interval, recall, relevance, retention, summarize, worst_decile
from qexp.bench.notes import labels_under_filter
from qexp.data.truth import exact_scores, magnitude, neighbours
from tests.test_retention import overlap

# Coordinates from a handful of values give ties and duplicates in most examples.
COORDINATES = st.integers(-2, 2).map(float)


def recall_of(found: np.ndarray, points: np.ndarray, queries: np.ndarray, distance: str, k: int) -> np.ndarray:
    exact = neighbours(points, queries, k, distance)
    scores = exact_scores(points, queries, found, distance)
    return recall(scores, exact.scores, magnitude(points, queries, exact, distance))


def naive_score(point: np.ndarray, query: np.ndarray, distance: str) -> float:
    a, b = point.astype(np.float64), query.astype(np.float64)
    if distance == "dot":
        return float(sum(x * y for x, y in zip(a, b, strict=True)))
    if distance == "euclid":
        return -(float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))) ** 0.5)
    return -float(sum(abs(x - y) for x, y in zip(a, b, strict=True)))


@given(
    points=arrays(np.float32, (12, 3), elements=COORDINATES),
    queries=arrays(np.float32, (4, 3), elements=COORDINATES),
    found=arrays(np.int64, (4, 5), elements=st.integers(-1, 11)),
    distance=st.sampled_from(["dot", "euclid", "manhattan"]),
)
def test_recall_is_that_of_a_naive_count_with_ties(  # T11
    points: np.ndarray, queries: np.ndarray, found: np.ndarray, distance: str
) -> None:
    ours = recall_of(found, points, queries, distance, 5)
    for row, query in enumerate(queries):
        scores = sorted((naive_score(point, query, distance) for point in points), reverse=True)
        hits = sum(1 for i in found[row] if i >= 0 and naive_score(points[i], query, distance) >= scores[4] - 1e-6)
        assert ours[row] == pytest.approx(hits / 5, abs=1e-9)


def test_a_tie_at_the_kth_distance_is_a_hit() -> None:  # T11
    points = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    query = np.array([[1, 0]], dtype=np.float32)
    other = np.array([[3, 1]])
    assert recall_of(other, points, query, "dot", 2).tolist() == [1.0]
    assert overlap(other, neighbours(points, query, 2, "dot").ids).tolist() != [1.0]


@given(
    points=arrays(np.float32, (12, 3), elements=COORDINATES),
    queries=arrays(np.float32, (4, 3), elements=COORDINATES),
    found=arrays(np.int64, (4, 5), elements=st.integers(-1, 11)),
    distance=st.sampled_from(["cosine", "dot", "euclid", "manhattan"]),
    unit=st.sampled_from([1e-7, 1e7]),
)
def test_recall_knows_no_units(
    points: np.ndarray, queries: np.ndarray, found: np.ndarray, distance: str, unit: float
) -> None:
    def scaled(vectors: np.ndarray) -> np.ndarray:
        wide = vectors * np.float32(unit)
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        return wide / np.where(lengths > 0, lengths, 1) if distance == "cosine" else wide

    def normal(vectors: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1) if distance == "cosine" else vectors

    as_given = recall_of(found, normal(points), normal(queries), distance, 5)
    assert recall_of(found, scaled(points), scaled(queries), distance, 5).tolist() == as_given.tolist()


@pytest.mark.parametrize("distance", ["dot", "euclid", "manhattan"])
@pytest.mark.parametrize("unit", [1e-7, 1, 1e7])
@pytest.mark.parametrize("away", [0, 1000])
def test_recall_of_chance_is_small_whatever_the_unit(distance: str, unit: float, away: float) -> None:
    rng = np.random.default_rng(0)
    points, queries = ((away + rng.standard_normal((n, 8))).astype(np.float32) * np.float32(unit) for n in (400, 20))
    assert recall_of(rng.integers(0, 400, (20, 10)), points, queries, distance, 10).mean() < 0.1


@pytest.mark.parametrize("distance", ["euclid", "manhattan"])
def test_equal_points_are_hits_and_their_neighbours_are_none(distance: str) -> None:
    points = np.repeat(np.array([[1000, 0], [1000, np.spacing(np.float32(1000))]], np.float32), 3, axis=0)
    assert recall_of(np.array([[2, 1], [2, 3]]), points, points[:2], distance, 2).tolist() == [1.0, 0.5]


def test_fewer_results_than_k_are_misses() -> None:
    exact = np.array([[3.0, 2.0]])
    assert recall(np.array([[3.0, -np.inf]]), exact, exact[:, -1:]).tolist() == [0.5]
    assert overlap(np.array([[1, -1]]), np.array([[1, 2]])).tolist() == [0.5]


def test_worst_decile() -> None:
    assert worst_decile(np.linspace(0, 1, 11)[1:]) == pytest.approx(0.1)
    assert worst_decile(np.array([0.3, 0.9])) == pytest.approx(0.3)


def test_the_interval_of_a_mean_is_near_the_normal_one_for_many_queries() -> None:
    shares = np.random.default_rng(0).binomial(10, 0.7, 2000) / 10
    found = mean_interval(shares[None, :])
    expected = stats.norm.interval(0.95, shares.mean(), stats.sem(shares))
    assert found.estimate == pytest.approx(shares.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=0.0004)


@pytest.mark.parametrize(("share", "ends"), [(1.0, (0.97, 1.0)), (0.0, (0.0, 0.03))])
def test_that_every_query_agrees_is_no_certainty(share: float, ends: tuple[float, float]) -> None:
    # of 100 drawn with one other among 102, three or fewer are it with a probability of 0.982, two or fewer of 0.923
    found = mean_interval(np.full((1, 100), share))
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-12)
    assert found.estimate == share


def test_how_many_queries_an_accuracy_takes() -> None:
    for queries, known in ((60, 0.95), (150, 0.98), (300, 0.99)):  # as the README and docs/decision.md say
        assert mean_interval(np.ones((1, queries))).low == pytest.approx(known)
        assert mean_interval(np.ones((1, queries - 1))).low < known


def test_an_interval_of_shares_ends_where_shares_do() -> None:
    apart = np.array([[1.0] * 100, [0.9] * 100])
    assert mean_interval(apart).high == 1.0
    assert mean_interval(1 - apart).low == 0.0


def test_builds_that_differ_widen_the_interval() -> None:
    shares = np.random.default_rng(0).binomial(10, 0.7, 500) / 10
    alike = mean_interval(np.stack([shares, shares, shares]))
    apart = mean_interval(np.stack([shares - 0.02, shares, shares + 0.02]))
    assert apart.estimate == pytest.approx(alike.estimate)
    spread = stats.t.ppf(0.975, 2) * 0.02 / 3**0.5
    assert apart.estimate - apart.low == pytest.approx(np.hypot(alike.estimate - alike.low, spread), abs=1e-3)


def test_a_summary_counts_queries_without_any_common_result() -> None:
    retention, found = np.array([[0.0, 0.0, 1.0, 0.5]]), np.array([[0.5, 0.5, 1.0, 1.0]])
    summary = summarize(retention, found, None, None)
    assert (summary.zero_overlap, summary.builds, summary.recall_build_sd) == (2, 1, None)
    assert (summary.retention.estimate, summary.recall.estimate) == (0.375, 0.75)
    twice = summarize(np.vstack([retention, retention]), np.vstack([found, found - 0.1]), None, None)
    assert (twice.recall.estimate, twice.zero_overlap) == (pytest.approx(0.7), 2)
    assert twice.recall_build_sd == pytest.approx(0.1 / 2**0.5)
    assert twice.retention_build_sd == 0.0


def test_labels_give_ndcg_and_reciprocal_rank() -> None:
    labels = np.array([[0, 7, 1], [1, 8, 1]])
    judged = relevance(labels, 3)
    ndcg, mrr = judged(np.array([[5, 7, 9], [1, 2, -1]]))
    assert ndcg == pytest.approx(np.log(2) / np.log(3) / 2)
    assert mrr == pytest.approx(0.25)
    assert judged(np.array([[7, 5, 9], [-1, -1, -1]])) == (0.5, 0.5)  # a query without results counts as 0
    assert judged(np.full((2, 3), -1)) == (0.0, 0.0)
    assert relevance(np.array([[0, 0, 1]]), 3)(np.array([[0, 7, 9]])) == (1.0, 1.0)  # row 0 is a point too
    assert relevance(labels[:0], 3)(np.array([[5, 7, 9]])) == (None, None)


def test_labels_of_points_that_a_filter_keeps_out_count_for_nothing() -> None:
    labels = np.array([[0, 7, 1], [0, 8, 1], [1, 8, 1]])
    kept = labels_of(labels, np.array([2, 7]))
    assert kept.tolist() == [[0, 7, 1]]
    assert relevance(kept, 3)(np.array([[7, 2, -1], [2, -1, -1]])) == (1.0, 1.0)
    assert labels_of(labels[:0], np.array([2])).tolist() == []
    grades = np.array([[0, 7, 0], [0, 8, 1], [1, 7, 0], [1, 8, -1]])
    assert judging(grades).tolist() == [[0, 7, 0], [0, 8, 1]]  # of query 1 nothing is relevant
    assert labels_of(grades, np.array([7])).tolist() == []
    assert labels_under_filter(labels, kept) == [
        "search.filter leaves labels to 1 of 2 labelled queries: nDCG and MRR are means over those"
    ]
    assert labels_under_filter(labels, labels) == []


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_a_tie_is_a_millionth_of_the_magnitude(unit: float) -> None:
    exact, magnitude = unit * np.array([[3.0, 2.0]]), np.array([[unit]])
    for apart, share in ((0.99e-6, 1.0), (1.01e-6, 0.5)):
        ours = exact - unit * np.array([[0.0, apart]])
        assert recall(ours, exact, magnitude).tolist() == [share]
        assert retention(np.array([[0, 9]]), np.array([[0, 1]]), ours, exact, magnitude).tolist() == [share]


def test_points_at_no_distance_at_all_are_as_near() -> None:
    zero = np.zeros((1, 1))  # euclid and manhattan: the magnitude is the distance itself
    assert retention(np.array([[9]]), np.array([[1]]), zero, zero, zero).tolist() == [1.0]
    assert recall(zero, zero, zero).tolist() == [1.0]


@pytest.mark.parametrize(("queries", "worst"), [(19, 0.0), (20, 0.5), (29, 0.5), (30, 1.0)])
def test_a_tenth_of_the_queries_is_cut_off_to_a_whole_number(queries: int, worst: float) -> None:
    assert worst_decile(np.arange(queries)[::-1].astype(float)) == worst


def test_ndcg_is_against_the_best_k_labels() -> None:
    judged = relevance(np.array([[0, point, 1] for point in range(4)]), 2)
    assert judged(np.array([[3, 1]])) == (1.0, 1.0)


def test_a_summary_keeps_recall_and_retention_apart_and_means_of_builds() -> None:
    retention = np.array([[1.0] * 8 + [0.5] * 2, [0.9] * 10])
    found = np.array([[0.0, *[0.6] * 9], [0.4, *[0.8] * 9]])
    summary = summarize(retention, found, 0.25, 0.75)
    assert summary.retention.estimate == pytest.approx(0.9)
    assert summary.recall.estimate == pytest.approx(0.65)
    assert summary.recall_worst_decile == pytest.approx(0.2)
    assert (summary.ndcg, summary.mrr, summary.zero_overlap, summary.builds) == (0.25, 0.75, 0.0, 2)
    assert (summary.retention, summary.recall) == (mean_interval(retention), mean_interval(found))
    assert summary.retention_build_sd == pytest.approx(0.0)
    assert summary.recall_build_sd == pytest.approx(0.22 / 2**0.5)


def test_builds_that_differ_widen_the_interval_upwards_too() -> None:
    shares = np.random.default_rng(0).binomial(10, 0.5, 500) / 10
    alike, apart = mean_interval(np.stack([shares, shares])), mean_interval(np.stack([shares - 0.01, shares + 0.01]))
    spread = stats.t.ppf(0.975, 1) * 0.01
    assert apart.high - apart.estimate == pytest.approx(np.hypot(alike.high - alike.estimate, spread), abs=1e-3)
