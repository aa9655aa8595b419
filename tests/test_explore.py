from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qexp.bench.explore import adaptive, tuned
from qexp.config import AdaptiveConfig, SearchConfig, TuneConfig
from qexp.results import Ids, OperatingPoint
from tests.test_adaptive import SEARCH, Known, shares


class Fetching(Known):
    """Finds all of every query from 37 candidates on."""

    def found(self, point: OperatingPoint) -> Ids:
        return np.full((400, point.limit), int(point.oversampling * point.limit) >= 37)


def by_recall(measure: str) -> Callable[[Ids], NDArray[np.float64]]:
    assert measure == "recall"
    return lambda ids: ids[:, 0].astype(float)


def unasked(measure: str) -> Callable[[Ids], NDArray[np.float64]]:
    raise AssertionError


def test_the_grid_is_narrowed_to_what_tuning_finds() -> None:
    search = SearchConfig(limit=10, oversampling=[1.0], tune=TuneConfig(measure="recall", target=0.95))
    narrow, (finding,) = tuned(search, Fetching(), by_recall)
    assert narrow == replace(search, oversampling=[3.7, 4.7, 6.0], tune=None)
    assert finding.sentence.startswith("oversampling 3.7× is the smallest that reaches 0.95: recall 1.000 ")


def test_adaptive_policies_are_judged_by_what_is_asked() -> None:
    asked = AdaptiveConfig("recall", 0.95, [1.0, 4.0])
    findings = adaptive(replace(SEARCH, adaptive=asked), Known(), lambda measure: {"recall": shares}[measure], 200)
    assert [", recall -0.0050 (" in finding.sentence for finding in findings] == [False, True, True]


def test_nothing_is_searched_for_what_is_not_asked() -> None:
    assert tuned(SEARCH, Known(), unasked) == (SEARCH, [])
    assert adaptive(SEARCH, Known(), unasked, 200) == []
