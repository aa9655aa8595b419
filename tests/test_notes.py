from dataclasses import replace

import numpy as np
import pytest

from qexp.bench.notes import between_builds, few_labelled, few_queries, labels_under_filter, notes
from qexp.results import Accuracy, Interval, OperatingPoint
from tests.conftest import QUICK, Qexp
from tests.test_edge import spec

CODES, RESCORED = OperatingPoint(10), OperatingPoint(10, rescore=True, oversampling=3.0)


def test_a_large_corpus_of_long_vectors_has_nothing_to_say() -> None:
    assert notes(spec("binary", size=1024, points=2500), [CODES, RESCORED]) == []


@pytest.mark.parametrize(
    ("points", "more", "said"),
    [
        (9999, {}, "9,999 KiB of vectors are"),
        (9999, {"full_scan_threshold": 9999}, "9,999 KiB of vectors are"),
        (19_998, {"segments": 2}, "9,999 KiB of vectors in a segment are"),
        (19_998, {"shards": 2}, "9,999 KiB of vectors in a segment are"),
        (10_000, {}, ""),
    ],
)
def test_a_corpus_that_qdrant_would_not_index_is_small(points: int, more: dict[str, int], said: str) -> None:
    found = notes(spec(size=256, points=points, **more), [CODES])
    assert len(found) == bool(said)
    start = f"small corpus: {said} below the 10,000 from which Qdrant builds an index by default"
    assert all(note.startswith(start) for note in found)


def test_what_full_scan_threshold_refuses_is_not_said_twice() -> None:
    assert notes(spec(size=256, points=9999, full_scan_threshold=10_000), [CODES]) == []


@pytest.mark.parametrize(
    ("method", "size", "said"),
    [("binary", 1023, True), ("binary_2bit", 384, True), ("binary", 1024, False), ("turbo_1", 384, False)],
)
def test_short_binary_codes_without_rescoring(method: str, size: int, said: bool) -> None:
    asked = spec(method, size=size, points=100_000)
    found = notes(asked, [CODES, RESCORED])
    assert bool(found) is said
    assert all(note.startswith(f"binary codes of {size} dimensions") for note in found)
    assert notes(asked, [RESCORED]) == []


@pytest.mark.parametrize(
    ("method", "distance", "said"),
    [
        ("turbo_2", "manhattan", True),
        ("turbo_4", "manhattan", False),
        ("turbo_1", "euclid", False),
        ("binary", "manhattan", False),
    ],
)
def test_graphs_of_short_turbo_codes_with_manhattan(method: str, distance: str, said: bool) -> None:
    found = notes(spec(method, size=1024, points=100_000, distance=distance), [CODES])
    assert [note.startswith("the graph of TurboQuant of one to two bits") for note in found] == [True] * said


def test_how_far_builds_differ_is_told_of_the_widest() -> None:
    one = Accuracy(Interval(0.9, 0.9, 0.9), Interval(0.9, 0.9, 0.9), 0.8)
    assert between_builds([one, one]) == []
    several = [replace(one, builds=3, retention_build_sd=sd) for sd in (0.001, 0.0123, 0.0)]
    (said,) = between_builds(several)
    assert said.startswith("accuracy is the mean of 3 builds, between which retention varies by ± 0.0123 (standard")


def test_an_empty_column_of_p95_is_explained() -> None:
    assert few_queries(99) == ["99 queries are too few for a P95, which takes 100"]
    assert few_queries(100) == []


@pytest.mark.parametrize(
    ("labelled", "said"),
    [
        (100, []),
        (2, ["2 of 100 queries have a point labelled relevant: nDCG and MRR are means over those"]),
        (0, ["none of the 100 queries has a point labelled relevant: no nDCG or MRR; draw more, or those that have"]),
    ],
)
def test_labels_of_some_queries_alone_are_told(labelled: int, said: list[str]) -> None:
    labels = np.array([(query, point, 1) for query in range(labelled) for point in (5, 6)]).reshape(-1, 3)
    assert few_labelled(labels, 100) == said


def test_queries_whose_labels_a_filter_keeps_out_are_counted_not_points() -> None:
    labels = np.array([[0, 5, 1], [0, 6, 1], [0, 7, 1], [1, 5, 1]])
    assert labels_under_filter(labels, labels[[0, 3]]) == []
    (said,) = labels_under_filter(labels, labels[:2])
    assert said.startswith("search.filter leaves labels to 1 of 2 labelled queries")


@pytest.mark.slow
def test_notes_stand_below_the_table(qexp: Qexp) -> None:
    done = qexp("quantization=binary", *QUICK, "dataset.queries=99")
    assert done.returncode == 0, done.stderr
    assert "Note: 99 queries are too few for a P95, which takes 100." in done.stdout
    assert "Note: small corpus: 500 KiB of vectors" in done.stdout
    assert "Note: binary codes of 64 dimensions" in done.stdout
