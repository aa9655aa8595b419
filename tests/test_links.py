"""How many links a point chooses: cases that can be counted by hand."""

import numpy as np
import pytest

from qexp.sizing import links
from qexp.sizing.links import _nearest_before, forward_links, mean_links


@pytest.mark.parametrize("distance", ["euclid", "manhattan"])
def test_on_a_line_each_point_chooses_the_one_before(distance: str) -> None:
    line = np.arange(500, dtype=np.float32)[:, None] * np.ones((1, 2), dtype=np.float32)
    assert forward_links(line, 16, 100, distance) == 1.0


@pytest.mark.parametrize(("m", "ef_construct", "links"), [(4, 100, 8.0), (16, 12, 12.0)])
def test_points_at_right_angles_choose_as_many_as_they_may(m: int, ef_construct: int, links: float) -> None:
    corners = np.tile(np.eye(2, dtype=np.float32), 1)
    assert forward_links(corners, m, ef_construct, "cosine") == 1.0
    corners = np.eye(400, dtype=np.float32)
    late = forward_links(np.concatenate([corners[:200], corners[200:]]), m, ef_construct, "cosine")
    assert late == pytest.approx(links, rel=0.05)  # a few of the first points have fewer before them


def test_euclid_and_cosine_agree_on_normalised_vectors() -> None:
    drawn = np.random.default_rng(0).standard_normal((800, 16)).astype(np.float32)
    points = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    assert forward_links(points, 16, 100, "euclid") == pytest.approx(forward_links(points, 16, 100, "cosine"), rel=0.02)


def test_each_distance_keeps_by_its_own_measure() -> None:
    # the third is 5 from the first, which is √18 from the second, and by blocks 6; the second has but one before it
    three = np.array([[0, 0], [3, 3], [5, 0]], dtype=np.float32)
    assert forward_links(three, 16, 100, "euclid") == 1.0
    assert forward_links(three, 16, 100, "manhattan") == pytest.approx(1.5, abs=0.1)  # of 200 draws
    line = np.arange(1, 501, dtype=np.float32)[:, None]  # all are nearer to the longest, which is the last
    assert forward_links(line, 4, 100, "dot") == pytest.approx(8.0, rel=0.05)


@pytest.mark.parametrize(("distance", "scored"), [("manhattan", [-1, -2, -3]), ("euclid", [-1, -4, -9])])
def test_candidates_are_the_nearest_of_earlier_points(distance: str, scored: list[int]) -> None:
    far = np.random.default_rng(0).permutation(4497) + 4
    places = np.concatenate([far[:4095], [3, 2], far[4095:], [1, 0]])  # on a line, the nearest at ends of blocks
    line = places[:, None].astype(np.float32) - 2250
    scores, nearest = _nearest_before(lambda wanted: line[wanted], np.array([2, 4500]), 3, distance)
    assert places[nearest[1]].tolist() == [1, 2, 3]
    assert scores[1].tolist() == scored
    assert sorted(nearest[0, :2]) == [0, 1]
    assert scores[0, 2] == -np.inf  # no third one was there


def test_more_candidates_than_points_take_no_more_memory() -> None:
    corners = np.eye(50, dtype=np.float32)
    before = np.random.default_rng(0).integers(1, 50, links.SAMPLE_PIVOTS)  # each chooses all of them
    assert forward_links(corners, 25, 10**15, "cosine") == forward_links(corners, 25, 50, "cosine") == before.mean()


def test_a_single_point_has_no_links() -> None:
    assert forward_links(np.ones((1, 4), dtype=np.float32), 16, 100, "cosine") == 0.0


def test_links_double_until_they_are_thinned_out() -> None:
    assert mean_links(0.0, 32) == 0.0
    assert mean_links(1.0, 1000) == pytest.approx(1.9, rel=1e-3)
    assert mean_links(1000.0, 32) == pytest.approx(32.0)


def test_by_signs_only_the_side_of_the_mean_counts() -> None:
    drawn = np.random.default_rng(0).standard_normal((800, 16)).astype(np.float32)
    signs = np.where(drawn > drawn.mean(axis=0), np.float32(1), np.float32(-1))
    expected = forward_links(signs, 16, 100, "dot")
    assert forward_links(drawn, 16, 100, "cosine", by_signs=True) == expected
    assert forward_links(1000 + 3 * drawn, 16, 100, "euclid", by_signs=True) == pytest.approx(expected, rel=0.01)
    assert forward_links(drawn, 16, 100, "dot") != expected
    whole = np.rint(np.concatenate([drawn, -drawn]))  # many zeros, which are the mean and not above it
    assert forward_links(whole, 16, 100, "cosine", by_signs=True) == forward_links(
        np.where(whole > 0, np.float32(1), np.float32(-1)), 16, 100, "dot"
    )


def test_the_mean_is_that_of_evenly_spread_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "BLOCK", 25)
    drawn = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    drawn[np.arange(200) % 8 > 0] += 1
    signs = np.where(drawn > drawn[::8].mean(axis=0), np.float32(1), np.float32(-1))
    assert forward_links(drawn, 16, 100, "dot", by_signs=True) == forward_links(signs, 16, 100, "dot")


def test_of_more_points_than_are_asked_those_that_are_spread_evenly_count(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0).standard_normal((401, 4)).astype(np.float32)
    expected = forward_links(drawn[::4], 16, 100, "euclid")
    monkeypatch.setattr(links, "SAMPLE_POINTS", 101)
    assert forward_links(drawn, 16, 100, "euclid") == expected
