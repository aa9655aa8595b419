import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qexp.bench import accuracy
from qexp.bench.accuracy import retention


def overlap(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Retention where no point is as near as another."""
    return retention(found, reference, np.zeros(found.shape), np.ones(reference.shape), np.ones((len(found), 1)))


def test_retention_is_that_of_a_naive_count() -> None:
    rng = np.random.default_rng(0)
    found, reference = (np.array([rng.permutation(11)[:6] - 1 for _ in range(200)]) for _ in range(2))
    for ours, mine, theirs in zip(overlap(found, reference), found.tolist(), reference.tolist(), strict=True):
        kept = {point for point in theirs if point >= 0}
        assert ours == len(kept & set(mine)) / len(kept)


def test_a_point_as_near_stands_for_a_lost_result_once() -> None:
    reference, found = np.array([[0, 1, 2, 3]] * 3), np.array([[0, 8, 9, 7], [4, 5, 6, 7], [0, 1, 2, -1]])
    near = np.array([[0.9, 0.9, 0.9, 0.5]] * 3)
    # 8 and 9 are as near as 1 and 2, and 7 as near as 3; three of 4, 5, 6 as near as 0 to 2; nothing for 3
    ours = np.array([[0.9, 0.9, 0.9, 0.5], [0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, -np.inf]])
    one = np.ones((3, 1))
    assert retention(found, reference, ours, near, one).tolist() == [1.0, 0.75, 0.75]
    assert retention(found, reference, ours - 2e-6, near, one).tolist() == overlap(found, reference).tolist()
    apart = np.array([[0.9, 0.1]])  # what was found, or was not lost, stands for nothing
    assert retention(np.array([[0, 9]]), np.array([[0, 1]]), apart, near[:1, :2], one[:1]).tolist() == [0.5]
    assert retention(np.array([[0, 9]]), np.array([[0, 1]]), near[:1, :2], apart, one[:1]).tolist() == [0.5]
    assert retention(np.array([[0, 1]]), np.array([[9, 1]]), near[:1, :2], near[:1, :2], one[:1]).tolist() == [1.0]
    ranks = np.array([[0.9, 0.95]]), np.array([[0.95, 0.9]])  # wherever it stands
    assert retention(np.array([[9, 0]]), np.array([[0, 1]]), *ranks, one[:1]).tolist() == [1.0]
    nearer = np.where(ours == 0.9, 0.91, ours)  # nearer than what was lost is not what the baseline returned
    assert retention(found, reference, nearer, near, one).tolist() == [0.5, 0.0, 0.75]


@given(
    found=arrays(np.int64, (3, 5), elements=st.integers(-1, 9)),
    reference=arrays(np.int64, (3, 5), elements=st.integers(-1, 9)),
    pairs=st.integers(1, 100),
)
@pytest.mark.filterwarnings("error")  # of results that are none
def test_retention_of_points_without_duplicates_is_the_overlap(
    found: np.ndarray, reference: np.ndarray, pairs: int
) -> None:
    for rows in (found, reference):
        rows.sort(axis=1)
        rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1  # no engine returns a point twice
    scores = [np.where(rows < 0, -np.inf, rows / 10) for rows in (found, reference)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accuracy, "PAIRS", pairs)
        assert retention(found, reference, *scores, np.ones((3, 1))) == pytest.approx(overlap(found, reference))


def test_a_share_is_the_same_number_however_it_comes_about() -> None:
    reference = np.arange(7)[None, :]
    scores, found = -reference.astype(float), reference.copy()
    found[0, 5:] = [8, 9]
    near = scores.copy()
    near[0, 6] = -20.0  # 8 ties with what was lost at rank 5, 9 is far
    shares = retention(found, reference, near, scores, np.ones((1, 1)))
    assert shares.tolist() == [6 / 7]
    assert 5 / 7 + 1 / 7 != 6 / 7


def test_where_the_baseline_found_fewer_than_k_those_are_all_there_is_to_keep() -> None:
    reference = np.array([[1, -1], [1, -1], [1, -1], [-1, -1]])
    found = np.array([[1, 2], [1, -1], [2, -1], [-1, -1]])
    assert overlap(found, reference).tolist() == [1.0, 1.0, 0.0, 0.0]
    near, ours = np.array([[0.9, -np.inf]]), np.array([[0.9, 0.1]])
    assert retention(np.array([[7, 8]]), np.array([[1, -1]]), ours, near, np.ones((1, 1))).tolist() == [1.0]


def test_stand_ins_are_given_to_the_query_that_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "PAIRS", 1)  # one query at a time
    found, reference = np.array([[0, 1], [8, 1], [8, 9]]), np.array([[0, 1]] * 3)
    ours, near = np.array([[0.9, 0.8], [0.9, 0.8], [0.9, 0.1]]), np.array([[0.9, 0.8]] * 3)
    assert retention(found, reference, ours, near, np.ones((3, 1))).tolist() == [1.0, 1.0, 0.5]


def test_results_are_compared_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "PAIRS", 10_000)
    found, scores, ones = np.tile(np.arange(100), (200, 1)), np.zeros((200, 100)), np.ones((200, 1))
    tracemalloc.start()
    try:
        shares = retention(found, found, scores, scores, ones)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shares.tolist() == [1.0] * 200
    assert peak < 200 * 100 * 100  # a byte for every pair
