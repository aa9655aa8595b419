import pytest

from qexp.bench.grid import baseline_points, loss_points, operating_points, widest
from qexp.config import SearchConfig
from qexp.results import OperatingPoint


def test_no_rescoring_is_measured_at_oversampling_1_only() -> None:
    search = SearchConfig(limit=5, oversampling=[4, 2])
    assert operating_points(search, quantized=True) == [
        OperatingPoint(5, None, False, 1.0),
        OperatingPoint(5, None, True, 2),
        OperatingPoint(5, None, True, 4),
    ]


def test_every_hnsw_ef_has_its_grid_and_its_baseline() -> None:
    search = SearchConfig(oversampling=[1], hnsw_ef=[64, None])
    assert len(operating_points(search, quantized=True)) == 4
    assert [point.hnsw_ef for point in baseline_points(search)] == [64, None]


def test_a_collection_without_codes_has_nothing_to_rescore() -> None:
    assert operating_points(SearchConfig(), quantized=False) == [OperatingPoint(10, None, False, 1.0)]


def test_titles() -> None:
    assert OperatingPoint(10).title == "no rescore"
    assert OperatingPoint(10, 64, True, 2.5).title == "rescore 2.5×, ef 64"


def test_the_widest_points_rescore_the_most_at_every_ef() -> None:
    points = operating_points(SearchConfig(oversampling=[1, 4], hnsw_ef=[None, 16]), quantized=True)
    assert widest(points) == {OperatingPoint(10, None, True, 4), OperatingPoint(10, 16, True, 4)}


def test_without_rescoring_every_ef_is_widest() -> None:
    points = operating_points(SearchConfig(hnsw_ef=[None, 16]), quantized=False)
    assert widest(points) == set(points)


@pytest.mark.parametrize(("rescore", "ignored"), [([False, True], [True, True]), ([True], [True, True, False, False])])
def test_the_loss_is_split_by_what_the_grid_leaves_out(rescore: list[bool], ignored: list[bool]) -> None:
    points = loss_points(SearchConfig(limit=5, rescore=rescore, hnsw_ef=[None, 16]))
    efs = [None, 16] * (len(ignored) // 2)
    assert points == [OperatingPoint(5, ef, ignore=ignore) for ef, ignore in zip(efs, ignored, strict=True)]
