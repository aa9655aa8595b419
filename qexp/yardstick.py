"""What results are held against: exact neighbours, the baseline's own results, labels."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexp.bench import accuracy, dataset_checks, validity
from qexp.bench.accuracy import Found, Share
from qexp.bench.checks import Checks
from qexp.config import ExperimentConfig, SearchConfig
from qexp.data.truth import Truth, engine_truth, exact_scores, farther, find_truth, magnitude, scores_of
from qexp.data.vectors import Data
from qexp.places import Place
from qexp.results import Ids, OperatingPoint, evenly

log = logging.getLogger(__name__)

SAMPLE = 100  # queries whose neighbours are looked at again


@dataclass(frozen=True)
class Yardstick:
    """The data with their exact neighbours; `matching` are the points that the filter lets through, None for all."""

    data: Data
    truth: Truth
    matching: Ids | None

    @property
    def labels(self) -> Ids:
        """The labels of points that a search may find."""
        return self.data.qrels if self.matching is None else accuracy.labels_of(self.data.qrels, self.matching)

    def scored(self, ids: Ids) -> Found:
        """Return results with their exact scores."""
        return Found(ids, scores_of(self.data, ids))

    def recall(self, found: Found) -> Share:
        """Return the recall of every query."""
        return accuracy.recall(found.scores, self.truth.scores, self._magnitude)

    def retention(self, found: Found, reference: Found) -> Share:
        """Return of every query the retention of the reference's results."""
        return accuracy.retention(found.ids, reference.ids, found.scores, reference.scores, self._magnitude)

    def judged_by(self, search: SearchConfig, baseline: Place, measure: str) -> Callable[[Ids], Share]:
        """Return what turns results into the accuracy of every query, by retention or recall."""
        if measure == "recall":
            return lambda ids: self.recall(self.scored(ids))
        reference = self.scored(baseline.worker.found(OperatingPoint(search.limit, search.hnsw_ef[0])))
        return lambda ids: self.retention(self.scored(ids), reference)

    def check(self, checks: Checks) -> None:
        """Look for queries and exact neighbours that would make accuracy wrong."""
        points, queries = self.data.points(), self.data.query_vectors()
        dataset_checks.check_queries(dataset_checks.duplicates(points, queries), queries, checks)
        sample = evenly(len(queries), SAMPLE)
        computed = exact_scores(points, queries[sample], self.truth.ids[sample], self.data.facts.distance)
        dataset_checks.check_truth(self.truth.scores[sample], computed, checks)
        if self.truth.source != "neighbours":  # these were compared when they were read
            wrong = farther(self.data, self.truth.ids, self.matching)
            dataset_checks.check_nearest(wrong, self.truth.source, checks)

    @cached_property
    def _magnitude(self) -> NDArray[np.float64]:
        return magnitude(self.data.points(), self.data.query_vectors(), self.truth, self.data.facts.distance)


def checked_yardstick(
    config: ExperimentConfig, data: Data, truth: Truth | None, baseline: Place, cache: Path, checks: Checks
) -> Yardstick:
    """Return the yardstick, checked.

    Where there is no truth yet it needs a built collection: it is that of the engine's exact search, or is among the
    points that the filter keeps.
    """
    matching, limit = _matching(config, data, baseline, checks), config.search.limit
    if config.dataset.truth == "engine":
        truth = engine_truth(data, baseline.worker.found(OperatingPoint(limit, exact=True)))
    yardstick = Yardstick(data, truth or find_truth(data, limit, cache, matching), matching)
    yardstick.check(checks)
    return yardstick


def _matching(config: ExperimentConfig, data: Data, baseline: Place, checks: Checks) -> Ids | None:
    """Return the row numbers of the points that the filter lets through, which a built collection tells; None: all."""
    if not config.search.filter:
        return None
    matching = np.array(baseline.worker.matching(), dtype=np.int64)
    log.info("search.filter: %s of %s points match", f"{len(matching):,}", f"{data.facts.points:,}")
    validity.check_filter(baseline.spec, config.search.filtered_fields, len(matching), checks)
    return matching
