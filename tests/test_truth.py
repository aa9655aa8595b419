import numpy as np
import pytest
from scipy.spatial.distance import cdist

from qexp.data import truth
from qexp.data.truth import exact_scores, neighbours

METRIC = {"cosine": "cosine", "dot": None, "euclid": "euclidean", "manhattan": "cityblock"}


def vectors(seed: int, n: int, size: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("distance", METRIC)
@pytest.mark.parametrize("block_bytes", [1, 2**25], ids=["many blocks", "one block"])
def test_neighbours_are_those_of_a_full_sort(distance: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "BLOCK_BYTES", block_bytes)
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


def test_fewer_points_than_spare_candidates() -> None:
    assert neighbours(vectors(0, 3, 4), vectors(1, 2, 4), 3, "cosine").ids.shape == (2, 3)


def test_exact_scores_of_given_points() -> None:
    points = np.array([[1, 0], [0, 2]], dtype=np.float32)
    query = np.array([[3, 4]], dtype=np.float32)
    ids = np.array([[1, 0, -1]])
    assert exact_scores(points, query, ids, "dot").tolist() == [[8.0, 3.0, -np.inf]]
    assert exact_scores(points, query, ids, "euclid").tolist() == [[-np.sqrt(13), -np.sqrt(20), -np.inf]]
    assert exact_scores(points, query, ids, "manhattan").tolist() == [[-5.0, -6.0, -np.inf]]
