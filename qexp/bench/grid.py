"""Which operating points are measured."""

from collections.abc import Iterable
from dataclasses import replace

from qexp.config import SearchConfig
from qexp.results import OperatingPoint


def operating_points(search: SearchConfig, quantized: bool) -> list[OperatingPoint]:
    """Return the grid: without rescoring at oversampling 1 only, with rescoring at every factor, for every hnsw_ef.

    A collection without codes has nothing to rescore: one point per hnsw_ef.
    """
    points = []
    for ef in search.hnsw_ef:
        for rescore in search.rescore if quantized else [False]:
            factors = sorted(search.oversampling) if rescore else [1.0]
            points += [OperatingPoint(search.limit, ef, rescore, factor) for factor in factors]
    return points


def baseline_points(search: SearchConfig) -> list[OperatingPoint]:
    """Return the baseline's operating points, one per hnsw_ef."""
    return operating_points(search, quantized=False)


def loss_points(search: SearchConfig) -> list[OperatingPoint]:
    """Return what the split of the loss needs beside the grid, for results only, not timed.

    For every hnsw_ef: the quantized collection searched by original vectors, and by codes alone.
    """
    codes = [OperatingPoint(search.limit, ef) for ef in search.hnsw_ef]
    return [replace(point, ignore=True) for point in codes] + ([] if False in search.rescore else codes)


def widest(points: Iterable[OperatingPoint]) -> set[OperatingPoint]:
    """Return the points that between them read all that the others read: the most rescoring, at every hnsw_ef."""
    points = list(points)
    most = max((point.rescore, point.oversampling) for point in points)
    return {point for point in points if (point.rescore, point.oversampling) == most}
